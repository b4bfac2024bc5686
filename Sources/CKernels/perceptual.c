#include "include/perceptual.h"
#include "bf16.h"
#include "math.h"

#define DEFINE(suffix, type, load, store)                                                                           \
    TF_KERNEL double tf_feature_distance_##suffix(const type *restrict a, const type *restrict b,                   \
                                                  const float *restrict weight, float scale, type *restrict da,     \
                                                  size_t rows, size_t channels) {                                   \
        TF_REASSOCIATE                                                                                              \
        double total = 0;                                                                                           \
        for (size_t r = 0; r < rows; r++, a += channels, b += channels) {                                           \
            float a_square = 0, b_square = 0;                                                                       \
            for (size_t c = 0; c < channels; c++) {                                                                 \
                a_square += load(a[c]) * load(a[c]);                                                                \
                b_square += load(b[c]) * load(b[c]);                                                                \
            }                                                                                                       \
            const float a_norm = __builtin_sqrtf(a_square);                                                         \
            const float a_scale = 1.0f / (a_norm + 1e-10f), b_scale = 1.0f / (__builtin_sqrtf(b_square) + 1e-10f);  \
            float sum = 0, along = 0;                                                                               \
            for (size_t c = 0; c < channels; c++) {                                                                 \
                const float x = load(a[c]) * a_scale, away = x - load(b[c]) * b_scale;                              \
                sum += weight[c] * away * away;                                                                     \
                along += weight[c] * away * x;                                                                      \
            }                                                                                                       \
            total += (double)sum;                                                                                   \
            if (da) {                                                                                               \
                /* The part along a changes nothing: â does not know its length. */                                 \
                const float factor = a_norm == 0 ? 0 : 2.0f * scale * a_scale;                                      \
                for (size_t c = 0; c < channels; c++) {                                                             \
                    const float x = load(a[c]) * a_scale, away = x - load(b[c]) * b_scale;                          \
                    da[c] = store(factor * (weight[c] * away - along * x));                                         \
                }                                                                                                   \
                da += channels;                                                                                     \
            }                                                                                                       \
        }                                                                                                           \
        return total;                                                                                               \
    }
TF_FOR_EACH_TYPE(DEFINE)
