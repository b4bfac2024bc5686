"""Writes a random Llama with transformers, and its query and key projections in Meta's order of rows.

Run from the top of the repository with a Python that has torch, transformers and safetensors:

    python Tests/Fixtures/checkpoint_llama.py            writes Tests/Fixtures/checkpoint/llama and llama_meta.safetensors
    python Tests/Fixtures/checkpoint_llama.py --compare A B    loads two directories and compares every tensor and logits
"""

import sys

import torch
from safetensors.torch import save_file
from transformers import LlamaConfig, LlamaForCausalLM

FOLDER = "Tests/Fixtures/checkpoint/"


def to_meta(weight, heads):
    """The inverse of transformers' permutation for its rotary embedding."""
    outputs, inputs = weight.shape
    return weight.view(heads, 2, outputs // heads // 2, inputs).transpose(1, 2).reshape(outputs, inputs)


def write():
    torch.manual_seed(0)
    config = LlamaConfig(
        hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4, vocab_size=50,
        max_position_embeddings=64, rms_norm_eps=1e-5, rope_theta=50000.0)
    model = LlamaForCausalLM(config)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    model.save_pretrained(FOLDER + "llama", max_shard_size="50KB")
    state = model.state_dict()
    save_file(
        {name: to_meta(state[name], 4).contiguous() for name in state if "q_proj" in name or "k_proj" in name},
        FOLDER + "llama_meta.safetensors")


def compare(first, second):
    a = LlamaForCausalLM.from_pretrained(first, dtype=torch.float32)
    b = LlamaForCausalLM.from_pretrained(second, dtype=torch.float32)
    assert a.state_dict().keys() == b.state_dict().keys()
    for name, tensor in a.state_dict().items():
        assert torch.equal(tensor, b.state_dict()[name]), name
    tokens = torch.arange(40).unsqueeze(0) % a.config.vocab_size
    assert torch.equal(a(tokens).logits, b(tokens).logits)
    print("every tensor and the logits are bit-equal")


if len(sys.argv) == 1:
    write()
else:
    compare(sys.argv[2], sys.argv[3])
