#include "include/int8.h"
#include "bf16.h"
#include "include/gemm.h"

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

// Two rows of w at a time, as in tf_few_rows_f32.
#define FEW_ROWS_INT8(suffix, TYPE, LOAD, STORE)                                                                       \
    TF_INLINE void few_rows_int8_##suffix(const int rows, const TYPE *restrict x, size_t x_stride,                      \
                                          const int8_t *restrict w0, const int8_t *restrict w1, size_t width,          \
                                          float sums[TF_FEW_ROWS][2]) {                                                \
        TF_REASSOCIATE                                                                                                 \
        float s00 = 0, s01 = 0, s10 = 0, s11 = 0, s20 = 0, s21 = 0, s30 = 0, s31 = 0;                                  \
        const TYPE *restrict x0 = x, *restrict x1 = x + x_stride, *restrict x2 = x1 + x_stride;                        \
        const TYPE *restrict x3 = x2 + x_stride;                                                                       \
        for (size_t c = 0; c < width; c++) {                                                                           \
            const float a = (float)w0[c], b = (float)w1[c];                                                            \
            s00 += LOAD(x0[c]) * a;                                                                                    \
            s01 += LOAD(x0[c]) * b;                                                                                    \
            if (rows > 1) {                                                                                            \
                s10 += LOAD(x1[c]) * a;                                                                                \
                s11 += LOAD(x1[c]) * b;                                                                                \
            }                                                                                                          \
            if (rows > 2) {                                                                                            \
                s20 += LOAD(x2[c]) * a;                                                                                \
                s21 += LOAD(x2[c]) * b;                                                                                \
            }                                                                                                          \
            if (rows > 3) {                                                                                            \
                s30 += LOAD(x3[c]) * a;                                                                                \
                s31 += LOAD(x3[c]) * b;                                                                                \
            }                                                                                                          \
        }                                                                                                              \
        const float all[TF_FEW_ROWS][2] = {{s00, s01}, {s10, s11}, {s20, s21}, {s30, s31}};                            \
        for (int i = 0; i < rows; i++)                                                                                 \
            for (int j = 0; j < 2; j++) sums[i][j] = all[i][j];                                                        \
    }                                                                                                                  \
    TF_KERNEL void tf_few_rows_int8_##suffix(const TYPE *x, size_t x_stride, size_t x_rows, const int8_t *bytes,        \
                                             const float *factors, size_t w_rows, size_t width, float *y,              \
                                             size_t y_stride) {                                                        \
        for (size_t j = 0; j < w_rows; j += 2) {                                                                       \
            const size_t count = w_rows - j < 2 ? 1 : 2;                                                               \
            const int8_t *w0 = bytes + j * width, *w1 = count == 2 ? w0 + width : w0;                                  \
            float sums[TF_FEW_ROWS][2];                                                                                \
            switch (x_rows) {                                                                                          \
            case 1: few_rows_int8_##suffix(1, x, x_stride, w0, w1, width, sums); break;                                \
            case 2: few_rows_int8_##suffix(2, x, x_stride, w0, w1, width, sums); break;                                \
            case 3: few_rows_int8_##suffix(3, x, x_stride, w0, w1, width, sums); break;                                \
            default: few_rows_int8_##suffix(4, x, x_stride, w0, w1, width, sums); break;                               \
            }                                                                                                          \
            for (size_t i = 0; i < x_rows; i++)                                                                        \
                for (size_t k = 0; k < count; k++) y[i * y_stride + j + k] = factors[j + k] * sums[i][k];              \
        }                                                                                                              \
    }
TF_FOR_EACH_TYPE(FEW_ROWS_INT8)
