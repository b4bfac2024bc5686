#include "include/rows.h"
#include "bf16.h"

#define DEFINE(suffix, type, load, store)                                                                           \
    TF_KERNEL void tf_embedding_forward_##suffix(const type *restrict table, const int32_t *restrict tokens,        \
                                                 float *restrict y, size_t rows, size_t width) {                    \
        for (size_t r = 0; r < rows; r++) {                                                                         \
            if (tokens[r] < 0) continue;                                                                            \
            const type *restrict from = table + (size_t)tokens[r] * width;                                          \
            float *restrict to = y + r * width;                                                                     \
            for (size_t c = 0; c < width; c++) to[c] = load(from[c]);                                               \
        }                                                                                                           \
    }                                                                                                               \
    TF_KERNEL void tf_add_group_rows_##suffix(const type *restrict x, const type *restrict addend,                  \
                                              type *restrict y, size_t groups, size_t group, size_t width) {        \
        for (size_t g = 0; g < groups; g++)                                                                         \
            for (size_t k = 0; k < group; k++) {                                                                    \
                const size_t row = (g * group + k) * width;                                                         \
                for (size_t c = 0; c < width; c++)                                                                  \
                    y[row + c] = store(load(x[row + c]) + load(addend[g * width + c]));                             \
            }                                                                                                       \
    }
TF_FOR_EACH_TYPE(DEFINE)

TF_KERNEL void tf_embedding_backward(const float *restrict dy, const int32_t *restrict tokens, float *restrict dtable,
                                     size_t rows, size_t width, size_t first, size_t last) {
    for (size_t r = 0; r < rows; r++) {
        if (tokens[r] < 0) continue;
        float *restrict to = dtable + (size_t)tokens[r] * width;
        const float *restrict from = dy + r * width;
        for (size_t c = first; c < last; c++) to[c] += from[c];
    }
}
