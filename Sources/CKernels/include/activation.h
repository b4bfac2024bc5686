#pragma once
#include "tf_kernel.h"

// SwiGLU over rows of [gate | up], each `width` long: y = silu(gate) · up. gate_up [rows, 2·width], y [rows, width].
void tf_swiglu_forward_f32(const float *restrict gate_up, float *restrict y, size_t rows, size_t width);
void tf_swiglu_forward_bf16(const uint16_t *restrict gate_up, uint16_t *restrict y, size_t rows, size_t width);
// dgate_up may be the same memory as gate_up: each element is read before it is written.
void tf_swiglu_backward_f32(const float *dy, const float *gate_up, float *dgate_up, size_t rows, size_t width);
void tf_swiglu_backward_bf16(const uint16_t *dy, const uint16_t *gate_up, uint16_t *dgate_up, size_t rows,
                             size_t width);

// y = x · sigmoid(x), element-wise; dx = dy · silu'(x).
void tf_silu_forward_f32(const float *restrict x, float *restrict y, size_t count);
void tf_silu_forward_bf16(const uint16_t *restrict x, uint16_t *restrict y, size_t count);
void tf_silu_backward_f32(const float *restrict dy, const float *restrict x, float *restrict dx, size_t count);
void tf_silu_backward_bf16(const uint16_t *restrict dy, const uint16_t *restrict x, uint16_t *restrict dx,
                           size_t count);

// y = x, or slope · x where x is negative; dx = dy · that slope.
void tf_leaky_relu_forward_f32(const float *restrict x, float slope, float *restrict y, size_t count);
void tf_leaky_relu_forward_bf16(const uint16_t *restrict x, float slope, uint16_t *restrict y, size_t count);
void tf_leaky_relu_backward_f32(const float *restrict dy, const float *restrict x, float slope, float *restrict dx,
                                size_t count);
void tf_leaky_relu_backward_bf16(const uint16_t *restrict dy, const uint16_t *restrict x, float slope,
                                 uint16_t *restrict dx, size_t count);

// Rotary embedding in place, rotate-half: within each head the element i pairs with i + head_width / 2.
// x: rows of `heads` heads, `row_stride` elements apart. cosine and sine: [positions, head_width / 2].
// `direction` is 1, or -1 for the backward pass (the transpose of a rotation).
void tf_rotary_f32(float *x, size_t row_stride, const int32_t *positions, const float *cosine, const float *sine,
                   size_t rows, size_t heads, size_t head_width, float direction);
void tf_rotary_bf16(uint16_t *x, size_t row_stride, const int32_t *positions, const float *cosine, const float *sine,
                    size_t rows, size_t heads, size_t head_width, float direction);
