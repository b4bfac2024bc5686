#pragma once
#include "include/tf_kernel.h"

// Polynomial elementary functions that vectorise without -ffast-math. NaN in gives NaN out.

/// eˣ to 2 ulp; outside -87.3 ... 88.0 what it is at the end of that, 1.2e-38 or 1.7e38.
TF_INLINE float tf_exp(float x) {
    const float above = x < -87.33654f ? -87.33654f : x, clamped = above > 88.02969f ? 88.02969f : above;
    // Adding 1.5 · 2²³ rounds to an integer, which then stands in the low bits.
    union { float f; uint32_t i; } shifted = {clamped * 1.44269504f + 12582912.0f};
    const float n = shifted.f - 12582912.0f;
    float r = n * -0.693145752f + clamped;
    r = n * -1.42860677e-6f + r;
    float p = 1.9875691500e-4f;
    p = p * r + 1.3981999507e-3f;
    p = p * r + 8.3334519073e-3f;
    p = p * r + 4.1665795894e-2f;
    p = p * r + 1.6666665459e-1f;
    p = p * r + 5.0000001201e-1f;
    p = p * (r * r) + (r + 1.0f);
    union { float f; uint32_t i; } y = {p};
    y.i += shifted.i << 23;
    return y.f;
}

/// Natural logarithm of a positive normal number, to 2 ulp; infinity and NaN stay what they are.
TF_INLINE float tf_log(float x) {
    union { float f; int32_t i; } u = {x};
    int32_t exponent = (u.i - 0x3F3504F3) >> 23;
    u.i -= exponent << 23;
    const float m = u.f - 1.0f;
    const float z = m * m;
    float p = 7.0376836292e-2f;
    p = p * m - 1.1514610310e-1f;
    p = p * m + 1.1676998740e-1f;
    p = p * m - 1.2420140846e-1f;
    p = p * m + 1.4249322787e-1f;
    p = p * m - 1.6668057665e-1f;
    p = p * m + 2.0000714765e-1f;
    p = p * m - 2.4999993993e-1f;
    p = p * m + 3.3333331174e-1f;
    const float e = (float)exponent;
    float y = m * z * p + e * -2.12194440e-4f;
    y += -0.5f * z;
    return x < __builtin_inff() ? m + y + e * 0.693359375f : x;
}

/// 1 / (1 + e⁻ˣ); 0 below -88.
TF_INLINE float tf_sigmoid(float x) { return x < -88.0f ? 0.0f : 1.0f / (1.0f + tf_exp(-x)); }
