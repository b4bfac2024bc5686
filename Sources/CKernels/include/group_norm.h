#pragma once
#include "tf_kernel.h"

// Group normalisation of pictures [images, pixels, channels], with or without SiLU behind it, in passes over runs of pixels.
// Statistics are of each image and group of channels; all sums have a fixed order.

/// sums[c] = Σ_r x[r, c] and squares[c] = Σ_r (x[r, c] − mean of the run)².
void tf_channel_moments_f32(const float *restrict x, float *restrict sums, float *restrict squares, size_t rows,
                            size_t channels);
void tf_channel_moments_bf16(const uint16_t *restrict x, float *restrict sums, float *restrict squares, size_t rows,
                             size_t channels);

/// Puts the moments of the runs of one image together: mean[c] and inverse[c] = 1 / √(variance + epsilon) of c's group.
/// moments [runs, 2, channels]; every run has `run_rows` rows but the last one, which has `last_rows`.
void tf_group_statistics(const float *restrict moments, size_t runs, size_t run_rows, size_t last_rows, size_t channels,
                         size_t groups, float epsilon, float *restrict mean, float *restrict inverse);

/// y = (x − mean) · inverse · weight + bias, and y · sigmoid(y) of that with `silu`. Vectors are [channels].
void tf_group_norm_forward_f32(const float *restrict x, const float *restrict mean, const float *restrict inverse,
                               const float *restrict weight, const float *restrict bias, int silu, float *restrict y,
                               size_t rows, size_t channels);
void tf_group_norm_forward_bf16(const uint16_t *restrict x, const float *restrict mean, const float *restrict inverse,
                                const float *restrict weight, const float *restrict bias, int silu,
                                uint16_t *restrict y, size_t rows, size_t channels);

/// With g the gradient before SiLU and n = (x − mean) · inverse: sums[c] = Σ_r g[r, c] and products[c] = Σ_r g[r, c] · n[r, c].
void tf_group_norm_sums_f32(const float *restrict dy, const float *restrict x, const float *restrict mean,
                            const float *restrict inverse, const float *restrict weight, const float *restrict bias,
                            int silu, float *restrict sums, float *restrict products, size_t rows, size_t channels);
void tf_group_norm_sums_bf16(const uint16_t *restrict dy, const uint16_t *restrict x, const float *restrict mean,
                             const float *restrict inverse, const float *restrict weight, const float *restrict bias,
                             int silu, float *restrict sums, float *restrict products, size_t rows, size_t channels);

/// Puts the sums of the runs of one image together: dbias[c] += Σ sums, dweight[c] += Σ products (unless null), and
/// shift[c], slope[c] = the mean over c's group of weight · g and of weight · g · n. sums [runs, 2, channels].
void tf_group_norm_slopes(const float *restrict sums, size_t runs, size_t rows, size_t channels, size_t groups,
                          const float *restrict weight, float *dweight, float *dbias, float *restrict shift,
                          float *restrict slope);

/// dx = inverse · (weight · g − shift − n · slope), added to dx when `accumulate`.
void tf_group_norm_backward_f32(const float *restrict dy, const float *restrict x, const float *restrict mean,
                                const float *restrict inverse, const float *restrict weight,
                                const float *restrict bias, int silu, const float *restrict shift,
                                const float *restrict slope, int accumulate, float *restrict dx, size_t rows,
                                size_t channels);
void tf_group_norm_backward_bf16(const uint16_t *restrict dy, const uint16_t *restrict x, const float *restrict mean,
                                 const float *restrict inverse, const float *restrict weight,
                                 const float *restrict bias, int silu, const float *restrict shift,
                                 const float *restrict slope, int accumulate, uint16_t *restrict dx, size_t rows,
                                 size_t channels);
