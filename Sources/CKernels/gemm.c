#include "include/gemm.h"
#include "bf16.h"

TF_KERNEL void tf_widen_rows(const uint16_t *from, size_t from_stride, float *to, size_t to_stride, size_t rows,
                             size_t columns) {
    for (size_t r = 0; r < rows; r++) {
        const uint16_t *restrict x = from + r * from_stride;
        float *restrict y = to + r * to_stride;
        for (size_t c = 0; c < columns; c++) y[c] = tf_load_bf16(x[c]);
    }
}

TF_KERNEL void tf_narrow_rows(const float *from, size_t from_stride, uint16_t *to, size_t to_stride, size_t rows,
                              size_t columns) {
    for (size_t r = 0; r < rows; r++) {
        const float *restrict x = from + r * from_stride;
        uint16_t *restrict y = to + r * to_stride;
        for (size_t c = 0; c < columns; c++) y[c] = tf_store_bf16(x[c]);
    }
}

// Two rows of w at a time: enough streams for the prefetcher, and each row of x is loaded half as often.
#define FEW_ROWS(suffix, TYPE, LOAD, STORE)                                                                            \
    TF_INLINE void few_rows_##suffix(const int rows, const TYPE *restrict x, size_t x_stride, const TYPE *restrict w0,  \
                                     const TYPE *restrict w1, size_t width, float sums[TF_FEW_ROWS][2]) {              \
        TF_REASSOCIATE                                                                                                 \
        float s00 = 0, s01 = 0, s10 = 0, s11 = 0, s20 = 0, s21 = 0, s30 = 0, s31 = 0;                                  \
        const TYPE *restrict x0 = x, *restrict x1 = x + x_stride, *restrict x2 = x1 + x_stride;                        \
        const TYPE *restrict x3 = x2 + x_stride;                                                                       \
        for (size_t c = 0; c < width; c++) {                                                                           \
            const float a = LOAD(w0[c]), b = LOAD(w1[c]);                                                              \
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
    TF_KERNEL void tf_few_rows_##suffix(const TYPE *x, size_t x_stride, size_t x_rows, const TYPE *w, size_t w_stride,  \
                                        size_t w_rows, size_t width, float *y, size_t y_stride, int accumulate) {      \
        for (size_t j = 0; j < w_rows; j += 2) {                                                                       \
            const size_t count = w_rows - j < 2 ? 1 : 2;                                                               \
            const TYPE *w0 = w + j * w_stride, *w1 = count == 2 ? w0 + w_stride : w0;                                  \
            float sums[TF_FEW_ROWS][2];                                                                                \
            switch (x_rows) {                                                                                          \
            case 1: few_rows_##suffix(1, x, x_stride, w0, w1, width, sums); break;                                     \
            case 2: few_rows_##suffix(2, x, x_stride, w0, w1, width, sums); break;                                     \
            case 3: few_rows_##suffix(3, x, x_stride, w0, w1, width, sums); break;                                     \
            default: few_rows_##suffix(4, x, x_stride, w0, w1, width, sums); break;                                    \
            }                                                                                                          \
            for (size_t i = 0; i < x_rows; i++)                                                                        \
                for (size_t k = 0; k < count; k++)                                                                     \
                    y[i * y_stride + j + k] = sums[i][k] + (accumulate ? y[i * y_stride + j + k] : 0);                 \
        }                                                                                                              \
    }
TF_FOR_EACH_TYPE(FEW_ROWS)

const char *tf_instruction_set(void) {
#if defined(__x86_64__) && !defined(TF_NO_CLONES)
    __builtin_cpu_init();
    if (__builtin_cpu_supports("x86-64-v4")) return "x86-64-v4";
    if (__builtin_cpu_supports("x86-64-v3")) return "x86-64-v3";
#endif
    return "baseline";
}
