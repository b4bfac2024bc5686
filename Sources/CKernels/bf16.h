#pragma once
#include "include/tf_kernel.h"

// A bf16 is the upper half of a float. Rounding is to nearest, ties to even; NaN stays NaN.

TF_INLINE float tf_load_bf16(uint16_t bits) {
    union { uint32_t i; float f; } u = {(uint32_t)bits << 16};
    return u.f;
}

TF_INLINE uint16_t tf_store_bf16(float value) {
    union { float f; uint32_t i; } u = {value};
    const uint32_t rounded = (u.i + 0x7FFFu + ((u.i >> 16) & 1u)) >> 16;
    return (uint16_t)(value != value ? (u.i >> 16) | 0x40u : rounded);
}

TF_INLINE float tf_load_f32(float value) { return value; }
TF_INLINE float tf_store_f32(float value) { return value; }

// Writes a kernel once for each type of activation: DEFINE(suffix, element type, load, store).
#define TF_FOR_EACH_TYPE(DEFINE)                          \
    DEFINE(f32, float, tf_load_f32, tf_store_f32)         \
    DEFINE(bf16, uint16_t, tf_load_bf16, tf_store_bf16)

// Lets a loop's float sums be reordered, so that it vectorises; nothing else of fast-math.
#define TF_REASSOCIATE _Pragma("clang fp reassociate(on) contract(fast)")
