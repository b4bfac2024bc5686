#include "include/activation.h"
#include "bf16.h"
#include "math.h"

// A sigmoid is one long chain of operations. The processor sees too little of what follows to begin the next ones by itself.
#define TF_FOUR_CHAINS _Pragma("clang loop interleave_count(4)")

#define DEFINE(suffix, type, load, store)                                                                           \
    TF_KERNEL void tf_swiglu_forward_##suffix(const type *restrict gate_up, type *restrict y, size_t rows,          \
                                              size_t width) {                                                       \
        for (size_t r = 0; r < rows; r++) {                                                                         \
            const type *restrict gate = gate_up + 2 * r * width, *restrict up = gate + width;                       \
            type *restrict out = y + r * width;                                                                     \
            TF_FOUR_CHAINS for (size_t c = 0; c < width; c++) {                                                     \
                const float g = load(gate[c]);                                                                      \
                out[c] = store(g * tf_sigmoid(g) * load(up[c]));                                                    \
            }                                                                                                       \
        }                                                                                                           \
    }                                                                                                               \
    TF_KERNEL void tf_swiglu_backward_##suffix(const type *dy, const type *gate_up, type *dgate_up, size_t rows,    \
                                               size_t width) {                                                      \
        for (size_t r = 0; r < rows; r++) {                                                                         \
            const type *g_row = gate_up + 2 * r * width, *dy_row = dy + r * width;                                  \
            type *dg_row = dgate_up + 2 * r * width;                                                                \
            _Pragma("clang loop vectorize(assume_safety)") TF_FOUR_CHAINS for (size_t c = 0; c < width; c++) {      \
                const float g = load(g_row[c]), u = load(g_row[c + width]), d = load(dy_row[c]);                    \
                const float s = tf_sigmoid(g), silu = g * s;                                                        \
                dg_row[c] = store(d * u * (s + silu * (1.0f - s)));                                                 \
                dg_row[c + width] = store(d * silu);                                                                \
            }                                                                                                       \
        }                                                                                                           \
    }                                                                                                               \
    TF_KERNEL void tf_silu_forward_##suffix(const type *restrict x, type *restrict y, size_t count) {               \
        for (size_t i = 0; i < count; i++) {                                                                        \
            const float v = load(x[i]);                                                                             \
            y[i] = store(v * tf_sigmoid(v));                                                                        \
        }                                                                                                           \
    }                                                                                                               \
    TF_KERNEL void tf_silu_backward_##suffix(const type *restrict dy, const type *restrict x, type *restrict dx,    \
                                             size_t count) {                                                        \
        for (size_t i = 0; i < count; i++) {                                                                        \
            const float v = load(x[i]), s = tf_sigmoid(v);                                                          \
            dx[i] = store(load(dy[i]) * (s + v * s * (1.0f - s)));                                                  \
        }                                                                                                           \
    }                                                                                                               \
    TF_KERNEL void tf_leaky_relu_forward_##suffix(const type *restrict x, float slope, type *restrict y,            \
                                                  size_t count) {                                                   \
        for (size_t i = 0; i < count; i++) {                                                                        \
            const float v = load(x[i]);                                                                             \
            y[i] = store(v > 0 ? v : v * slope);                                                                    \
        }                                                                                                           \
    }                                                                                                               \
    TF_KERNEL void tf_leaky_relu_backward_##suffix(const type *restrict dy, const type *restrict x, float slope,    \
                                                   type *restrict dx, size_t count) {                               \
        for (size_t i = 0; i < count; i++) dx[i] = store(load(x[i]) > 0 ? load(dy[i]) : load(dy[i]) * slope);       \
    }                                                                                                               \
    TF_KERNEL void tf_rotary_##suffix(type *x, size_t row_stride, const int32_t *positions, const float *cosine,    \
                                      const float *sine, size_t rows, size_t heads, size_t head_width,              \
                                      float direction) {                                                            \
        const size_t half = head_width / 2;                                                                         \
        for (size_t r = 0; r < rows; r++) {                                                                         \
            const float *restrict c = cosine + (size_t)positions[r] * half;                                         \
            const float *restrict s = sine + (size_t)positions[r] * half;                                           \
            for (size_t h = 0; h < heads; h++) {                                                                    \
                type *restrict low = x + r * row_stride + h * head_width;                                           \
                type *restrict high = low + half;                                                                   \
                for (size_t i = 0; i < half; i++) {                                                                 \
                    const float a = load(low[i]), b = load(high[i]), turn = s[i] * direction;                       \
                    low[i] = store(a * c[i] - b * turn);                                                            \
                    high[i] = store(b * c[i] + a * turn);                                                           \
                }                                                                                                   \
            }                                                                                                       \
        }                                                                                                           \
    }
TF_FOR_EACH_TYPE(DEFINE)
