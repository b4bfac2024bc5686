#pragma once
#include "bf16.h"
#include <string.h>
#if defined(__x86_64__)
#include <immintrin.h>
#endif

// What level.h uses and no instruction set changes.

// Columns of a panel: the form of a product's second operand, which is read along its depth.
enum { PANEL = 64 };

TF_INLINE size_t at_most(size_t a, size_t b) { return a < b ? a : b; }
TF_INLINE size_t round_up(size_t x, size_t unit) { return (x + unit - 1) / unit * unit; }
TF_INLINE size_t round_down(size_t x, size_t unit) { return x / unit * unit; }

TF_INLINE float element(const void *x, size_t index, int is_bf16) {
    return is_bf16 ? tf_load_bf16(((const uint16_t *)x)[index]) : ((const float *)x)[index];
}

TF_INLINE uint32_t pair_of(uint16_t low, uint16_t high) { return (uint32_t)low | (uint32_t)high << 16; }

/// Hands out parts of a scratch memory; with a null base it counts them.
typedef struct { char *base; size_t used; } arena;

TF_INLINE void *take(arena *a, size_t bytes) {
    char *part = a->base ? a->base + a->used : NULL;
    a->used += round_up(bytes, 64);
    return part;
}
