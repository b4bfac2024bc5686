#pragma once
#include "include/tf_kernel.h"

// Polynomial elementary functions that vectorise without -ffast-math. NaN in gives NaN out.

/// eˣ to 2 ulp; 0 below -87.3, infinity above 88.7.
TF_INLINE float tf_exp(float x) {
    const float clamped = x < -87.33654f ? -87.33654f : (x > 88.72283f ? 88.72283f : x);
    const float n = __builtin_rintf(clamped * 1.44269504f);
    float r = __builtin_fmaf(n, -0.693145752f, clamped);
    r = __builtin_fmaf(n, -1.42860677e-6f, r);
    float p = 1.9875691500e-4f;
    p = p * r + 1.3981999507e-3f;
    p = p * r + 8.3334519073e-3f;
    p = p * r + 4.1665795894e-2f;
    p = p * r + 1.6666665459e-1f;
    p = p * r + 5.0000001201e-1f;
    p = p * r * r + r + 1.0f;
    // Two factors, so that the exponent 128 does not overflow on the way.
    const int32_t half = (int32_t)n / 2, rest = (int32_t)n - half;
    union { int32_t i; float f; } a = {(half + 127) << 23}, b = {(rest + 127) << 23};
    float y = p * a.f * b.f;
    y = x < -87.33654f ? 0.0f : y;
    y = x > 88.72283f ? __builtin_inff() : y;
    return x != x ? x : y;
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

/// 1 / (1 + e⁻ˣ).
TF_INLINE float tf_sigmoid(float x) { return 1.0f / (1.0f + tf_exp(-x)); }
