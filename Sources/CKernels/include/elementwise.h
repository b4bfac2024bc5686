#pragma once
#include "tf_kernel.h"

// Passes over whole buffers. `count` is in elements. Unless said otherwise outputs may not alias inputs.

void tf_convert_f32_to_bf16(const float *restrict x, uint16_t *restrict y, size_t count);
void tf_convert_bf16_to_f32(const uint16_t *restrict x, float *restrict y, size_t count);

/// y = a + b, with the residual stream a and y in f32.
void tf_add_f32(const float *restrict a, const float *restrict b, float *restrict y, size_t count);
void tf_add_bf16(const float *restrict a, const uint16_t *restrict b, float *restrict y, size_t count);

/// y += x.
void tf_accumulate_f32(const float *restrict x, float *restrict y, size_t count);
void tf_accumulate_bf16(const uint16_t *restrict x, uint16_t *restrict y, size_t count);

/// Adds a row vector to each of `rows` rows of `width`: y[r, c] += bias[c].
void tf_add_bias_f32(float *restrict y, const float *restrict bias, size_t rows, size_t width);
void tf_add_bias_bf16(uint16_t *restrict y, const float *restrict bias, size_t rows, size_t width);

/// sums[c] += Σ_r x[r, c].
void tf_column_sums_f32(const float *restrict x, float *restrict sums, size_t rows, size_t width);
void tf_column_sums_bf16(const uint16_t *restrict x, float *restrict sums, size_t rows, size_t width);

/// Σ x², in double over blocks of floats; the order depends on nothing but `count`.
double tf_sum_of_squares(const float *x, size_t count);
