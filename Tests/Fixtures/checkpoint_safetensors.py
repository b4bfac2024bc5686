"""Writes Tests/Fixtures/checkpoint/types.safetensors with the Python safetensors library.

Run from the top of the repository with a Python that has torch and safetensors.
"""

import torch
from safetensors.torch import save_file

tensors = {
    "f32": torch.tensor([[1.5, -2.25, 5 * 2.0**-149], [float("inf"), -0.0, 1e30]]),
    "bf16": torch.tensor([1.0, -3.140625, 65536.0], dtype=torch.bfloat16),
    "f16": torch.tensor([[0.5], [-65504.0]], dtype=torch.float16),
    "i32": torch.tensor([-1, 2147483647], dtype=torch.int32),
    "i64": torch.tensor([-(2**62)], dtype=torch.int64),
    "u8": torch.arange(5, dtype=torch.uint8),
    "scalar": torch.tensor(7.0),
    "empty": torch.zeros(0, 3),
    'quoted "é" \\ name': torch.tensor([1, 2], dtype=torch.int32),
}
save_file(tensors, "Tests/Fixtures/checkpoint/types.safetensors", metadata={"format": "pt", "by": 'torch "x"'})
