#include "include/gemm.h"
#include "few_rows.h"
#include "level_common.h"

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

#define FEW_ROWS(suffix, TYPE, LOAD, STORE)                                                                            \
    TF_FEW_ROWS_SUMS(few_rows_##suffix, TYPE, TYPE, LOAD, LOAD)                                                        \
    TF_KERNEL void tf_few_rows_##suffix(const TYPE *x, size_t x_stride, size_t x_rows, const TYPE *w, size_t w_stride, \
                                        size_t w_rows, size_t width, float *y, size_t y_stride, int accumulate) {      \
        for (size_t j = 0; j < w_rows; j += 2) {                                                                       \
            const size_t count = w_rows - j < 2 ? 1 : 2;                                                               \
            const TYPE *w0 = w + j * w_stride, *w1 = count == 2 ? w0 + w_stride : w0;                                  \
            float sums[TF_FEW_ROWS][2];                                                                                \
            few_rows_##suffix(x_rows, x, x_stride, w0, w1, width, sums);                                               \
            for (size_t i = 0; i < x_rows; i++)                                                                        \
                for (size_t k = 0; k < count; k++)                                                                     \
                    y[i * y_stride + j + k] = sums[i][k] + (accumulate ? y[i * y_stride + j + k] : 0);                 \
        }                                                                                                              \
    }
TF_FOR_EACH_TYPE(FEW_ROWS)

// Rows whose results of one panel stay in the cache; words of depth of a panel that does; and rows of a transposed first
// operand that lie together, a multiple of the rows of a block of results.
enum { ROW_BLOCK = 1024, DEPTH_BLOCK = 512, ROW_PANEL = 48 };

_Static_assert((int)PANEL == (int)TF_GEMM_PANEL, "a packed matrix consists of panels");

typedef struct {
    void *a, *b;
    float *c;
} gemm_memory;

/// Whether the words of the first operand's rows can be read where they lie.
static int reads_rows_in_place(const tf_gemm_problem *g) {
    return !g->is_bf16 || (g->depth % 2 == 0 && g->a_stride % 2 == 0 && (uintptr_t)g->a % 4 == 0);
}

static gemm_memory gemm_layout(const tf_gemm_problem *g, arena *a) {
    const size_t words = g->is_bf16 ? (g->depth + 1) / 2 : g->depth, rows = at_most(round_up(g->rows, 16), ROW_BLOCK);
    const int packs_a = g->a_transposed || !reads_rows_in_place(g);
    return (gemm_memory){
        .a = take(a, packs_a ? rows * words * 4 : 0),
        .b = take(a, at_most(words, DEPTH_BLOCK) * PANEL * 4),
        .c = take(a, rows * PANEL * 4),
    };
}

static void write_panel(const tf_gemm_problem *g, const float *from, size_t row, size_t rows, size_t column, size_t count) {
    if (g->writes_bf16) {
        tf_narrow_rows(from, PANEL, (uint16_t *)g->c + row * g->c_stride + column, g->c_stride, rows, count);
        return;
    }
    float *to = (float *)g->c + row * g->c_stride + column;
    for (size_t r = 0; r < rows; r++)
        for (size_t c = 0; c < count; c++)
            to[r * g->c_stride + c] = from[r * PANEL + c] + (g->accumulate ? to[r * g->c_stride + c] : 0);
}

size_t tf_gemm_scratch(const tf_gemm_problem *problem) {
    arena a = {NULL, 0};
    gemm_layout(problem, &a);
    return a.used;
}

#if defined(__x86_64__) && !defined(TF_NO_CLONES)
#define LEVEL "gemm_level.h"
#include "avx512_levels.h"

#pragma clang attribute push(__attribute__((target("arch=x86-64-v4,avx512bf16"))), apply_to = function)
/// `x[i] · w` for `rows` rows of x. One row of w at a time, so that memory is read straight ahead.
TF_INLINE void few_rows_pairs(const int rows, const uint16_t *x, size_t x_stride, const uint16_t *w, size_t width,
                              float sums[TF_FEW_ROWS]) {
    enum { VECTORS = 4 };
    __m512 parts[TF_FEW_ROWS][VECTORS] = {};
    size_t c = 0;
    for (; c + 32 * VECTORS <= width; c += 32 * VECTORS)
#pragma clang loop unroll(full)
        for (int v = 0; v < VECTORS; v++) {
            const __m512bh column = (__m512bh)_mm512_loadu_si512(w + c + 32 * v);
#pragma clang loop unroll(full)
            for (int i = 0; i < rows; i++) {
                const __m512bh row = (__m512bh)_mm512_loadu_si512(x + i * x_stride + c + 32 * v);
                parts[i][v] = _mm512_dpbf16_ps(parts[i][v], row, column);
            }
        }
    for (; c < width; c += 32) {
        const __mmask32 mask = width - c < 32 ? (1u << (width - c)) - 1 : ~0u;
        const __m512bh column = (__m512bh)_mm512_maskz_loadu_epi16(mask, w + c);
#pragma clang loop unroll(full)
        for (int i = 0; i < rows; i++) {
            const __m512bh row = (__m512bh)_mm512_maskz_loadu_epi16(mask, x + i * x_stride + c);
            parts[i][0] = _mm512_dpbf16_ps(parts[i][0], row, column);
        }
    }
#pragma clang loop unroll(full)
    for (int i = 0; i < rows; i++)
        sums[i] = _mm512_reduce_add_ps((parts[i][0] + parts[i][1]) + (parts[i][2] + parts[i][3]));
}

void tf_few_rows_pairs(const uint16_t *x, size_t x_stride, size_t x_rows, const uint16_t *w, size_t w_stride, size_t w_rows,
                       size_t width, float *y, size_t y_stride, int accumulate) {
    for (size_t j = 0; j < w_rows; j++, w += w_stride) {
        float sums[TF_FEW_ROWS];
        switch (x_rows) {
        case 1: few_rows_pairs(1, x, x_stride, w, width, sums); break;
        case 2: few_rows_pairs(2, x, x_stride, w, width, sums); break;
        case 3: few_rows_pairs(3, x, x_stride, w, width, sums); break;
        default: few_rows_pairs(4, x, x_stride, w, width, sums); break;
        }
        for (size_t i = 0; i < x_rows; i++) y[i * y_stride + j] = sums[i] + (accumulate ? y[i * y_stride + j] : 0);
    }
}
#pragma clang attribute pop

int tf_gemm_is_available(int is_bf16) {
    __builtin_cpu_init();
    return __builtin_cpu_supports("x86-64-v4") && (!is_bf16 || __builtin_cpu_supports("avx512bf16"));
}

void tf_gemm(const tf_gemm_problem *problem, void *scratch) {
    arena a = {scratch, 0};
    const gemm_memory memory = gemm_layout(problem, &a);
    if (problem->is_bf16)
        gemm_avx512_bf16(problem, &memory);
    else
        gemm_avx512(problem, &memory);
}

void tf_gemm_pack(const uint16_t *from, size_t stride, size_t rows, size_t depth, uint16_t *to) {
    pack_across_avx512_bf16(from, stride, 1, 0, rows, 0, rows, depth, (uint32_t *)to);
}
#else
int tf_gemm_is_available(int is_bf16) { return 0; }
void tf_few_rows_pairs(const uint16_t *x, size_t x_stride, size_t x_rows, const uint16_t *w, size_t w_stride, size_t w_rows,
                       size_t width, float *y, size_t y_stride, int accumulate) {
    __builtin_trap();
}
void tf_gemm(const tf_gemm_problem *problem, void *scratch) { __builtin_trap(); }
void tf_gemm_pack(const uint16_t *from, size_t stride, size_t rows, size_t depth, uint16_t *to) { __builtin_trap(); }
#endif

const char *tf_instruction_set(void) {
#if defined(__x86_64__) && !defined(TF_NO_CLONES)
    __builtin_cpu_init();
    if (__builtin_cpu_supports("x86-64-v4")) return "x86-64-v4";
    if (__builtin_cpu_supports("x86-64-v3")) return "x86-64-v3";
#endif
    return "baseline";
}
