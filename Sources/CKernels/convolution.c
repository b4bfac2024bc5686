#include "include/convolution.h"
#include "bf16.h"

#include <string.h>

void tf_gather_windows(const void *pictures, const tf_windows *w, size_t first, size_t count, void *to) {
    const size_t tap = w->tap_bytes, picture_bytes = w->height * w->width * w->pixel_bytes;
    const ptrdiff_t height = (ptrdiff_t)w->height, width = (ptrdiff_t)w->width, columns = (ptrdiff_t)w->columns;
    // Pixels that lie beside each other are one run of bytes when all of their channels are taken.
    const int is_run = w->tap_bytes == w->pixel_bytes;
    size_t j = first % w->grid_width, i = first / w->grid_width % w->grid_height;
    const char *picture = (const char *)pictures + first / w->grid_width / w->grid_height * picture_bytes;
    char *out = to;
    for (size_t pixel = 0; pixel < count; pixel++) {
        const ptrdiff_t left = w->left + (ptrdiff_t)(w->step * j);
        for (size_t row = 0; row < w->rows; row++) {
            const ptrdiff_t y = w->top + (ptrdiff_t)(w->step * i + row);
            if (y < 0 || y >= height) {
                memset(out, 0, w->columns * tap);
                out += w->columns * tap;
                continue;
            }
            const char *line = picture + (size_t)(y * width) * w->pixel_bytes + w->first_byte;
            if (is_run && left >= 0 && left + columns <= width) {
                memcpy(out, line + (size_t)left * w->pixel_bytes, w->columns * tap);
                out += w->columns * tap;
                continue;
            }
            for (ptrdiff_t x = left; x < left + columns; x++, out += tap) {
                if (x < 0 || x >= width) memset(out, 0, tap);
                else memcpy(out, line + (size_t)x * w->pixel_bytes, tap);
            }
        }
        if (++j < w->grid_width) continue;
        j = 0;
        if (++i < w->grid_height) continue;
        i = 0;
        picture += picture_bytes;
    }
}

TF_KERNEL void tf_add_weight_gradient(const float *restrict parts, size_t part_count, size_t outputs, size_t inputs,
                                      size_t taps, float *restrict gradient, size_t first, size_t last) {
    for (size_t o = first; o < last; o++) {
        float *restrict sums = gradient + o * inputs * taps;
        for (size_t p = 0; p < part_count; p++) {
            const float *restrict part = parts + (p * outputs + o) * taps * inputs;
            for (size_t t = 0; t < taps; t++)
                for (size_t i = 0; i < inputs; i++) sums[i * taps + t] += part[t * inputs + i];
        }
    }
}

// Outputs that are turned at a time, so that reads and writes both stay in the first-level cache.
enum { BLOCK = 32 };

#define DEFINE(suffix, type, load, store)                                                                           \
    TF_INLINE void add_row_##suffix(const float *sums, const float *bias, const type *addend, type *to,             \
                                    size_t channels) {                                                              \
        /* An element is read before it is written. */                                                              \
        if (bias && addend) {                                                                                       \
            _Pragma("clang loop vectorize(assume_safety)") for (size_t c = 0; c < channels; c++)                    \
                to[c] = store(sums[c] + bias[c] + load(addend[c]));                                                 \
        } else if (bias) {                                                                                          \
            _Pragma("clang loop vectorize(assume_safety)") for (size_t c = 0; c < channels; c++)                    \
                to[c] = store(sums[c] + bias[c]);                                                                   \
        } else if (addend) {                                                                                        \
            _Pragma("clang loop vectorize(assume_safety)") for (size_t c = 0; c < channels; c++)                    \
                to[c] = store(sums[c] + load(addend[c]));                                                           \
        } else {                                                                                                    \
            _Pragma("clang loop vectorize(assume_safety)") for (size_t c = 0; c < channels; c++)                    \
                to[c] = store(sums[c]);                                                                             \
        }                                                                                                           \
    }                                                                                                               \
    TF_KERNEL void tf_store_pixels_##suffix(const float *sums, const float *bias, const type *addend, type *to,     \
                                            const tf_grid *grid, size_t first, size_t count, size_t channels) {     \
        for (size_t r = 0; r < count; r++) {                                                                        \
            const size_t p = first + r, j = p % grid->grid_width, line = p / grid->grid_width;                      \
            const size_t i = line % grid->grid_height, image = line / grid->grid_height;                            \
            const size_t y = grid->top + grid->step * i, x = grid->left + grid->step * j;                           \
            const size_t at = ((image * grid->height + y) * grid->width + x) * channels;                            \
            add_row_##suffix(sums + r * channels, bias, addend ? addend + at : 0, to + at, channels);               \
        }                                                                                                           \
    }                                                                                                               \
    TF_KERNEL void tf_weights_by_output_##suffix(const type *restrict weight, size_t inputs, size_t taps,           \
                                                 const int32_t *order, size_t order_count, type *restrict to,       \
                                                 size_t first, size_t last) {                                       \
        for (size_t o = first; o < last; o++)                                                                       \
            for (size_t t = 0; t < order_count; t++) {                                                              \
                const type *restrict from = weight + o * inputs * taps + (size_t)order[t];                          \
                type *restrict out = to + (o * order_count + t) * inputs;                                           \
                for (size_t i = 0; i < inputs; i++) out[i] = from[i * taps];                                        \
            }                                                                                                       \
    }                                                                                                               \
    TF_KERNEL void tf_weights_by_input_##suffix(const type *restrict weight, size_t outputs, size_t inputs,         \
                                                size_t taps, const int32_t *order, size_t order_count,              \
                                                type *restrict to, size_t first, size_t last) {                     \
        for (size_t begin = 0; begin < outputs; begin += BLOCK) {                                                   \
            const size_t end = begin + BLOCK < outputs ? begin + BLOCK : outputs;                                   \
            for (size_t i = first; i < last; i++)                                                                   \
                for (size_t t = 0; t < order_count; t++)                                                            \
                    for (size_t o = begin; o < end; o++)                                                            \
                        to[(i * order_count + t) * outputs + o] = weight[(o * inputs + i) * taps + (size_t)order[t]]; \
        }                                                                                                           \
    }
TF_FOR_EACH_TYPE(DEFINE)
