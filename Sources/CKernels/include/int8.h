#pragma once
#include "tf_kernel.h"

// Weights as signed bytes with a factor for each row: `w[j, c] = factors[j] · bytes[j, c]`. Strides count elements.

/// Rounds rows to bytes, ties to even, so that the largest number of each becomes 127; a row of zeros has the factor 0.
void tf_quantize_rows_f32(const float *from, size_t stride, int8_t *bytes, float *factors, size_t rows, size_t columns);
void tf_quantize_rows_bf16(const uint16_t *from, size_t stride, int8_t *bytes, float *factors, size_t rows, size_t columns);

/// What the bytes stand for.
void tf_dequantize_rows_f32(const int8_t *bytes, const float *factors, float *to, size_t rows, size_t columns);
void tf_dequantize_rows_bf16(const int8_t *bytes, const float *factors, uint16_t *to, size_t rows, size_t columns);

/// `y[i, j] = x[i] · w[j]` for at most TF_FEW_ROWS rows of x and any number of rows of w, whose bytes have no gaps. Made to read
/// them as fast as memory gives them. Sums are f32.
void tf_few_rows_int8_f32(const float *x, size_t x_stride, size_t x_rows, const int8_t *bytes, const float *factors,
                          size_t w_rows, size_t width, float *y, size_t y_stride);
void tf_few_rows_int8_bf16(const uint16_t *x, size_t x_stride, size_t x_rows, const int8_t *bytes, const float *factors,
                           size_t w_rows, size_t width, float *y, size_t y_stride);
