"""Random weights and random but valid batches for comparing implementations.

    python make_batch.py --size 0.16b --weights DIR --batch in.safetensors --rows 1024 --images 2 --documents 3
"""

import argparse
import json
import pathlib

import torch
from safetensors.torch import save_file

from fixture import generator

# layers, width, heads, ffn, vocabulary, patch, channels, height, width
SIZES = {
    "fixture": (2, 32, 2, 48, 97, 2, 4, 8, 8),
    "tiny": (4, 256, 4, 688, 4096, 8, 3, 32, 32),
    "0.16b": (16, 768, 12, 2048, 32000, 2, 8, 32, 32),
}


def make_config(size, **options):
    layers, width, heads, ffn, vocabulary, patch, channels, image_height, image_width = SIZES[size]
    return {
        "architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_act": "silu",
        "tie_word_embeddings": False, "num_hidden_layers": layers, "hidden_size": width, "num_attention_heads": heads,
        "num_key_value_heads": heads, "intermediate_size": ffn, "vocab_size": vocabulary, "patch_size": patch,
        "image_channels": channels, "image_height": image_height, "image_width": image_width, "bos_token_id": 1,
        "eos_token_id": 2, "boi_token_id": vocabulary - 2, "eoi_token_id": vocabulary - 1, "rms_norm_eps": 1e-5,
        "rope_theta": 10000.0, **options,
    }


def shapes(config):
    d, ffn, vocabulary = config["hidden_size"], config["intermediate_size"], config["vocab_size"]
    patch = config["patch_size"] ** 2 * config["image_channels"]
    yield "model.embed_tokens.weight", (vocabulary, d)
    for layer in range(config["num_hidden_layers"]):
        name = f"model.layers.{layer}"
        yield f"{name}.input_layernorm.weight", (d,)
        for part in "qkvo":
            yield f"{name}.self_attn.{part}_proj.weight", (d, d)
        yield f"{name}.post_attention_layernorm.weight", (d,)
        yield f"{name}.mlp.gate_proj.weight", (ffn, d)
        yield f"{name}.mlp.up_proj.weight", (ffn, d)
        yield f"{name}.mlp.down_proj.weight", (d, ffn)
    yield "model.norm.weight", (d,)
    yield "lm_head.weight", (vocabulary, d)
    linears = [("timestep.linear_1", d, 256), ("timestep.linear_2", d, d)]
    if not config.get("timestep_after_projection"):
        linears.append(("timestep.projection", patch, d))
    for name, outputs, inputs in linears + [("projection", d, patch)]:
        yield f"patch_encoder.{name}.weight", (outputs, inputs)
        yield f"patch_encoder.{name}.bias", (outputs,)
    yield "patch_decoder.projection.weight", (patch, d)
    yield "patch_decoder.projection.bias", (patch,)


def make_weights(config, seed):
    """Every tensor random, norms and biases too, so that none can be left out unnoticed."""
    source, weights = generator(seed), {}
    for name, shape in shapes(config):
        value = torch.randn(shape, generator=source)
        if name.endswith("norm.weight"):
            weights[name] = 1 + 0.1 * value
        elif name.endswith("bias") or name == "model.embed_tokens.weight":
            weights[name] = 0.1 * value
        else:
            weights[name] = value * shape[1] ** -0.5
    return weights


def make_batch(config, rows, images, documents, seed):
    """Documents of random lengths; images go to random documents, between text or first in one."""
    source = generator(seed)
    patches = (config["image_height"] // config["patch_size"]) * (config["image_width"] // config["patch_size"])

    def draw(bound):
        return int(torch.randint(0, bound, (1,), generator=source))

    owner = [draw(documents) for _ in range(images)]
    # BOS, BOI, patches, EOI, EOS and one word around each image must fit; the rest is text, cut at random places.
    needed = [3 + sum(patches + 3 for o in owner if o == document) for document in range(documents)]
    spare = rows - sum(needed)
    if spare < 0:
        raise SystemExit(f"{images} images of {patches} patches and {documents} documents need {sum(needed)} rows")
    cuts = sorted(draw(spare + 1) for _ in range(documents - 1))
    lengths = [b - a for a, b in zip([0] + cuts, cuts + [spare])]

    tokens, document_starts, image_starts = [], [], []
    words = config["boi_token_id"] - 3
    for document in range(documents):
        document_starts.append(len(tokens))
        tokens.append(config["bos_token_id"])
        count = owner.count(document)
        text = 1 + count + lengths[document]
        places = sorted(draw(text) for _ in range(count))
        for word in range(text):
            while places and places[0] == word:
                places.pop(0)
                tokens.append(config["boi_token_id"])
                image_starts.append(len(tokens))
                tokens += [-1] * patches + [config["eoi_token_id"]]
            tokens.append(3 + draw(words))
        tokens.append(config["eos_token_id"])
    assert len(tokens) == rows
    batch = {
        "tokens": torch.tensor(tokens, dtype=torch.int32),
        "document_starts": torch.tensor(document_starts, dtype=torch.int32),
        "image_starts": torch.tensor(image_starts, dtype=torch.int32),
    }
    size = config["image_channels"], config["image_height"], config["image_width"]
    batch["latents"] = torch.randn(images, *size, generator=source).clamp(-2, 2) / 2
    batch["noise"] = torch.randn(images, *size, generator=source)
    batch["timesteps"] = torch.randint(0, 1000, (images,), generator=source, dtype=torch.int32)
    return batch


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", choices=SIZES, default="tiny")
    parser.add_argument("--config", type=pathlib.Path, help="take the sizes from this config.json instead")
    parser.add_argument("--weights", type=pathlib.Path, help="write config.json and model.safetensors here")
    parser.add_argument("--batch", type=pathlib.Path)
    parser.add_argument("--rows", type=int, default=1024)
    parser.add_argument("--images", type=int, default=2)
    parser.add_argument("--documents", type=int, default=3)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    config = json.loads(options.config.read_text()) if options.config else make_config(options.size)
    if options.weights:
        options.weights.mkdir(parents=True, exist_ok=True)
        (options.weights / "config.json").write_text(json.dumps(config, indent=2) + "\n")
        save_file(make_weights(config, options.seed), options.weights / "model.safetensors", {"format": "pt"})
    if options.batch:
        batch = make_batch(config, options.rows, options.images, options.documents, options.seed)
        save_file(batch, options.batch)


if __name__ == "__main__":
    main()
