// Reading of WebP pictures. The header says what the functions do.

#include "CWebP.h"

#include <stdio.h>
#include <webp/decode.h>
#include <webp/demux.h>

static int fail(char message[TF_WEBP_MESSAGE_BYTES], const char *text) {
    snprintf(message, TF_WEBP_MESSAGE_BYTES, "%s", text);
    return -1;
}

static tf_webp_shape canvas(const WebPDemuxer *demuxer) {
    const tf_webp_shape shape = {
        WebPDemuxGetI(demuxer, WEBP_FF_CANVAS_WIDTH), WebPDemuxGetI(demuxer, WEBP_FF_CANVAS_HEIGHT)};
    return shape;
}

/// Opens a file that is whole.
static WebPDemuxer *open(const void *bytes, size_t count, char message[TF_WEBP_MESSAGE_BYTES]) {
    const WebPData data = {bytes, count};
    WebPDemuxState state;
    WebPDemuxer *demuxer = WebPDemuxPartial(&data, &state);
    if (demuxer && state == WEBP_DEMUX_DONE) return demuxer;
    WebPDemuxDelete(demuxer);
    fail(message, state == WEBP_DEMUX_PARSE_ERROR ? "its parts make no picture" : "the file is cut off");
    return NULL;
}

static int read_frame(
    const WebPIterator *frame, tf_webp_shape shape, uint8_t *rgba, char message[TF_WEBP_MESSAGE_BYTES]) {
    const int64_t right = (int64_t)frame->x_offset + frame->width, bottom = (int64_t)frame->y_offset + frame->height;
    if (frame->x_offset < 0 || frame->y_offset < 0 || right > shape.width || bottom > shape.height) {
        return fail(message, "its first frame is larger than the picture");
    }
    WebPDecoderConfig configuration;
    if (!WebPInitDecoderConfig(&configuration)) return fail(message, "libwebp has another version");
    const size_t stride = (size_t)shape.width * 4;
    const size_t start = frame->y_offset * stride + (size_t)frame->x_offset * 4;
    configuration.output.colorspace = MODE_RGBA;
    configuration.output.is_external_memory = 1;
    configuration.output.u.RGBA.rgba = rgba + start;
    configuration.output.u.RGBA.stride = (int)stride;
    configuration.output.u.RGBA.size = shape.height * stride - start;
    switch (WebPDecode(frame->fragment.bytes, frame->fragment.size, &configuration)) {
    case VP8_STATUS_OK: return 0;
    case VP8_STATUS_OUT_OF_MEMORY: return fail(message, "there is no memory for it");
    case VP8_STATUS_SUSPENDED:
    case VP8_STATUS_NOT_ENOUGH_DATA: return fail(message, "the file is cut off");
    default: return fail(message, "its pixels are damaged");
    }
}

int tf_webp_read_shape(const void *bytes, size_t count, tf_webp_shape *shape, char message[TF_WEBP_MESSAGE_BYTES]) {
    WebPDemuxer *demuxer = open(bytes, count, message);
    if (!demuxer) return -1;
    *shape = canvas(demuxer);
    WebPDemuxDelete(demuxer);
    return 0;
}

int tf_webp_read_pixels(
    const void *bytes, size_t count, tf_webp_shape shape, uint8_t *rgba, char message[TF_WEBP_MESSAGE_BYTES]) {
    WebPDemuxer *demuxer = open(bytes, count, message);
    if (!demuxer) return -1;
    const tf_webp_shape found = canvas(demuxer);
    WebPIterator frame;
    int status;
    if (found.width != shape.width || found.height != shape.height) {
        status = fail(message, "it changed while it was read");
    } else if (!WebPDemuxGetFrame(demuxer, 1, &frame)) {
        status = fail(message, "it has no picture");
    } else {
        status = read_frame(&frame, shape, rgba, message);
        WebPDemuxReleaseIterator(&frame);
    }
    WebPDemuxDelete(demuxer);
    return status;
}
