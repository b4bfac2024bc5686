"""The model that both baselines measure: sizes, layers, and the options of the scripts."""
import math

import torch
import torch.nn.functional as F
from torch import nn

# layers, width, heads, width of the feed-forward network
SIZES = {
    "tiny": (4, 256, 4, 688),
    "0.16b": (16, 768, 12, 2048),
    "0.37b": (24, 1024, 16, 2816),
    "0.76b": (24, 1536, 24, 4096),
    "1.4b": (24, 2048, 16, 5632),
    "7b": (32, 4096, 32, 11008),
}
TIMESTEP_WIDTH = 256


class Norm(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))

    def forward(self, x):
        return F.rms_norm(x, self.weight.shape, self.weight.to(x.dtype), 1e-5)


class Block(nn.Module):
    """`attend` gets rotated queries, keys and values `[batch, heads, rows, head width]`, and answers in that shape."""

    def __init__(self, width, heads, feed_forward):
        super().__init__()
        self.heads = heads
        self.attention_norm, self.feed_forward_norm = Norm(width), Norm(width)
        self.query_key_value = nn.Linear(width, 3 * width, bias=False)
        self.output = nn.Linear(width, width, bias=False)
        self.gate_up = nn.Linear(width, 2 * feed_forward, bias=False)
        self.down = nn.Linear(feed_forward, width, bias=False)

    def forward(self, x, rotation, attend):
        batch, rows, width = x.shape
        joined = self.query_key_value(self.attention_norm(x)).view(batch, rows, 3, self.heads, width // self.heads)
        query, key, value = joined.permute(2, 0, 3, 1, 4)
        seen = attend(rotate(query, rotation), rotate(key, rotation), value)
        x = x + self.output(seen.transpose(1, 2).reshape(batch, rows, width))
        gate, up = self.gate_up(self.feed_forward_norm(x)).chunk(2, -1)
        return x + self.down(F.silu(gate) * up)


class Transfusion(nn.Module):
    def __init__(self, size, vocabulary, patch_width):
        super().__init__()
        layers, width, heads, feed_forward = SIZES[size]
        self.layers, self.width, self.heads = layers, width, heads
        self.embedding = nn.Embedding(vocabulary, width)
        self.blocks = nn.ModuleList(Block(width, heads, feed_forward) for _ in range(layers))
        self.norm = Norm(width)
        self.head = nn.Linear(width, vocabulary, bias=False)
        self.timestep_in = nn.Linear(TIMESTEP_WIDTH, width)
        self.timestep_out = nn.Linear(width, width)
        self.timestep_projection = nn.Linear(width, patch_width)
        self.patch_in = nn.Linear(patch_width, width)
        self.patch_out = nn.Linear(width, patch_width)

    def encode(self, patches, timesteps):
        """Vectors for `[..., patches, patch width]`, whose images are at `timesteps` `[..., 1]`."""
        half = TIMESTEP_WIDTH // 2
        angles = timesteps[..., None] * torch.exp(-math.log(10000) / half * torch.arange(half))
        sinusoid = torch.cat((angles.cos(), angles.sin()), -1).to(patches.dtype)
        timestep = self.timestep_out(F.silu(self.timestep_in(sinusoid)))
        return self.patch_in(patches + self.timestep_projection(timestep))

    def rotation(self, positions):
        """cos and sin for rotary embedding, each `[rows, head width]`."""
        half = self.width // self.heads // 2
        angles = positions[:, None] * torch.exp(-math.log(10000) / half * torch.arange(half))
        angles = torch.cat((angles, angles), -1)
        return angles.cos(), angles.sin()


def rotate(x, rotation):
    cosine, sine = rotation
    left, right = x.chunk(2, -1)
    return (x * cosine + torch.cat((-right, left), -1) * sine).to(x.dtype)


def add_common_arguments(parser):
    parser.add_argument("--model", default="0.16b", choices=SIZES)
    parser.add_argument("--patches", type=int, default=256, help="of an image")
    parser.add_argument("--patch-width", type=int, default=32)
    parser.add_argument("--vocabulary", type=int, default=32002)
    parser.add_argument("--dtype", default="bf16", choices=("bf16", "f32"))
    parser.add_argument("--compile", action="store_true", help="with torch.compile")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
