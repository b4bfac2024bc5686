#include "resampling.h"

#include <string.h>

enum { FRACTION_BITS = 22 };

TF_INLINE uint8_t clipped(int32_t sum) {
    const int32_t value = sum >> FRACTION_BITS;
    return (uint8_t)(value < 0 ? 0 : value > 255 ? 255 : value);
}

/// Four rows at once. A pixel is read and summed as four bytes, of which the last means nothing: behind the last row there
/// must be another byte.
TF_INLINE void resample_four_rows(const uint8_t *restrict in, uint8_t *restrict out, size_t width, size_t new_width,
                                  const int32_t *restrict firsts, const int32_t *restrict counts,
                                  const int32_t *restrict weights, size_t taps) {
    typedef int32_t sums_t __attribute__((vector_size(64)));
    typedef uint8_t bytes_t __attribute__((vector_size(16)));
    for (size_t i = 0; i < new_width; i++) {
        const uint8_t *pixel = in + (size_t)firsts[i] * 3;
        const int32_t *weight = weights + i * taps;
        const size_t count = (size_t)counts[i];
        sums_t sums = (sums_t){} + (1 << (FRACTION_BITS - 1));
        bytes_t bytes;
        for (size_t k = 0; k < count; k++) {
            for (size_t y = 0; y < 4; y++) memcpy((uint8_t *)&bytes + 4 * y, pixel + y * width * 3 + 3 * k, 4);
            sums += __builtin_convertvector(bytes, sums_t) * weight[k];
        }
        sums = __builtin_elementwise_max(sums >> FRACTION_BITS, (sums_t){});
        sums = __builtin_elementwise_min(sums, (sums_t){} + 255);
        bytes = __builtin_convertvector(sums, bytes_t);
        for (size_t y = 0; y < 4; y++) memcpy(out + (y * new_width + i) * 3, (uint8_t *)&bytes + 4 * y, 3);
    }
}

TF_KERNEL void tf_resample_across(const uint8_t *restrict in, uint8_t *restrict out, size_t rows, size_t width,
                                  size_t new_width, const int32_t *restrict firsts, const int32_t *restrict counts,
                                  const int32_t *restrict weights, size_t taps) {
    size_t y = 0;
    for (; y + 4 < rows; y += 4) {
        resample_four_rows(in + y * width * 3, out + y * new_width * 3, width, new_width, firsts, counts, weights, taps);
    }
    for (; y < rows; y++) {
        const uint8_t *from = in + y * width * 3;
        uint8_t *to = out + y * new_width * 3;
        for (size_t i = 0; i < new_width; i++) {
            const uint8_t *pixel = from + (size_t)firsts[i] * 3;
            const int32_t *weight = weights + i * taps;
            const size_t count = (size_t)counts[i];
            int32_t red = 1 << (FRACTION_BITS - 1), green = red, blue = red;
            for (size_t k = 0; k < count; k++) {
                red += pixel[3 * k] * weight[k];
                green += pixel[3 * k + 1] * weight[k];
                blue += pixel[3 * k + 2] * weight[k];
            }
            to[3 * i] = clipped(red);
            to[3 * i + 1] = clipped(green);
            to[3 * i + 2] = clipped(blue);
        }
    }
}

TF_KERNEL void tf_resample_down(const uint8_t *restrict in, uint8_t *restrict out, size_t width, size_t new_height,
                                const int32_t *restrict firsts, const int32_t *restrict counts,
                                const int32_t *restrict weights, size_t taps) {
    // So many columns at once that their sums stay in registers or the nearest memory.
    enum { BLOCK = 256 };
    for (size_t i = 0; i < new_height; i++) {
        const uint8_t *from = in + (size_t)firsts[i] * width;
        const int32_t *weight = weights + i * taps;
        const size_t count = (size_t)counts[i];
        for (size_t start = 0; start < width; start += BLOCK) {
            const size_t columns = width - start < BLOCK ? width - start : BLOCK;
            int32_t sums[BLOCK];
            for (size_t x = 0; x < columns; x++) sums[x] = 1 << (FRACTION_BITS - 1);
            for (size_t k = 0; k < count; k++) {
                const uint8_t *row = from + k * width + start;
                for (size_t x = 0; x < columns; x++) sums[x] += row[x] * weight[k];
            }
            for (size_t x = 0; x < columns; x++) out[i * width + start + x] = clipped(sums[x]);
        }
    }
}

TF_KERNEL void tf_resample_across_f32(const float *restrict in, float *restrict out, size_t rows, size_t width,
                                      size_t new_width, const int32_t *restrict firsts,
                                      const int32_t *restrict counts, const double *restrict weights, size_t taps) {
    for (size_t y = 0; y < rows; y++) {
        for (size_t i = 0; i < new_width; i++) {
            const float *pixel = in + (y * width + (size_t)firsts[i]) * 3;
            double sums[3] = {0, 0, 0};
            for (size_t k = 0; k < (size_t)counts[i]; k++) {
                for (size_t c = 0; c < 3; c++) sums[c] += (double)pixel[3 * k + c] * weights[i * taps + k];
            }
            for (size_t c = 0; c < 3; c++) out[(y * new_width + i) * 3 + c] = (float)sums[c];
        }
    }
}

TF_KERNEL void tf_resample_down_f32(const float *restrict in, float *restrict out, size_t width, size_t new_height,
                                    const int32_t *restrict firsts, const int32_t *restrict counts,
                                    const double *restrict weights, size_t taps) {
    enum { BLOCK = 256 };
    for (size_t i = 0; i < new_height; i++) {
        for (size_t start = 0; start < width; start += BLOCK) {
            const size_t columns = width - start < BLOCK ? width - start : BLOCK;
            double sums[BLOCK] = {0};
            for (size_t k = 0; k < (size_t)counts[i]; k++) {
                const float *row = in + ((size_t)firsts[i] + k) * width + start;
                for (size_t x = 0; x < columns; x++) sums[x] += (double)row[x] * weights[i * taps + k];
            }
            for (size_t x = 0; x < columns; x++) out[i * width + start + x] = (float)sums[x];
        }
    }
}
