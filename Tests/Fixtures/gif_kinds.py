"""Writes gif_kinds.safetensors: small GIF files of every kind, and what Pillow makes of them.

    pip install pillow numpy safetensors; python gif_kinds.py

For each file `name.file` are its bytes and `name.pixels` [height, width, 3] what Pillow reads of its first picture, laid on white.
Files come from Pillow, and from an encoder here that does what Pillow's does not: tables that stay full, frames that are smaller or
larger than the screen, palettes that are too short or not there.
"""

import io
import pathlib
import struct

import numpy
from PIL import Image
from safetensors.numpy import save_file

tensors = {}
random = numpy.random.default_rng(3)


def add(name, file):
    picture = Image.open(io.BytesIO(file)).convert("RGBA")
    white = Image.new("RGB", picture.size, (255, 255, 255))
    white.paste(picture, mask=picture.getchannel("A"))
    assert f"{name}.file" not in tensors, name
    tensors[f"{name}.file"] = numpy.frombuffer(file, numpy.uint8)
    tensors[f"{name}.pixels"] = numpy.asarray(white)


def scene(width, height, colours):
    """Indices of colours: ramps, with noise in one half."""
    y, x = numpy.mgrid[0:height, 0:width]
    ramp = (x * 3 + y * 5) // 4 % colours
    return numpy.where(x > width // 2, random.integers(0, colours, (height, width)), ramp).astype(numpy.uint8)


def palette(colours, seed=1):
    return numpy.random.default_rng(seed).integers(0, 256, 3 * colours).astype(numpy.uint8).tobytes()


def codes(indices, shortest, clears):
    """The codes of LZW. When the table is full, it is cleared, or stays as it is."""
    clear, value, count = 1 << shortest, 0, 0
    parts = []

    def put(code, size):
        parts.append((code, size))

    table, size, text = {}, shortest + 1, ()
    put(clear, size)
    table = {(index,): index for index in range(clear)}
    following = clear + 2
    for index in indices:
        if text + (index,) in table:
            text += (index,)
            continue
        put(table[text], size)
        if following < 4096:
            table[text + (index,)] = following
            following += 1
            if following > 1 << size and size < 12:
                size += 1
        elif clears:
            put(clear, size)
            table, following, size = {(i,): i for i in range(clear)}, clear + 2, shortest + 1
        text = (index,)
    put(table[text], size)
    put(clear + 1, size)
    for code, size in parts:
        value |= code << count
        count += size
    data = value.to_bytes((count + 7) // 8, "little")
    blocks = [data[start : start + 255] for start in range(0, len(data), 255)]
    return bytes([shortest]) + b"".join(bytes([len(block)]) + block for block in blocks) + b"\0"


def encoded(
    indices, screen=None, at=(0, 0), colours=None, local=None, transparent=None, interlaced=False, before=b"", clears=True
):
    height, width = indices.shape
    flags = lambda table: 0x80 | (len(table) // 3).bit_length() - 2 if table else 0
    file = b"GIF89a" + struct.pack("<HHBBB", *(screen or (width, height)), flags(colours), 1, 0) + (colours or b"")
    file += before
    if transparent is not None:
        file += b"!\xf9\x04" + struct.pack("<BHB", 1, 5, transparent) + b"\0"
    rows = range(height)
    if interlaced:
        rows = [*range(0, height, 8), *range(4, height, 8), *range(2, height, 4), *range(1, height, 2)]
    file += b"," + struct.pack("<HHHHB", *at, width, height, flags(local) | 0x40 * interlaced) + (local or b"")
    most = max(int(indices.max()) + 1, 4)
    shortest = (most - 1).bit_length()
    return file + codes(indices[list(rows)].flatten().tolist(), shortest, clears) + b";"


def saved(picture, **options):
    buffer = io.BytesIO()
    picture.save(buffer, "GIF", **options)
    return buffer.getvalue()


for number, (width, height) in enumerate([(1, 1), (7, 5), (16, 16), (33, 9), (9, 33), (40, 31)]):
    for colours in (2, 16, 256):
        picture = Image.fromarray(scene(width, height, colours))
        picture.putpalette(palette(colours))
        interlace = (number + colours // 16) % 2
        add(f"pillow {width}x{height} {colours}", saved(picture, interlace=interlace))
        add(f"pillow {width}x{height} {colours} transparent", saved(picture, interlace=1 - interlace, transparency=1))
    add(f"pillow {width}x{height} grey", saved(Image.fromarray(scene(width, height, 256))))
    inks = Image.fromarray(random.integers(0, 256, (height, width, 4)).astype(numpy.uint8))
    add(f"pillow {width}x{height} rgba", saved(inks))
frames = [Image.fromarray(scene(20, 14, 8) * 30) for _ in range(3)]
for disposal in range(4):
    add(f"animated {disposal}", saved(frames[0], save_all=True, append_images=frames[1:], disposal=disposal, loop=0))
noise = random.integers(0, 200, (90, 90)).astype(numpy.uint8)
for clears in (True, False):
    add(f"full table {clears}", encoded(noise, colours=palette(256), clears=clears))
    add(f"runs {clears}", encoded(noise // 120 + numpy.uint8(1), colours=palette(4), clears=clears, interlaced=True))
small = scene(6, 5, 4)
comment = b"!\xfe\x03abc\x02de\0" + b"!\xff\x0bNETSCAPE2.0\x03\x01\0\0\0" + b"!\xf9\x04\0\0\0\x07\0"
add("comments", encoded(small, colours=palette(4), before=comment))
add("bytes between", encoded(small, colours=palette(4), before=b"\0\0x"))
for transparent in (None, 2, 7):
    name = "" if transparent is None else f" transparent {transparent}"
    options = {"transparent": transparent}
    add(f"part of the screen{name}", encoded(small, (9, 8), (2, 1), palette(4), **options))
    add(f"beyond the screen{name}", encoded(small, (4, 3), (1, 2), palette(4), **options))
    add(f"no screen{name}", encoded(small, (0, 0), (0, 0), palette(4), **options))
    add(f"own palette{name}", encoded(small, (9, 8), (0, 0), palette(8), palette(4, 2), **options))
    add(f"no palette{name}", encoded(small, (9, 8), (2, 1), **options))
    add(f"short palette{name}", encoded(scene(6, 5, 8), (9, 8), (2, 1), palette(4), **options))
    grey = bytes(value for index in range(4) for value in (index, index, index))
    add(f"grey palette{name}", encoded(scene(6, 5, 8), (9, 8), (2, 1), grey, **options))
    # Of a grey palette of the frame beside another of the screen Pillow takes the wrong one.
add("87a", b"GIF87a" + encoded(small, colours=palette(4))[6:])

path = pathlib.Path(__file__).parent / "gif_kinds.safetensors"
save_file(tensors, path)
print(f"{len(tensors) // 2} files, {path.stat().st_size} bytes")
