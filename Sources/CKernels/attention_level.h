// The attention kernels for one instruction set; see level.h.
#include "level.h"

TF_INLINE float NAME(largest)(VECTOR x) {
#if LANES == 16
    return _mm512_reduce_max_ps(x);
#else
    float most = x[0];
    for (int i = 1; i < LANES; i++) most = x[i] > most ? x[i] : most;
    return most;
#endif
}

TF_INLINE float NAME(sum_of)(VECTOR x) {
#if LANES == 16
    return _mm512_reduce_add_ps(x);
#else
    float sum = 0;
    for (int i = 0; i < LANES; i++) sum += x[i];
    return sum;
#endif
}

TF_INLINE VECTOR NAME(larger)(VECTOR a, VECTOR b) {
#if LANES == 16
    return _mm512_max_ps(a, b);
#else
    return NAME(choose)(a > b, a, b);
#endif
}

/// 2ˣ for x up to 127, to 2 ulp; below -126 next to nothing. NaN stays NaN.
TF_INLINE VECTOR NAME(power_of_two)(VECTOR x) {
#if LANES == 16
    const VECTOR rest = _mm512_reduce_ps(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
    const VECTOR whole = x - rest;
#else
    x = NAME(choose)(x < NAME(all)(-126.0f), NAME(all)(-126.0f), x);
    // Adding 1.5 · 2²³ rounds to an integer, which then stands in the low bits.
    const VECTOR magic = NAME(all)(12582912.0f), shifted = x + magic;
    const VECTOR rest = x - (shifted - magic);
#endif
    // The least relative error of five powers for -½ ... ½, 7.5e-8.
    VECTOR p = NAME(all)(1.3276471904e-3f) * rest + NAME(all)(9.6755413636e-3f);
    p = p * rest + NAME(all)(5.5507132740e-2f);
    p = p * rest + NAME(all)(2.4022119723e-1f);
    p = p * rest + NAME(all)(6.9314696706e-1f);
    p = p * rest + NAME(all)(1.0f);
#if LANES == 16
    return _mm512_scalef_ps(p, whole);
#else
    return (VECTOR)((INTEGERS)p + ((INTEGERS)shifted << 23));
#endif
}

/// `c (+)= a · b` for the first `columns` of the `all` columns of b, both in steps of 16. b lies in panels of 64 columns (the
/// last may be narrower) of `panel_depth` words.
static void NAME(product)(size_t rows, size_t columns, size_t depth, const WORD *a, size_t a_row, size_t a_step,
                          const WORD *b, size_t all, size_t panel_depth, size_t first_depth, float *c, size_t c_row,
                          int accumulate) {
    soon_read nothing = {0};
#define STRIP(vectors)                                                                                                 \
    do {                                                                                                               \
        const NAME(result) to = {c + first + column, c_row, NULL, 0};                                                  \
        if (accumulate)                                                                                                \
            NAME(strip)(vectors, rows, depth, a, a_row, a_step, panel + column, step, to, 1, &nothing);                \
        else                                                                                                           \
            NAME(strip)(vectors, rows, depth, a, a_row, a_step, panel + column, step, to, 0, &nothing);                \
        column += vectors * LANES;                                                                                     \
    } while (0)
    for (size_t first = 0; first < columns; first += PANEL) {
        const size_t step = at_most(PANEL, all - first), width = at_most(PANEL, columns - first);
        const WORD *panel = b + first * panel_depth + first_depth * step;
        size_t column = 0;
        while (column + BLOCK_VECTORS * LANES <= width) STRIP(BLOCK_VECTORS);
        if (BLOCK_VECTORS > 2 && column + 2 * LANES <= width) STRIP(2);
        while (column < width) STRIP(1);
    }
#undef STRIP
}

/// Rows of a head as the first operand: [rows, width] words, zero beyond `count`.
static void NAME(pack_rows)(const void *x, size_t stride, int is_bf16, size_t first, size_t count, size_t rows,
                            size_t width, WORD *to) {
    const size_t words = width / DEPTH_OF_WORD;
    for (size_t r = 0; r < count; r++) {
#if PAIRS
        memcpy(to + r * words, (const uint16_t *)x + (first + r) * stride, width * 2);
#else
        for (size_t c = 0; c < width; c++) to[r * words + c] = element(x, (first + r) * stride + c, is_bf16);
#endif
    }
    if (count < rows) memset(to + count * words, 0, (rows - count) * words * 4);
}

/// `to[c] = factor · from[c]` in the type of the head.
TF_INLINE void NAME(write_row)(const float *from, float factor, size_t width, void *to, size_t offset, int is_bf16) {
    if (is_bf16) {
        uint16_t *half = (uint16_t *)to + offset;
        size_t c = 0;
        for (; c + LANES <= width; c += LANES) NAME(store_narrow)(half + c, NAME(load)(from + c) * NAME(all)(factor));
        for (; c < width; c++) half[c] = tf_store_bf16(from[c] * factor);
    } else {
        for (size_t c = 0; c < width; c++) ((float *)to)[offset + c] = from[c] * factor;
    }
}

static const float NAME(lane_numbers)[16] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};

/// All bits set in the lanes of the columns `column …` that lie in `low ..< high`.
TF_INLINE INTEGERS NAME(inside)(size_t column, int low, int high) {
    VECTOR number;
    memcpy(&number, NAME(lane_numbers), sizeof number);
    number += NAME(all)((float)column);
    return (number >= NAME(all)((float)low)) & (number < NAME(all)((float)high));
}

/// Finds the columns `low[i] ..< high[i]` of the tile at `first_key` that each of `count` queries sees. Returns whether any
/// is seen, and in `range` what has to be computed.
static int NAME(visible_part)(const tf_attention_head *h, size_t first_query, size_t count, size_t first_key,
                              int *restrict low, int *restrict high, tile_range *range) {
    const int32_t *restrict starts = h->visible_start + first_query, *restrict ends = h->visible_end + first_query;
    int least_query = (int)count, query_end = 0, least_key = KEY_TILE, key_end = 0;
    // No branches, so that it becomes vectors.
    for (int i = 0; i < (int)count; i++) {
        const int start = starts[i] - (int)first_key, end = ends[i] - (int)first_key;
        const int from = start < 0 ? 0 : start, to = end > KEY_TILE ? KEY_TILE : end, sees = to > from;
        low[i] = sees ? from : 0;
        high[i] = sees ? to : 0;
        const int query = sees ? i : (int)count, key = sees ? from : KEY_TILE, after = sees ? i + 1 : 0;
        least_query = query < least_query ? query : least_query;
        query_end = after > query_end ? after : query_end;
        least_key = key < least_key ? key : least_key;
        key_end = high[i] > key_end ? high[i] : key_end;
    }
    *range = (tile_range){(size_t)least_query, (size_t)query_end, (size_t)least_key, (size_t)key_end};
    return query_end > 0;
}

// MARK: forward

/// The largest score of a row that is seen.
TF_INLINE float NAME(largest_score)(const float *scores, size_t first, size_t end, int low, int high, const int masked) {
    VECTOR most = NAME(all)(-__builtin_inff());
    for (size_t c = first; c < end; c += LANES) {
        VECTOR s = NAME(load)(scores + c);
        if (masked) s = NAME(choose)(NAME(inside)(c, low, high), s, NAME(all)(-__builtin_inff()));
        most = NAME(larger)(s, most);
    }
    return NAME(largest)(most);
}

/// Turns a row of scores into weights, `2^(scale · score - maximum)`, and returns the sums of their lanes.
TF_INLINE VECTOR NAME(weigh_row)(const float *scores, WORD *weights, size_t first, size_t end, int low, int high,
                                 const int masked, float scale, float maximum) {
    VECTOR sum = {};
    for (size_t c = first; c < end; c += 2 * LANES) {
        VECTOR w[2];
        for (int i = 0; i < 2; i++) {
            const size_t column = c + (size_t)i * LANES;
            w[i] = NAME(power_of_two)(NAME(load)(scores + column) * NAME(all)(scale) - NAME(all)(maximum));
            if (masked) w[i] = NAME(choose)(NAME(inside)(column, low, high), w[i], (VECTOR){});
            sum += w[i];
        }
#if PAIRS
        const __m512bh both = _mm512_cvtne2ps_pbh(w[1], w[0]);
        memcpy(weights + c / 2, &both, sizeof both);
#else
        NAME(store)(weights + c, w[0]);
        NAME(store)(weights + c + LANES, w[1]);
#endif
    }
    return sum;
}

/// Turns the scores of a tile, in the columns `first ..< end`, into weights relative to each row's largest score so far, and
/// multiplies the sums that were made with the former largest ones accordingly. The rows' chains of steps are long, but do
/// not wait for each other, as no branch depends on a score.
static void NAME(softmax)(const tf_attention_head *h, const forward_memory *m, tile_range part, size_t first, size_t end,
                          WORD *weights) {
    const size_t columns = round_up(h->width, 16), weight_row = KEY_TILE / DEPTH_OF_WORD;
    const float scale = h->scale * log2_e;
    for (size_t i = 0; i < QUERY_TILE; i++) m->largest[i] = -__builtin_inff();
    for (size_t i = part.first_query; i < part.query_end; i++) {
        const float *scores = m->scores + i * KEY_TILE;
        const int low = m->low[i], high = m->high[i];
        if (low == high) continue;
        const int whole = low <= (int)first && high >= (int)end;
        m->largest[i] = scale * (whole ? NAME(largest_score)(scores, first, end, low, high, 0)
                                       : NAME(largest_score)(scores, first, end, low, high, 1));
    }
    for (size_t i = 0; i < QUERY_TILE; i += LANES) {
        const VECTOR before = NAME(load)(m->maximum + i), now = NAME(larger)(NAME(load)(m->largest + i), before);
        // Before the first visible key the sums are zero, whatever they are multiplied by.
        NAME(store)(m->factor + i, NAME(choose)(now == before, NAME(all)(1), NAME(power_of_two)(before - now)));
        NAME(store)(m->maximum + i, now);
    }
    for (size_t i = part.first_query; i < part.query_end; i++) {
        const float *scores = m->scores + i * KEY_TILE, factor = m->factor[i], maximum = m->maximum[i];
        WORD *row = weights + i * weight_row;
        const int low = m->low[i], high = m->high[i];
        if (low == high) {
            memset(row + first / DEPTH_OF_WORD, 0, (end - first) / DEPTH_OF_WORD * 4);
            continue;
        }
        const int whole = low <= (int)first && high >= (int)end;
        const VECTOR sum = whole ? NAME(weigh_row)(scores, row, first, end, low, high, 0, scale, maximum)
                                 : NAME(weigh_row)(scores, row, first, end, low, high, 1, scale, maximum);
        float *totals = m->totals + i * LANES, *sums = m->sums + i * columns;
        NAME(store)(totals, NAME(load)(totals) * NAME(all)(factor) + sum);
        for (size_t c = 0; c < columns; c += LANES) NAME(store)(sums + c, NAME(load)(sums + c) * NAME(all)(factor));
    }
}

/// Divides the sums of `count` queries by their weights' totals.
static void NAME(write_results)(const tf_attention_head *h, const forward_memory *m, size_t first_query, size_t count) {
    const int32_t *restrict start = h->visible_start + first_query, *restrict end = h->visible_end + first_query;
    const float *restrict maximum = m->maximum;
    float *restrict total = m->largest, *restrict factor = m->factor, *restrict log_sum_exp = h->log_sum_exp + first_query;
    for (size_t i = 0; i < count; i++) total[i] = NAME(sum_of)(NAME(load)(m->totals + i * LANES));
    for (size_t i = 0; i < count; i++) {
        const int sees = end[i] > start[i];
        factor[i] = sees ? 1.0f / total[i] : 0.0f;
        log_sum_exp[i] = sees ? maximum[i] / log2_e + tf_log(total[i]) : -__builtin_inff();
    }
    for (size_t i = 0; i < count; i++)
        NAME(write_row)(m->sums + i * round_up(h->width, 16), factor[i], h->width, h->output,
                        (first_query + i) * h->output_stride, h->is_bf16);
}

/// The results of one query head, once the keys and values are packed.
static void NAME(forward_head)(const tf_attention_head *h, const forward_memory *m) {
    const size_t width = h->width, columns = round_up(width, 16), words = width / DEPTH_OF_WORD;
    const size_t base = round_down(h->first_key, KEY_TILE), keys = round_up(h->key_end, KEY_TILE) - base;
    WORD *weights = PAIRS ? (WORD *)m->weights : (WORD *)m->scores;
    const size_t weight_row = KEY_TILE / DEPTH_OF_WORD;
    for (size_t q = h->first_query; q < h->query_end; q += QUERY_TILE) {
        const size_t count = at_most(QUERY_TILE, h->query_end - q);
        NAME(pack_rows)(h->query, h->query_stride, h->is_bf16, q, count, count, width, m->queries);
        for (size_t i = 0; i < QUERY_TILE; i++) m->maximum[i] = -__builtin_inff();
        memset(m->totals, 0, QUERY_TILE * LANES * 4);
        memset(m->sums, 0, count * columns * 4);
        size_t first_visible, visible_end;
        visible_range(h, q, q + count, &first_visible, &visible_end);
        for (size_t k = round_down(first_visible, KEY_TILE); k < visible_end; k += KEY_TILE) {
            tile_range part;
            if (!NAME(visible_part)(h, q, count, k, m->low, m->high, &part)) continue;
            const size_t first = round_down(part.first_key, PANEL), end = round_up(part.key_end, KEY_STEP);
            const size_t top = part.first_query, rows = part.query_end - top;
            const WORD *key_panels = (const WORD *)m->keys + (k - base + first) * words;
            NAME(product)(rows, end - first, words, (const WORD *)m->queries + top * words, words, 1, key_panels, KEY_TILE,
                          words, 0, m->scores + top * KEY_TILE + first, KEY_TILE, 0);
            NAME(softmax)(h, m, part, first, end, weights);
            // Only the visible depth, so that what lies in invisible values stays out.
            const size_t low_word = part.first_key / DEPTH_OF_WORD;
            const size_t high_word = (part.key_end + DEPTH_OF_WORD - 1) / DEPTH_OF_WORD;
            NAME(product)(rows, columns, high_word - low_word, weights + top * weight_row + low_word, weight_row, 1,
                          m->values, columns, keys / DEPTH_OF_WORD, (k - base) / DEPTH_OF_WORD + low_word,
                          m->sums + top * columns, columns, 1);
        }
        NAME(write_results)(h, m, q, count);
    }
}

static void NAME(forward)(const tf_attention_head *h, const forward_memory *m) {
    const size_t base = round_down(h->first_key, KEY_TILE), keys = round_up(h->key_end, KEY_TILE) - base;
    NAME(pack_across)(h->key, h->key_stride, h->is_bf16, base, keys, h->first_key, h->key_end, h->width, m->keys);
    NAME(pack_down)(h->value, h->value_stride, h->is_bf16, base, keys, h->first_key, h->key_end, h->width, PANEL, m->values);
    for (size_t i = 0; i < h->query_heads; i++) {
        const tf_attention_head one = query_head(h, i);
        NAME(forward_head)(&one, m);
    }
}

// MARK: forward without tiles

#if !PAIRS

/// LANES numbers of a row of the head.
TF_INLINE VECTOR NAME(load_row)(const void *row, size_t index, int is_bf16) {
    VECTOR x;
    if (is_bf16) {
        typedef uint16_t halves __attribute__((vector_size(2 * LANES)));
        halves bits;
        memcpy(&bits, (const uint16_t *)row + index, sizeof bits);
        x = (VECTOR)(__builtin_convertvector(bits, INTEGERS) << 16);
    } else {
        memcpy(&x, (const float *)row + index, sizeof x);
    }
    return x;
}

/// Scores of one query, and of them the largest.
TF_INLINE float NAME(score_row)(const tf_attention_head *h, const float *query, size_t start, size_t end, float *scores,
                                const int is_bf16) {
    const size_t width = h->width, whole = round_down(width, LANES), size = is_bf16 ? 2 : 4;
    const size_t stride = h->key_stride * size;
    const char *key = (const char *)h->key + start * stride;
    float largest = -__builtin_inff();
    // Four keys at a time, so that the sums do not wait for each other.
    for (size_t k = 0; k < end - start; k += 4, key += 4 * stride) {
        const size_t count = at_most(4, end - start - k);
        const char *row[4];
        VECTOR sums[4] = {};
#pragma clang loop unroll(full)
        for (size_t i = 0; i < 4; i++) {
            row[i] = key + at_most(i, count - 1) * stride;
            // The hardware does not see that the next rows of a head will follow this far away.
            __builtin_prefetch(row[i] + 16 * stride);
            __builtin_prefetch(row[i] + 16 * stride + 64);
        }
        for (size_t c = 0; c < whole; c += LANES) {
            const VECTOR q = NAME(load)(query + c);
#pragma clang loop unroll(full)
            for (size_t i = 0; i < 4; i++) sums[i] += q * NAME(load_row)(row[i], c, is_bf16);
        }
        for (size_t i = 0; i < count; i++) {
            float score = NAME(sum_of)(sums[i]);
            for (size_t c = whole; c < width; c++) score += query[c] * element(row[i], c, is_bf16);
            scores[k + i] = score * h->scale;
            largest = scores[k + i] > largest ? scores[k + i] : largest;
        }
    }
    return largest;
}

/// `sums[c] += Σ_k weights[k] · value[start + k, c]`
TF_INLINE void NAME(sum_values)(const tf_attention_head *h, const float *weights, size_t start, size_t end, float *sums,
                                const int is_bf16) {
    const size_t width = h->width, size = is_bf16 ? 2 : 4;
    const char *values = (const char *)h->value + start * h->value_stride * size;
    size_t c = 0;
    for (; c + 4 * LANES <= width; c += 4 * LANES) {
        VECTOR sum[4] = {};
        for (size_t k = 0; k < end - start; k++) {
            const char *row = values + k * h->value_stride * size;
            __builtin_prefetch(row + 16 * h->value_stride * size + c * size);
            __builtin_prefetch(row + 16 * h->value_stride * size + c * size + 64);
#pragma clang loop unroll(full)
            for (size_t i = 0; i < 4; i++) sum[i] += NAME(all)(weights[k]) * NAME(load_row)(row, c + i * LANES, is_bf16);
        }
#pragma clang loop unroll(full)
        for (size_t i = 0; i < 4; i++) NAME(store)(sums + c + i * LANES, sum[i]);
    }
    if (c == width) return;
    for (size_t k = 0; k < end - start; k++)
        for (size_t i = c; i < width; i++)
            sums[i] += weights[k] * element(values + k * h->value_stride * size, i, is_bf16);
}

static void NAME(forward_rows_head)(const tf_attention_head *h, const forward_memory *m) {
    const size_t width = h->width, columns = round_up(width, 16);
    float *query = m->scores, *scores = m->keys;
    for (size_t q = h->first_query; q < h->query_end; q++) {
        if (h->visible_end[q] <= h->visible_start[q]) {
            memset(m->sums, 0, columns * 4);
            NAME(write_row)(m->sums, 0, width, h->output, q * h->output_stride, h->is_bf16);
            h->log_sum_exp[q] = -__builtin_inff();
            continue;
        }
        const size_t start = (size_t)h->visible_start[q], end = (size_t)h->visible_end[q];
        for (size_t c = 0; c < width; c++) query[c] = element(h->query, q * h->query_stride + c, h->is_bf16);
        const float largest = h->is_bf16 ? NAME(score_row)(h, query, start, end, scores, 1)
                                         : NAME(score_row)(h, query, start, end, scores, 0);
        VECTOR totals = {};
        size_t k = 0;
        for (; k + LANES <= end - start; k += LANES) {
            const VECTOR weight = NAME(power_of_two)((NAME(load)(scores + k) - NAME(all)(largest)) * NAME(all)(log2_e));
            NAME(store)(scores + k, weight);
            totals += weight;
        }
        float total = NAME(sum_of)(totals);
        for (; k < end - start; k++) total += scores[k] = tf_exp(scores[k] - largest);
        memset(m->sums, 0, columns * 4);
        if (h->is_bf16)
            NAME(sum_values)(h, scores, start, end, m->sums, 1);
        else
            NAME(sum_values)(h, scores, start, end, m->sums, 0);
        NAME(write_row)(m->sums, 1.0f / total, width, h->output, q * h->output_stride, h->is_bf16);
        h->log_sum_exp[q] = largest + tf_log(total);
    }
}

static void NAME(forward_rows)(const tf_attention_head *h, const forward_memory *m) {
    for (size_t i = 0; i < h->query_heads; i++) {
        const tf_attention_head one = query_head(h, i);
        NAME(forward_rows_head)(&one, m);
    }
}
#endif

// MARK: backward

/// Weights and gradients of scores of two queries that lie next to each other, from their scores and the gradients of their
/// weights. The latter are written along the keys, and both along the queries. `scale` and `log_sum_exp` are for powers of
/// two.
TF_INLINE void NAME(gradient_rows)(const float *scores, const float *weight_gradients, const float *log_sum_exp,
                                   const float *delta, const int *low, const int *high, const int masked, float scale,
                                   size_t first, size_t end, WORD *gradients, WORD *weights_down, WORD *gradients_down) {
    for (size_t c = first; c < end; c += LANES) {
        VECTOR weight[2], gradient[2];
        for (int i = 0; i < 2; i++) {
            const VECTOR s = NAME(load)(scores + i * KEY_TILE + c);
            weight[i] = NAME(power_of_two)(s * NAME(all)(scale) - NAME(all)(log_sum_exp[i]));
            gradient[i] = weight[i] * (NAME(load)(weight_gradients + i * KEY_TILE + c) - NAME(all)(delta[i]));
            if (masked) {
                const INTEGERS visible = NAME(inside)(c, low[i], high[i]);
                weight[i] = NAME(choose)(visible, weight[i], (VECTOR){});
                gradient[i] = NAME(choose)(visible, gradient[i], (VECTOR){});
            }
        }
#if PAIRS
        // From the first query's 16 numbers and then the second's to 16 pairs.
        const __m512i interleave = _mm512_set_epi16(31, 15, 30, 14, 29, 13, 28, 12, 27, 11, 26, 10, 25, 9, 24, 8, 23, 7,
                                                    22, 6, 21, 5, 20, 4, 19, 3, 18, 2, 17, 1, 16, 0);
        const __m512i w = (__m512i)_mm512_cvtne2ps_pbh(weight[1], weight[0]);
        const __m512i g = (__m512i)_mm512_cvtne2ps_pbh(gradient[1], gradient[0]);
        _mm512_store_si512(weights_down + c, _mm512_permutexvar_epi16(interleave, w));
        _mm512_store_si512(gradients_down + c, _mm512_permutexvar_epi16(interleave, g));
        _mm256_store_si256((__m256i *)(gradients + c / 2), _mm512_castsi512_si256(g));
        _mm256_store_si256((__m256i *)(gradients + KEY_TILE / 2 + c / 2), _mm512_extracti64x4_epi64(g, 1));
#else
        for (int i = 0; i < 2; i++) {
            NAME(store)(weights_down + i * KEY_TILE + c, weight[i]);
            NAME(store)(gradients + i * KEY_TILE + c, gradient[i]);
        }
#endif
    }
}

/// Adds what the queries `q ..< q + count` give to the gradients of the keys of one block, and to their own.
static void NAME(backward_tile)(const tf_attention_head *h, const backward_memory *m, size_t q, size_t count,
                                size_t block, size_t block_end, size_t first_visible, size_t visible_end) {
    const size_t width = h->width, columns = round_up(width, 16), words = width / DEPTH_OF_WORD;
    const size_t padded = round_up(count, 2), query_words = padded / DEPTH_OF_WORD;
    // Along the queries, f32 words are those along the keys, read in the other order.
    WORD *gradients = m->gradients, *weights_down = m->weights_down;
    WORD *gradients_down = PAIRS ? (WORD *)m->gradients_down : gradients;
    NAME(pack_rows)(h->query, h->query_stride, h->is_bf16, q, count, padded, width, m->queries);
    NAME(pack_rows)(h->output_gradient, h->output_gradient_stride, h->is_bf16, q, count, padded, width,
                    m->output_gradients);
    NAME(pack_down)(h->query, h->query_stride, h->is_bf16, q, padded, q, q + count, width, PANEL, m->queries_down);
    NAME(pack_down)(h->output_gradient, h->output_gradient_stride, h->is_bf16, q, padded, q, q + count, width, PANEL,
                    m->output_gradients_down);
    m->low[padded - 1] = m->high[padded - 1] = 0;
    const float scale = h->scale * log2_e;
    const size_t start = first_visible > block ? first_visible : block;
    for (size_t k = round_down(start, KEY_TILE); k < at_most(visible_end, block_end); k += KEY_TILE) {
        tile_range part;
        if (!NAME(visible_part)(h, q, count, k, m->low, m->high, &part)) continue;
        const size_t first = round_down(part.first_key, PANEL), end = round_up(part.key_end, KEY_STEP);
        const size_t top = round_down(part.first_query, 2), bottom = round_up(part.query_end, 2), rows = bottom - top;
        const size_t panels = (k - block + first) * words, tile = top * KEY_TILE + first;
        NAME(product)(rows, end - first, words, (const WORD *)m->queries + top * words, words, 1,
                      (const WORD *)m->keys_across + panels, KEY_TILE, words, 0, m->scores + tile, KEY_TILE, 0);
        NAME(product)(rows, end - first, words, (const WORD *)m->output_gradients + top * words, words, 1,
                      (const WORD *)m->values_across + panels, KEY_TILE, words, 0, m->weight_gradients + tile, KEY_TILE, 0);
        for (size_t i = top; i < bottom; i += 2) {
            // The second row of the last pair may be padding.
            const float log_sum_exp[2] = {h->log_sum_exp[q + i] * log2_e,
                                          i + 1 < count ? h->log_sum_exp[q + i + 1] * log2_e : 0};
            const float delta[2] = {m->delta[q - h->first_query + i],
                                    i + 1 < count ? m->delta[q - h->first_query + i + 1] : 0};
            const int *low = m->low + i, *high = m->high + i;
            const int whole = low[0] <= (int)first && high[0] >= (int)end && low[1] <= (int)first && high[1] >= (int)end;
            const float *scores = m->scores + i * KEY_TILE, *weight_gradients = m->weight_gradients + i * KEY_TILE;
            const size_t row = i * KEY_TILE / DEPTH_OF_WORD;
            if (whole)
                NAME(gradient_rows)(scores, weight_gradients, log_sum_exp, delta, low, high, 0, scale, first, end,
                                    gradients + row, weights_down + row, gradients_down + row);
            else
                NAME(gradient_rows)(scores, weight_gradients, log_sum_exp, delta, low, high, 1, scale, first, end,
                                    gradients + row, weights_down + row, gradients_down + row);
        }
        float *key_gradients = m->key_gradients + (k - block + first) * columns;
        float *value_gradients = m->value_gradients + (k - block + first) * columns;
        const size_t down = top * KEY_TILE / DEPTH_OF_WORD + first;
        NAME(product)(end - first, columns, rows / DEPTH_OF_WORD, weights_down + down, 1, KEY_TILE,
                      m->output_gradients_down, columns, query_words, top / DEPTH_OF_WORD, value_gradients, columns, 1);
        NAME(product)(end - first, columns, rows / DEPTH_OF_WORD, gradients_down + down, 1, KEY_TILE, m->queries_down,
                      columns, query_words, top / DEPTH_OF_WORD, key_gradients, columns, 1);
        const size_t low_word = part.first_key / DEPTH_OF_WORD;
        const size_t high_word = (part.key_end + DEPTH_OF_WORD - 1) / DEPTH_OF_WORD;
        NAME(product)(at_most(bottom, count) - top, columns, high_word - low_word,
                      gradients + top * KEY_TILE / DEPTH_OF_WORD + low_word, KEY_TILE / DEPTH_OF_WORD, 1, m->keys_down,
                      columns, KEY_BLOCK / DEPTH_OF_WORD, (k - block) / DEPTH_OF_WORD + low_word,
                      m->query_gradients + (q - h->first_query + top) * columns, columns, 1);
    }
}

/// delta[i] = Σ_j weight[i, j] · weight_gradient[i, j] = output_gradient[i] · output[i].
static void NAME(find_delta)(const tf_attention_head *h, const backward_memory *m) {
    const size_t width = h->width, queries = h->query_end - h->first_query;
    for (size_t i = 0; i < queries; i++) {
        TF_REASSOCIATE
        const size_t row = h->first_query + i;
        float sum = 0;
        if (h->is_bf16) {
            const uint16_t *o = (const uint16_t *)h->output + row * h->output_stride;
            const uint16_t *g = (const uint16_t *)h->output_gradient + row * h->output_gradient_stride;
            for (size_t c = 0; c < width; c++) sum += tf_load_bf16(o[c]) * tf_load_bf16(g[c]);
        } else {
            const float *o = (const float *)h->output + row * h->output_stride;
            const float *g = (const float *)h->output_gradient + row * h->output_gradient_stride;
            for (size_t c = 0; c < width; c++) sum += o[c] * g[c];
        }
        m->delta[i] = sum;
    }
}

/// Adds what all queries of a head give to the gradients of the keys `from ..< end` of one block.
static void NAME(backward_head)(const tf_attention_head *h, const backward_memory *m, size_t block, size_t from,
                                size_t end) {
    for (size_t q = h->first_query; q < h->query_end; q += QUERY_TILE) {
        const size_t count = at_most(QUERY_TILE, h->query_end - q);
        size_t first_visible, visible_end;
        visible_range(h, q, q + count, &first_visible, &visible_end);
        if (first_visible >= end || visible_end <= from) continue;
        NAME(backward_tile)(h, m, q, count, block, end, first_visible, visible_end);
    }
}

static void NAME(backward)(const tf_attention_head *h, const backward_memory *m) {
    const size_t width = h->width, columns = round_up(width, 16), queries = h->query_end - h->first_query;
    memset(m->query_gradients, 0, h->query_heads * queries * columns * 4);
    for (size_t i = 0; i < h->query_heads; i++) {
        const tf_attention_head one = query_head(h, i);
        const backward_memory memory = memory_of_query_head(h, m, i);
        NAME(find_delta)(&one, &memory);
    }

    for (size_t block = round_down(h->first_key, KEY_BLOCK); block < h->key_end; block += KEY_BLOCK) {
        const size_t from = h->first_key > block ? h->first_key : block;
        const size_t end = at_most(h->key_end, block + KEY_BLOCK);
        NAME(pack_across)(h->key, h->key_stride, h->is_bf16, block, KEY_BLOCK, from, end, width, m->keys_across);
        NAME(pack_across)(h->value, h->value_stride, h->is_bf16, block, KEY_BLOCK, from, end, width, m->values_across);
        NAME(pack_down)(h->key, h->key_stride, h->is_bf16, block, KEY_BLOCK, from, end, width, PANEL, m->keys_down);
        memset(m->key_gradients, 0, KEY_BLOCK * columns * 4);
        memset(m->value_gradients, 0, KEY_BLOCK * columns * 4);
        // One after the other, so that the sums over the heads have one order.
        for (size_t i = 0; i < h->query_heads; i++) {
            const tf_attention_head one = query_head(h, i);
            const backward_memory memory = memory_of_query_head(h, m, i);
            NAME(backward_head)(&one, &memory, block, from, end);
        }
        for (size_t k = from; k < end; k++) {
            NAME(write_row)(m->key_gradients + (k - block) * columns, h->scale, width, h->key_gradient,
                            k * h->key_gradient_stride, h->is_bf16);
            NAME(write_row)(m->value_gradients + (k - block) * columns, 1, width, h->value_gradient,
                            k * h->value_gradient_stride, h->is_bf16);
        }
    }
    for (size_t i = 0; i < h->query_heads * queries; i++)
        NAME(write_row)(m->query_gradients + i * columns, h->scale, width, h->query_gradient,
                        i / queries * width + (h->first_query + i % queries) * h->query_gradient_stride, h->is_bf16);
}

#include "level_end.h"
