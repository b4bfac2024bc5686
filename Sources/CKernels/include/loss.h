#pragma once
#include "tf_kernel.h"

/// Cross entropy of rows of logits. log_sums[r] = log Σ exp(logits[r, ·]), losses[r] = log_sums[r] − logits[r, targets[r]].
/// When `dlogits` is not null it gets the gradient of scale · (losses[r] + z_weight · log_sums[r]²), which is
/// scale · ((1 + 2 · z_weight · log_sums[r]) · softmax − one-hot), in the type of the products that follow.
/// logits [rows, width] f32 (overwritten by exp(logits − max)), targets [rows] in 0..<width.
/// `dlogits` may start at the same address as `logits` (its rows are not longer): a row is read before it is written.
void tf_cross_entropy_f32(float *logits, const int32_t *targets, float scale, float z_weight, float *losses,
                          float *log_sums, float *dlogits, size_t rows, size_t width);
void tf_cross_entropy_bf16(float *logits, const int32_t *targets, float scale, float z_weight, float *losses,
                           float *log_sums, uint16_t *dlogits, size_t rows, size_t width);

/// Returns Σ (prediction − target)² and writes scale · 2 · (prediction − target) to dprediction when it is not null.
double tf_squared_error_f32(const float *prediction, const float *target, float scale, float *dprediction,
                            size_t count);
double tf_squared_error_bf16(const float *prediction, const float *target, float scale, uint16_t *dprediction,
                             size_t count);
