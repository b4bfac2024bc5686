"""Writes features/inception.json: what pytorch-fid's and clean-fid's own code finds in made-up pictures with made-up weights.

Weights and pictures follow from formulas that the tests have too, so none of them is kept here. Needs torch, torchvision,
pytorch-fid, clean-fid and scipy.
"""

import json
import sys
from pathlib import Path

# Programs beside this one are called like packages that are needed.
sys.path.pop(0)

import numpy  # noqa: E402
import torch  # noqa: E402

# torchvision's compiled part is for another build of torch; none of it is used.
for name in "nms", "qnms":
    torch.library.define(f"torchvision::{name}", "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")

import cleanfid.fid  # noqa: E402
import cleanfid.resize  # noqa: E402
from pytorch_fid import fid_score, inception  # noqa: E402

out = Path(__file__).parent / "features" / "inception.json"
PERIOD = 4099


def table():
    x = (numpy.arange(1, PERIOD + 1, dtype=numpy.uint64) * 2654435761) % 2**32
    for shift, factor in (16, 2246822519), (13, 3266489917):
        x = ((x ^ (x >> shift)) * factor) % 2**32
    return (x ^ (x >> 16)).astype(numpy.float64) / 2**31 - 1


TABLE = table()


def values(name, shape):
    """Numbers for a tensor of the network, always the same."""
    hash = 2166136261
    for byte in name.encode():
        hash = ((hash ^ byte) * 16777619) % 2**32
    if name.endswith(("bn.weight", "running_var")):
        numbers = 1 + 0.5 * TABLE
    elif len(shape) == 1:
        numbers = 0.2 * TABLE
    else:
        numbers = TABLE * numpy.sqrt(3.5 / numpy.prod(shape[1:]))
    numbers = numpy.roll(numbers.astype(numpy.float32), -(hash % PERIOD))
    return torch.from_numpy(numpy.resize(numbers, shape))


def picture(index):
    """Picture 0 … 15: [height, width, 3], some smaller and some larger than what the network sees."""
    height, width = 20 + 37 * (index % 8), 31 + 45 * ((index * 3) % 8)
    y, x, c = numpy.meshgrid(numpy.arange(height), numpy.arange(width), numpy.arange(3), indexing="ij")
    values = (y * (3 + index) + x * (5 + 2 * index) + c * 40 + (x * y) % (7 + index) * 11) % 256
    # The second half is darker.
    return (values // (1 if index < 8 else 3)).astype(numpy.uint8)


plain = inception._inception_v3(num_classes=1008, aux_logits=False, weights=None).state_dict()
state = {
    name: values(name, tuple(tensor.shape)) if tensor.is_floating_point() else tensor for name, tensor in plain.items()
}
if len(sys.argv) > 1:
    torch.save(state, sys.argv[1])
inception.load_state_dict_from_url = lambda url, progress: state
resized = cleanfid.resize.build_resizer("clean")


@torch.no_grad()
def features(variant):
    network = inception.InceptionV3([3], variant == "pytorch", variant == "pytorch").eval()
    rows = []
    for index in range(16):
        pixels = picture(index)
        if variant == "clean":
            pixels = (torch.from_numpy(resized(pixels)) - 128) / 128
        else:
            pixels = torch.from_numpy(pixels).float() / 255
        rows.append(network(pixels.permute(2, 0, 1)[None])[0].flatten().numpy())
    return numpy.stack(rows)


def frechet(a, b):
    """pytorch-fid's and clean-fid's formula. Their root of a product by scipy fails for fewer pictures than features; the trace of the
    root is the sum of the singular values of the product of both centred sets."""
    a, b = a.astype(numpy.float64), b.astype(numpy.float64)
    (m1, s1), (m2, s2) = [(x.mean(0), numpy.cov(x, rowvar=False)) for x in (a, b)]
    roots = numpy.linalg.svd((a - m1) @ (b - m2).T, compute_uv=False).sum() / (len(a) - 1)
    return float(((m1 - m2) ** 2).sum() + numpy.trace(s1) + numpy.trace(s2) - 2 * roots)


result = {}
for variant in "pytorch", "clean":
    found = features(variant)
    a, b = found[:8], found[8:]
    # With fewer features than pictures both agree.
    theirs = fid_score.calculate_frechet_distance(
        *[f(x[:, :5].astype(numpy.float64)) for x in (a, b) for f in (lambda x: x.mean(0), lambda x: numpy.cov(x, rowvar=False))]
    )
    assert abs(theirs / frechet(a[:, :5], b[:, :5]) - 1) < 1e-6
    result[variant] = {
        "features": [[float(f"{x:.7g}") for x in found[index, ::16]] for index in range(16)],
        "frechet_distance": frechet(a, b),
        "kid": cleanfid.fid.kernel_distance(a.astype(numpy.float64), b.astype(numpy.float64), num_subsets=1),
    }
    print(variant, found.min(), found.mean(), found.max(), result[variant]["kid"])
out.write_text(json.dumps(result, separators=(",", ":")) + "\n")
