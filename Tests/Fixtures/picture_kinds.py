"""Writes picture_kinds.safetensors: small files of every kind, and what Pillow makes of them.

    pip install pillow==12.0.0 numpy safetensors; apt-get install libjpeg-turbo-progs; python picture_kinds.py

For each file `name.file` are its bytes, `name.pixels` [height, width, 3] what Pillow reads, turned by the EXIF orientation and laid
on white, `name.crop` the centred square and `name.pad` the whole picture on white, resized; cases without a file are about resizing alone. A
name says the filter and the size. JPEG comes from Pillow and from cjpeg, which knows more ways of sampling.
Pillow 13 goes down before it goes across for some shapes that are not square; all before it go across first, as it is done here.
"""

import io
import pathlib
import random
import struct
import subprocess
import tempfile

import numpy
from PIL import Image, ImageOps, features
from safetensors.numpy import save_file

import pictures

random.seed(7)
SIZES = [1, 2, 3, 5, 8, 11, 16, 24]
tensors = {}


def scene(width, height, channels=3):
    """Ramps with an edge and some noise, so that every way of decoding shows."""
    y, x = numpy.mgrid[0:height, 0:width]
    source = numpy.random.default_rng(width * 1000 + height * 10 + channels)
    layers = [128 + 120 * numpy.sin((x * (c + 1) + y * (3 - c)) / 5.0 + c) for c in range(channels)]
    picture = numpy.stack(layers, -1) + source.integers(-20, 21, (height, width, channels))
    picture[(x > width // 2) & (y < height // 2)] = numpy.arange(channels) * 60
    return numpy.clip(picture, 0, 255).astype(numpy.uint8)


def image(mode, width, height):
    channels = {"L": 1, "LA": 2, "RGB": 3, "RGBA": 4, "CMYK": 4}[mode]
    pixels = scene(width, height, channels)
    return Image.fromarray(pixels[..., 0] if channels == 1 else pixels, mode)


def on_white(file):
    picture = ImageOps.exif_transpose(Image.open(io.BytesIO(file)))
    if picture.mode == "I;16":
        picture = Image.fromarray((numpy.asarray(picture) >> 8).astype(numpy.uint8))
    if picture.mode in ("CMYK", "L", "RGB") and "transparency" not in picture.info:
        return picture.convert("RGB")
    picture = picture.convert("RGBA")
    white = Image.new("RGB", picture.size, (255, 255, 255))
    white.paste(picture, mask=picture.getchannel("A"))
    return white


def add(name, file=None, picture=None):
    size = SIZES[len(tensors) % len(SIZES)]
    kind = ["bicubic", "lanczos"][len(tensors) // 3 % 2]
    name = f"{name} {kind} {size}"
    assert f"{name}.pixels" not in tensors, name
    if file is not None:
        picture = on_white(file)
        tensors[f"{name}.file"] = numpy.frombuffer(file, numpy.uint8)
    filter = Image.Resampling[kind.upper()]
    side = min(picture.size)
    left, top = (picture.width - side) // 2, (picture.height - side) // 2
    cropped = picture.crop((left, top, left + side, top + side)).resize((size, size), filter)
    short = round(side / max(picture.size) * size)
    for key, value in [
        ("pixels", picture),
        ("crop", cropped),
        ("pad", ImageOps.pad(picture, (size, size), filter, color=(255, 255, 255)) if short else None),
    ]:
        if value is not None:
            tensors[f"{name}.{key}"] = numpy.asarray(value)


def saved(picture, format, **options):
    buffer = io.BytesIO()
    picture.save(buffer, format, **options)
    return buffer.getvalue()


def exif(orientation, order="<"):
    head = b"II*\0" if order == "<" else b"MM\0*"
    entries = [(0x0100, 4, 1, 77), (0x0112, 3, 1, orientation), (0x0128, 3, 1, 2)]
    body = b"".join(
        struct.pack(order + "HHI", *entry[:3])
        + (struct.pack(order + "I", entry[3]) if entry[1] == 4 else struct.pack(order + "HH", entry[3], 0))
        for entry in entries
    )
    return b"Exif\0\0" + head + struct.pack(order + "IH", 8, len(entries)) + body + bytes(4)


def add_png():
    depths = {
        pictures.GREY: (1, 2, 4, 8, 16),
        pictures.RGB: (8, 16),
        pictures.PALETTE: (1, 2, 4, 8),
        pictures.GREY_ALPHA: (8, 16),
        pictures.RGB_ALPHA: (8, 16),
    }
    for colour, bits in ((colour, bits) for colour in depths for bits in depths[colour]):
        plain = []
        if colour == pictures.PALETTE:
            plain = [(b"PLTE", bytes(value * 37 % 256 for value in range(3 * 2**bits)))]
        for interlaced in (False, True):
            name = f"png {colour} {bits}{' interlaced' if interlaced else ''}"
            add(name, pictures.encode(colour, bits, plain, interlaced))
            add(name + " gamma", pictures.encode(colour, bits, [pictures.GAMMA_LINEAR, *plain], interlaced))
        if colour == pictures.PALETTE:
            opacity = (b"tRNS", bytes(range(255, 0, -64 if bits < 4 else -9))[: 2**bits])
            add(f"png {colour} {bits} transparent", pictures.encode(colour, bits, [*plain, opacity]))
        elif colour in (pictures.GREY, pictures.RGB) and bits == 8:
            clear = struct.pack(">H", 255 * 20 // 44) if colour == pictures.GREY else struct.pack(">HHH", 0, 98, 197)
            add(f"png {colour} {bits} transparent", pictures.encode(colour, bits, [(b"tRNS", clear)]))
    for orientation in range(1, 9):
        order = "<>"[orientation % 2]
        add(f"png exif {orientation}", saved(image("RGB", 7, 4), "PNG", exif=exif(orientation, order)))
    for mode in ("L", "LA", "RGB", "RGBA"):
        add(f"png pillow {mode}", saved(image(mode, 21, 14), "PNG"))


def add_jpeg():
    shapes = [(1, 1), (8, 8), (7, 5), (16, 16), (17, 13), (33, 9), (9, 33), (24, 24)]
    for number, (width, height) in enumerate(shapes):
        for subsampling in (0, 1, 2):
            for progressive in (False, True):
                quality = [10, 50, 75, 92, 100][(number + subsampling) % 5]
                name = f"jpeg {width}x{height} 4:{['4:4', '2:2', '2:0'][subsampling]} {quality}"
                options = {"quality": quality, "subsampling": subsampling, "progressive": progressive}
                add(name + " progressive" * progressive, saved(image("RGB", width, height), "JPEG", **options))
        for mode in ("L", "CMYK"):
            add(f"jpeg {width}x{height} {mode}", saved(image(mode, width, height), "JPEG", quality=80))
        inks = bytearray(saved(image("CMYK", width, height), "JPEG", quality=80))
        # The colour transform of Adobe's segment: 2 says that the first three inks are stored as YCbCr.
        inks[inks.index(b"Adobe") + 11] = 2
        add(f"jpeg {width}x{height} YCCK", bytes(inks))
    for orientation in range(1, 9):
        order = "><"[orientation % 2]
        add(f"jpeg exif {orientation}", saved(image("RGB", 11, 6), "JPEG", exif=exif(orientation, order)))
    ways = ["-sample 1x2", "-sample 4x1", "-sample 2x2 -restart 1", "-sample 1x4", "-sample 2x1,1x2", "-arithmetic"]
    for way in [*ways, "-sample 2x2 -progressive -restart 2B", "-rgb", "-grayscale -progressive", "-dct fast"]:
        raw = saved(image("RGB", 35, 19), "PPM")
        file = subprocess.run(["cjpeg", "-quality", "85", *way.split()], input=raw, capture_output=True, check=True)
        add(f"cjpeg {way}", file.stdout)
    # Parts of which each could come again.
    script = pathlib.Path(tempfile.mkdtemp()) / "scans"
    script.write_text("0 1 2: 0-0, 0, 0; 0: 1-63, 0, 0; 1: 1-63, 0, 0; 2: 1-63, 0, 0;")
    file = subprocess.run(["cjpeg", "-scans", script], input=raw, capture_output=True, check=True)
    add("cjpeg -scans", file.stdout)


def add_webp():
    for width, height in [(1, 1), (7, 5), (16, 16), (33, 9), (20, 31)]:
        for mode in ("RGB", "RGBA"):
            add(f"webp {width}x{height} {mode} lossless", saved(image(mode, width, height), "WEBP", lossless=True))
            for quality in (5, 60, 95):
                file = saved(image(mode, width, height), "WEBP", quality=quality)
                add(f"webp {width}x{height} {mode} {quality}", file)
    for orientation in range(1, 9):
        add(f"webp exif {orientation}", saved(image("RGB", 11, 6), "WEBP", lossless=True, exif=exif(orientation)))
    frames = [image("RGBA", 12, 10), Image.new("RGBA", (12, 10), (1, 2, 3, 255))]
    for lossless in (True, False):
        options = {"save_all": True, "append_images": frames[1:], "lossless": lossless}
        add(f"webp animated {lossless}", saved(frames[0], "WEBP", **options))


def add_sizes():
    for width, height in [(1, 50), (50, 1), (64, 48), (47, 90), (100, 99), (13, 13), (3, 2), (128, 5)]:
        for _ in range(3):
            add(f"size {width}x{height} {len(tensors)}", picture=image("RGB", width, height))


add_png()
add_jpeg()
add_webp()
add_sizes()
path = pathlib.Path(__file__).parent / "picture_kinds.safetensors"
save_file(tensors, path)
files = sum(key.endswith(".file") for key in tensors)
print(f"{files} files, {path.stat().st_size} bytes, libjpeg-turbo {features.version('libjpeg_turbo')}")
