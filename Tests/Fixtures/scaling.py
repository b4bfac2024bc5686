"""Writes scaling/: the rows of Tables 3 and 7 of the Transfusion paper, and the fits and parity FLOP ratios by numpy."""

import json
from pathlib import Path

import numpy

SIZES = [162.4e6, 373.9e6, 777.9e6, 1364.3e6, 6738.4e6]
TOKENS = 5e11
METRICS = ["c4", "wiki", "llama", "cider", "fid", "clip"]
# Table 7, from 0.16B to 7B.
TRANSFUSION = {
    "linear": [
        [14.8, 8.8, 44.2, 6.2, 37.6, 20.0],
        [12.0, 7.0, 47.9, 11.1, 21.5, 22.4],
        [10.4, 6.0, 51.7, 16.0, 20.3, 24.0],
        [9.5, 5.4, 53.8, 19.1, 19.4, 24.3],
        [7.7, 4.3, 61.5, 27.2, 18.6, 25.9],
    ],
    "unet": [
        [14.4, 8.5, 45.7, 15.3, 18.8, 23.9],
        [11.8, 6.9, 48.8, 21.1, 18.1, 24.9],
        [10.3, 5.9, 51.9, 25.4, 16.7, 25.4],
        [9.4, 5.4, 53.4, 28.1, 16.6, 25.7],
        [7.8, 4.3, 61.1, 33.7, 16.0, 26.5],
    ],
}
# Table 3.
CHAMELEON = [8.41, 4.69, 59.1, 18.0, 29.6, 24.3]

out = Path(__file__).parent / "scaling"
out.mkdir(exist_ok=True)
reference = {}
with open(out / "table7.jsonl", "w") as file:
    for family, rows in TRANSFUSION.items():
        for size, values in zip(SIZES, rows):
            row = {"family": family, "parameters": size, "tokens": TOKENS, **dict(zip(METRICS, values))}
            file.write(json.dumps(row) + "\n")
        x = numpy.log(6 * numpy.array(SIZES) * TOKENS)
        for index, metric in enumerate(METRICS):
            y = numpy.log([values[index] for values in rows])
            slope, intercept = numpy.polyfit(x, y, 1)
            needed = numpy.exp((numpy.log(CHAMELEON[index]) - intercept) / slope)
            reference.setdefault(family, {})[metric] = {
                "slope": slope,
                "intercept": intercept,
                "r2": numpy.corrcoef(x, y)[0, 1] ** 2,
                "ratio": needed / (6 * SIZES[-1] * TOKENS),
            }
    row = {"family": "chameleon", "parameters": SIZES[-1], "tokens": TOKENS, **dict(zip(METRICS, CHAMELEON))}
    file.write(json.dumps(row) + "\n")
(out / "reference.json").write_text(json.dumps(reference, indent=1) + "\n")
