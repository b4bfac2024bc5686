#include "include/normalization.h"
#include "bf16.h"

#define DEFINE(suffix, type, load, store)                                                                           \
    TF_KERNEL void tf_rms_norm_forward_##suffix(const float *restrict x, const float *restrict weight,              \
                                                float epsilon, type *restrict y, float *restrict inverse_rms,       \
                                                size_t rows, size_t width) {                                        \
        TF_REASSOCIATE                                                                                              \
        for (size_t r = 0; r < rows; r++) {                                                                         \
            const float *restrict row = x + r * width;                                                              \
            type *restrict out = y + r * width;                                                                     \
            float squares = 0;                                                                                      \
            for (size_t c = 0; c < width; c++) squares += row[c] * row[c];                                          \
            const float inverse = 1.0f / __builtin_sqrtf(squares / (float)width + epsilon);                         \
            inverse_rms[r] = inverse;                                                                               \
            for (size_t c = 0; c < width; c++) out[c] = store(row[c] * inverse * weight[c]);                        \
        }                                                                                                           \
    }                                                                                                               \
    TF_KERNEL void tf_rms_norm_backward_##suffix(const type *restrict dy, const float *restrict x,                  \
                                                 const float *restrict weight, const float *restrict inverse_rms,   \
                                                 float *restrict dx, int accumulate, float *restrict dweight,       \
                                                 size_t rows, size_t width) {                                       \
        TF_REASSOCIATE                                                                                              \
        for (size_t r = 0; r < rows; r++) {                                                                         \
            const type *restrict dyr = dy + r * width;                                                              \
            const float *restrict xr = x + r * width;                                                               \
            float *restrict dxr = dx + r * width;                                                                   \
            const float inverse = inverse_rms[r];                                                                   \
            float dot = 0;                                                                                          \
            for (size_t c = 0; c < width; c++) dot += load(dyr[c]) * weight[c] * xr[c];                             \
            const float shrink = dot * inverse * inverse * inverse / (float)width;                                  \
            if (accumulate) {                                                                                       \
                for (size_t c = 0; c < width; c++) {                                                                \
                    const float g = load(dyr[c]);                                                                   \
                    dweight[c] += g * xr[c] * inverse;                                                              \
                    dxr[c] += g * weight[c] * inverse - xr[c] * shrink;                                             \
                }                                                                                                   \
            } else {                                                                                                \
                for (size_t c = 0; c < width; c++) {                                                                \
                    const float g = load(dyr[c]);                                                                   \
                    dweight[c] += g * xr[c] * inverse;                                                              \
                    dxr[c] = g * weight[c] * inverse - xr[c] * shrink;                                              \
                }                                                                                                   \
            }                                                                                                       \
        }                                                                                                           \
    }
TF_FOR_EACH_TYPE(DEFINE)

#define DEFINE_HEADS(suffix, type, load, store)                                                                     \
    TF_KERNEL void tf_head_norm_forward_##suffix(                                                                   \
        const type *restrict x, size_t stride, const float *restrict weight, const float *restrict bias,            \
        float epsilon, type *restrict y, float *restrict means, float *restrict inverses, size_t rows, size_t heads, \
        size_t width) {                                                                                             \
        TF_REASSOCIATE                                                                                              \
        for (size_t i = 0; i < rows * heads; i++) {                                                                 \
            const type *restrict head = x + i / heads * stride + i % heads * width;                                 \
            type *restrict out = y + i / heads * stride + i % heads * width;                                        \
            float mean = 0;                                                                                         \
            if (bias) {                                                                                             \
                for (size_t c = 0; c < width; c++) mean += load(head[c]);                                           \
                mean /= (float)width;                                                                               \
            }                                                                                                       \
            float squares = 0;                                                                                      \
            for (size_t c = 0; c < width; c++) squares += (load(head[c]) - mean) * (load(head[c]) - mean);          \
            const float inverse = 1.0f / __builtin_sqrtf(squares / (float)width + epsilon);                         \
            means[i] = mean;                                                                                        \
            inverses[i] = inverse;                                                                                  \
            if (bias)                                                                                               \
                for (size_t c = 0; c < width; c++)                                                                  \
                    out[c] = store((load(head[c]) - mean) * inverse * weight[c] + bias[c]);                         \
            else                                                                                                    \
                for (size_t c = 0; c < width; c++) out[c] = store(load(head[c]) * inverse * weight[c]);             \
        }                                                                                                           \
    }                                                                                                               \
    TF_KERNEL void tf_head_norm_backward_##suffix(                                                                  \
        type *restrict gradient, const type *restrict x, size_t stride, const float *restrict weight,               \
        const float *restrict means, const float *restrict inverses, float *restrict dweight, float *restrict dbias, \
        size_t rows, size_t heads, size_t width) {                                                                  \
        TF_REASSOCIATE                                                                                              \
        for (size_t i = 0; i < rows * heads; i++) {                                                                 \
            const type *restrict head = x + i / heads * stride + i % heads * width;                                 \
            type *restrict g = gradient + i / heads * stride + i % heads * width;                                   \
            const float inverse = inverses[i], mean = means[i];                                                     \
            float dot = 0, sum = 0;                                                                                 \
            for (size_t c = 0; c < width; c++) {                                                                    \
                dot += load(g[c]) * weight[c] * (load(head[c]) - mean);                                             \
                sum += load(g[c]) * weight[c];                                                                      \
            }                                                                                                       \
            const float shrink = dot * inverse * inverse * inverse / (float)width;                                  \
            const float shift = dbias ? sum * inverse / (float)width : 0;                                           \
            if (dbias)                                                                                              \
                for (size_t c = 0; c < width; c++) dbias[c] += load(g[c]);                                          \
            for (size_t c = 0; c < width; c++) {                                                                    \
                const float upstream = load(g[c]), value = load(head[c]) - mean;                                    \
                dweight[c] += upstream * value * inverse;                                                           \
                g[c] = store(upstream * weight[c] * inverse - value * shrink - shift);                              \
            }                                                                                                       \
        }                                                                                                           \
    }
TF_FOR_EACH_TYPE(DEFINE_HEADS)
