#pragma once
#include "tf_kernel.h"

// RMSNorm over rows: y = x · inverse_rms · weight, with inverse_rms = 1 / sqrt(mean(x²) + epsilon).
// x [rows, width] f32, weight [width] f32, y [rows, width], inverse_rms [rows]. Nothing may alias.

void tf_rms_norm_forward_f32(const float *restrict x, const float *restrict weight, float epsilon, float *restrict y,
                             float *restrict inverse_rms, size_t rows, size_t width);
void tf_rms_norm_forward_bf16(const float *restrict x, const float *restrict weight, float epsilon,
                              uint16_t *restrict y, float *restrict inverse_rms, size_t rows, size_t width);

// Norms of heads: each row has `heads` heads of `width` side by side, and rows are `stride` elements apart in x and y.
// Without a bias y = x · inverse · weight with inverse = 1 / sqrt(mean(x²) + epsilon); with one
// y = (x − mean) · inverse · weight + bias with inverse = 1 / sqrt(mean((x − mean)²) + epsilon).
// weight and bias [width], means and inverses [rows, heads]; means are 0 without a bias.
void tf_head_norm_forward_f32(const float *restrict x, size_t stride, const float *restrict weight,
                              const float *restrict bias, float epsilon, float *restrict y, float *restrict means,
                              float *restrict inverses, size_t rows, size_t heads, size_t width);
void tf_head_norm_forward_bf16(const uint16_t *restrict x, size_t stride, const float *restrict weight,
                              const float *restrict bias, float epsilon, uint16_t *restrict y, float *restrict means,
                              float *restrict inverses, size_t rows, size_t heads, size_t width);

// Turns the gradient of y into that of x, in place; dweight and dbias [width] are added to. dbias is null without a bias.
void tf_head_norm_backward_f32(float *restrict gradient, const float *restrict x, size_t stride,
                               const float *restrict weight, const float *restrict means,
                               const float *restrict inverses, float *restrict dweight, float *restrict dbias,
                               size_t rows, size_t heads, size_t width);
void tf_head_norm_backward_bf16(uint16_t *restrict gradient, const uint16_t *restrict x, size_t stride,
                               const float *restrict weight, const float *restrict means,
                               const float *restrict inverses, float *restrict dweight, float *restrict dbias,
                               size_t rows, size_t heads, size_t width);

// dx [rows, width] is written, or added to when `accumulate`; dweight [width] is added to.
void tf_rms_norm_backward_f32(const float *restrict dy, const float *restrict x, const float *restrict weight,
                              const float *restrict inverse_rms, float *restrict dx, int accumulate,
                              float *restrict dweight, size_t rows, size_t width);
void tf_rms_norm_backward_bf16(const uint16_t *restrict dy, const float *restrict x, const float *restrict weight,
                               const float *restrict inverse_rms, float *restrict dx, int accumulate,
                               float *restrict dweight, size_t rows, size_t width);
