#pragma once
// A thin shim over libjpeg-turbo: its errors are long jumps, which must not pass through Swift.
#include <stddef.h>
#include <stdint.h>

enum { TF_JPEG_MESSAGE_BYTES = 256 };

typedef struct {
    uint32_t width;
    uint32_t height;
} tf_jpeg_shape;

/// Reads what comes before the pixels. Returns 0 on success, else -1 and a text in `message`.
int tf_jpeg_read_shape(const void *bytes, size_t count, tf_jpeg_shape *shape, char message[TF_JPEG_MESSAGE_BYTES]);

/// Reads the pixels with the accurate inverse transform and smooth upsampling. Grey becomes red, green and blue; four inks are
/// taken as Adobe stores them (inverted). What is cut off or damaged is an error. Returns as above.
/// - `rgb`: `[height, width, 3]` of the shape that tf_jpeg_read_shape gave for the same bytes.
int tf_jpeg_read_pixels(
    const void *bytes, size_t count, tf_jpeg_shape shape, uint8_t *rgb, char message[TF_JPEG_MESSAGE_BYTES]);
