#pragma once
#include "tf_kernel.h"

// Sums and maxima over several arrays of one length.
//
// A sum is one fixed binary tree over `inputs`: neighbours at distance 1, then 2, then 4 ... ((0+1)+(2+3))+... ; what is
// left over joins at the end, smallest part first. The bits therefore depend on nothing but the values and their order.
// `out` may be one of the inputs, at the same address; other overlaps are not allowed. `inputs_count` is 1...65536.

void tf_tree_sum_f32(float *out, const float *const *inputs, size_t inputs_count, size_t count);
void tf_tree_sum_f64(double *out, const double *const *inputs, size_t inputs_count, size_t count);
/// A NaN in any input gives NaN.
void tf_max_f32(float *out, const float *const *inputs, size_t inputs_count, size_t count);

/// The sum, modulo 2⁶⁴, of `count` words, read as fast as memory gives them.
uint64_t tf_sum_words(const uint64_t *words, size_t count);
