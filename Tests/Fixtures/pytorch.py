"""Files as `torch.save` writes them, good and bad, and what is in the good ones.

Writes `pytorch/`: `*.pth` and `expected.safetensors` with `file.tensor` for each tensor that can be read.
"""

import collections
import os
import pickle
import zipfile

import torch
from safetensors.torch import save_file

from fixture import FOLDER, generator

PLACE = FOLDER / "pytorch"
PLACE.mkdir(exist_ok=True)
source = generator(41)
expected = {}


def numbers(*shape):
    return torch.randn(*shape, generator=source)


def save(name, value, tensors=None, **options):
    torch.save(value, PLACE / name, **options)
    for key, tensor in (tensors or {}).items():
        expected[f"{name}/{key}"] = tensor.detach().float().contiguous().clone()


base = numbers(6, 5)
plain = collections.OrderedDict(
    whole=base, part=base[1:4, 1:3], turned=numbers(4, 3).t(), last=numbers(2, 3, 4, 5).to(memory_format=torch.channels_last),
    half=numbers(3, 3).half(), brain=numbers(3, 3).bfloat16(), scalar=torch.tensor(2.5), empty=numbers(0, 4),
    parameter=torch.nn.Parameter(numbers(7)))
save("plain.pth", plain, plain)
save("protocol4.pth", plain, plain, pickle_protocol=4)
large = {"more than 256": {f"t{i}": numbers(1) for i in range(300)}}["more than 256"]
save("many.pth", large, large)

weights = {"a.weight": numbers(3, 2), "a.bias": numbers(3)}
save("lightning.ckpt", {
    "epoch": 3, "global_step": 70_000, "loss": 0.25, "lr": -1, "big": 1 << 40, "name": "run", "flags": [True, None, (1, 2)],
    "state_dict": weights, "optimizer_states": [{"state": {0: {"exp_avg": numbers(3, 2)}}, "param_groups": [{"lr": 0.1}]}],
    "options": torch.float16, "device": torch.device("cpu"), "size": torch.Size([3, 2]), "seen": {1, 2},
}, weights)
mixed = {"weight": numbers(2, 2), "mask": torch.tensor([True, False]), "double": numbers(2).double()}
save("mixed.pth", mixed, {"weight": mixed["weight"]})

save("old.pth", weights, weights, _use_new_zipfile_serialization=False)
save("module.pth", torch.nn.Linear(2, 2))
save("no_tensors.pth", {"epoch": 3})


class Evil:
    def __reduce__(self):
        return os.system, ("touch /tmp/was-run",)


save("evil.pth", {"weight": numbers(2), "payload": Evil()})


def rewrite(name, change, **options):
    """`plain.pth` with other members."""
    with zipfile.ZipFile(PLACE / "plain.pth") as old, zipfile.ZipFile(PLACE / name, "w", **options) as new:
        for member in old.namelist():
            contents = change(member, old.read(member))
            if contents is not None:
                new.writestr(member, contents)


rewrite("compressed.pth", lambda member, contents: contents, compression=zipfile.ZIP_DEFLATED)
rewrite("short_storage.pth", lambda member, contents: contents[:-4] if member.endswith("data/0") else contents)
rewrite("missing_storage.pth", lambda member, contents: None if member.endswith("data/1") else contents)
rewrite("unknown_instruction.pth", lambda member, contents: b"\x80\x02I1\n." if member.endswith("data.pkl") else contents)
deep = pickle.PROTO + b"\x02" + b")" + b"\x85" * 20_000 + b"."
rewrite("deep.pth", lambda member, contents: deep if member.endswith("data.pkl") else contents)
save_file(expected, PLACE / "expected.safetensors")
for path in sorted(PLACE.iterdir()):
    print(path.name, path.stat().st_size)
