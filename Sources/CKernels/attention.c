#include "include/attention.h"
#include "level_common.h"
#include "math.h"

// Queries and keys of a tile of scores, keys at which its visible part may end, and keys whose gradients are summed while they
// stay in the cache. Key tiles lie on a grid that starts at key 0, so that a row's sums have the same order whatever rows come
// with it.
enum { QUERY_TILE = 64, KEY_TILE = 128, KEY_STEP = 32, KEY_BLOCK = 512, MOST_LANES = 16 };

/// Powers of two take fewer steps than those of e.
static const float log2_e = 1.44269504f;

/// Scratch memory of the forward pass. `words` are f32 numbers or pairs of bf16, both 4 bytes.
typedef struct {
    void *keys, *values, *queries, *weights;
    float *scores, *sums, *maximum, *largest, *factor, *totals;
    int *low, *high;
} forward_memory;

static forward_memory forward_layout(const tf_attention_head *h, arena *a) {
    const size_t keys = round_up(h->key_end, KEY_TILE) - round_down(h->first_key, KEY_TILE);
    const size_t columns = round_up(h->width, 16);
    return (forward_memory){
        .keys = take(a, keys * h->width * 4),
        .values = take(a, keys * columns * 4),
        .queries = take(a, QUERY_TILE * h->width * 4),
        .weights = take(a, QUERY_TILE * KEY_TILE * 2),
        .scores = take(a, QUERY_TILE * KEY_TILE * 4),
        .sums = take(a, QUERY_TILE * columns * 4),
        .maximum = take(a, QUERY_TILE * 4),
        .largest = take(a, QUERY_TILE * 4),
        .factor = take(a, QUERY_TILE * 4),
        .totals = take(a, QUERY_TILE * MOST_LANES * 4),
        .low = take(a, QUERY_TILE * sizeof(int)),
        .high = take(a, QUERY_TILE * sizeof(int)),
    };
}

/// Scratch memory of the backward pass. `…_down` run along queries or keys in depth, `…_across` along the head's columns.
typedef struct {
    void *keys_across, *values_across, *keys_down;
    void *queries, *output_gradients, *queries_down, *output_gradients_down;
    void *weights_down, *gradients, *gradients_down;
    float *scores, *weight_gradients, *query_gradients, *key_gradients, *value_gradients, *delta;
    int *low, *high;
} backward_memory;

static backward_memory backward_layout(const tf_attention_head *h, arena *a) {
    const size_t columns = round_up(h->width, 16);
    const size_t tile = QUERY_TILE * KEY_TILE * 4, queries = h->query_end - h->first_query;
    return (backward_memory){
        .keys_across = take(a, KEY_BLOCK * h->width * 4),
        .values_across = take(a, KEY_BLOCK * h->width * 4),
        .keys_down = take(a, KEY_BLOCK * columns * 4),
        .queries = take(a, QUERY_TILE * h->width * 4),
        .output_gradients = take(a, QUERY_TILE * h->width * 4),
        .queries_down = take(a, QUERY_TILE * columns * 4),
        .output_gradients_down = take(a, QUERY_TILE * columns * 4),
        .weights_down = take(a, tile),
        .gradients = take(a, tile),
        .gradients_down = take(a, tile),
        .scores = take(a, tile),
        .weight_gradients = take(a, tile),
        .query_gradients = take(a, h->query_heads * queries * columns * 4),
        .key_gradients = take(a, KEY_BLOCK * columns * 4),
        .value_gradients = take(a, KEY_BLOCK * columns * 4),
        .delta = take(a, h->query_heads * queries * 4),
        .low = take(a, QUERY_TILE * sizeof(int)),
        .high = take(a, QUERY_TILE * sizeof(int)),
    };
}

size_t tf_attention_forward_scratch(const tf_attention_head *head) {
    arena a = {NULL, 0};
    forward_layout(head, &a);
    return a.used;
}

size_t tf_attention_backward_scratch(const tf_attention_head *head) {
    arena a = {NULL, 0};
    backward_layout(head, &a);
    return a.used;
}

/// Query head `number` of those that share a key head, alone.
static tf_attention_head query_head(const tf_attention_head *h, size_t number) {
    const size_t bytes = number * h->width * (h->is_bf16 ? 2 : 4);
    tf_attention_head one = *h;
    one.query = (const char *)h->query + bytes;
    one.output = (char *)h->output + bytes;
    one.log_sum_exp = h->log_sum_exp + number * h->log_sum_exp_stride;
    if (h->output_gradient) {
        one.output_gradient = (const char *)h->output_gradient + bytes;
        one.query_gradient = (char *)h->query_gradient + bytes;
    }
    one.query_heads = 1;
    return one;
}

/// What of the memory of the backward pass belongs to query head `number`.
static backward_memory memory_of_query_head(const tf_attention_head *h, const backward_memory *m, size_t number) {
    const size_t queries = h->query_end - h->first_query;
    backward_memory one = *m;
    one.query_gradients = m->query_gradients + number * queries * round_up(h->width, 16);
    one.delta = m->delta + number * queries;
    return one;
}

/// What a tile of scores has to compute: the smallest ranges of its queries and keys that hold all that is seen.
typedef struct { size_t first_query, query_end, first_key, key_end; } tile_range;

/// The range of keys that the queries `first ..< end` see.
static void visible_range(const tf_attention_head *h, size_t first, size_t end, size_t *low, size_t *high) {
    *low = h->key_end;
    *high = h->first_key;
    for (size_t i = first; i < end; i++) {
        if (h->visible_end[i] <= h->visible_start[i]) continue;
        if ((size_t)h->visible_start[i] < *low) *low = (size_t)h->visible_start[i];
        if ((size_t)h->visible_end[i] > *high) *high = (size_t)h->visible_end[i];
    }
}

#define SUFFIX _baseline
#define LANES 4
#define BLOCK_VECTORS 2
#define PAIRS 0
#include "attention_level.h"

#if defined(__x86_64__) && !defined(TF_NO_CLONES)
#define SUFFIX _avx2
#define LANES 8
#define BLOCK_VECTORS 2
#define PAIRS 0
#pragma clang attribute push(__attribute__((target("arch=x86-64-v3"))), apply_to = function)
#include "attention_level.h"
#pragma clang attribute pop

#define LEVEL "attention_level.h"
#include "avx512_levels.h"
#endif

void tf_attention_forward(const tf_attention_head *head, tf_attention_level level, void *scratch) {
    arena a = {scratch, 0};
    const forward_memory memory = forward_layout(head, &a);
#if defined(__x86_64__) && !defined(TF_NO_CLONES)
    if (level == TF_ATTENTION_AVX512_BF16 && head->is_bf16) return forward_avx512_bf16(head, &memory);
    if (level >= TF_ATTENTION_AVX512) return forward_avx512(head, &memory);
    if (level >= TF_ATTENTION_AVX2) return forward_avx2(head, &memory);
#endif
    forward_baseline(head, &memory);
}

void tf_attention_forward_rows(const tf_attention_head *head, tf_attention_level level, void *scratch) {
    arena a = {scratch, 0};
    const forward_memory memory = forward_layout(head, &a);
#if defined(__x86_64__) && !defined(TF_NO_CLONES)
    if (level >= TF_ATTENTION_AVX512) return forward_rows_avx512(head, &memory);
    if (level >= TF_ATTENTION_AVX2) return forward_rows_avx2(head, &memory);
#endif
    forward_rows_baseline(head, &memory);
}

void tf_attention_backward(const tf_attention_head *head, tf_attention_level level, void *scratch) {
    arena a = {scratch, 0};
    const backward_memory memory = backward_layout(head, &a);
#if defined(__x86_64__) && !defined(TF_NO_CLONES)
    if (level == TF_ATTENTION_AVX512_BF16 && head->is_bf16) return backward_avx512_bf16(head, &memory);
    if (level >= TF_ATTENTION_AVX512) return backward_avx512(head, &memory);
    if (level >= TF_ATTENTION_AVX2) return backward_avx2(head, &memory);
#endif
    backward_baseline(head, &memory);
}
