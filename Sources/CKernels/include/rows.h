#pragma once
#include "tf_kernel.h"

// Moving whole rows. A negative token or index is skipped.

/// y[r, ·] = table[tokens[r], ·] as f32; rows with a negative token are left alone.
void tf_embedding_forward_f32(const float *restrict table, const int32_t *restrict tokens, float *restrict y,
                              size_t rows, size_t width);
void tf_embedding_forward_bf16(const uint16_t *restrict table, const int32_t *restrict tokens, float *restrict y,
                               size_t rows, size_t width);
/// dtable[tokens[r], c] += dy[r, c] for the columns first ..< last, in the order of the rows.
void tf_embedding_backward(const float *restrict dy, const int32_t *restrict tokens, float *restrict dtable,
                           size_t rows, size_t width, size_t first, size_t last);

/// y[g · group + k, c] = x[g · group + k, c] + addend[g, c].
void tf_add_group_rows_f32(const float *restrict x, const float *restrict addend, float *restrict y, size_t groups,
                           size_t group, size_t width);
void tf_add_group_rows_bf16(const uint16_t *restrict x, const uint16_t *restrict addend, uint16_t *restrict y,
                            size_t groups, size_t group, size_t width);
