"""Makes parquet_pictures.json with the reference implementation: pip install pyarrow; python parquet_pictures.py

The four pictures of PictureSourceTests with their captions, as Hugging Face's data sets and others store them in Parquet: every codec,
pages of both versions, one and several row groups, and one file of rows that cannot be used.
"""

import base64
import io
import json
import pathlib
import struct

import pyarrow as pa
import pyarrow.parquet as pq

folder = pathlib.Path(__file__).parent
archive = (folder / "picture_kinds.safetensors").read_bytes()
length = struct.unpack("<Q", archive[:8])[0]
header = json.loads(archive[8:8 + length])


def picture(prefix):
    name = min(n for n in header if n.startswith(prefix) and n.endswith(".file"))
    begin, end = header[name]["data_offsets"]
    return archive[8 + length + begin:8 + length + end]


paths = ["sub/0.jpg", "1.jpeg", "2.webp", "3.png"]
pictures = [picture(p) for p in ["jpeg 33x9 4:2:0", "jpeg exif 6", "webp 20x31 RGBA 60", "png 6 16"]]
captions = ["a red field", "zwei Linien\nund ünïcode", "", "the last \"one\""]
structure = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
structures = pa.array([{"bytes": b, "path": p} for b, p in zip(pictures, paths)], structure)
others = {"id": pa.array(range(4)), "sizes": pa.array([[1, 2], [], None, [3]])}
files = {
    "none 1.0": dict(),
    "snappy 1.0": dict(compression="snappy", data_page_version="1.0", row_group_size=3),
    "gzip 1.0": dict(compression="gzip", data_page_version="1.0", use_dictionary=False, write_page_checksum=True),
    "zstd 2.0": dict(compression="zstd", data_page_version="2.0", row_group_size=1),
    "snappy 2.0": dict(compression="snappy", data_page_version="2.0", use_dictionary=False, data_page_size=100, write_batch_size=1),
    "bytes alone": dict(compression="zstd"),
    "lists of captions": dict(compression="snappy", data_page_version="2.0"),
    "bad rows": dict(compression="none"),
    "two columns": dict(compression="none"),
}
result = {}
for name, options in files.items():
    columns = {**others, "image": structures, "text": pa.array(captions, pa.large_string())}
    if name == "bytes alone":
        columns = {"jpg": pa.array(pictures, pa.large_binary()), "caption": pa.array(captions)}
    if name == "lists of captions":
        columns["text"] = pa.array([[c] for c in captions])
    if name == "bad rows":
        rows = [{"bytes": pictures[0], "path": None}, None, {"bytes": None, "path": "elsewhere.png"}, {"bytes": b"owl", "path": "x"},
                {"bytes": pictures[3], "path": "3.png"}, {"bytes": pictures[3][:90], "path": "3.png"}]
        columns = {"image": pa.array(rows, structure), "text": pa.array(["a", "b", "c", "d", None, "f"])}
    if name == "two columns":
        columns["target"] = structures
    buffer = io.BytesIO()
    pq.write_table(pa.table(columns), buffer, **({"compression": "none"} | options))
    assert pq.read_table(io.BytesIO(buffer.getvalue())).num_rows == len(next(iter(columns.values())))
    result[name] = base64.b64encode(buffer.getvalue()).decode()
path = folder / "parquet_pictures.json"
path.write_text(json.dumps(result, indent=0) + "\n")
print({n: len(f) for n, f in result.items()}, path.stat().st_size)
