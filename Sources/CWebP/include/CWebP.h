#pragma once
// A thin shim over libwebp, whose macros and version-checked structs Swift does not see.
#include <stddef.h>
#include <stdint.h>

enum { TF_WEBP_MESSAGE_BYTES = 256 };

typedef struct {
    uint32_t width;
    uint32_t height;
} tf_webp_shape;

/// Reads what comes before the pixels and checks that all parts of the file are there. Returns 0 on success, else -1 and a text
/// in `message`.
int tf_webp_read_shape(const void *bytes, size_t count, tf_webp_shape *shape, char message[TF_WEBP_MESSAGE_BYTES]);

/// Reads the pixels; of an animation those of the first frame on its canvas. Returns as above.
/// - `rgba`: `[height, width, 4]` of the shape that tf_webp_read_shape gave for the same bytes; zeros. Alpha is not multiplied in.
int tf_webp_read_pixels(
    const void *bytes, size_t count, tf_webp_shape shape, uint8_t *rgba, char message[TF_WEBP_MESSAGE_BYTES]);
