#pragma once
#include "tf_kernel.h"

/// What one AdamW step needs besides the buffers (Loshchilov and Hutter 2019; PyTorch's order of operations).
typedef struct {
    float learning_rate;
    float beta1, beta2, epsilon;
    float weight_decay;      ///< 0 for parameters that do not decay
    float correction1;       ///< 1 − beta1ᵗ
    float correction2;       ///< 1 − beta2ᵗ
    float gradient_factor;   ///< clipping: what each gradient is multiplied by
} tf_adamw_step;

/// One pass: clip, decay, update the moments and the weight, and zero the gradient for the next step.
void tf_adamw_f32(const tf_adamw_step *step, float *restrict weight, float *restrict gradient, float *restrict moment1,
                  float *restrict moment2, size_t count);
/// The same for a master weight stored in two halves: `upper` is the bf16 that the model computes with, `lower` is what
/// the rounding took away, so that (upper << 16) + lower are the bits of the f32 master weight.
void tf_adamw_split(const tf_adamw_step *step, uint16_t *restrict upper, int16_t *restrict lower,
                    float *restrict gradient, float *restrict moment1, float *restrict moment2, size_t count);

/// Splits f32 master weights into halves; `lower` may be null when only the rounded weight is wanted.
void tf_split_master(const float *restrict master, uint16_t *restrict upper, int16_t *restrict lower, size_t count);
/// Puts the halves together; `lower` may be null.
void tf_join_master(const uint16_t *restrict upper, const int16_t *restrict lower, float *restrict master,
                    size_t count);
