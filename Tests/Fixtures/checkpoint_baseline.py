"""Times torch.save and torch's distributed checkpoint, for `tf-bench checkpoint --against`.

    tf-bench checkpoint --directory /data --against 'python Tests/Fixtures/checkpoint_baseline.py --directory /data'

Both bring their bytes to the disk, and both load with nothing cached. The last line is the JSON object that tf-bench reads.
"""

import argparse
import json
import os
import pathlib
import shutil
import time
import warnings

import torch
import torch.distributed.checkpoint as distributed

warnings.filterwarnings("ignore")
parser = argparse.ArgumentParser()
parser.add_argument("--directory", default=".")
parser.add_argument("--parameters", type=int, default=162_000_000, help="each has a weight and two moments in f32")
arguments = parser.parse_args()

folder = pathlib.Path(arguments.directory) / f"checkpoint-baseline-{os.getpid()}"
side = 2048
names = [
    f"{kind}.{index}" for kind in ["weight", "exp_avg", "exp_avg_sq"]
    for index in range(max(1, arguments.parameters // side**2))
]
state = {name: torch.randn(side, side) * 0.02 for name in names}
size = sum(tensor.nbytes for tensor in state.values())


def flush(forget=False):
    """Brings everything in the folder to the disk, and may drop it from the page cache."""
    for file in filter(pathlib.Path.is_file, folder.rglob("*")):
        descriptor = os.open(file, os.O_RDONLY)
        os.fsync(descriptor)
        if forget:
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(descriptor)


def measure(write, read):
    folder.mkdir()
    try:
        begin = time.perf_counter()
        write()
        flush()
        written = time.perf_counter()
        flush(forget=True)
        start = time.perf_counter()
        read()
        return {"bytes": size, "write_s": written - begin, "read_s": time.perf_counter() - start}
    finally:
        shutil.rmtree(folder)


print(json.dumps({"ways": {
    "torch.save": measure(
        lambda: torch.save(state, folder / "state.pt"), lambda: torch.load(folder / "state.pt", weights_only=True)),
    "torch DCP": measure(
        lambda: distributed.save(state, checkpoint_id=folder / "state", no_dist=True),
        lambda: distributed.load(state, checkpoint_id=folder / "state", no_dist=True)),
}}))
