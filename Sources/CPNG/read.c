// Reading of PNG pictures. The header says what the functions do.

#include "CPNG.h"

#include <setjmp.h>
#include <stdio.h>
#include <string.h>

typedef struct {
    const uint8_t *next;
    size_t left;
} source;

static void take(png_structp png, png_bytep to, size_t count) {
    source *from = png_get_io_ptr(png);
    if (count > from->left) png_error(png, "the file is cut off");
    memcpy(to, from->next, count);
    from->next += count;
    from->left -= count;
}

static void fail(png_structp png, png_const_charp text) {
    snprintf(png_get_error_ptr(png), TF_PNG_MESSAGE_BYTES, "%s", text);
    png_longjmp(png, 1);
}

static void ignore(png_structp png, png_const_charp text) {
    (void)png;
    (void)text;
}

/// Reads up to the pixels and asks for them in 8 bits, as red, green, blue and perhaps alpha.
static void read_shape(png_structp png, png_infop info, tf_png_shape *shape) {
    png_set_benign_errors(png, 1);
    // How large a picture may be is the caller's choice.
    png_set_user_limits(png, PNG_UINT_31_MAX, PNG_UINT_31_MAX);
    // Chunks that the pixels do not need, those for gamma and colour profiles among them, are passed over.
    png_set_keep_unknown_chunks(png, PNG_HANDLE_CHUNK_NEVER, NULL, -1);
    png_read_info(png, info);
    const int is_transparent =
        (png_get_color_type(png, info) & PNG_COLOR_MASK_ALPHA) || png_get_valid(png, info, PNG_INFO_tRNS);
    png_set_expand(png);
    png_set_strip_16(png);
    png_set_gray_to_rgb(png);
    shape->width = png_get_image_width(png, info);
    shape->height = png_get_image_height(png, info);
    shape->channels = is_transparent ? 4 : 3;
}

static void read_pixels(png_structp png, png_infop info, tf_png_shape shape, uint8_t *pixels) {
    const int passes = png_set_interlace_handling(png);
    png_read_update_info(png, info);
    const size_t row_bytes = (size_t)shape.width * shape.channels;
    if (png_get_rowbytes(png, info) != row_bytes) png_error(png, "unexpected width of rows");
    for (int pass = 0; pass < passes; pass++) {
        for (uint32_t y = 0; y < shape.height; y++) png_read_row(png, pixels + y * row_bytes, NULL);
    }
}

/// - `pixels`: NULL to read the shape alone.
static int read_png(
    const void *bytes, size_t count, tf_png_shape *shape, uint8_t *pixels, char message[TF_PNG_MESSAGE_BYTES]) {
    source from = {bytes, count};
    png_structp png = png_create_read_struct(PNG_LIBPNG_VER_STRING, message, fail, ignore);
    png_infop info = png ? png_create_info_struct(png) : NULL;
    if (!info) {
        snprintf(message, TF_PNG_MESSAGE_BYTES, "there is no memory for it");
        png_destroy_read_struct(&png, NULL, NULL);
        return -1;
    }
    // Nothing above is changed after this point, so it is what it was when a longjmp comes back.
    if (setjmp(png_jmpbuf(png))) {
        png_destroy_read_struct(&png, &info, NULL);
        return -1;
    }
    png_set_read_fn(png, &from, take);
    tf_png_shape found;
    read_shape(png, info, &found);
    if (pixels) {
        if (memcmp(&found, shape, sizeof found) != 0) png_error(png, "it changed while it was read");
        read_pixels(png, info, found, pixels);
    } else {
        *shape = found;
    }
    png_destroy_read_struct(&png, &info, NULL);
    return 0;
}

int tf_png_read_shape(const void *bytes, size_t count, tf_png_shape *shape, char message[TF_PNG_MESSAGE_BYTES]) {
    return read_png(bytes, count, shape, NULL, message);
}

int tf_png_read_pixels(
    const void *bytes, size_t count, tf_png_shape shape, uint8_t *pixels, char message[TF_PNG_MESSAGE_BYTES]) {
    return read_png(bytes, count, &shape, pixels, message);
}
