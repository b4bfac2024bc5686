#include "include/latent.h"
#include "bf16.h"
#include "math.h"

// Codes whose distances are held at a time.
enum { BLOCK = 256 };

// The length that shorter vectors are taken to have.
static const float SHORTEST = 1e-12f;

TF_INLINE float held(float logvar) { return logvar < -30.0f ? -30.0f : logvar > 20.0f ? 20.0f : logvar; }

#define DEFINE(suffix, type, load, store)                                                                           \
    TF_KERNEL void tf_nearest_codes_##suffix(const type *restrict z, const float *restrict codes,                   \
                                             int32_t *restrict nearest, size_t rows, size_t width, size_t count) {  \
        for (size_t r = 0; r < rows; r++) {                                                                         \
            float best = __builtin_inff();                                                                          \
            nearest[r] = 0;                                                                                         \
            for (size_t first = 0; first < count; first += BLOCK) {                                                 \
                const size_t n = count - first < BLOCK ? count - first : BLOCK;                                     \
                float distances[BLOCK] = {0};                                                                       \
                for (size_t c = 0; c < width; c++) {                                                                \
                    const float v = load(z[r * width + c]);                                                         \
                    const float *restrict code = codes + c * count + first;                                         \
                    for (size_t k = 0; k < n; k++) distances[k] += (v - code[k]) * (v - code[k]);                   \
                }                                                                                                   \
                float least = best;                                                                                 \
                for (size_t k = 0; k < n; k++) least = distances[k] < least ? distances[k] : least;                 \
                if (!(least < best)) continue;                                                                      \
                best = least;                                                                                       \
                size_t k = 0;                                                                                       \
                while (distances[k] != least) k++;                                                                  \
                nearest[r] = (int32_t)(first + k);                                                                  \
            }                                                                                                       \
        }                                                                                                           \
    }                                                                                                               \
    TF_KERNEL double tf_codebook_##suffix(const type *z, const type *codes, const int32_t *nearest, const type *dq, \
                                          float z_scale, type *dz, float code_scale, float *dcodes, size_t rows,    \
                                          size_t width) {                                                           \
        double sum = 0;                                                                                             \
        for (size_t r = 0; r < rows; r++) {                                                                         \
            const size_t code = (size_t)nearest[r] * width;                                                         \
            for (size_t c = 0; c < width; c++) {                                                                    \
                const size_t i = r * width + c;                                                                     \
                const float d = load(codes[code + c]) - load(z[i]);                                                 \
                sum += (double)d * (double)d;                                                                       \
                if (dcodes) dcodes[code + c] += code_scale * d;                                                     \
                if (dz) dz[i] = store((dq ? load(dq[i]) : 0.0f) - z_scale * d);                                     \
            }                                                                                                       \
        }                                                                                                           \
        return sum;                                                                                                 \
    }                                                                                                               \
    TF_KERNEL void tf_unit_rows_##suffix(const type *restrict x, type *restrict y, size_t rows, size_t width) {     \
        for (size_t r = 0; r < rows; r++) {                                                                         \
            float squares = 0;                                                                                      \
            for (size_t c = 0; c < width; c++) squares += load(x[r * width + c]) * load(x[r * width + c]);          \
            const float length = __builtin_sqrtf(squares), inverse = 1.0f / (length > SHORTEST ? length : SHORTEST);\
            for (size_t c = 0; c < width; c++) y[r * width + c] = store(load(x[r * width + c]) * inverse);          \
        }                                                                                                           \
    }                                                                                                               \
    TF_KERNEL void tf_unit_rows_backward_##suffix(const type *restrict x, const type *restrict dy,                  \
                                                  type *restrict dx, size_t rows, size_t width) {                   \
        for (size_t r = 0; r < rows; r++) {                                                                         \
            float squares = 0, dot = 0;                                                                             \
            for (size_t c = 0; c < width; c++) {                                                                    \
                const float v = load(x[r * width + c]);                                                             \
                squares += v * v;                                                                                   \
                dot += v * load(dy[r * width + c]);                                                                 \
            }                                                                                                       \
            const float length = __builtin_sqrtf(squares), inverse = 1.0f / (length > SHORTEST ? length : SHORTEST);\
            /* What is too short is divided by a constant. */                                                       \
            const float along = length > SHORTEST ? dot * inverse * inverse : 0.0f;                                 \
            for (size_t c = 0; c < width; c++) {                                                                    \
                const size_t i = r * width + c;                                                                     \
                dx[i] = store((load(dy[i]) - along * load(x[i])) * inverse);                                        \
            }                                                                                                       \
        }                                                                                                           \
    }                                                                                                               \
    TF_KERNEL double tf_gaussian_forward_##suffix(const type *restrict moments, const float *restrict noise,        \
                                                  type *restrict z, size_t rows, size_t width) {                    \
        double sum = 0;                                                                                             \
        for (size_t r = 0; r < rows; r++) {                                                                         \
            const type *restrict row = moments + 2 * r * width;                                                     \
            float part = 0;                                                                                         \
            for (size_t c = 0; c < width; c++) {                                                                    \
                const float mean = load(row[c]), logvar = held(load(row[width + c])), deviation = tf_exp(0.5f * logvar); \
                z[r * width + c] = store(noise ? mean + deviation * noise[r * width + c] : mean);                   \
                part += mean * mean + deviation * deviation - 1.0f - logvar;                                        \
            }                                                                                                       \
            sum += (double)part;                                                                                    \
        }                                                                                                           \
        return 0.5 * sum;                                                                                           \
    }                                                                                                               \
    TF_KERNEL void tf_gaussian_backward_##suffix(const type *restrict moments, const float *restrict noise,         \
                                                 const type *restrict dz, float scale, type *restrict dmoments,     \
                                                 size_t rows, size_t width) {                                       \
        for (size_t r = 0; r < rows; r++) {                                                                         \
            const type *restrict row = moments + 2 * r * width;                                                     \
            type *restrict out = dmoments + 2 * r * width;                                                          \
            for (size_t c = 0; c < width; c++) {                                                                    \
                const float mean = load(row[c]), given = load(row[width + c]), logvar = held(given);                \
                const float deviation = tf_exp(0.5f * logvar), d = load(dz[r * width + c]);                         \
                const float n = noise ? noise[r * width + c] : 0.0f;                                                \
                out[c] = store(d + scale * mean);                                                                   \
                const float slope = 0.5f * (d * deviation * n + scale * (deviation * deviation - 1.0f));            \
                out[width + c] = store(given < -30.0f || given > 20.0f ? 0.0f : slope);                             \
            }                                                                                                       \
        }                                                                                                           \
    }                                                                                                               \
    TF_KERNEL double tf_absolute_error_##suffix(const type *restrict prediction, const float *restrict target,      \
                                                float scale, type *restrict dprediction, size_t count) {            \
        double sum = 0;                                                                                             \
        for (size_t first = 0; first < count; first += BLOCK) {                                                     \
            const size_t end = count - first < BLOCK ? count : first + BLOCK;                                       \
            float part = 0;                                                                                         \
            for (size_t i = first; i < end; i++) part += __builtin_fabsf(load(prediction[i]) - target[i]);          \
            sum += (double)part;                                                                                    \
            if (!dprediction) continue;                                                                             \
            for (size_t i = first; i < end; i++) {                                                                  \
                const float d = load(prediction[i]) - target[i];                                                    \
                dprediction[i] = store(d > 0 ? scale : d < 0 ? -scale : d * scale);                                 \
            }                                                                                                       \
        }                                                                                                           \
        return sum;                                                                                                 \
    }                                                                                                               \
    TF_KERNEL void tf_channels_last_##suffix(const float *restrict x, type *restrict y, size_t channels,            \
                                             size_t pixels) {                                                       \
        for (size_t p = 0; p < pixels; p++)                                                                         \
            for (size_t c = 0; c < channels; c++) y[p * channels + c] = store(x[c * pixels + p]);                   \
    }                                                                                                               \
    TF_KERNEL void tf_channels_first_##suffix(const type *restrict x, float *restrict y, size_t channels,           \
                                              size_t pixels) {                                                      \
        for (size_t c = 0; c < channels; c++)                                                                       \
            for (size_t p = 0; p < pixels; p++) y[c * pixels + p] = load(x[p * channels + c]);                      \
    }
TF_FOR_EACH_TYPE(DEFINE)
