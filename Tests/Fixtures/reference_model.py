"""An independent Transfusion model in PyTorch: one explicit batch in, predictions, losses and gradients out.

    python reference_model.py --checkpoint DIR --batch in.safetensors --out out.safetensors [--gradients]
    python reference_model.py --self-check

It reads and writes what `tf-eval forward` reads and writes, shares no code with it, and is as plain as possible: dense
masks, all logits at once. `--self-check` compares it with transformers' LlamaForCausalLM.
"""

import argparse
import json
import math
import pathlib

import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file


def alpha_bars(steps=1000):
    """The cosine schedule of Nichol and Dhariwal with s = 0.008 and β at most 0.999."""
    f = [math.cos((i / steps + 0.008) / 1.008 * math.pi / 2) ** 2 for i in range(steps + 1)]
    betas = torch.tensor([min(1 - after / before, 0.999) for before, after in zip(f, f[1:])], dtype=torch.float64)
    return torch.cumprod(1 - betas, 0)


class Rows:
    """Masks, positions and targets of one batch, by the definitions rather than by intervals."""

    def __init__(self, config, batch):
        options = config.get("row_options", {})
        self.tokens = batch["tokens"].long()
        count = len(self.tokens)
        patches = (config["image_height"] // config["patch_size"]) * (config["image_width"] // config["patch_size"])
        starts = set(batch["document_starts"].tolist())
        sequence = int(batch["sequence_length"][0]) if "sequence_length" in batch else count
        shared, across = options.get("sharedImagePosition", False), options.get("attendAcrossDocuments", False)

        image = torch.full((count,), -1)
        for number, start in enumerate(batch.get("image_starts", torch.zeros(0)).tolist()):
            image[start:start + patches] = number
        self.image = image
        self.patch_rows = (image >= 0).nonzero().flatten()

        document = torch.zeros(count, dtype=torch.long)
        for row in range(1, count):
            document[row] = document[row - 1] + (row in starts)
        scope = torch.arange(count) // sequence if across else document
        same_scope = scope[:, None] == scope[None]
        causal = torch.arange(count)[:, None] >= torch.arange(count)[None]
        same_image = (image[:, None] == image[None]) & (image >= 0)[:, None]
        self.mask = same_scope & (causal | same_image)

        self.positions = torch.zeros(count, dtype=torch.long)
        for row in range(1, count):
            if scope[row] == scope[row - 1]:
                step = 0 if shared and image[row] >= 0 and image[row] == image[row - 1] else 1
                self.positions[row] = self.positions[row - 1] + step

        boi, eoi = config["boi_token_id"], config["eoi_token_id"]
        self.targets = torch.full((count,), -1)
        for row in range(count - 1):
            token, following = self.tokens[row].item(), self.tokens[row + 1].item()
            if document[row] != document[row + 1] or following < 0:
                continue
            if token < 0:
                due = options.get("endOfImageIsTarget", False) and following == eoi
            else:
                due = token != boi and following != eoi
            if due:
                self.targets[row] = following


def patchify(x, patch):
    images, channels, height, width = x.shape
    x = x.reshape(images, channels, height // patch, patch, width // patch, patch)
    return x.permute(0, 2, 4, 3, 5, 1).reshape(-1, patch * patch * channels)


def unpatchify(vectors, patch, channels, height, width):
    x = vectors.reshape(-1, height // patch, width // patch, patch, patch, channels)
    return x.permute(0, 5, 1, 3, 2, 4).reshape(-1, channels, height, width)


class Model:
    def __init__(self, config, weights):
        self.config, self.weights = config, weights

    def linear(self, x, name):
        return F.linear(x, self.weights[name + ".weight"], self.weights.get(name + ".bias"))

    def norm(self, x, name):
        wide = x.float() if x.dtype == torch.bfloat16 else x
        wide = wide * torch.rsqrt(wide.pow(2).mean(-1, keepdim=True) + self.config["rms_norm_eps"])
        return wide.to(x.dtype) * self.weights[name + ".weight"]

    def rotate(self, x, positions):
        half = x.shape[-1] // 2
        frequencies = self.config["rope_theta"] ** (-torch.arange(half, dtype=torch.float64) / half)
        angle = positions.double()[:, None] * frequencies
        cosine, sine = angle.cos().to(x.dtype), angle.sin().to(x.dtype)
        first, second = x[..., :half], x[..., half:]
        return torch.cat((first * cosine - second * sine, second * cosine + first * sine), -1)

    def attention(self, x, rows, name):
        count, width = x.shape
        q, k, v = (
            self.linear(x, f"{name}.{part}_proj").view(count, self.config["num_attention_heads"], -1).transpose(0, 1)
            for part in "qkv")
        q, k = self.rotate(q, rows.positions), self.rotate(k, rows.positions)
        o = F.scaled_dot_product_attention(q[None], k[None], v[None], attn_mask=rows.mask)[0]
        return self.linear(o.transpose(0, 1).reshape(count, width), f"{name}.o_proj")

    def transformer(self, x, rows):
        for layer in range(self.config["num_hidden_layers"]):
            name = f"model.layers.{layer}"
            x = x + self.attention(self.norm(x, f"{name}.input_layernorm"), rows, f"{name}.self_attn")
            y = self.norm(x, f"{name}.post_attention_layernorm")
            y = F.silu(self.linear(y, f"{name}.mlp.gate_proj")) * self.linear(y, f"{name}.mlp.up_proj")
            x = x + self.linear(y, f"{name}.mlp.down_proj")
        return self.norm(x, "model.norm")

    def encode(self, noisy, timesteps, dtype):
        """Patch vectors of the noisy images as rows of the transformer."""
        name = "patch_encoder.timestep"
        angle = timesteps.double()[:, None] * 10000.0 ** (-torch.arange(128, dtype=torch.float64) / 128)
        time = torch.cat((angle.cos(), angle.sin()), -1).to(dtype)
        time = self.linear(F.silu(self.linear(time, f"{name}.linear_1")), f"{name}.linear_2")
        vectors = patchify(noisy, self.config["patch_size"]).to(dtype)
        per_image = len(vectors) // len(timesteps)
        if self.config.get("timestep_after_projection"):
            return self.linear(vectors, "patch_encoder.projection") + time.repeat_interleave(per_image, 0)
        time = self.linear(time, f"{name}.projection").repeat_interleave(per_image, 0)
        return self.linear(vectors + time, "patch_encoder.projection")

    def decode(self, hidden, timesteps):
        """The predicted noise of the images whose patches have these hidden states."""
        config = self.config
        size = config["image_channels"], config["image_height"], config["image_width"]
        return unpatchify(self.linear(hidden, "patch_decoder.projection"), config["patch_size"], *size)

    def __call__(self, batch, dtype=torch.float32):
        config, rows = self.config, Rows(self.config, batch)
        table = self.weights["model.embed_tokens.weight"]
        x = torch.where((rows.tokens >= 0)[:, None], table[rows.tokens.clamp(min=0)], 0)
        images = len(rows.patch_rows) > 0
        if images:
            timesteps, noise = batch["timesteps"].long(), batch["noise"].double()
            ratio = alpha_bars()[timesteps].view(-1, 1, 1, 1)
            noisy = ratio.sqrt() * batch["latents"].double() + (1 - ratio).sqrt() * noise
            x = x.index_copy(0, rows.patch_rows, self.encode(noisy, timesteps, dtype))
        hidden = self.transformer(x, rows)
        out = {"logits": self.linear(hidden, "lm_head")}
        wide = torch.float64 if dtype == torch.float64 else torch.float32
        zero = torch.zeros((), dtype=wide)
        due = int((rows.targets >= 0).sum())
        out["loss_text"] = (
            F.cross_entropy(out["logits"].to(wide), rows.targets, ignore_index=-1, reduction="sum") / due
            if due else zero)
        out["noise_prediction"], out["loss_image"] = torch.zeros(0), zero
        if images:
            out["noise_prediction"] = self.decode(hidden[rows.patch_rows], timesteps)
            # The mean over the elements of an image, then over the images; all images have one size.
            out["loss_image"] = (out["noise_prediction"].to(wide) - noise.to(wide)).pow(2).mean()
        out["loss"] = out["loss_text"] + 5 * out["loss_image"]
        return out


def evaluate(config, weights, batch, dtype=torch.float32, gradients=False, model=Model):
    weights = {name: w.to(dtype).requires_grad_(gradients) for name, w in weights.items()}
    with torch.set_grad_enabled(gradients):
        out = model(config, weights)(batch, dtype)
    if gradients:
        names = list(weights)
        found = torch.autograd.grad(out["loss"], [weights[n] for n in names], allow_unused=True)
        for name, gradient in zip(names, found):
            out[f"grad.{name}"] = torch.zeros_like(weights[name]) if gradient is None else gradient
    return {name: value.detach().float().reshape(value.shape or (1,)).contiguous() for name, value in out.items()}


def self_check():
    """Logits and gradients of both programs, in double precision, for text alone and for text with images."""
    from transformers import LlamaConfig, LlamaForCausalLM

    from make_batch import make_batch, make_config, make_weights

    config = make_config("fixture")
    theirs_config = LlamaConfig(
        vocab_size=config["vocab_size"], hidden_size=config["hidden_size"],
        intermediate_size=config["intermediate_size"], num_hidden_layers=config["num_hidden_layers"],
        num_attention_heads=config["num_attention_heads"], num_key_value_heads=config["num_attention_heads"],
        rms_norm_eps=config["rms_norm_eps"], tie_word_embeddings=False, attn_implementation="eager",
        rope_parameters={"rope_theta": config["rope_theta"], "rope_type": "default"})
    theirs = LlamaForCausalLM(theirs_config).double()
    for case, images in (("text", 0), ("mixed", 3)):
        weights = {name: w.double().requires_grad_(True) for name, w in make_weights(config, 5).items()}
        llama = {name: w for name, w in weights.items() if name.startswith(("model.", "lm_head."))}
        theirs.load_state_dict({name: w.detach() for name, w in llama.items()}, strict=True)
        batch = make_batch(config, rows=80, images=images, documents=3, seed=9)
        mine, rows = Model(config, weights), Rows(config, batch)
        x = mine.weights["model.embed_tokens.weight"][rows.tokens.clamp(min=0)].detach()
        if images:
            patches = torch.randn(len(rows.patch_rows), x.shape[1], dtype=torch.float64)
            x = x.index_copy(0, rows.patch_rows, patches)
        mask = torch.zeros(rows.mask.shape, dtype=torch.float64).masked_fill(~rows.mask, -torch.inf)
        other = theirs(
            inputs_embeds=x[None], attention_mask=mask[None, None], position_ids=rows.positions[None]).logits[0]
        own = mine.linear(mine.transformer(x, rows), "lm_head")
        print(f"{case}: logits {error(own, other):.1e}", end="")
        # transformers keeps its rotary frequencies in f32, hence not 1e-12.
        assert error(own, other) < 1e-6
        upstream, worst = torch.randn_like(own), 0
        theirs.zero_grad()
        (other * upstream).sum().backward()
        for name, p in theirs.named_parameters():
            if name == "model.embed_tokens.weight":
                continue
            (gradient,) = torch.autograd.grad((own * upstream).sum(), [weights[name]], retain_graph=True)
            worst = max(worst, error(gradient, p.grad))
        print(f", worst gradient {worst:.1e}")
        assert worst < 1e-6


def error(a, b):
    return ((a - b).norm() / b.norm()).item()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoint", type=pathlib.Path, help="a directory with config.json and model.safetensors")
    parser.add_argument("--batch", type=pathlib.Path)
    parser.add_argument("--out", type=pathlib.Path)
    parser.add_argument("--gradients", action="store_true")
    parser.add_argument("--dtype", choices=["float32", "float64", "bfloat16"], default="float32")
    parser.add_argument("--self-check", action="store_true")
    options = parser.parse_args()
    if options.self_check:
        return self_check()
    if not (options.checkpoint and options.batch and options.out):
        parser.error("--checkpoint, --batch and --out are needed")
    file = options.checkpoint
    if file.is_dir():
        file = file / "model.safetensors"
    config = json.loads((file.parent / "config.json").read_text())
    out = evaluate(
        config, load_file(file), load_file(options.batch), getattr(torch, options.dtype), options.gradients)
    save_file(out, options.out)
    print(*(f"{name} {out[name].item():.8f}" for name in ("loss_text", "loss_image", "loss")))


if __name__ == "__main__":
    main()
