#pragma once
#include "tf_kernel.h"

// RMSNorm over rows: y = x · inverse_rms · weight, with inverse_rms = 1 / sqrt(mean(x²) + epsilon).
// x [rows, width] f32, weight [width] f32, y [rows, width], inverse_rms [rows]. Nothing may alias.

void tf_rms_norm_forward_f32(const float *restrict x, const float *restrict weight, float epsilon, float *restrict y,
                             float *restrict inverse_rms, size_t rows, size_t width);
void tf_rms_norm_forward_bf16(const float *restrict x, const float *restrict weight, float epsilon,
                              uint16_t *restrict y, float *restrict inverse_rms, size_t rows, size_t width);

// dx [rows, width] is written, or added to when `accumulate`; dweight [width] is added to.
void tf_rms_norm_backward_f32(const float *restrict dy, const float *restrict x, const float *restrict weight,
                              const float *restrict inverse_rms, float *restrict dx, int accumulate,
                              float *restrict dweight, size_t rows, size_t width);
void tf_rms_norm_backward_bf16(const uint16_t *restrict dy, const float *restrict x, const float *restrict weight,
                               const float *restrict inverse_rms, float *restrict dx, int accumulate,
                               float *restrict dweight, size_t rows, size_t width);
