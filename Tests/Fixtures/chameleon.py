"""Small random models with Chameleon's blocks, as transformers computes them: logits, losses and gradients.

Run from the top of the repository with a Python that has torch, transformers (5 or later) and safetensors:

    python Tests/Fixtures/chameleon.py        writes Tests/Fixtures/chameleon.safetensors

The blocks are transformers' own, with LayerNorm on the heads of queries and keys, and norms before the layers (Chameleon 7B)
or after them (34B). Embedding, last norm and head are Llama's. Everything is computed in double precision.
"""

import torch
import torch.nn.functional as F
from transformers import ChameleonConfig
from transformers.models.chameleon.modeling_chameleon import (
    ChameleonDecoderLayer, ChameleonRMSNorm, ChameleonRotaryEmbedding, ChameleonSwinDecoderLayer)

from fixture import generator, normal, write

ROWS, VOCABULARY, WIDTH, LAYERS = 24, 37, 32, 2


def model(case, swin, key_heads, z_weight):
    configuration = ChameleonConfig(
        vocab_size=VOCABULARY, hidden_size=WIDTH, intermediate_size=48, num_hidden_layers=LAYERS,
        num_attention_heads=4, num_key_value_heads=key_heads, rms_norm_eps=1e-5, swin_norm=swin,
        attn_implementation="eager", max_position_embeddings=ROWS)
    kind = ChameleonSwinDecoderLayer if swin else ChameleonDecoderLayer
    layers = torch.nn.ModuleList(kind(configuration, index) for index in range(LAYERS)).double()
    norm = ChameleonRMSNorm(WIDTH, eps=1e-5).double()
    source = generator(50 + key_heads)
    # The tested program has one weight for all heads, as Chameleon's own code has on each of its shards.
    ours, theirs = {}, {}

    def parameter(name, tensor):
        if name.endswith(("q_norm.weight", "q_norm.bias", "k_norm.weight", "k_norm.bias")):
            shared = normal(source, tensor.shape[-1], scale=0.3) + (1 if name.endswith("weight") else 0)
            value = shared.float().double()
            ours[name] = value
            tensor.data = value.expand(tensor.shape).clone()
        else:
            value = normal(source, *tensor.shape, scale=0.3)
            if "norm" in name:
                value = (value + 1).float().double()
            ours[name] = value
            tensor.data = value.clone()
        theirs[name] = tensor

    for name, tensor in layers.named_parameters():
        parameter(f"model.layers.{name}", tensor)
    parameter("model.norm.weight", norm.weight)
    embedding, head = (torch.nn.Parameter(torch.empty(VOCABULARY, WIDTH, dtype=torch.float64)) for _ in range(2))
    parameter("model.embed_tokens.weight", embedding)
    parameter("lm_head.weight", head)

    tokens = torch.randint(3, VOCABULARY - 2, (1, ROWS), generator=source)
    positions = torch.arange(ROWS)[None]
    mask = torch.full((ROWS, ROWS), float("-inf"), dtype=torch.float64).triu(1)[None, None]
    rotary = ChameleonRotaryEmbedding(configuration).double()
    x = F.embedding(tokens, embedding)
    turned = rotary(x, positions)
    for layer in layers:
        x = layer(x, attention_mask=mask, position_ids=positions, position_embeddings=turned)
        x = x[0] if isinstance(x, tuple) else x
    logits = norm(x)[0] @ head.T
    # The last row predicts nothing.
    text = F.cross_entropy(logits[:-1], tokens[0, 1:], reduction="sum")
    squares = logits[:-1].logsumexp(-1).square().sum()
    ((text + z_weight * squares) / (ROWS - 1)).backward()
    result = dict(tokens=tokens[0], logits=logits, text=text, squared_log_z=squares, z_weight=z_weight,
                  swin=int(swin), key_heads=key_heads)
    for name, tensor in theirs.items():
        gradient = tensor.grad
        if gradient.dim() == 2 and name.endswith(("_norm.weight", "_norm.bias")):
            gradient = gradient.sum(0)
        result[f"weight.{name}"], result[f"gradient.{name}"] = ours[name], gradient
    return result


write("chameleon", {
    "pre": model("pre", False, 2, 1e-5),
    "post": model("post", True, 4, 0.01),
})
