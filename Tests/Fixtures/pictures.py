"""Makes the PNG fixtures with the pixels that Pillow reads from them: pip install pillow; python pictures.py

Writes pictures/*.png, each of another kind, and pictures/expected.json. Pillow cannot write most of these kinds, so they are
written here by hand. What is transparent is pasted onto white. Pillow keeps grey of 16 bits as it is, and clips it at 255 when
it is converted; for it the upper 8 bits are expected, which is what Pillow takes of every other kind of 16 bits.
"""

import json
import pathlib
import struct
import zlib

from PIL import Image

FOLDER = pathlib.Path(__file__).parent / "pictures"
GREY, RGB, PALETTE, GREY_ALPHA, RGB_ALPHA = 0, 2, 3, 4, 6
CHANNELS = {GREY: 1, RGB: 3, PALETTE: 1, GREY_ALPHA: 2, RGB_ALPHA: 4}
WIDTH, HEIGHT = 9, 5
GAMMA_LINEAR = (b"gAMA", struct.pack(">I", 100000))
GAMMA_SRGB = (b"gAMA", struct.pack(">I", 45455))
SRGB = (b"sRGB", b"\0")


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def packed(samples, bits):
    """One row of samples as bytes, the first in the highest bits."""
    if bits == 16:
        return b"".join(struct.pack(">H", sample) for sample in samples)
    row = 0
    for sample in samples:
        row = row << bits | sample
    count = len(samples) * bits
    return (row << -count % 8).to_bytes((count + 7) // 8, "big")


def passes(interlaced):
    """First column, column step, first row and row step of each pass."""
    if not interlaced:
        return [(0, 1, 0, 1)]
    return [(0, 8, 0, 8), (4, 8, 0, 8), (0, 4, 4, 8), (2, 4, 0, 4), (0, 2, 2, 4), (1, 2, 0, 2), (0, 1, 1, 2)]


def encode(colour, bits, chunks=(), interlaced=False):
    channels, largest = CHANNELS[colour], 2**bits - 1

    def sample(x, y, channel):
        # A ramp in each channel, from the least to the most, that goes another way in the next.
        place = (y * WIDTH + x + channel * 17) % (WIDTH * HEIGHT)
        return largest * place // (WIDTH * HEIGHT - 1)

    raw = b""
    for left, across, top, down in passes(interlaced):
        for y in range(top, HEIGHT, down):
            row = [sample(x, y, channel) for x in range(left, WIDTH, across) for channel in range(channels)]
            if row:
                raw += b"\0" + packed(row, bits)
    header = struct.pack(">IIBBBBB", WIDTH, HEIGHT, bits, colour, 0, 0, int(interlaced))
    parts = [(b"IHDR", header), *chunks, (b"IDAT", zlib.compress(raw)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*part) for part in parts)


def write(name, *kind, **options):
    path = FOLDER / f"{name}.png"
    path.write_bytes(encode(*kind, **options))
    return path


def pixels(file):
    picture = Image.open(file)
    if picture.mode == "I;16":
        return [value >> 8 for value in picture.get_flattened_data() for _ in range(3)]
    picture = picture.convert("RGBA")
    white = Image.new("RGB", picture.size, (255, 255, 255))
    white.paste(picture, mask=picture.getchannel("A"))
    return list(white.tobytes())


palette = (b"PLTE", bytes(value * 37 % 256 for value in range(3 * 256)))
small_palette = (b"PLTE", bytes([200, 10, 90, 0, 255, 30, 7, 8, 9, 250, 251, 252]))


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    written = [
        write("grey16", GREY, 16),
        write("grey16-gamma", GREY, 16, [GAMMA_LINEAR]),
        write("grey16-srgb", GREY, 16, [SRGB]),
        write("rgb16", RGB, 16),
        write("rgb16-gamma", RGB, 16, [GAMMA_SRGB]),
        write("rgb16-interlaced", RGB, 16, interlaced=True),
        write("grey-alpha16", GREY_ALPHA, 16),
        write("rgb-alpha16", RGB_ALPHA, 16),
        write("grey8-gamma", GREY, 8, [GAMMA_LINEAR]),
        write("rgb8-gamma", RGB, 8, [GAMMA_LINEAR]),
        write("rgb-alpha8-gamma", RGB_ALPHA, 8, [GAMMA_LINEAR]),
        write("rgb-alpha8-interlaced", RGB_ALPHA, 8, interlaced=True),
        write("grey1", GREY, 1),
        write("grey2", GREY, 2),
        write("grey4", GREY, 4),
        write("grey8-transparent", GREY, 8, [(b"tRNS", struct.pack(">H", 255 * 20 // 44))]),
        write("rgb8-transparent", RGB, 8, [(b"tRNS", struct.pack(">HHH", 0, 255 * 17 // 44, 255 * 34 // 44))]),
        write("palette2", PALETTE, 2, [small_palette]),
        write("palette8-transparent", PALETTE, 8, [palette, (b"tRNS", bytes(range(0, 256, 2)))]),
    ]
    expected = {path.stem: {"width": WIDTH, "height": HEIGHT, "rgb": pixels(path)} for path in written}
    lines = [f'"{name}": {json.dumps(picture)}' for name, picture in expected.items()]
    (FOLDER / "expected.json").write_text("{\n" + ",\n".join(lines) + "\n}\n")
