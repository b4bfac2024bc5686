#pragma once
#include "bf16.h"
#include <string.h>
#if defined(__x86_64__)
#include <immintrin.h>
#endif

// What level.h uses and no instruction set changes.

// Columns of a panel, the form of a product's second operand, which is read along its depth; and words of the depth after
// which some more memory is brought nearer.
enum { PANEL = 64, STRETCH = 32 };

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

/// Rows of memory that will be read soon, and how far they have been brought into the cache.
typedef struct {
    const char *next;
    size_t row_bytes, stride, rows, done;  // `done` bytes of the row at `next`
    size_t lines_of_row;                   // for each row of the result that is computed meanwhile
} soon_read;

/// Brings some lines into the second cache: memory is read while the product of what is here already goes on. Few at a
/// time, as what the product itself reads waits behind them.
TF_INLINE void bring_nearer(soon_read *soon, size_t lines) {
    for (; lines > 0 && soon->rows > 0; lines--) {
        __builtin_prefetch(soon->next + soon->done, 0, 2);
        soon->done += 64;
        if (soon->done >= soon->row_bytes) {
            soon->next += soon->stride;
            soon->rows--;
            soon->done = 0;
        }
    }
}
