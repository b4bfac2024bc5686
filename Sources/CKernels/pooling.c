#include "include/pooling.h"
#include "bf16.h"

#include <string.h>

void tf_upsample_forward(const void *restrict x, void *restrict y, size_t width, size_t pixel_bytes, size_t first,
                         size_t last) {
    // Picture heights are doubled too, so line k is made of line k / 2 whichever image it is in.
    for (size_t line = first; line < last; line++) {
        const char *from = (const char *)x + line / 2 * width * pixel_bytes;
        char *to = (char *)y + line * 2 * width * pixel_bytes;
        for (size_t pixel = 0; pixel < width; pixel++, from += pixel_bytes, to += 2 * pixel_bytes) {
            memcpy(to, from, pixel_bytes);
            memcpy(to + pixel_bytes, from, pixel_bytes);
        }
    }
}

/// The windows ..< `end` are those that begin at or before pixel `at`.
TF_INLINE size_t window_end(size_t at, const tf_pooling *p, size_t count) {
    const size_t end = (at + p->padding) / p->stride + 1;
    return end < count ? end : count;
}

/// The first window that reaches to pixel `at`.
TF_INLINE size_t window_first(size_t at, const tf_pooling *p) {
    return at + p->padding < p->size ? 0 : (at + p->padding - p->size) / p->stride + 1;
}

/// The pixels of window number `index` along one axis that lie in the picture.
TF_INLINE void window_pixels(size_t index, const tf_pooling *p, size_t length, size_t *begin, size_t *end) {
    const size_t start = index * p->stride, stop = start + p->size;
    *begin = start < p->padding ? 0 : start - p->padding;
    *end = stop < p->padding ? 0 : stop - p->padding < length ? stop - p->padding : length;
}

/// What the sum over a window is multiplied by.
TF_INLINE float window_scale(size_t row, size_t column, const tf_pooling *p, int counts_padding) {
    if (counts_padding) return 1.0f / (float)(p->size * p->size);
    size_t top, bottom, left, right;
    window_pixels(row, p, p->height, &top, &bottom);
    window_pixels(column, p, p->width, &left, &right);
    return 1.0f / (float)((bottom - top) * (right - left));
}

// Channels whose sums stay in registers.
enum { BLOCK = 64 };

#define FOR_CHANNELS(channels)                                                                                       \
    for (size_t c0 = 0, n = 0; c0 < (channels); c0 += n)                                                             \
        if ((n = (channels)-c0 < BLOCK ? (channels)-c0 : BLOCK))

#define DEFINE(suffix, type, load, store)                                                                           \
    TF_KERNEL void tf_upsample_backward_##suffix(const type *restrict dy, type *restrict dx, size_t width,          \
                                                 size_t channels, size_t first, size_t last) {                      \
        const size_t below = 2 * width * channels;                                                                  \
        for (size_t line = first; line < last; line++)                                                              \
            for (size_t pixel = 0; pixel < width; pixel++) {                                                        \
                const type *restrict block = dy + (line * 2 * width + pixel) * 2 * channels;                        \
                type *restrict sum = dx + (line * width + pixel) * channels;                                        \
                for (size_t c = 0; c < channels; c++)                                                               \
                    sum[c] = store((load(block[c]) + load(block[channels + c])) +                                   \
                                   (load(block[below + c]) + load(block[below + channels + c])));                   \
            }                                                                                                       \
    }                                                                                                               \
    TF_KERNEL void tf_average_pool_forward_##suffix(const type *restrict x, type *restrict y, const tf_pooling *p,  \
                                                    int counts_padding, size_t first, size_t last) {                \
        for (size_t line = first; line < last; line++)                                                              \
            for (size_t column = 0; column < p->out_width; column++) {                                              \
                const size_t image = line / p->out_height, row = line % p->out_height;                              \
                size_t top, bottom, left, right;                                                                    \
                window_pixels(row, p, p->height, &top, &bottom);                                                    \
                window_pixels(column, p, p->width, &left, &right);                                                  \
                const float scale = window_scale(row, column, p, counts_padding);                                   \
                type *restrict out = y + (line * p->out_width + column) * p->channels;                              \
                FOR_CHANNELS(p->channels) {                                                                         \
                    float sums[BLOCK] = {0};                                                                        \
                    for (size_t i = top; i < bottom; i++)                                                           \
                        for (size_t j = left; j < right; j++) {                                                     \
                            const type *from = x + ((image * p->height + i) * p->width + j) * p->channels + c0;     \
                            for (size_t c = 0; c < n; c++) sums[c] += load(from[c]);                                \
                        }                                                                                           \
                    for (size_t c = 0; c < n; c++) out[c0 + c] = store(sums[c] * scale);                            \
                }                                                                                                   \
            }                                                                                                       \
    }                                                                                                               \
    TF_KERNEL void tf_average_pool_backward_##suffix(const type *restrict dy, type *restrict dx,                    \
                                                     const tf_pooling *p, int counts_padding, size_t first,         \
                                                     size_t last) {                                                 \
        for (size_t line = first; line < last; line++)                                                              \
            for (size_t column = 0; column < p->width; column++) {                                                  \
                const size_t image = line / p->height, row = line % p->height;                                      \
                const size_t i_end = window_end(row, p, p->out_height), j_end = window_end(column, p, p->out_width); \
                type *restrict out = dx + (line * p->width + column) * p->channels;                                 \
                FOR_CHANNELS(p->channels) {                                                                         \
                    float sums[BLOCK] = {0};                                                                        \
                    for (size_t i = window_first(row, p); i < i_end; i++)                                           \
                        for (size_t j = window_first(column, p); j < j_end; j++) {                                  \
                            const float scale = window_scale(i, j, p, counts_padding);                              \
                            const type *from =                                                                      \
                                dy + ((image * p->out_height + i) * p->out_width + j) * p->channels + c0;           \
                            for (size_t c = 0; c < n; c++) sums[c] += load(from[c]) * scale;                        \
                        }                                                                                           \
                    for (size_t c = 0; c < n; c++) out[c0 + c] = store(sums[c]);                                    \
                }                                                                                                   \
            }                                                                                                       \
    }                                                                                                               \
    TF_KERNEL void tf_max_pool_forward_##suffix(const type *restrict x, type *restrict y, int32_t *restrict places, \
                                                const tf_pooling *p, size_t first, size_t last) {                   \
        for (size_t line = first; line < last; line++)                                                              \
            for (size_t column = 0; column < p->out_width; column++) {                                              \
                const size_t image = line / p->out_height, row = line % p->out_height;                              \
                size_t top, bottom, left, right;                                                                    \
                window_pixels(row, p, p->height, &top, &bottom);                                                    \
                window_pixels(column, p, p->width, &left, &right);                                                  \
                const size_t at = (line * p->out_width + column) * p->channels;                                     \
                FOR_CHANNELS(p->channels) {                                                                         \
                    float best[BLOCK];                                                                              \
                    int32_t place[BLOCK];                                                                           \
                    for (size_t i = top; i < bottom; i++)                                                           \
                        for (size_t j = left; j < right; j++) {                                                     \
                            const type *from = x + ((image * p->height + i) * p->width + j) * p->channels + c0;     \
                            const int32_t here = (int32_t)(i * p->width + j);                                       \
                            const int is_first = i == top && j == left;                                             \
                            for (size_t c = 0; c < n; c++) {                                                        \
                                const float v = load(from[c]);                                                      \
                                const int wins = is_first || v > best[c] || (v != v && best[c] == best[c]);         \
                                best[c] = wins ? v : best[c];                                                       \
                                place[c] = wins ? here : place[c];                                                  \
                            }                                                                                       \
                        }                                                                                           \
                    for (size_t c = 0; c < n; c++) {                                                                \
                        y[at + c0 + c] = store(best[c]);                                                            \
                        places[at + c0 + c] = place[c];                                                             \
                    }                                                                                               \
                }                                                                                                   \
            }                                                                                                       \
    }                                                                                                               \
    TF_KERNEL void tf_max_pool_backward_##suffix(const type *restrict dy, const int32_t *restrict places,           \
                                                 type *restrict dx, const tf_pooling *p, size_t first,              \
                                                 size_t last) {                                                     \
        for (size_t line = first; line < last; line++)                                                              \
            for (size_t column = 0; column < p->width; column++) {                                                  \
                const size_t image = line / p->height, row = line % p->height;                                      \
                const int32_t here = (int32_t)(row * p->width + column);                                            \
                const size_t i_end = window_end(row, p, p->out_height), j_end = window_end(column, p, p->out_width); \
                type *restrict out = dx + (line * p->width + column) * p->channels;                                 \
                FOR_CHANNELS(p->channels) {                                                                         \
                    float sums[BLOCK] = {0};                                                                        \
                    for (size_t i = window_first(row, p); i < i_end; i++)                                           \
                        for (size_t j = window_first(column, p); j < j_end; j++) {                                  \
                            const size_t at =                                                                       \
                                ((image * p->out_height + i) * p->out_width + j) * p->channels + c0;                \
                            for (size_t c = 0; c < n; c++) sums[c] += places[at + c] == here ? load(dy[at + c]) : 0; \
                        }                                                                                           \
                    for (size_t c = 0; c < n; c++) out[c0 + c] = store(sums[c]);                                    \
                }                                                                                                   \
            }                                                                                                       \
    }
TF_FOR_EACH_TYPE(DEFINE)
