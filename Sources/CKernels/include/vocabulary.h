#pragma once
#include "tf_kernel.h"

// Cross entropy when each rank has the logits of a part of the vocabulary: the ranks reduce maxima and sums in between.
// A target is a column of this part, or negative when another rank has it. logits [rows, width] f32.

/// maxima[r] = max over c of logits[r, c], or −infinity when the part is empty.
void tf_row_maxima(const float *logits, float *maxima, size_t rows, size_t width);

/// Replaces logits by exp(logits − maxima[r]). sums[r] = Σ of that; expected[r] = logits[r, targets[r]] − maxima[r], or 0.
void tf_row_exponentials(float *logits, const int32_t *targets, const float *maxima, float *sums, float *expected,
                         size_t rows, size_t width);

/// losses[r] = log(sums[r]) − expected[r] and log_sums[r] = log(sums[r]) + maxima[r], once all are of all parts.
void tf_cross_entropy_of_sums(const float *sums, const float *expected, const float *maxima, float *losses,
                              float *log_sums, size_t rows);

/// dlogits = scale · ((1 + 2 · z_weight · log_sums[r]) · exponentials / sums[r] − one-hot). `dlogits` may start at the same address as `exponentials`.
void tf_softmax_gradient_f32(const float *exponentials, const int32_t *targets, const float *sums,
                             const float *log_sums, float scale, float z_weight, float *dlogits, size_t rows,
                             size_t width);
void tf_softmax_gradient_bf16(const float *exponentials, const int32_t *targets, const float *sums,
                              const float *log_sums, float scale, float z_weight, uint16_t *dlogits, size_t rows,
                              size_t width);
