#include "include/gemm.h"

TF_KERNEL void tf_widen_rows(const uint16_t *from, size_t from_stride, float *to, size_t to_stride, size_t rows,
                             size_t columns) {
    for (size_t r = 0; r < rows; r++) {
        const uint16_t *restrict x = from + r * from_stride;
        float *restrict y = to + r * to_stride;
        for (size_t c = 0; c < columns; c++) {
            union { uint32_t i; float f; } u = {(uint32_t)x[c] << 16};
            y[c] = u.f;
        }
    }
}

TF_KERNEL void tf_narrow_rows(const float *from, size_t from_stride, uint16_t *to, size_t to_stride, size_t rows,
                              size_t columns) {
    for (size_t r = 0; r < rows; r++) {
        const float *restrict x = from + r * from_stride;
        uint16_t *restrict y = to + r * to_stride;
        for (size_t c = 0; c < columns; c++) {
            union { float f; uint32_t i; } u = {x[c]};
            const uint32_t rounded = (u.i + 0x7FFFu + ((u.i >> 16) & 1)) >> 16;
            y[c] = (uint16_t)((u.i & 0x7FFFFFFFu) > 0x7F800000u ? (u.i >> 16) | 0x40u : rounded);
        }
    }
}

const char *tf_instruction_set(void) {
#if defined(__x86_64__) && !defined(TF_NO_CLONES)
    __builtin_cpu_init();
    if (__builtin_cpu_supports("x86-64-v4")) return "x86-64-v4";
    if (__builtin_cpu_supports("x86-64-v3")) return "x86-64-v3";
#endif
    return "baseline";
}
