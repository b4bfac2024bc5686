// Dot products of up to TF_FEW_ROWS rows with the rows of a matrix.
#pragma once
#include "bf16.h"
#include "include/gemm.h"

// Defines NAME(x_rows, x, x_stride, w0, w1, width, sums), which puts the dot products of the rows of x with two rows of WEIGHT
// into sums. Two rows at a time are enough streams for the prefetcher, and each row of x is loaded half as often.
#define TF_FEW_ROWS_SUMS(NAME, TYPE, WEIGHT, LOAD, LOAD_WEIGHT)                                                        \
    TF_INLINE void NAME##_of(const int rows, const TYPE *restrict x, size_t x_stride, const WEIGHT *restrict w0,       \
                             const WEIGHT *restrict w1, size_t width, float sums[TF_FEW_ROWS][2]) {                    \
        TF_REASSOCIATE                                                                                                 \
        float s00 = 0, s01 = 0, s10 = 0, s11 = 0, s20 = 0, s21 = 0, s30 = 0, s31 = 0;                                  \
        const TYPE *restrict x0 = x, *restrict x1 = x + x_stride, *restrict x2 = x1 + x_stride;                        \
        const TYPE *restrict x3 = x2 + x_stride;                                                                       \
        for (size_t c = 0; c < width; c++) {                                                                           \
            const float a = LOAD_WEIGHT(w0[c]), b = LOAD_WEIGHT(w1[c]);                                                \
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
    TF_INLINE void NAME(size_t x_rows, const TYPE *x, size_t x_stride, const WEIGHT *w0, const WEIGHT *w1, size_t width,\
                        float sums[TF_FEW_ROWS][2]) {                                                                  \
        switch (x_rows) {                                                                                              \
        case 1: NAME##_of(1, x, x_stride, w0, w1, width, sums); break;                                                 \
        case 2: NAME##_of(2, x, x_stride, w0, w1, width, sums); break;                                                 \
        case 3: NAME##_of(3, x, x_stride, w0, w1, width, sums); break;                                                 \
        default: NAME##_of(4, x, x_stride, w0, w1, width, sums); break;                                                \
        }                                                                                                              \
    }

