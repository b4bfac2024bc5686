"""Small autoencoders of diffusers with random weights: their files, a batch, its results and gradients.

Writes `autoencoder/{kl,vq}/`: `config.json` and `diffusion_pytorch_model.safetensors` as diffusers saves them, `batch.safetensors`
and `results.safetensors`, which are what `tf-eval autoencode` reads and writes. `autoencoder/ldm.ckpt` holds the weights of
`kl` under the names of Latent Diffusion, as PyTorch Lightning saves them.
"""

import json
import re

import torch
from diffusers import AutoencoderKL, VQModel
from diffusers.models.autoencoders.vae import VectorQuantizer
from safetensors.torch import save_file

from fixture import FOLDER, generator, normal

PLACE = FOLDER / "autoencoder"


def randomise(model, source):
    """Weights that matter: norms that are not 1, biases that are not 0."""
    for name, parameter in model.named_parameters():
        numbers = torch.randn(parameter.shape, generator=source)
        if parameter.dim() > 1:
            fan = parameter[0].numel()
            numbers = numbers * (0.4 if "embedding" in name else fan**-0.5)
        elif "norm" in name and name.endswith("weight"):
            numbers = 1 + 0.3 * numbers
        else:
            numbers = 0.2 * numbers
        parameter.data = numbers.contiguous()


def ldm_name(name, levels):
    """The name that Latent Diffusion gives a tensor of diffusers."""
    name = re.sub(r"decoder\.up_blocks\.(\d+)", lambda m: f"decoder.up.{levels - 1 - int(m[1])}", name)
    for theirs, ours in (
        (r"encoder\.down_blocks\.(\d+)", r"encoder.down.\1"), (r"\.downsamplers\.0\.conv", ".downsample.conv"),
        (r"\.upsamplers\.0\.conv", ".upsample.conv"), (r"mid_block\.resnets\.0", "mid.block_1"),
        (r"mid_block\.resnets\.1", "mid.block_2"), (r"mid_block\.attentions\.0\.group_norm", "mid.attn_1.norm"),
        (r"mid_block\.attentions\.0\.to_out\.0", "mid.attn_1.proj_out"),
        (r"mid_block\.attentions\.0\.to_(.)", r"mid.attn_1.\1"), (r"\.resnets\.(\d+)", r".block.\1"),
        ("conv_shortcut", "nin_shortcut"), ("conv_norm_out", "norm_out"),
    ):
        name = re.sub(theirs, ours, name)
    return name


def results(model, images, noise):
    """Everything in double precision."""
    model = model.double()
    batch = {"images": images}
    if noise is not None:
        batch["noise"] = noise
        posterior = model.encode(images).latent_dist
        latents = posterior.mean + posterior.std * noise
        out = {"mean": posterior.mean, "logvar": posterior.logvar, "latents": latents}
        reconstruction = model.decode(latents).sample
        out["loss_kl"] = posterior.kl().mean()
        extra = 1e-6 * out["loss_kl"]
    else:
        features = model.encode(images).latents
        quantized, loss, (_, _, codes) = model.quantize(features)
        height, width = features.shape[2:]
        out = {"codes": codes.view(len(images), height, width), "loss_codebook": loss}
        reconstruction = model.decoder(model.post_quant_conv(quantized))
        extra = loss
    out["reconstruction"] = reconstruction
    out["loss_reconstruction"] = (reconstruction - images).abs().mean()
    (out["loss_reconstruction"] + extra).backward()
    out |= {f"grad.{name}": parameter.grad for name, parameter in model.named_parameters()}
    return batch, out


def store(tensors, path):
    stored = {}
    for name, value in tensors.items():
        value = torch.as_tensor(value).detach()
        value = value.float() if value.is_floating_point() else value.to(torch.int32)
        stored[name] = value.reshape(value.shape or (1,)).contiguous()
    save_file(stored, path)
    print(f"{path.relative_to(FOLDER)}: {path.stat().st_size} bytes")


def make(kind, seed):
    source, folder = generator(seed), PLACE / kind
    shared = dict(
        block_out_channels=(8, 16), layers_per_block=1, norm_num_groups=4, sample_size=16,
        down_block_types=["DownEncoderBlock2D"] * 2, up_block_types=["UpDecoderBlock2D"] * 2)
    if kind == "kl":
        model = AutoencoderKL(latent_channels=3, scaling_factor=0.7, **shared)
    else:
        model = VQModel(latent_channels=6, vq_embed_dim=4, num_vq_embeddings=40, **shared)
        model.quantize = VectorQuantizer(40, 4, beta=0.25, legacy=False)
    randomise(model, source)
    model.save_pretrained(folder)
    config = json.loads((folder / "config.json").read_text())
    config.pop("_diffusers_version")
    (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n")
    if kind == "kl":
        weights = {}
        for name, value in model.state_dict().items():
            if re.search(r"attentions\.0\.to_.*weight", name):
                value = value[:, :, None, None]
            weights[ldm_name(name, 2)] = value.contiguous()
        torch.save({"state_dict": weights, "global_step": 7}, PLACE / "ldm.ckpt")
    images = normal(source, 2, 3, 12, 16, scale=0.5).clamp(-1, 1)
    noise = normal(source, 2, 3, 6, 8) if kind == "kl" else None
    batch, out = results(model, images, noise)
    store(batch, folder / "batch.safetensors")
    store(out, folder / "results.safetensors")


for kind, seed in (("kl", 31), ("vq", 32)):
    make(kind, seed)
