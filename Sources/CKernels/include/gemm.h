#pragma once
#include "tf_kernel.h"

/// `to[r, c] = from[r, c]` for bf16 rows of `columns` elements; strides in elements. Exact.
void tf_widen_rows(const uint16_t *from, size_t from_stride, float *to, size_t to_stride, size_t rows, size_t columns);

/// `to[r, c] = from[r, c]` rounded to bf16, ties to even; NaN stays NaN.
void tf_narrow_rows(const float *from, size_t from_stride, uint16_t *to, size_t to_stride, size_t rows, size_t columns);

/// The level that `TF_KERNEL` functions run at on this CPU: "x86-64-v4", "x86-64-v3" or "baseline".
const char *tf_instruction_set(void);
