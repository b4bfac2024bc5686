#include "include/group_norm.h"
#include "bf16.h"
#include "math.h"

void tf_group_statistics(const float *restrict moments, size_t runs, size_t run_rows, size_t last_rows, size_t channels,
                         size_t groups, float epsilon, float *restrict mean, float *restrict inverse) {
    const size_t width = channels / groups;
    const double count = (double)((runs - 1) * run_rows + last_rows) * (double)width;
    for (size_t first = 0; first < channels; first += width) {
        double sum = 0;
        for (size_t run = 0; run < runs; run++)
            for (size_t c = first; c < first + width; c++) sum += (double)moments[run * 2 * channels + c];
        const double middle = sum / count;
        // Each run has squares about its own mean (Chan, Golub and LeVeque 1979).
        double squares = 0;
        for (size_t run = 0; run < runs; run++) {
            const double rows = (double)(run + 1 < runs ? run_rows : last_rows);
            const float *sums = moments + run * 2 * channels;
            for (size_t c = first; c < first + width; c++) {
                const double away = (double)sums[c] / rows - middle;
                squares += (double)sums[channels + c] + rows * away * away;
            }
        }
        const float scale = (float)(1.0 / __builtin_sqrt(squares / count + (double)epsilon));
        for (size_t c = first; c < first + width; c++) {
            mean[c] = (float)middle;
            inverse[c] = scale;
        }
    }
}

void tf_group_norm_slopes(const float *restrict sums, size_t runs, size_t rows, size_t channels, size_t groups,
                          const float *restrict weight, float *dweight, float *dbias, float *restrict shift,
                          float *restrict slope) {
    const size_t width = channels / groups;
    const double count = (double)rows * (double)width;
    for (size_t first = 0; first < channels; first += width) {
        double group_sum = 0, group_product = 0;
        for (size_t c = first; c < first + width; c++) {
            double sum = 0, product = 0;
            for (size_t run = 0; run < runs; run++) {
                sum += (double)sums[run * 2 * channels + c];
                product += (double)sums[(run * 2 + 1) * channels + c];
            }
            if (dbias) dbias[c] += (float)sum;
            if (dweight) dweight[c] += (float)product;
            group_sum += (double)weight[c] * sum;
            group_product += (double)weight[c] * product;
        }
        for (size_t c = first; c < first + width; c++) {
            shift[c] = (float)(group_sum / count);
            slope[c] = (float)(group_product / count);
        }
    }
}

/// The gradient before SiLU, whose argument is v.
TF_INLINE float before_silu(float dy, float v) {
    const float s = tf_sigmoid(v);
    return dy * (s + v * s * (1.0f - s));
}

#define DEFINE(suffix, type, load, store)                                                                           \
    TF_KERNEL void tf_channel_moments_##suffix(const type *restrict x, float *restrict sums,                        \
                                               float *restrict squares, size_t rows, size_t channels) {             \
        for (size_t c = 0; c < channels; c++) sums[c] = squares[c] = 0;                                             \
        for (size_t r = 0; r < rows; r++)                                                                           \
            for (size_t c = 0; c < channels; c++) sums[c] += load(x[r * channels + c]);                             \
        const float scale = 1.0f / (float)rows;                                                                     \
        for (size_t r = 0; r < rows; r++)                                                                           \
            for (size_t c = 0; c < channels; c++) {                                                                 \
                const float away = load(x[r * channels + c]) - sums[c] * scale;                                     \
                squares[c] += away * away;                                                                          \
            }                                                                                                       \
    }                                                                                                               \
    TF_KERNEL void tf_group_norm_forward_##suffix(const type *restrict x, const float *restrict mean,               \
                                                  const float *restrict inverse, const float *restrict weight,      \
                                                  const float *restrict bias, int silu, type *restrict y,           \
                                                  size_t rows, size_t channels) {                                   \
        for (size_t r = 0; r < rows; r++, x += channels, y += channels) {                                           \
            if (silu) {                                                                                             \
                for (size_t c = 0; c < channels; c++) {                                                             \
                    const float v = (load(x[c]) - mean[c]) * inverse[c] * weight[c] + bias[c];                      \
                    y[c] = store(v * tf_sigmoid(v));                                                                \
                }                                                                                                   \
            } else {                                                                                                \
                for (size_t c = 0; c < channels; c++)                                                               \
                    y[c] = store((load(x[c]) - mean[c]) * inverse[c] * weight[c] + bias[c]);                        \
            }                                                                                                       \
        }                                                                                                           \
    }                                                                                                               \
    TF_KERNEL void tf_group_norm_sums_##suffix(                                                                     \
        const type *restrict dy, const type *restrict x, const float *restrict mean, const float *restrict inverse, \
        const float *restrict weight, const float *restrict bias, int silu, float *restrict sums,                   \
        float *restrict products, size_t rows, size_t channels) {                                                   \
        for (size_t c = 0; c < channels; c++) sums[c] = products[c] = 0;                                            \
        for (size_t r = 0; r < rows; r++, x += channels, dy += channels) {                                          \
            if (silu) {                                                                                             \
                for (size_t c = 0; c < channels; c++) {                                                             \
                    const float n = (load(x[c]) - mean[c]) * inverse[c];                                            \
                    const float g = before_silu(load(dy[c]), n * weight[c] + bias[c]);                              \
                    sums[c] += g;                                                                                   \
                    products[c] += g * n;                                                                           \
                }                                                                                                   \
            } else {                                                                                                \
                for (size_t c = 0; c < channels; c++) {                                                             \
                    const float n = (load(x[c]) - mean[c]) * inverse[c], g = load(dy[c]);                           \
                    sums[c] += g;                                                                                   \
                    products[c] += g * n;                                                                           \
                }                                                                                                   \
            }                                                                                                       \
        }                                                                                                           \
    }                                                                                                               \
    TF_INLINE void backward_rows_##suffix(                                                                          \
        const type *restrict dy, const type *restrict x, const float *restrict mean, const float *restrict inverse, \
        const float *restrict weight, const float *restrict bias, const int silu, const float *restrict shift,      \
        const float *restrict slope, const int accumulate, type *restrict dx, size_t rows, size_t channels) {       \
        for (size_t r = 0; r < rows; r++, x += channels, dy += channels, dx += channels)                            \
            for (size_t c = 0; c < channels; c++) {                                                                 \
                const float n = (load(x[c]) - mean[c]) * inverse[c], d = load(dy[c]);                               \
                const float g = silu ? before_silu(d, n * weight[c] + bias[c]) : d;                                 \
                const float v = inverse[c] * (weight[c] * g - shift[c] - n * slope[c]);                             \
                dx[c] = store(accumulate ? load(dx[c]) + v : v);                                                    \
            }                                                                                                       \
    }                                                                                                               \
    TF_KERNEL void tf_group_norm_backward_##suffix(                                                                 \
        const type *restrict dy, const type *restrict x, const float *restrict mean, const float *restrict inverse, \
        const float *restrict weight, const float *restrict bias, int silu, const float *restrict shift,            \
        const float *restrict slope, int accumulate, type *restrict dx, size_t rows, size_t channels) {             \
        if (silu && accumulate)                                                                                     \
            backward_rows_##suffix(dy, x, mean, inverse, weight, bias, 1, shift, slope, 1, dx, rows, channels);     \
        else if (silu)                                                                                              \
            backward_rows_##suffix(dy, x, mean, inverse, weight, bias, 1, shift, slope, 0, dx, rows, channels);     \
        else                                                                                                        \
            backward_rows_##suffix(dy, x, mean, inverse, weight, bias, 0, shift, slope, accumulate, dx, rows,       \
                                   channels);                                                                       \
    }
TF_FOR_EACH_TYPE(DEFINE)
