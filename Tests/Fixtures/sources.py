"""Imports the same pictures and captions as a folder, a WebDataset, COCO and Parquet, and compares what comes out.

    pip install pillow numpy pyarrow; python sources.py --check TF_DATA [--pictures 1000]

Pictures are PNG, JPEG, WebP and GIF of many sizes. Parquet files are written by pyarrow with each codec, page version and encoding of
captions. All have to give the same images, caption tokens and pairs, digest for digest.
"""

import argparse
import io
import json
import pathlib
import subprocess
import sys
import tarfile
import tempfile

import numpy
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

WORDS = "a red circle and the quality of being white größe 日本 🔴 \"quoted\" text's end".split(" ")


def make(count):
    """Names, files and captions; some captions and pictures come twice."""
    random = numpy.random.default_rng(5)
    samples = []
    for number in range(count):
        if number % 50 == 49:
            samples.append((f"{number:05}{pathlib.Path(samples[-7][0]).suffix}", samples[-7][1], samples[-3][2]))
            continue
        kind = ["jpg", "png", "webp", "gif"][random.integers(4)]
        width, height = random.integers(20, 200, 2)
        y, x = numpy.mgrid[0:height, 0:width]
        waves = [128 + 100 * numpy.sin(x / random.uniform(3, 30) + y / random.uniform(3, 30)) for _ in range(3)]
        pixels = numpy.stack(waves, -1) + random.integers(-9, 10, (height, width, 3))
        picture = Image.fromarray(numpy.clip(pixels, 0, 255).astype(numpy.uint8))
        file = io.BytesIO()
        picture.save(file, {"jpg": "JPEG"}.get(kind, kind.upper()))
        caption = " ".join(random.choice(WORDS, random.integers(1, 20))) + f" {number}"
        samples.append((f"{number:05}.{kind}", file.getvalue(), caption))
    return samples


def write(samples, place):
    """The options of tf-data import for each form."""
    folder = place / "folder"
    folder.mkdir()
    for name, file, _ in samples:
        (folder / name).write_bytes(file)
    (folder / "metadata.jsonl").write_text(
        "".join(json.dumps({"file_name": name, "text": caption}) + "\n" for name, _, caption in samples))
    forms = {"folder": ["--folder", folder]}

    for shard in range(4):
        with tarfile.open(place / f"shard-{shard}.tar", "w") as tar:
            part = samples[shard * len(samples) // 4:(shard + 1) * len(samples) // 4]
            for name, file, caption in part:
                for member, contents in [(name, file), (name.split(".")[0] + ".txt", caption.encode())]:
                    information = tarfile.TarInfo(member)
                    information.size = len(contents)
                    tar.addfile(information, io.BytesIO(contents))
    forms["webdataset"] = ["--webdataset", place / "shard-{0..3}.tar"]

    (place / "coco.json").write_text(json.dumps({
        "images": [{"id": number, "file_name": name} for number, (name, _, _) in enumerate(samples)],
        "annotations": [{"id": n, "image_id": n, "caption": caption} for n, (_, _, caption) in enumerate(samples)]}))
    forms["coco"] = ["--coco", place / "coco.json", "--pictures", folder]

    structure = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    table = pa.table({
        "image": pa.array([{"bytes": file, "path": name} for name, file, _ in samples], structure),
        "text": pa.array([caption for _, _, caption in samples])})
    encodings = {"dictionary": {}, "plain": {"use_dictionary": False}}
    for codec in ["none", "snappy", "gzip", "zstd"]:
        for version in ["1.0", "2.0"]:
            for encoding, options in encodings.items():
                name = f"parquet {codec} {version} {encoding}"
                path = place / (name.replace(" ", "-") + ".parquet")
                pq.write_table(
                    table, path, compression=codec, data_page_version=version, row_group_size=170, data_page_size=1 << 16, **options)
                forms[name] = ["--parquet", path]
    path = place / "deltas.parquet"
    pq.write_table(table, path, use_dictionary=False, column_encoding={
        "text": "DELTA_BYTE_ARRAY", "image.bytes": "DELTA_LENGTH_BYTE_ARRAY", "image.path": "PLAIN"})
    forms["parquet deltas"] = ["--parquet", path]
    return forms


def check(program, count):
    tokenizer = pathlib.Path(__file__).parent / "tokenizer/small.model"
    found = {}
    with tempfile.TemporaryDirectory() as place:
        place = pathlib.Path(place)
        for name, options in write(make(count), place).items():
            out = place / f"out-{name}"
            subprocess.run(
                [program, "import", *options, "--tokenizer", tokenizer, "--size", "64", "--out", out], check=True,
                stdout=subprocess.DEVNULL)
            manifest = json.loads((out / "manifest.json").read_text())
            digests = [manifest["files"][file]["sha256"][:12] for file in ["images.bin", "captions.tokens", "pairs.index"]]
            found[name] = (manifest["images"], manifest["pairs"], *digests)
            print(f"{name}: {found[name]}")
    return len(set(found.values()))


if __name__ == "__main__":
    options = argparse.ArgumentParser()
    options.add_argument("--check", required=True)
    options.add_argument("--pictures", type=int, default=1000)
    options = options.parse_args()
    sys.exit(0 if check(options.check, options.pictures) == 1 else 1)
