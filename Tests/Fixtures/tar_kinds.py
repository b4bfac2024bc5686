"""Writes tar_kinds.safetensors: tar files of Python's tarfile in every format and packing.

    pip install numpy safetensors zstandard; python tar_kinds.py

`NAME.file` is a tar file, `NAME.expected` JSON of its members: name, kind and contents in hexadecimal.
"""

import gzip
import io
import json
import pathlib
import tarfile

import numpy
import zstandard
from safetensors.numpy import save_file

LONG = "folder-with-a-name/" * 4 + "0" * 60
tensors = {}


def members(format):
    yield "./000.jpg", "file", bytes(range(256)) * 3
    yield "000.txt", "file", b"a caption"
    yield "empty.txt", "file", b""
    yield "folder", "other", b""
    yield "block.json", "file", b"x" * 512
    yield "symbolic.jpg", "link", b""
    yield "hard.jpg", "link", b""
    yield LONG + ".jpg", "file", b"a long name, in two parts of the header"
    if format != tarfile.USTAR_FORMAT:
        yield "a" * 150 + "/" + "b" * 160 + ".png", "file", b"too long for the header"
        yield "ünïcode-名.webp", "file", b"unicode"


def write(name, format, pack=lambda data: data):
    buffer = io.BytesIO()
    expected = []
    with tarfile.open(fileobj=buffer, mode="w", format=format) as archive:
        for member, kind, contents in members(format):
            info = tarfile.TarInfo(member)
            info.size = len(contents)
            info.mtime = 1234567890.5 if format == tarfile.PAX_FORMAT else 1234567890
            info.type = {
                "folder": tarfile.DIRTYPE, "symbolic.jpg": tarfile.SYMTYPE, "hard.jpg": tarfile.LNKTYPE
            }.get(member, tarfile.REGTYPE)
            info.linkname = "./000.jpg" if kind == "link" else ""
            archive.addfile(info, io.BytesIO(contents))
            # A directory's name ends with a slash in the file.
            name_in_file = member + "/" if info.isdir() else member
            expected.append({"name": name_in_file, "kind": kind, "contents": contents.hex()})
    tensors[f"{name}.file"] = numpy.frombuffer(pack(buffer.getvalue()), numpy.uint8)
    tensors[f"{name}.expected"] = numpy.frombuffer(json.dumps(expected).encode(), numpy.uint8)


def gzip_in_parts(data):
    middle = len(data) // 2
    return gzip.compress(data[:middle], mtime=0) + gzip.compress(data[middle:], mtime=0)


def zstandard_in_parts(data):
    skippable = b"\x50\x2a\x4d\x18\x03\0\0\0abc"
    middle = len(data) // 2
    pack = zstandard.ZstdCompressor().compress
    return pack(data[:middle]) + skippable + pack(data[middle:])


write("ustar", tarfile.USTAR_FORMAT)
write("gnu", tarfile.GNU_FORMAT)
write("pax", tarfile.PAX_FORMAT)
write("gzip", tarfile.PAX_FORMAT, lambda data: gzip.compress(data, mtime=0))
write("gzip-parts", tarfile.GNU_FORMAT, gzip_in_parts)
write("zstandard", tarfile.PAX_FORMAT, zstandard.ZstdCompressor().compress)
write("zstandard-parts", tarfile.GNU_FORMAT, zstandard_in_parts)
# Sizes in binary, as GNU writes them above 8 GiB.
archive = bytearray(tensors["gnu.file"].tobytes())
archive[124:136] = b"\x80" + (768).to_bytes(11, "big")
archive[148:156] = b" " * 8
archive[148:156] = f"{sum(archive[:512]):06o}\0 ".encode()
tensors["binary.file"] = numpy.frombuffer(bytes(archive), numpy.uint8)
tensors["binary.expected"] = tensors["gnu.expected"]
path = pathlib.Path(__file__).parent / "tar_kinds.safetensors"
save_file(tensors, path)
print(f"{len(tensors) // 2} files, {path.stat().st_size} bytes")
