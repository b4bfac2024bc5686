#include "reduction.h"

#include <string.h>

// Elements summed at a time: the partial sums of all levels of the tree stay in the first-level cache.
#define BLOCK 512
// Levels of the tree above pairs: up to 2^16 inputs.
#define LEVELS 16

// `out` may be an input: element i depends on elements i only, which is what assume_safety tells the compiler.
#define LOOP _Pragma("clang loop vectorize(assume_safety)")

#define DEFINE_TREE_SUM(NAME, TYPE)                                                                                    \
    TF_INLINE void NAME##_add(TYPE *out, const TYPE *a, const TYPE *b, size_t count) {                                 \
        LOOP for (size_t i = 0; i < count; i++) out[i] = a[i] + b[i];                                                  \
    }                                                                                                                  \
                                                                                                                       \
    TF_KERNEL void NAME(TYPE *out, const TYPE *const *inputs, size_t inputs_count, size_t count) {                     \
        if (inputs_count == 1) {                                                                                       \
            if (out != inputs[0]) memcpy(out, inputs[0], count * sizeof(TYPE));                                        \
            return;                                                                                                    \
        }                                                                                                              \
        if (inputs_count == 2) {                                                                                       \
            NAME##_add(out, inputs[0], inputs[1], count);                                                              \
            return;                                                                                                    \
        }                                                                                                              \
        /* A binary counter: held[l] is a sum of 2^(l+1) inputs when bit l of the number of pairs is set. */           \
        TYPE held[LEVELS][BLOCK], carry[BLOCK];                                                                        \
        size_t pairs = inputs_count / 2;                                                                               \
        for (size_t start = 0; start < count; start += BLOCK) {                                                        \
            size_t length = count - start < BLOCK ? count - start : BLOCK;                                             \
            for (size_t pair = 0; pair < pairs; pair++) {                                                              \
                size_t bits = pair, level = 0;                                                                         \
                NAME##_add(bits & 1 ? carry : held[0], inputs[2 * pair] + start, inputs[2 * pair + 1] + start,         \
                           length);                                                                                    \
                for (; bits & 1; bits >>= 1, level++) {                                                                \
                    NAME##_add(bits >> 1 & 1 ? carry : held[level + 1], held[level], carry, length);                   \
                }                                                                                                      \
            }                                                                                                          \
            const TYPE *rest = inputs_count & 1 ? inputs[inputs_count - 1] + start : 0;                                \
            for (size_t level = 0; pairs >> level; level++) {                                                          \
                if (!(pairs >> level & 1)) continue;                                                                   \
                if (rest) NAME##_add(carry, held[level], rest, length);                                                \
                rest = rest ? carry : held[level];                                                                     \
            }                                                                                                          \
            memcpy(out + start, rest, length * sizeof(TYPE));                                                          \
        }                                                                                                              \
    }

DEFINE_TREE_SUM(tf_tree_sum_f32, float)
DEFINE_TREE_SUM(tf_tree_sum_f64, double)

TF_KERNEL void tf_max_f32(float *out, const float *const *inputs, size_t inputs_count, size_t count) {
    for (size_t start = 0; start < count; start += BLOCK) {
        size_t length = count - start < BLOCK ? count - start : BLOCK;
        float largest[BLOCK];
        memcpy(largest, inputs[0] + start, length * sizeof(float));
        for (size_t k = 1; k < inputs_count; k++) {
            const float *input = inputs[k] + start;
            // The second test lets a NaN win; once there, no comparison with it is true.
            for (size_t i = 0; i < length; i++) {
                largest[i] = input[i] > largest[i] || input[i] != input[i] ? input[i] : largest[i];
            }
        }
        memcpy(out + start, largest, length * sizeof(float));
    }
}

TF_KERNEL uint64_t tf_sum_words(const uint64_t *words, size_t count) {
    // Two runs at a time, as the products of few rows read: enough streams for the prefetcher.
    const size_t half = count / 2;
    uint64_t sum = 0;
    for (size_t i = 0; i < half; i++) sum += words[i] + words[half + i];
    return sum + (count % 2 ? words[count - 1] : 0);
}
