#pragma once
#include "tf_kernel.h"

/// `to[r, c] = from[r, c]` for bf16 rows of `columns` elements; strides in elements. Exact.
void tf_widen_rows(const uint16_t *from, size_t from_stride, float *to, size_t to_stride, size_t rows, size_t columns);

/// `to[r, c] = from[r, c]` rounded to bf16, ties to even; NaN stays NaN.
void tf_narrow_rows(const float *from, size_t from_stride, uint16_t *to, size_t to_stride, size_t rows, size_t columns);

/// The level that `TF_KERNEL` functions run at on this CPU: "x86-64-v4", "x86-64-v3" or "baseline".
const char *tf_instruction_set(void);

/// `y[i, j] = x[i] · w[j]` for at most TF_FEW_ROWS rows of x and any number of rows of w; strides in elements. Made to read w
/// as fast as memory gives it. Sums are f32; `accumulate` adds to y, which then is f32.
enum { TF_FEW_ROWS = 4 };
void tf_few_rows_f32(const float *x, size_t x_stride, size_t x_rows, const float *w, size_t w_stride, size_t w_rows,
                     size_t width, float *y, size_t y_stride, int accumulate);
void tf_few_rows_bf16(const uint16_t *x, size_t x_stride, size_t x_rows, const uint16_t *w, size_t w_stride, size_t w_rows,
                      size_t width, float *y, size_t y_stride, int accumulate);

/// The same by bf16 units, which need no widening; only where `tf_gemm_is_available(1)`.
void tf_few_rows_pairs(const uint16_t *x, size_t x_stride, size_t x_rows, const uint16_t *w, size_t w_stride, size_t w_rows,
                       size_t width, float *y, size_t y_stride, int accumulate);

/// `c = a · b`, or `c += a · b` with `accumulate`. Strides count elements; a transposed operand is read with its rows and
/// columns exchanged. With `is_bf16`, a and b are bf16. c is f32, or bf16 with `writes_bf16`, which excludes `accumulate`.
/// With `b_packed`, b is transposed, bf16, and what `tf_gemm_pack` made of it.
typedef struct {
    const void *a, *b;
    void *c;
    size_t a_stride, b_stride, c_stride;
    size_t rows, columns, depth;
    int a_transposed, b_transposed, is_bf16, writes_bf16, accumulate, b_packed;
} tf_gemm_problem;

/// Whether `tf_gemm` can be called on this CPU (AVX-512), and with `is_bf16` (AVX-512 with bf16 units).
int tf_gemm_is_available(int is_bf16);

/// Bytes of 64-byte-aligned scratch memory that a product needs.
size_t tf_gemm_scratch(const tf_gemm_problem *problem);

/// Computes a product on the calling thread. An element of c is the same sum whatever other elements are computed with it.
void tf_gemm(const tf_gemm_problem *problem, void *scratch);

/// Rows of a matrix that lie together when it is packed.
enum { TF_GEMM_PANEL = 64 };

/// Writes the rows of a bf16 matrix in the order in which products read them as the columns of their second operand; only
/// where `tf_gemm_is_available(1)`. `rows` is a multiple of TF_GEMM_PANEL and `depth` even, so it takes as much memory.
void tf_gemm_pack(const uint16_t *from, size_t stride, size_t rows, size_t depth, uint16_t *to);
