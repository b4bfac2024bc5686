#include "include/elementwise.h"
#include "bf16.h"

TF_KERNEL void tf_convert_f32_to_bf16(const float *restrict x, uint16_t *restrict y, size_t count) {
    for (size_t i = 0; i < count; i++) y[i] = tf_store_bf16(x[i]);
}

TF_KERNEL void tf_convert_bf16_to_f32(const uint16_t *restrict x, float *restrict y, size_t count) {
    for (size_t i = 0; i < count; i++) y[i] = tf_load_bf16(x[i]);
}

#define DEFINE(suffix, type, load, store)                                                                           \
    TF_KERNEL void tf_add_##suffix(const float *restrict a, const type *restrict b, float *restrict y,              \
                                   size_t count) {                                                                  \
        for (size_t i = 0; i < count; i++) y[i] = a[i] + load(b[i]);                                                \
    }                                                                                                               \
    TF_KERNEL void tf_accumulate_##suffix(const type *restrict x, type *restrict y, size_t count) {                 \
        for (size_t i = 0; i < count; i++) y[i] = store(load(y[i]) + load(x[i]));                                   \
    }                                                                                                               \
    TF_KERNEL void tf_add_bias_##suffix(type *restrict y, const float *restrict bias, size_t rows, size_t width) {  \
        for (size_t r = 0; r < rows; r++)                                                                           \
            for (size_t c = 0; c < width; c++) y[r * width + c] = store(load(y[r * width + c]) + bias[c]);          \
    }                                                                                                               \
    TF_KERNEL void tf_column_sums_##suffix(const type *restrict x, float *restrict sums, size_t rows,               \
                                           size_t width) {                                                          \
        for (size_t r = 0; r < rows; r++)                                                                           \
            for (size_t c = 0; c < width; c++) sums[c] += load(x[r * width + c]);                                   \
    }
TF_FOR_EACH_TYPE(DEFINE)

TF_KERNEL double tf_sum_of_squares(const float *x, size_t count) {
    TF_REASSOCIATE
    double total = 0;
    for (size_t start = 0; start < count; start += 4096) {
        const size_t end = start + 4096 < count ? start + 4096 : count;
        float block = 0;
        for (size_t i = start; i < end; i++) block += x[i] * x[i];
        total += block;
    }
    return total;
}
