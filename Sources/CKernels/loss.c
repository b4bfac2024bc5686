#include "include/loss.h"
#include "bf16.h"
#include "math.h"

#define DEFINE(suffix, type, load, store)                                                                           \
    TF_KERNEL void tf_cross_entropy_##suffix(float *logits, const int32_t *targets, float scale, float z_weight,    \
                                             float *losses, float *log_sums, type *dlogits, size_t rows,            \
                                             size_t width) {                                                        \
        TF_REASSOCIATE                                                                                              \
        for (size_t r = 0; r < rows; r++) {                                                                         \
            float *row = logits + r * width;                                                                        \
            const size_t target = (size_t)targets[r];                                                               \
            const float expected = row[target];                                                                     \
            /* Wrong only when a logit is NaN, and then the sum below is NaN as well. */                            \
            float maximum = row[0];                                                                                 \
            for (size_t c = 1; c < width; c++) maximum = row[c] > maximum ? row[c] : maximum;                       \
            float sum = 0;                                                                                          \
            for (size_t c = 0; c < width; c++) {                                                                    \
                const float e = tf_exp(row[c] - maximum);                                                           \
                row[c] = e;                                                                                         \
                sum += e;                                                                                           \
            }                                                                                                       \
            const float log_sum = tf_log(sum) + maximum;                                                            \
            log_sums[r] = log_sum;                                                                                  \
            losses[r] = log_sum - expected;                                                                         \
            if (dlogits) {                                                                                          \
                const float factor = scale * (1.0f + 2.0f * z_weight * log_sum) / sum;                              \
                const float right = row[target] * factor - scale;                                                   \
                type *out = dlogits + r * width;                                                                    \
                _Pragma("clang loop vectorize(assume_safety)") for (size_t c = 0; c < width; c++)                   \
                    out[c] = store(row[c] * factor);                                                                \
                out[target] = store(right);                                                                         \
            }                                                                                                       \
        }                                                                                                           \
    }                                                                                                               \
    TF_KERNEL double tf_squared_error_##suffix(const float *prediction, const float *target, float scale,           \
                                               type *dprediction, size_t count) {                                   \
        TF_REASSOCIATE                                                                                              \
        double total = 0;                                                                                           \
        for (size_t i = 0; i < count; i++) {                                                                        \
            const float error = prediction[i] - target[i];                                                          \
            total += (double)(error * error);                                                                       \
        }                                                                                                           \
        if (dprediction)                                                                                            \
            for (size_t i = 0; i < count; i++)                                                                      \
                dprediction[i] = store(2.0f * scale * (prediction[i] - target[i]));                                 \
        return total;                                                                                               \
    }
TF_FOR_EACH_TYPE(DEFINE)
