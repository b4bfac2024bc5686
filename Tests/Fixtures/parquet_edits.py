"""Edits in Parquet files as pyarrow writes them: parquet_edits/*.parquet.

Needs pyarrow and pillow.
"""

import io
import os

import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

HERE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "parquet_edits")


def picture(colour):
    buffer = io.BytesIO()
    Image.new("RGB", (8, 8), colour).save(buffer, "PNG")
    return buffer.getvalue()


red, blue, green = picture((255, 0, 0)), picture((0, 0, 255)), picture((0, 255, 0))
structure = pa.struct([("bytes", pa.binary()), ("path", pa.string())])


def structures(pictures):
    return pa.array([{"bytes": p, "path": None} for p in pictures], structure)


os.makedirs(HERE, exist_ok=True)
instructions = pa.array(["make it blue", "turn it around"])
pq.write_table(
    pa.table(
        {
            "img_id": pa.array(["1", "1"]),
            "turn_index": pa.array([1, 2], pa.int32()),
            "source_img": structures([red, blue]),
            "mask_img": structures([red, red]),
            "instruction": instructions,
            "target_img": structures([blue, green]),
        }
    ),
    os.path.join(HERE, "magicbrush.parquet"),
)
pq.write_table(
    pa.table(
        {
            "original_image": pa.array([red, blue], pa.binary()),
            "edit_prompt": instructions,
            "edited_image": pa.array([blue, green], pa.binary()),
        }
    ),
    os.path.join(HERE, "instructpix2pix.parquet"),
    compression="zstd",
)
pq.write_table(
    pa.table({"source": structures([red]), "target": structures([blue])}), os.path.join(HERE, "other.parquet")
)
