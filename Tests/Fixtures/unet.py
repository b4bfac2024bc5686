"""Small models whose patches pass through the halves of a U-Net made of diffusers' blocks.

Writes `unet/{two,four}.json`, the configurations, and `unet/{two,four}.safetensors`: a batch each (`batch.*`), what the model
computes, and of each gradient its norm (`norm.*`) and some elements at even distances (`sample.*`). Weights are too many for a
file: both sides make them by the rule of `weights` here. `--count` prints how many weights a U-Net has beside each model of the
paper.
"""

import json
import sys

import numpy
import torch
from diffusers.models.embeddings import TimestepEmbedding, Timesteps
from diffusers.models.unets.unet_2d_blocks import AttnDownBlock2D, AttnUpBlock2D, UNetMidBlock2D
from safetensors.torch import save_file
from torch import nn

from fixture import FOLDER
from make_batch import make_batch, make_config, shapes
from reference_model import Model, evaluate

SAMPLES = 192


def levels(config):
    halvings = config["patch_size"].bit_length() - 1
    return [config["unet_channels"]] * halvings + [config["unet_channels"] * (2 if halvings else 1)]


def head(channels):
    return 64 if channels % 64 == 0 else 32


class Encoder(nn.Module):
    def __init__(self, config):
        super().__init__()
        counts = levels(config)
        time = 4 * counts[0]
        self.sinusoid = Timesteps(counts[0], flip_sin_to_cos=True, downscale_freq_shift=0)
        self.time_embedding = TimestepEmbedding(counts[0], time)
        self.conv_in = nn.Conv2d(config["image_channels"], counts[0], 3, padding=1)
        self.down_blocks = nn.ModuleList(
            AttnDownBlock2D(
                in_channels=counts[max(level - 1, 0)], out_channels=count, temb_channels=time, num_layers=2,
                resnet_eps=1e-5, resnet_groups=32, attention_head_dim=head(count), downsample_padding=1,
                downsample_type="conv" if level + 1 < len(counts) else None)
            for level, count in enumerate(counts))
        self.mid_block = UNetMidBlock2D(
            in_channels=counts[-1], temb_channels=time, resnet_eps=1e-5, resnet_groups=32,
            attention_head_dim=head(counts[-1]))
        self.projection = nn.Linear(counts[-1], config["hidden_size"])

    def forward(self, x, timesteps):
        half = self.sinusoid.num_channels // 2
        angle = timesteps.double()[:, None] * 10000.0 ** (-torch.arange(half, dtype=torch.float64) / half)
        sinusoid = torch.cat((angle.cos(), angle.sin()), -1)
        assert (sinusoid - self.sinusoid(timesteps)).abs().max() < 1e-4, "diffusers has other sinusoids"
        time = self.time_embedding(sinusoid.to(x.dtype))
        x = self.conv_in(x)
        skips = (x,)
        for block in self.down_blocks:
            x, passed = block(x, time)
            skips += passed
        x = self.mid_block(x, time)
        return self.projection(x.flatten(2).transpose(1, 2)).flatten(0, 1), time, skips


class Decoder(nn.Module):
    def __init__(self, config):
        super().__init__()
        counts = levels(config)[::-1]
        self.side = config["image_height"] // config["patch_size"], config["image_width"] // config["patch_size"]
        self.projection = nn.Linear(config["hidden_size"], counts[0])
        self.up_blocks = nn.ModuleList(
            AttnUpBlock2D(
                in_channels=counts[min(level + 1, len(counts) - 1)], prev_output_channel=counts[max(level - 1, 0)],
                out_channels=count, temb_channels=4 * counts[-1], num_layers=3, resnet_eps=1e-5, resnet_groups=32,
                attention_head_dim=head(count), upsample_type="conv" if level + 1 < len(counts) else None)
            for level, count in enumerate(counts))
        self.conv_norm_out = nn.GroupNorm(32, counts[-1], eps=1e-5)
        self.conv_out = nn.Conv2d(counts[-1], config["image_channels"], 3, padding=1)

    def forward(self, rows, time, skips):
        x = self.projection(rows).unflatten(0, (len(time), -1)).transpose(1, 2).unflatten(2, self.side)
        for block in self.up_blocks:
            x = block(x, skips[-3:], time)
            skips = skips[:-3]
        assert not skips
        return self.conv_out(nn.functional.silu(self.conv_norm_out(x)))


class UNetModel(Model):
    def __init__(self, config, weights):
        super().__init__(config, weights)
        self.encoder, self.decoder = Encoder(config), Decoder(config)

    def call(self, module, prefix, *inputs):
        own = {name.removeprefix(prefix): w for name, w in self.weights.items() if name.startswith(prefix)}
        assert own.keys() == dict(module.named_parameters()).keys()
        return torch.func.functional_call(module, own, inputs)

    def encode(self, noisy, timesteps, dtype):
        rows, self.time, self.skips = self.call(self.encoder, "patch_encoder.", noisy.to(dtype), timesteps)
        return rows

    def decode(self, hidden, timesteps):
        return self.call(self.decoder, "patch_decoder.", hidden, self.time, self.skips)


def weight_shapes(config):
    found = {name: shape for name, shape in shapes(config) if not name.startswith("patch_")}
    for name, module in (("patch_encoder", Encoder(config)), ("patch_decoder", Decoder(config))):
        found |= {f"{name}.{key}": tuple(p.shape) for key, p in module.named_parameters()}
    return found


def uniform(tensor, count):
    """Numbers in −1 … 1: the upper 24 bits of SplitMix64 of `tensor · 2^32 + element`."""
    with numpy.errstate(over="ignore"):
        z = (numpy.arange(count, dtype=numpy.uint64) + numpy.uint64(tensor << 32)) * numpy.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> numpy.uint64(30))) * numpy.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> numpy.uint64(27))) * numpy.uint64(0x94D049BB133111EB)
        z = z ^ (z >> numpy.uint64(31))
    return (z >> numpy.uint64(40)).astype(numpy.float32) / numpy.float32(1 << 23) - numpy.float32(1)


def weights(config):
    """Every tensor made of its place among the names in order, its shape and its name."""
    made = {}
    for number, (name, shape) in enumerate(sorted(weight_shapes(config).items())):
        values = uniform(number + 1, int(numpy.prod(shape)))
        if len(shape) > 1:
            fan = 1 if name == "model.embed_tokens.weight" else int(numpy.prod(shape[1:]))
            values = values * numpy.float32((3 / fan) ** 0.5)
        elif "norm" in name and name.endswith("weight"):
            values = numpy.float32(1) + numpy.float32(0.3) * values
        else:
            values = numpy.float32(0.2) * values
        made[name] = torch.from_numpy(values.reshape(shape))
    return made


def write(name, **options):
    config = make_config("fixture", patch_coder="unet", **options)
    batch = make_batch(config, rows=90, images=3, documents=3, seed=33)
    batch["timesteps"] = torch.tensor([0, 431, 999], dtype=torch.int32)
    out = evaluate(config, weights(config), batch, torch.float64, gradients=True, model=UNetModel)
    stored = {f"batch.{key}": value for key, value in batch.items()}
    for key, value in out.items():
        if not key.startswith("grad."):
            stored[key] = value
            continue
        flat, key = value.flatten(), key.removeprefix("grad.")
        stored[f"norm.{key}"] = flat.norm().reshape(1)
        stored[f"sample.{key}"] = flat[::max(1, len(flat) // SAMPLES)].clone()
    folder = FOLDER / "unet"
    folder.mkdir(exist_ok=True)
    (folder / f"{name}.json").write_text(json.dumps(config, indent=2) + "\n")
    save_file(stored, folder / f"{name}.safetensors")
    print(name, *(f"{key} {out[key].item():.6f}" for key in ("loss_text", "loss_image", "loss")))


def count():
    """Of a U-Net of 512 channels beside each model of the paper, with latents of 8 channels and patches of 2 × 2."""
    for width in (768, 1024, 1536, 2048, 4096):
        config = make_config("0.16b", unet_channels=512) | {"hidden_size": width}
        with torch.device("meta"):
            halves = Encoder(config), Decoder(config)
        print(width, sum(p.numel() for half in halves for p in half.parameters()))


if "--count" in sys.argv:
    count()
else:
    write("two", unet_channels=64)
    write("four", unet_channels=32, **{"patch_size": 4, "num_hidden_layers": 1})
