#pragma once
#include "tf_kernel.h"

// Resampling of pictures [images, height, width, channels]. Functions work on the lines `first ..< last` of all pictures of
// what they write, counted over the images.

/// Each pixel as a block of 2 x 2: y is [images, 2 · height, 2 · width, channels] and its lines are counted.
void tf_upsample_forward(const void *restrict x, void *restrict y, size_t width, size_t pixel_bytes, size_t first,
                         size_t last);
/// The sum of each block of 2 x 2; the lines of dx are counted, which has `width` pixels a line.
void tf_upsample_backward_f32(const float *restrict dy, float *restrict dx, size_t width, size_t channels, size_t first,
                              size_t last);
void tf_upsample_backward_bf16(const uint16_t *restrict dy, uint16_t *restrict dx, size_t width, size_t channels,
                               size_t first, size_t last);

/// Windows of size x size pixels, `stride` apart, `padding` on each side. Output pixels are out_height x out_width.
typedef struct {
    size_t height, width, out_height, out_width, channels, size, stride, padding;
} tf_pooling;

/// The mean of the pixels of each window that lie in the picture, or of size² with `counts_padding`.
void tf_average_pool_forward_f32(const float *restrict x, float *restrict y, const tf_pooling *p, int counts_padding,
                                 size_t first, size_t last);
void tf_average_pool_forward_bf16(const uint16_t *restrict x, uint16_t *restrict y, const tf_pooling *p,
                                  int counts_padding, size_t first, size_t last);
/// The lines of dx are counted.
void tf_average_pool_backward_f32(const float *restrict dy, float *restrict dx, const tf_pooling *p, int counts_padding,
                                  size_t first, size_t last);
void tf_average_pool_backward_bf16(const uint16_t *restrict dy, uint16_t *restrict dx, const tf_pooling *p,
                                   int counts_padding, size_t first, size_t last);

/// The largest pixel of each window, channel by channel; `places` gets its number in the picture, the first of equals. A NaN
/// wins. Every window must reach into the picture.
void tf_max_pool_forward_f32(const float *restrict x, float *restrict y, int32_t *restrict places, const tf_pooling *p,
                             size_t first, size_t last);
void tf_max_pool_forward_bf16(const uint16_t *restrict x, uint16_t *restrict y, int32_t *restrict places,
                              const tf_pooling *p, size_t first, size_t last);
/// The lines of dx are counted.
void tf_max_pool_backward_f32(const float *restrict dy, const int32_t *restrict places, float *restrict dx,
                              const tf_pooling *p, size_t first, size_t last);
void tf_max_pool_backward_bf16(const uint16_t *restrict dy, const int32_t *restrict places, uint16_t *restrict dx,
                               const tf_pooling *p, size_t first, size_t last);
