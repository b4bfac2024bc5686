#pragma once
#include "tf_kernel.h"

// What turns the features of an encoder into latents, and what compares pictures.

/// For each of `rows` vectors of `width` numbers, the number of the nearest code by Σ (z − code)² in f32, the first of equals.
/// codes [width, count], that is, turned. A row with a NaN gets code 0.
void tf_nearest_codes_f32(const float *restrict z, const float *restrict codes, int32_t *restrict nearest, size_t rows,
                          size_t width, size_t count);
void tf_nearest_codes_bf16(const uint16_t *restrict z, const float *restrict codes, int32_t *restrict nearest,
                           size_t rows, size_t width, size_t count);

/// The gradients of a codebook loss. With d = code[nearest[r]] − z[r]: dz = dq − z_scale · d, dcodes[nearest[r]] += code_scale · d
/// in the order of the rows (unless null). Returns Σ d². `dq` null stands for zeros, `dz` may be null.
double tf_codebook_f32(const float *z, const float *codes, const int32_t *nearest, const float *dq, float z_scale, float *dz,
                       float code_scale, float *dcodes, size_t rows, size_t width);
double tf_codebook_bf16(const uint16_t *z, const uint16_t *codes, const int32_t *nearest, const uint16_t *dq, float z_scale,
                        uint16_t *dz, float code_scale, float *dcodes, size_t rows, size_t width);

/// y = x / ‖x‖ for each row; a row that is shorter than 1e-12 is divided by that.
void tf_unit_rows_f32(const float *restrict x, float *restrict y, size_t rows, size_t width);
void tf_unit_rows_bf16(const uint16_t *restrict x, uint16_t *restrict y, size_t rows, size_t width);
/// dx from dy.
void tf_unit_rows_backward_f32(const float *restrict x, const float *restrict dy, float *restrict dx, size_t rows,
                               size_t width);
void tf_unit_rows_backward_bf16(const uint16_t *restrict x, const uint16_t *restrict dy, uint16_t *restrict dx,
                                size_t rows, size_t width);

/// z = mean + exp(logvar / 2) · noise for rows of [mean | logvar], each `width` long; logvar is held in [−30, 20]. `noise` null
/// stands for zeros. Returns the divergence from the unit normal, ½ Σ (mean² + exp(logvar) − 1 − logvar).
double tf_gaussian_forward_f32(const float *restrict moments, const float *restrict noise, float *restrict z, size_t rows,
                               size_t width);
double tf_gaussian_forward_bf16(const uint16_t *restrict moments, const float *restrict noise, uint16_t *restrict z,
                                size_t rows, size_t width);
/// The gradient of the moments from dz, and `scale` times that of the divergence.
void tf_gaussian_backward_f32(const float *restrict moments, const float *restrict noise, const float *restrict dz,
                              float scale, float *restrict dmoments, size_t rows, size_t width);
void tf_gaussian_backward_bf16(const uint16_t *restrict moments, const float *restrict noise, const uint16_t *restrict dz,
                               float scale, uint16_t *restrict dmoments, size_t rows, size_t width);

/// Returns Σ |prediction − target|; dprediction = scale · sign(prediction − target) unless null.
double tf_absolute_error_f32(const float *restrict prediction, const float *restrict target, float scale,
                             float *restrict dprediction, size_t count);
double tf_absolute_error_bf16(const uint16_t *restrict prediction, const float *restrict target, float scale,
                              uint16_t *restrict dprediction, size_t count);

/// Pictures [channels, pixels] as [pixels, channels], and back.
void tf_channels_last_f32(const float *restrict x, float *restrict y, size_t channels, size_t pixels);
void tf_channels_last_bf16(const float *restrict x, uint16_t *restrict y, size_t channels, size_t pixels);
void tf_channels_first_f32(const float *restrict x, float *restrict y, size_t channels, size_t pixels);
void tf_channels_first_bf16(const uint16_t *restrict x, float *restrict y, size_t channels, size_t pixels);
