#pragma once
#include "tf_kernel.h"

// Attention in which each query sees an interval of keys. One call is the work of one key head, and of the query heads that share
// it, on a run of queries.

/// What the kernels may use: vectors of 4, 8 or 16 floats, and with the last also products of bf16 pairs.
typedef enum {
    TF_ATTENTION_BASELINE,
    TF_ATTENTION_AVX2,
    TF_ATTENTION_AVX512,
    TF_ATTENTION_AVX512_BF16,
} tf_attention_level;

/// One key head. Rows are addressed by query and key numbers of the whole problem; strides count elements. Every pointer is to
/// row 0, column 0 of the head, and all matrices but `log_sum_exp` are bf16 or f32 as `is_bf16` says.
typedef struct {
    const void *query, *key, *value;
    size_t query_stride, key_stride, value_stride;
    /// Written by the forward pass, read by the backward pass.
    void *output;
    size_t output_stride;
    /// log Σ exp(scale · q·k) over the visible keys, natural; -infinity where there is none. Written by the forward pass.
    float *log_sum_exp;
    /// The keys visible_start[i] ..< visible_end[i] are those that query i sees.
    const int32_t *visible_start, *visible_end;
    /// The queries to work on, and a range of keys that holds all their intervals.
    size_t first_query, query_end, first_key, key_end;
    /// Columns of the head; even.
    size_t width;
    /// Query heads that share the keys and values. They lie side by side, `width` columns apart in queries, output and their
    /// gradients, and `log_sum_exp_stride` numbers in `log_sum_exp`.
    size_t query_heads, log_sum_exp_stride;
    float scale;
    int is_bf16;

    // For the backward pass alone: gradients of the queries and keys above are written, zero where nothing is seen.
    const void *output_gradient;
    size_t output_gradient_stride;
    void *query_gradient, *key_gradient, *value_gradient;
    size_t query_gradient_stride, key_gradient_stride, value_gradient_stride;
} tf_attention_head;

/// Bytes of 64-byte-aligned scratch memory that a call needs: linear in the number of queries and keys.
size_t tf_attention_forward_scratch(const tf_attention_head *head);
size_t tf_attention_backward_scratch(const tf_attention_head *head);

/// `output = softmax(scale · query · keyᵀ) · value` over the visible keys; zero where there is none.
///
/// A row's result depends on nothing but its own query and the keys that it sees, whatever rows come with it. NaN and
/// infinity in a key or value reach the rows that see it, and at most some that stand close to those.
void tf_attention_forward(const tf_attention_head *head, tf_attention_level level, void *scratch);

/// The same, row by row and without tiles: faster where a key is seen by very few queries, as in text decoding.
void tf_attention_forward_rows(const tf_attention_head *head, tf_attention_level level, void *scratch);

/// The gradients of query, key and value. Queries outside the range must not see keys inside it.
void tf_attention_backward(const tf_attention_head *head, tf_attention_level level, void *scratch);
