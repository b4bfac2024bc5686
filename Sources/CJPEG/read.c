// Reading of JPEG pictures. The header says what the functions do.

#include "CJPEG.h"

#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
// After stdio.h, which it needs.
#include <jpeglib.h>
#include <jerror.h>

/// A picture in more parts than these is refused: each of them may cost as much as all pixels.
enum { MOST_SCANS = 256 };

typedef struct {
    struct jpeg_error_mgr errors;
    jmp_buf jump;
    char *message;
} failure;

_Noreturn static void fail(j_common_ptr common) {
    failure *to = (failure *)common->err;
    char text[JMSG_LENGTH_MAX];
    common->err->format_message(common, text);
    snprintf(to->message, TF_JPEG_MESSAGE_BYTES, "%s", text);
    longjmp(to->jump, 1);
}

_Noreturn static void fail_with(j_common_ptr common, const char *text) {
    failure *to = (failure *)common->err;
    snprintf(to->message, TF_JPEG_MESSAGE_BYTES, "%s", text);
    longjmp(to->jump, 1);
}

static void ignore(j_common_ptr common) { (void)common; }

/// The library goes on after damage, with pixels that it makes up.
static void hear(j_common_ptr common, int level) {
    if (level >= 0) return;
    switch (common->err->msg_code) {
    case JWRN_EXTRANEOUS_DATA:
    case JWRN_ADOBE_XFORM:
    case JWRN_JFIF_MAJOR:
    case JWRN_TOO_MUCH_DATA: break;
    case JWRN_JPEG_EOF: fail_with(common, "the file is cut off");
    default: fail(common);
    }
}

static void count_scans(j_common_ptr common) {
    if (((j_decompress_ptr)common)->input_scan_number > MOST_SCANS) fail_with(common, "it has too many parts (scans)");
}

/// Red, green and blue from inverted cyan, magenta, yellow and black: (255 − k)·(255 − c) / 255 with inks that are inverted, rounded.
static void from_inks(const uint8_t *inks, uint8_t *rgb, size_t width) {
    for (size_t x = 0; x < width; x++) {
        const unsigned light = inks[4 * x + 3];
        for (size_t channel = 0; channel < 3; channel++) {
            const unsigned product = (255u - inks[4 * x + channel]) * light + 128;
            rgb[3 * x + channel] = (uint8_t)(light - (((product >> 8) + product) >> 8));
        }
    }
}

static void read_rows(j_decompress_ptr jpeg, uint8_t *rgb, uint8_t *row) {
    const size_t width = jpeg->output_width;
    while (jpeg->output_scanline < jpeg->output_height) {
        uint8_t *to = rgb + (size_t)jpeg->output_scanline * width * 3;
        JSAMPROW into = jpeg->output_components == 3 ? to : row;
        if (jpeg_read_scanlines(jpeg, &into, 1) != 1) fail_with((j_common_ptr)jpeg, "the file is cut off");
        if (jpeg->output_components == 4) {
            from_inks(row, to, width);
        } else if (jpeg->output_components == 1) {
            for (size_t x = 0; x < width; x++) memset(to + 3 * x, row[x], 3);
        }
    }
}

static void read_header(j_decompress_ptr jpeg) {
    jpeg_read_header(jpeg, TRUE);
    switch (jpeg->num_components) {
    case 1: jpeg->out_color_space = JCS_GRAYSCALE; break;
    case 3: jpeg->out_color_space = JCS_RGB; break;
    case 4: jpeg->out_color_space = JCS_CMYK; break;
    default: fail_with((j_common_ptr)jpeg, "it has neither 1, 3 nor 4 channels");
    }
}

/// - `rgb`: NULL to read the shape alone.
/// - `row`: Room for a row of four channels.
static int read_jpeg(
    const void *bytes, size_t count, tf_jpeg_shape *shape, uint8_t *rgb, uint8_t *row,
    char message[TF_JPEG_MESSAGE_BYTES]) {
    struct jpeg_decompress_struct jpeg;
    struct jpeg_progress_mgr progress = {.progress_monitor = count_scans};
    failure errors;
    memset(&jpeg, 0, sizeof jpeg);
    jpeg.err = jpeg_std_error(&errors.errors);
    errors.errors.error_exit = fail;
    errors.errors.emit_message = hear;
    errors.errors.output_message = ignore;
    errors.message = message;
    // Nothing above is changed after this point, so it is what it was when a longjmp comes back.
    if (setjmp(errors.jump)) {
        jpeg_destroy_decompress(&jpeg);
        return -1;
    }
    jpeg_create_decompress(&jpeg);
    jpeg.progress = &progress;
    jpeg_mem_src(&jpeg, bytes, count);
    read_header(&jpeg);
    const tf_jpeg_shape found = {jpeg.image_width, jpeg.image_height};
    if (rgb) {
        if (memcmp(&found, shape, sizeof found) != 0) {
            fail_with((j_common_ptr)&jpeg, "it changed while it was read");
        }
        jpeg_start_decompress(&jpeg);
        read_rows(&jpeg, rgb, row);
        // The last part has to be whole too.
        jpeg_finish_decompress(&jpeg);
    } else {
        *shape = found;
    }
    jpeg_destroy_decompress(&jpeg);
    return 0;
}

int tf_jpeg_read_shape(const void *bytes, size_t count, tf_jpeg_shape *shape, char message[TF_JPEG_MESSAGE_BYTES]) {
    return read_jpeg(bytes, count, shape, NULL, NULL, message);
}

int tf_jpeg_read_pixels(
    const void *bytes, size_t count, tf_jpeg_shape shape, uint8_t *rgb, char message[TF_JPEG_MESSAGE_BYTES]) {
    uint8_t *row = malloc((size_t)shape.width * 4);
    if (!row) {
        snprintf(message, TF_JPEG_MESSAGE_BYTES, "there is no memory for it");
        return -1;
    }
    const int status = read_jpeg(bytes, count, &shape, rgb, row, message);
    free(row);
    return status;
}
