"""A tiny Llama in two files, as Meta cuts its larger ones, and the same in one.

Writes `meta_shards/`: `consolidated.00.pth`, `consolidated.01.pth` and `params.json`, and `whole.safetensors` with the tensors
before they were cut. What is cut along which axis is that of Meta's llama (ColumnParallelLinear, RowParallelLinear,
ParallelEmbedding).
"""

import json

import torch
from safetensors.torch import save_file

from fixture import FOLDER, generator

PLACE = FOLDER / "meta_shards"
PLACE.mkdir(exist_ok=True)
source = generator(43)
WIDTH, HEADS, KEY_HEADS, FEED_FORWARD, VOCABULARY, LAYERS, RANKS = 16, 4, 2, 24, 30, 2, 2


def numbers(*shape):
    return torch.randn(*shape, generator=source).bfloat16()


whole = {"tok_embeddings.weight": numbers(VOCABULARY, WIDTH), "norm.weight": numbers(WIDTH),
         "output.weight": numbers(VOCABULARY, WIDTH), "rope.freqs": numbers(WIDTH // HEADS // 2)}
axes = {"tok_embeddings.weight": 1, "output.weight": 0}
for layer in range(LAYERS):
    name = f"layers.{layer}."
    shared = WIDTH * KEY_HEADS // HEADS
    for part, shape, axis in (
            ("attention.wq", (WIDTH, WIDTH), 0), ("attention.wk", (shared, WIDTH), 0), ("attention.wv", (shared, WIDTH), 0),
            ("attention.wo", (WIDTH, WIDTH), 1), ("feed_forward.w1", (FEED_FORWARD, WIDTH), 0),
            ("feed_forward.w2", (WIDTH, FEED_FORWARD), 1), ("feed_forward.w3", (FEED_FORWARD, WIDTH), 0)):
        whole[f"{name}{part}.weight"] = numbers(*shape)
        axes[f"{name}{part}.weight"] = axis
    for part in ("attention_norm", "ffn_norm"):
        whole[f"{name}{part}.weight"] = numbers(WIDTH)

for rank in range(RANKS):
    torch.save(
        {name: tensor.chunk(RANKS, axes[name])[rank].clone() if name in axes else tensor for name, tensor in whole.items()},
        PLACE / f"consolidated.{rank:02}.pth")
save_file({name: tensor.contiguous() for name, tensor in whole.items()}, PLACE / "whole.safetensors")
(PLACE / "params.json").write_text(json.dumps(
    {"dim": WIDTH, "n_layers": LAYERS, "n_heads": HEADS, "n_kv_heads": KEY_HEADS, "vocab_size": -1, "norm_eps": 1e-5}))
