#pragma once
// libpng with its errors as return values: it reports them by longjmp, which must not cross Swift.
//
// libpng's simplified interface (png_image) is only for writing. Reading, it takes 16-bit samples for linear light and
// applies gamma chunks; here the numbers in the file are the numbers of the picture, as other programs of this trade
// read them.

#include <png.h>
#include <stddef.h>
#include <stdint.h>

#define TF_PNG_MESSAGE_BYTES 128

typedef struct {
    uint32_t width;
    uint32_t height;
    /// Bytes of a pixel: 3 (red, green, blue), or 4 where the picture has transparency (alpha last, not multiplied in).
    uint32_t channels;
} tf_png_shape;

/// Reads what comes before the pixels. Returns 0 on success, else -1 and a text in `message`.
int tf_png_read_shape(const void *bytes, size_t count, tf_png_shape *shape, char message[TF_PNG_MESSAGE_BYTES]);

/// Reads the pixels, row by row from the top. Of 16-bit samples the upper byte is taken. Returns as above.
/// - `pixels`: `[height, width, channels]` of the shape that tf_png_read_shape gave for the same bytes.
int tf_png_read_pixels(
    const void *bytes, size_t count, tf_png_shape shape, uint8_t *pixels, char message[TF_PNG_MESSAGE_BYTES]);
