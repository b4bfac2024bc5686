#include "include/vocabulary.h"
#include "bf16.h"
#include "math.h"

TF_KERNEL void tf_row_maxima(const float *logits, float *maxima, size_t rows, size_t width) {
    TF_REASSOCIATE
    for (size_t r = 0; r < rows; r++) {
        const float *row = logits + r * width;
        // Wrong only when a logit is NaN, and then the sum of the exponentials is NaN as well.
        float maximum = -__builtin_inff();
        for (size_t c = 0; c < width; c++) maximum = row[c] > maximum ? row[c] : maximum;
        maxima[r] = maximum;
    }
}

TF_KERNEL void tf_row_exponentials(float *logits, const int32_t *targets, const float *maxima, float *sums,
                                   float *expected, size_t rows, size_t width) {
    TF_REASSOCIATE
    for (size_t r = 0; r < rows; r++) {
        float *row = logits + r * width;
        const float maximum = maxima[r];
        expected[r] = targets[r] < 0 ? 0.0f : row[targets[r]] - maximum;
        float sum = 0;
        for (size_t c = 0; c < width; c++) {
            const float e = tf_exp(row[c] - maximum);
            row[c] = e;
            sum += e;
        }
        sums[r] = sum;
    }
}

TF_KERNEL void tf_cross_entropy_of_sums(const float *sums, const float *expected, const float *maxima, float *losses,
                                        float *log_sums, size_t rows) {
    for (size_t r = 0; r < rows; r++) {
        const float log_sum = tf_log(sums[r]);
        losses[r] = log_sum - expected[r];
        log_sums[r] = log_sum + maxima[r];
    }
}

#define DEFINE(suffix, type, load, store)                                                                           \
    TF_KERNEL void tf_softmax_gradient_##suffix(const float *exponentials, const int32_t *targets,                  \
                                                const float *sums, const float *log_sums, float scale,              \
                                                float z_weight, type *dlogits, size_t rows, size_t width) {         \
        for (size_t r = 0; r < rows; r++) {                                                                         \
            const float *row = exponentials + r * width;                                                            \
            type *out = dlogits + r * width;                                                                        \
            const float factor = scale * (1.0f + 2.0f * z_weight * log_sums[r]) / sums[r];                          \
            const float right = targets[r] < 0 ? 0.0f : row[targets[r]] * factor - scale;                           \
            _Pragma("clang loop vectorize(assume_safety)") for (size_t c = 0; c < width; c++)                       \
                out[c] = store(row[c] * factor);                                                                    \
            if (targets[r] >= 0) out[targets[r]] = store(right);                                                    \
        }                                                                                                           \
    }
TF_FOR_EACH_TYPE(DEFINE)
