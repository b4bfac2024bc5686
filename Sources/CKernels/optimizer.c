#include "include/optimizer.h"

typedef union { float f; uint32_t i; } word;

// Rounds half up in the last place of bf16, so that what is left fits a signed 16-bit number.
TF_INLINE uint16_t upper_half(float master) { return (uint16_t)(((word){master}.i + 0x8000u) >> 16); }

TF_INLINE int16_t lower_half(float master, uint16_t upper) {
    return (int16_t)(uint16_t)((word){master}.i - ((uint32_t)upper << 16));
}

TF_INLINE float joined(uint16_t upper, int16_t lower) {
    return ((word){.i = ((uint32_t)upper << 16) + (uint32_t)(int32_t)lower}).f;
}

TF_INLINE float adamw(const tf_adamw_step *s, float weight, float gradient, float *moment1, float *moment2) {
    const float g = gradient * s->gradient_factor;
    const float m = s->beta1 * *moment1 + (1.0f - s->beta1) * g;
    const float v = s->beta2 * *moment2 + (1.0f - s->beta2) * g * g;
    *moment1 = m;
    *moment2 = v;
    const float decayed = weight - s->learning_rate * s->weight_decay * weight;
    const float denominator = __builtin_sqrtf(v / s->correction2) + s->epsilon;
    return decayed - s->learning_rate * (m / s->correction1) / denominator;
}

TF_KERNEL void tf_adamw_f32(const tf_adamw_step *step, float *restrict weight, float *restrict gradient,
                            float *restrict moment1, float *restrict moment2, size_t count) {
    const tf_adamw_step s = *step;
    for (size_t i = 0; i < count; i++) {
        weight[i] = adamw(&s, weight[i], gradient[i], &moment1[i], &moment2[i]);
        gradient[i] = 0;
    }
}

TF_KERNEL void tf_adamw_split(const tf_adamw_step *step, uint16_t *restrict upper, int16_t *restrict lower,
                              float *restrict gradient, float *restrict moment1, float *restrict moment2,
                              size_t count) {
    const tf_adamw_step s = *step;
    for (size_t i = 0; i < count; i++) {
        const float weight = adamw(&s, joined(upper[i], lower[i]), gradient[i], &moment1[i], &moment2[i]);
        upper[i] = upper_half(weight);
        lower[i] = lower_half(weight, upper[i]);
        gradient[i] = 0;
    }
}

TF_KERNEL void tf_split_master(const float *restrict master, uint16_t *restrict upper, int16_t *restrict lower,
                               size_t count) {
    for (size_t i = 0; i < count; i++) upper[i] = upper_half(master[i]);
    if (lower)
        for (size_t i = 0; i < count; i++) lower[i] = lower_half(master[i], upper[i]);
}

TF_KERNEL void tf_join_master(const uint16_t *restrict upper, const int16_t *restrict lower, float *restrict master,
                              size_t count) {
    if (lower)
        for (size_t i = 0; i < count; i++) master[i] = joined(upper[i], lower[i]);
    else
        for (size_t i = 0; i < count; i++) master[i] = joined(upper[i], 0);
}
