// What the products of one instruction set share. attention.c and gemm.c include this once for each, after defining
//   SUFFIX         what the names end with
//   LANES          floats in a vector
//   BLOCK_VECTORS  vectors side by side in a block of results that stays in registers
//   PAIRS          1 when operands of products are pairs of bf16, 0 when they are f32 (bf16 input is widened)
// and undefine what this defines by including level_end.h.

#define JOIN_(a, b) a##b
#define JOIN(a, b) JOIN_(a, b)
#define NAME(x) JOIN(x, SUFFIX)

#if PAIRS
#define WORD uint32_t
#else
#define WORD float
#endif
#define VECTOR NAME(vector)
#define INTEGERS NAME(integers)
typedef float VECTOR __attribute__((vector_size(4 * LANES)));
typedef int32_t INTEGERS __attribute__((vector_size(4 * LANES)));

// A word holds this many numbers of the axis along which a product sums.
enum { NAME(depth_of_word) = PAIRS ? 2 : 1 };
#define DEPTH_OF_WORD NAME(depth_of_word)

TF_INLINE VECTOR NAME(load)(const float *x) { return *(const VECTOR *)x; }
TF_INLINE void NAME(store)(float *x, VECTOR value) { *(VECTOR *)x = value; }
TF_INLINE VECTOR NAME(all)(float x) { return x - (VECTOR){}; }
TF_INLINE VECTOR NAME(choose)(INTEGERS condition, VECTOR yes, VECTOR no) {
    return (VECTOR)(((INTEGERS)yes & condition) | ((INTEGERS)no & ~condition));
}

// MARK: products

/// LANES numbers as bf16.
TF_INLINE void NAME(store_narrow)(uint16_t *to, VECTOR x) {
#if PAIRS
    const __m256bh half = _mm512_cvtneps_pbh(x);
#else
    typedef uint16_t halves __attribute__((vector_size(2 * LANES)));
    typedef uint32_t words __attribute__((vector_size(4 * LANES)));
    const words bits = (words)x, upper = bits >> 16, rounded = (bits + 0x7FFF + (upper & 1)) >> 16;
    const words stored = (words)NAME(choose)(x == x, (VECTOR)rounded, (VECTOR)(upper | 0x40));
    const halves half = __builtin_convertvector(stored, halves);
#endif
    memcpy(to, &half, sizeof half);
}

/// Where a product is written: to `c`, or, when there is a `narrow`, as bf16 to that.
typedef struct {
    float *c;
    size_t c_row;
    uint16_t *narrow;
    size_t narrow_row;
} NAME(result);

TF_INLINE NAME(result) NAME(part)(NAME(result) whole, size_t row, size_t column) {
    whole.c += row * whole.c_row + column;
    if (whole.narrow) whole.narrow += row * whole.narrow_row + column;
    return whole;
}

/// `c (+)= a · b` for `rows` by `vectors` vectors of c. a is read by words at `a_row` and `a_step`, b, aligned,
/// by rows of `b_step`. The result need not be aligned. `soon` is brought nearer meanwhile.
TF_INLINE void NAME(block)(const int rows, const int vectors, const WORD *restrict a, size_t a_row, size_t a_step,
                           const WORD *restrict b, size_t b_step, size_t depth, const NAME(result) to,
                           const int accumulate, soon_read *soon) {
    VECTOR sum[6][4];
#pragma clang loop unroll(full)
    for (int r = 0; r < rows; r++)
#pragma clang loop unroll(full)
        for (int v = 0; v < vectors; v++) {
            sum[r][v] = (VECTOR){};
            if (v * LANES % 16 != 0) continue;
            if (to.narrow)
                __builtin_prefetch(to.narrow + r * to.narrow_row + v * LANES, 1);
            else
                __builtin_prefetch(to.c + r * to.c_row + v * LANES, 1);
        }
    const size_t lines = soon->rows > 0 ? ((size_t)rows * soon->lines_of_row * STRETCH + depth - 1) / depth : 0;
#pragma clang loop unroll(disable)
    for (size_t first = 0; first < depth; first += STRETCH) {
        bring_nearer(soon, lines);
        const size_t end = at_most(depth, first + STRETCH);
#pragma clang loop unroll(disable)
        for (size_t p = first; p < end; p++) {
            VECTOR column[4];
#pragma clang loop unroll(full)
            for (int v = 0; v < vectors; v++) column[v] = NAME(load)((const float *)(b + p * b_step) + v * LANES);
#pragma clang loop unroll(full)
            for (int r = 0; r < rows; r++) {
                const WORD word = a[r * a_row + p * a_step];
#pragma clang loop unroll(full)
                for (int v = 0; v < vectors; v++) {
#if PAIRS
                    sum[r][v] = _mm512_dpbf16_ps(sum[r][v], (__m512bh)_mm512_set1_epi32((int)word), (__m512bh)column[v]);
#else
                    sum[r][v] += NAME(all)(word) * column[v];
#endif
                }
            }
        }
    }
#pragma clang loop unroll(full)
    for (int r = 0; r < rows; r++)
#pragma clang loop unroll(full)
        for (int v = 0; v < vectors; v++) {
            VECTOR before = {};
            float *c = to.c + r * to.c_row + v * LANES;
            if (accumulate) memcpy(&before, c, sizeof before);
            sum[r][v] += before;
            if (to.narrow)
                NAME(store_narrow)(to.narrow + r * to.narrow_row + v * LANES, sum[r][v]);
            else
                memcpy(c, &sum[r][v], sizeof before);
        }
}

TF_INLINE void NAME(strip)(const int vectors, size_t rows, size_t depth, const WORD *a, size_t a_row, size_t a_step,
                           const WORD *b, size_t b_step, const NAME(result) to, const int accumulate, soon_read *soon) {
    size_t r = 0;
#define ROWS(count)                                                                                                    \
    do {                                                                                                               \
        NAME(block)(count, vectors, a + r * a_row, a_row, a_step, b, b_step, depth, NAME(part)(to, r, 0), accumulate,  \
                    soon);                                                                                             \
        r += count;                                                                                                    \
    } while (0)
    while (r + 6 <= rows) ROWS(6);
    if (r + 4 <= rows) ROWS(4);
    if (r + 2 <= rows) ROWS(2);
    if (r < rows) ROWS(1);
#undef ROWS
}

// MARK: operands

#if LANES == 16
/// 16 rows of 16 words to 16 columns, PANEL words apart.
TF_INLINE void NAME(transpose)(const char *from, size_t stride, WORD *to) {
    __m512i r[16], t[16];
#pragma clang loop unroll(full)
    for (int i = 0; i < 16; i++) {
        r[i] = _mm512_loadu_si512(from + (size_t)i * stride);
        __builtin_prefetch(from + (size_t)i * stride + 256);
    }
#pragma clang loop unroll(full)
    for (int i = 0; i < 16; i += 2) {
        t[i] = _mm512_unpacklo_epi32(r[i], r[i + 1]);
        t[i + 1] = _mm512_unpackhi_epi32(r[i], r[i + 1]);
    }
    // Lane l of r[4i + j] then holds column 4l + j of the rows 4i ... 4i + 3.
#pragma clang loop unroll(full)
    for (int i = 0; i < 16; i += 4) {
        r[i] = _mm512_unpacklo_epi64(t[i], t[i + 2]);
        r[i + 1] = _mm512_unpackhi_epi64(t[i], t[i + 2]);
        r[i + 2] = _mm512_unpacklo_epi64(t[i + 1], t[i + 3]);
        r[i + 3] = _mm512_unpackhi_epi64(t[i + 1], t[i + 3]);
    }
#pragma clang loop unroll(full)
    for (int j = 0; j < 4; j++) {
        const __m512i even = _mm512_shuffle_i32x4(r[j], r[4 + j], 0x88);
        const __m512i even2 = _mm512_shuffle_i32x4(r[8 + j], r[12 + j], 0x88);
        const __m512i odd = _mm512_shuffle_i32x4(r[j], r[4 + j], 0xDD);
        const __m512i odd2 = _mm512_shuffle_i32x4(r[8 + j], r[12 + j], 0xDD);
        _mm512_store_si512(to + j * PANEL, _mm512_shuffle_i32x4(even, even2, 0x88));
        _mm512_store_si512(to + (4 + j) * PANEL, _mm512_shuffle_i32x4(odd, odd2, 0x88));
        _mm512_store_si512(to + (8 + j) * PANEL, _mm512_shuffle_i32x4(even, even2, 0xDD));
        _mm512_store_si512(to + (12 + j) * PANEL, _mm512_shuffle_i32x4(odd, odd2, 0xDD));
    }
}
#endif

/// Rows `from ..< end` of a matrix as columns of panels, 64 rows each, whose depth is the matrix's width. The panels start at
/// row `base` and go on to `base + rows`; rows outside the range are zero, and so is what pairs with the last of an odd width.
static void NAME(pack_across)(const void *x, size_t stride, int is_bf16, size_t base, size_t rows, size_t from,
                              size_t end, size_t width, WORD *to) {
    const size_t words = (width + DEPTH_OF_WORD - 1) / DEPTH_OF_WORD;
    for (size_t panel = 0; panel < rows; panel += PANEL, to += PANEL * words) {
        for (size_t group = 0; group < PANEL; group += 16) {
            size_t done = 0;
#if LANES == 16
            const size_t row = base + panel + group, size = is_bf16 ? 2 : 4;
            if (row >= from && row + 16 <= end && size * DEPTH_OF_WORD == 4)
                for (; (done + 16) * DEPTH_OF_WORD <= width; done += 16)
                    NAME(transpose)((const char *)x + row * stride * size + done * 4, stride * size, to + done * PANEL + group);
#endif
            for (size_t n = group; n < group + 16; n++) {
                const size_t row = base + panel + n;
                if (row < from || row >= end) {
                    for (size_t p = done; p < words; p++) to[p * PANEL + n] = 0;
                    continue;
                }
#if PAIRS
                const uint16_t *source = (const uint16_t *)x + row * stride;
                for (size_t p = done; p < words; p++)
                    to[p * PANEL + n] = pair_of(source[2 * p], 2 * p + 1 < width ? source[2 * p + 1] : 0);
#else
                for (size_t p = done; p < words; p++) to[p * PANEL + n] = element(x, row * stride + p, is_bf16);
#endif
            }
        }
    }
    (void)is_bf16;
}

/// Rows `from ..< end` of a matrix as the depth of panels of `panel` of its columns. The panels start at row `base` and are
/// `rows` deep; rows outside the range and columns beyond `width` are zero. The last panel may be narrower, in steps of 16.
static void NAME(pack_down)(const void *x, size_t stride, int is_bf16, size_t base, size_t rows, size_t from, size_t end,
                            size_t width, size_t panel, WORD *to) {
    const size_t columns = round_up(width, 16), words = (rows + DEPTH_OF_WORD - 1) / DEPTH_OF_WORD;
    const size_t size = is_bf16 ? 2 : 4;
    for (size_t p = 0; p < words; p++) {
        const size_t row = base + p * DEPTH_OF_WORD;
        const int has_row = row >= from && row < end;
        for (size_t first = 0; first < columns; first += panel) {
            const size_t here = at_most(panel, columns - first), used = at_most(here, width - first);
            WORD *restrict out = to + first * words + p * here;
            // The hardware follows long rows, but does not see short ones far apart.
            for (size_t ahead = 16; ahead < 16 + DEPTH_OF_WORD; ahead++)
                for (size_t c = 0; c < used * size; c += 64)
                    __builtin_prefetch((const char *)x + ((row + ahead) * stride + first) * size + c);
#if PAIRS
            const uint16_t *restrict even = (const uint16_t *)x + row * stride + first, *restrict odd = even + stride;
            const int has_odd = row + 1 >= from && row + 1 < end;
            if (has_row && has_odd)
                for (size_t c = 0; c < used; c++) out[c] = pair_of(even[c], odd[c]);
            else
                for (size_t c = 0; c < used; c++) out[c] = pair_of(has_row ? even[c] : 0, has_odd ? odd[c] : 0);
#else
            if (has_row)
                for (size_t c = 0; c < used; c++) out[c] = element(x, row * stride + first + c, is_bf16);
            else
                for (size_t c = 0; c < used; c++) out[c] = 0;
#endif
            for (size_t c = used; c < here; c++) out[c] = 0;
        }
    }
}
