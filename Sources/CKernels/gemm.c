#include "include/gemm.h"
#include "bf16.h"

TF_KERNEL void tf_widen_rows(const uint16_t *from, size_t from_stride, float *to, size_t to_stride, size_t rows,
                             size_t columns) {
    for (size_t r = 0; r < rows; r++) {
        const uint16_t *restrict x = from + r * from_stride;
        float *restrict y = to + r * to_stride;
        for (size_t c = 0; c < columns; c++) y[c] = tf_load_bf16(x[c]);
    }
}

TF_KERNEL void tf_narrow_rows(const float *from, size_t from_stride, uint16_t *to, size_t to_stride, size_t rows,
                              size_t columns) {
    for (size_t r = 0; r < rows; r++) {
        const float *restrict x = from + r * from_stride;
        uint16_t *restrict y = to + r * to_stride;
        for (size_t c = 0; c < columns; c++) y[c] = tf_store_bf16(x[c]);
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
