"""Makes parquet.json with the reference implementation: pip install pyarrow; python parquet.py

Small Parquet files of every codec, page version and encoding that is read, and of some that are refused, each with the rows that
the reference reads from it. Bytes and texts are written as "x" and hexadecimal digits, members of a structure under "members".
"""

import base64
import io
import json
import pathlib
import random

import pyarrow as pa
import pyarrow.parquet as pq

random.seed(1)
words = ["", "a", "red circle", "é日本🔴", "the quality of being white", "line\nbreak", "x" * 300, "\x00"]


def some(values, missing=4):
    return [None if random.randrange(missing) == 0 else value for value in values]


def table(count):
    texts = [random.choice(words) + (str(i) if i % 3 else "") for i in range(count)]
    return pa.table({
        "text": pa.array(texts, pa.string()),
        "maybe": pa.array(some(texts), pa.string()),
        "binary": pa.array([bytes(random.randrange(256) for _ in range(random.randrange(20))) for _ in range(count)]),
        "flag": pa.array([random.randrange(3) == 0 for _ in range(count)]),
        "maybe_flag": pa.array(some([i % 5 == 0 for i in range(count)])),
        "int32": pa.array([random.randrange(-2**31, 2**31) for _ in range(count)], pa.int32()),
        "small": pa.array(some([i // 7 for i in range(count)]), pa.int64()),
        "int64": pa.array([random.randrange(-2**63, 2**63) for _ in range(count)], pa.int64()),
        "float": pa.array([random.uniform(-9, 9) for _ in range(count)], pa.float32()),
        "double": pa.array(some([random.uniform(-9, 9) for _ in range(count)]), pa.float64()),
        "fixed": pa.array([bytes([i % 256, i // 256, 7]) for i in range(count)], pa.binary(3)),
        "image": pa.array(some([{"bytes": b"\x89PNG" + bytes([i % 256]), "path": f"{i}.png" if i % 3 else None} for i in range(count)]),
                          pa.struct([("bytes", pa.binary()), ("path", pa.string())])),
        "point": pa.array([{"x": i, "y": -i} for i in range(count)],
                          pa.struct([pa.field("x", pa.int32(), nullable=False), pa.field("y", pa.int32())])),
        "captions": pa.array(some([some(random.choices(words, k=random.randrange(4))) for _ in range(count)]), pa.list_(pa.string())),
        "numbers": pa.array([list(range(i % 4)) for i in range(count)], pa.list_(pa.field("element", pa.int64(), nullable=False))),
    })


def value(item):
    if isinstance(item, str):
        item = item.encode()
    if isinstance(item, bytes):
        return "x" + item.hex()
    if isinstance(item, dict):
        return {"members": [value(member) for member in item.values()]}
    if isinstance(item, list):
        return [value(element) for element in item]
    return item


def encodings(name):
    """A column in another encoding than plain or a dictionary."""
    return {"use_dictionary": False, "column_encoding": name}


simple = ["text", "maybe", "binary", "flag", "int32", "small", "int64", "float"]
texts = {c: "DELTA_BYTE_ARRAY" for c in ["text", "maybe", "binary"]}
lengths = {c: "DELTA_LENGTH_BYTE_ARRAY" for c in ["text", "maybe", "binary"]}
numbers = {c: "DELTA_BINARY_PACKED" for c in ["int32", "small", "int64"]}
files = {
    f"{codec} {version}": dict(rows=40, compression=codec, data_page_version=version, use_dictionary=codec != "gzip")
    for codec in ["none", "snappy", "gzip", "zstd"] for version in ["1.0", "2.0"]
}
files |= {
    "plain": dict(rows=40, compression="none", use_dictionary=False),
    "pages and groups": dict(rows=130, columns=["text", "maybe", "small", "captions", "image"], compression="snappy", row_group_size=70,
                             data_page_size=100, write_batch_size=7, use_dictionary=["small"]),
    "pages of version 2": dict(rows=130, columns=["text", "maybe", "small", "captions", "image"], compression="zstd", row_group_size=90,
                               data_page_version="2.0", data_page_size=100, write_batch_size=7, use_dictionary=False),
    "checksums": dict(rows=40, columns=simple, compression="snappy", write_page_checksum=True),
    "differences": dict(rows=140, columns=simple, compression="none", use_dictionary=False, column_encoding=texts | numbers),
    "lengths": dict(rows=300, columns=["text", "maybe", "binary"], compression="zstd", use_dictionary=False, column_encoding=lengths,
                    data_page_version="2.0", data_page_size=500),
    "runs": dict(rows=500, columns=["flag", "maybe_flag", "small"], compression="none", data_page_version="2.0", use_dictionary=False,
                 column_encoding={"flag": "RLE", "maybe_flag": "RLE", "small": "PLAIN"}),
    "missing": dict(rows=30, only_missing=True, compression="snappy"),
    "missing of version 2": dict(rows=30, only_missing=True, compression="snappy", data_page_version="2.0"),
    "empty": dict(rows=0, compression="snappy"),
    # Refused.
    "brotli": dict(rows=3, columns=["text"], compression="brotli"),
    "split bytes": dict(rows=3, columns=["float"], compression="none", use_dictionary=False, column_encoding={"float": "BYTE_STREAM_SPLIT"}),
    "deep": dict(deep=True, compression="none"),
}

result = []
for name, options in files.items():
    options = dict(options)
    if options.pop("deep", False):
        source = pa.table({"text": ["a"], "lists": pa.array([[[1]]]), "pairs": pa.array([[{"a": 1, "b": 2}]]), "nested": pa.array([{"a": {"b": 1}}])})
    else:
        source = table(options.pop("rows"))
        if options.pop("only_missing", False):
            source = pa.table({n: pa.array([None] * len(source), source.schema.field(n).type) for n in source.column_names if n != "point"})
        source = source.select(options.pop("columns", source.column_names))
    buffer = io.BytesIO()
    pq.write_table(source, buffer, **options)
    read = pq.read_table(io.BytesIO(buffer.getvalue()))
    result.append({
        "name": name, "file": base64.b64encode(buffer.getvalue()).decode(),
        "columns": [{"name": c, "values": [value(v) for v in read[c].to_pylist()]} for c in read.column_names]})
path = pathlib.Path(__file__).parent / "parquet.json"
path.write_text(json.dumps(result, separators=(",", ":")).replace('},{"name', '},\n{"name') + "\n")
print({r["name"]: len(r["file"]) for r in result}, path.stat().st_size)
