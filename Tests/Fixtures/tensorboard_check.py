"""Loads the event files of a run with TensorBoard's own reader, and compares what it finds with the run's other files.

    pip install tensorboard pillow
    python Tests/Fixtures/tensorboard_check.py runs/quickstart

Checks that every record of metrics.jsonl is there with the values of its columns, and that every picture of samples/ is, as
TensorBoard shows them after a restart too. Prints what it has compared; ends with 1 at the first difference.
"""

import io
import json
import pathlib
import sys

import numpy
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

TAGS = {
    "loss/total": "loss", "optim/lr": "learning_rate",
    "optim/grad_norm": "grad_norm", "perf/tokens_per_s": "tokens_per_second", "perf/mfu": "mfu",
    "perf/memory_bytes": "memory_bytes", "time/step": "step_seconds", "time/data": "data_seconds",
    "time/comm": "communication_seconds", "time/wait": "wait_seconds",
}

run = pathlib.Path(sys.argv[1])
events = EventAccumulator(str(run / "events"), size_guidance={"scalars": 0, "images": 0}, purge_orphaned_data=True)
events.Reload()
tags = events.Tags()

records = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
TAGS |= {f"loss/{key[5:]}": key for record in records for key in record if key.startswith("loss_")}
for tag, key in TAGS.items():
    found = {event.step: event.value for event in (events.Scalars(tag) if tag in tags["scalars"] else [])}
    # What was not measured is null, and is no event.
    expected = {record["step"]: record[key] for record in records if record[key] is not None}
    assert found.keys() == expected.keys(), f"{tag}: steps differ: {sorted(found.keys() ^ expected.keys())[:5]}"
    for step, value in expected.items():
        assert numpy.float32(value) == numpy.float32(found[step]), f"{tag}: step {step}: {value} and {found[step]}"

pictures = 0
for drawing in sorted((run / "samples").glob("step-*")):
    step = int(drawing.name.removeprefix("step-"))
    for number, _ in enumerate((drawing / "prompts.jsonl").read_text().splitlines()):
        shown = [image for image in events.Images(f"samples/prompt_{number}") if image.step == step]
        assert len(shown) == 1, f"prompt {number} after step {step}: {len(shown)} pictures"
        decoded = Image.open(io.BytesIO(shown[0].encoded_image_string))
        original = Image.open(drawing / f"{number:06}.png")
        assert (shown[0].width, shown[0].height) == original.size
        assert numpy.array_equal(numpy.asarray(decoded), numpy.asarray(original)), f"prompt {number} after step {step}"
        pictures += 1
starts = len(list((run / "events").iterdir()))
print(f"{run}: {len(records)} records of {len(TAGS)} scalars and {pictures} pictures agree, from {starts} event files")
