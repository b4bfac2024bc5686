#include "include/int8.h"
#include "few_rows.h"

#define ROWS(suffix, TYPE, LOAD, STORE)                                                                                \
    TF_KERNEL void tf_quantize_rows_##suffix(const TYPE *from, size_t stride, int8_t *bytes, float *factors,            \
                                             size_t rows, size_t columns) {                                            \
        for (size_t r = 0; r < rows; r++) {                                                                            \
            const TYPE *restrict x = from + r * stride;                                                                \
            int8_t *restrict y = bytes + r * columns;                                                                  \
            float largest = 0;                                                                                         \
            for (size_t c = 0; c < columns; c++) {                                                                     \
                const float size = __builtin_fabsf(LOAD(x[c]));                                                                  \
                largest = size > largest ? size : largest;                                                             \
            }                                                                                                          \
            factors[r] = largest / 127;                                                                                \
            const float inverse = largest > 0 ? 127 / largest : 0;                                                     \
            for (size_t c = 0; c < columns; c++) y[c] = (int8_t)__builtin_rintf(LOAD(x[c]) * inverse);                           \
        }                                                                                                              \
    }                                                                                                                  \
    TF_KERNEL void tf_dequantize_rows_##suffix(const int8_t *bytes, const float *factors, TYPE *to, size_t rows,        \
                                               size_t columns) {                                                       \
        for (size_t r = 0; r < rows; r++) {                                                                            \
            const int8_t *restrict x = bytes + r * columns;                                                            \
            TYPE *restrict y = to + r * columns;                                                                       \
            for (size_t c = 0; c < columns; c++) y[c] = STORE(factors[r] * (float)x[c]);                               \
        }                                                                                                              \
    }
TF_FOR_EACH_TYPE(ROWS)

#define BYTE(x) ((float)(x))
#define FEW_ROWS_INT8(suffix, TYPE, LOAD, STORE)                                                                       \
    TF_FEW_ROWS_SUMS(few_rows_int8_##suffix, TYPE, int8_t, LOAD, BYTE)                                                 \
    TF_KERNEL void tf_few_rows_int8_##suffix(const TYPE *x, size_t x_stride, size_t x_rows, const int8_t *bytes,       \
                                             const float *factors, size_t w_rows, size_t width, float *y,              \
                                             size_t y_stride) {                                                        \
        for (size_t j = 0; j < w_rows; j += 2) {                                                                       \
            const size_t count = w_rows - j < 2 ? 1 : 2;                                                               \
            const int8_t *w0 = bytes + j * width, *w1 = count == 2 ? w0 + width : w0;                                  \
            float sums[TF_FEW_ROWS][2];                                                                                \
            few_rows_int8_##suffix(x_rows, x, x_stride, w0, w1, width, sums);                                          \
            for (size_t i = 0; i < x_rows; i++)                                                                        \
                for (size_t k = 0; k < count; k++) y[i * y_stride + j + k] = factors[j + k] * sums[i][k];              \
        }                                                                                                              \
    }
TF_FOR_EACH_TYPE(FEW_ROWS_INT8)
