#pragma once
#include "tf_kernel.h"

// What turns a convolution into matrix products. Pictures are [images, height, width, channels].

/// Windows of a picture: those that belong to the pixels of a grid, image after image and row after row. The window of grid
/// pixel (i, j) has `rows` x `columns` pixels and begins at row `top + step · i` and column `left + step · j` of the picture;
/// what lies outside of it is zero.
typedef struct {
    size_t height, width;            ///< of the picture
    size_t pixel_bytes;              ///< from one pixel of the picture to the next
    size_t first_byte, tap_bytes;    ///< the run of channels that is taken of each pixel
    size_t grid_height, grid_width;
    ptrdiff_t top, left;
    size_t step, rows, columns;
} tf_windows;

/// Writes the windows of the grid pixels `first ..< first + count` below each other, `rows · columns · tap_bytes` each.
void tf_gather_windows(const void *pictures, const tf_windows *windows, size_t first, size_t count, void *to);

/// Where results belong: grid pixel (i, j) is pixel `(top + step · i, left + step · j)` of a picture of height x width.
typedef struct {
    size_t height, width;
    size_t grid_height, grid_width;
    size_t top, left, step;
} tf_grid;

/// `to[pixel, c] = sums[r, c] + bias[c] + addend[pixel, c]` for the grid pixels `first ..< first + count`, rounded once. `bias`
/// and `addend` may be null; `addend` may be `to`.
void tf_store_pixels_f32(const float *sums, const float *bias, const float *addend, float *to, const tf_grid *grid,
                         size_t first, size_t count, size_t channels);
void tf_store_pixels_bf16(const float *sums, const float *bias, const uint16_t *addend, uint16_t *to, const tf_grid *grid,
                          size_t first, size_t count, size_t channels);

/// Weights [outputs, inputs, taps] as the matrix that windows are multiplied with: to[o, t, i] = weight[o, i, order[t]] for the
/// outputs `first ..< last`.
void tf_weights_by_output_f32(const float *restrict weight, size_t inputs, size_t taps, const int32_t *order,
                              size_t order_count, float *restrict to, size_t first, size_t last);
void tf_weights_by_output_bf16(const uint16_t *restrict weight, size_t inputs, size_t taps, const int32_t *order,
                               size_t order_count, uint16_t *restrict to, size_t first, size_t last);

/// The same for the way back: to[i, t, o] = weight[o, i, order[t]] for the inputs `first ..< last`.
void tf_weights_by_input_f32(const float *restrict weight, size_t outputs, size_t inputs, size_t taps,
                             const int32_t *order, size_t order_count, float *restrict to, size_t first, size_t last);
void tf_weights_by_input_bf16(const uint16_t *restrict weight, size_t outputs, size_t inputs, size_t taps,
                              const int32_t *order, size_t order_count, uint16_t *restrict to, size_t first, size_t last);

/// gradient[o, i, t] += Σ_p parts[p, o, t, i], in the order of the parts, for the outputs `first ..< last`.
void tf_add_weight_gradient(const float *restrict parts, size_t part_count, size_t outputs, size_t inputs, size_t taps,
                            float *restrict gradient, size_t first, size_t last);
