"""What the generators share: seeded random numbers and one way to store cases."""

import pathlib

import torch
from safetensors.torch import save_file

FOLDER = pathlib.Path(__file__).parent


def generator(seed):
    return torch.Generator().manual_seed(seed)


def normal(source, *shape, scale=1.0):
    """Normal numbers in double precision that are exact in single precision.

    References are computed in double precision from numbers that the tested program can represent.
    """
    numbers = torch.randn(*shape, generator=source, dtype=torch.float64) * scale
    return numbers.float().double()


def leaf(tensor):
    return tensor.clone().requires_grad_(True)


def write(name, cases):
    """Stores `{case: {tensor name: tensor}}` under `case.tensor name`, as f32 and i32."""
    tensors = {}
    for case, values in cases.items():
        for key, value in values.items():
            value = torch.as_tensor(value).detach()
            value = value.float() if value.is_floating_point() else value.to(torch.int32)
            tensors[f"{case}.{key}"] = value.reshape(value.shape or (1,)).contiguous()
    path = FOLDER / f"{name}.safetensors"
    save_file(tensors, path)
    print(f"{path.name}: {len(cases)} cases, {path.stat().st_size} bytes")
