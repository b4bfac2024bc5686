#pragma once
#include "tf_kernel.h"

// Resampling of 8-bit pictures with weights in fixed point (22 bits after the point). New place i is made of `counts[i]` old ones from
// `firsts[i]` on, with the weights `weights[i · taps ...]`. Sums start at one half, lose their fraction and are clipped to 0 … 255.

/// Across: out[y, i, ·] from in[y, ·, ·]; `[rows, width, 3]` to `[rows, new_width, 3]`.
void tf_resample_across(const uint8_t *restrict in, uint8_t *restrict out, size_t rows, size_t width, size_t new_width,
                        const int32_t *restrict firsts, const int32_t *restrict counts,
                        const int32_t *restrict weights, size_t taps);

/// Down: out[i, ·] from in[·, ·]; rows of `width` bytes, `new_height` of them.
void tf_resample_down(const uint8_t *restrict in, uint8_t *restrict out, size_t width, size_t new_height,
                      const int32_t *restrict firsts, const int32_t *restrict counts, const int32_t *restrict weights,
                      size_t taps);

// The same for numbers instead of bytes, with exact weights: sums in double precision, rounded once, and not clipped.

/// Across: `[rows, width, 3]` to `[rows, new_width, 3]`.
void tf_resample_across_f32(const float *restrict in, float *restrict out, size_t rows, size_t width, size_t new_width,
                            const int32_t *restrict firsts, const int32_t *restrict counts,
                            const double *restrict weights, size_t taps);

/// Down: rows of `width` numbers, `new_height` of them.
void tf_resample_down_f32(const float *restrict in, float *restrict out, size_t width, size_t new_height,
                          const int32_t *restrict firsts, const int32_t *restrict counts,
                          const double *restrict weights, size_t taps);
