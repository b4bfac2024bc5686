"""Tiny random models of the Llama family, as transformers writes them, with their logits and gradients.

Run from the top of the repository with a Python that has torch, transformers (5 or later), safetensors and tokenizers:

    python Tests/Fixtures/llama_family.py                 writes Tests/Fixtures/llama_family*
    python Tests/Fixtures/llama_family.py --check DIRECTORY
        sends the models through tf-ckpt convert, whose executables are in DIRECTORY, and back; has transformers load the
        results without a warning; and compares greedy tokens of transformers with those of tf-sample text
"""

import json
import logging
import pathlib
import shutil
import subprocess
import sys
import tempfile
import warnings

import torch
from transformers import (
    AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM, MistralConfig, MistralForCausalLM, Qwen2Config,
    Qwen2ForCausalLM, Qwen3Config, Qwen3ForCausalLM)
from transformers.utils import logging as transformers_logging

from fixture import generator, normal, write as write_cases

FOLDER = pathlib.Path("Tests/Fixtures/llama_family")
LLAMA3 = {
    "rope_type": "llama3", "rope_theta": 500000.0, "factor": 32.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
    "original_max_position_embeddings": 64}
ROWS = 40


def sizes(width, layers, heads, key_heads, feed_forward, vocabulary, **others):
    return dict(
        hidden_size=width, num_hidden_layers=layers, num_attention_heads=heads, num_key_value_heads=key_heads,
        intermediate_size=feed_forward, vocab_size=vocabulary, max_position_embeddings=128, bos_token_id=1,
        eos_token_id=2, **others)


# name: (configuration, model, bytes of a shard)
MODELS = {
    # Eight heads share two of keys.
    "tinyllama": (LlamaConfig(**sizes(32, 2, 8, 2, 48, 50, rms_norm_eps=1e-5)), LlamaForCausalLM, "5GB"),
    # SmolLM: nine heads and three, tied, another base; in parts with an index.
    "smollm": (
        LlamaConfig(
            **sizes(36, 2, 9, 3, 40, 61, rms_norm_eps=1e-5, tie_word_embeddings=True,
                    rope_parameters={"rope_type": "default", "rope_theta": 100000.0})), LlamaForCausalLM, "20KB"),
    # Llama 3.2: scaled rotary embedding, tied.
    "llama3": (
        LlamaConfig(**sizes(32, 2, 4, 2, 48, 50, rms_norm_eps=1e-5, tie_word_embeddings=True, rope_parameters=LLAMA3)),
        LlamaForCausalLM, "5GB"),
    # Biases of all four products, not tied, heads wider than their share.
    "biased": (
        LlamaConfig(**sizes(32, 2, 4, 4, 48, 50, rms_norm_eps=1e-6, attention_bias=True, head_dim=12)),
        LlamaForCausalLM, "5GB"),
    "mistral": (
        MistralConfig(**sizes(32, 2, 6, 3, 48, 50, rms_norm_eps=1e-5, head_dim=8, sliding_window=None)),
        MistralForCausalLM, "5GB"),
    "qwen2": (
        Qwen2Config(
            **sizes(32, 2, 4, 2, 48, 53, tie_word_embeddings=True,
                    rope_parameters={"rope_type": "default", "rope_theta": 1000000.0})), Qwen2ForCausalLM, "5GB"),
    # Norms of the heads, which are wider than their share.
    "qwen3": (
        Qwen3Config(
            **sizes(32, 2, 6, 3, 48, 51, head_dim=16,
                    rope_parameters={"rope_type": "default", "rope_theta": 1000000.0})), Qwen3ForCausalLM, "5GB"),
    "bf16": (Qwen3Config(**sizes(32, 1, 4, 2, 48, 51, head_dim=16, tie_word_embeddings=True)), Qwen3ForCausalLM, "5GB"),
}


def random_model(name):
    configuration, kind, _ = MODELS[name]
    torch.manual_seed(sorted(MODELS).index(name))
    model = kind(configuration)
    for parameter_name, parameter in model.named_parameters():
        # Weights of norms lie around one.
        torch.nn.init.normal_(parameter, mean=1.0 if "norm" in parameter_name else 0.0, std=0.3)
    return model.bfloat16() if name == "bf16" else model


def tokens_of(name):
    vocabulary = MODELS[name][0].vocab_size
    return torch.randint(3, vocabulary, (ROWS,), dtype=torch.int32, generator=torch.Generator().manual_seed(1))


def reference(name, model):
    """Logits and the gradients of `sum(logits · dlogits)`, in double precision."""
    model, tokens = model.double(), tokens_of(name)
    logits = model(tokens.unsqueeze(0).long()).logits[0]
    dlogits = normal(generator(2), *logits.shape)
    (logits * dlogits).sum().backward()
    gradients = {f"grad.{key}": parameter.grad for key, parameter in model.named_parameters()}
    return {"tokens": tokens, "logits": logits, "dlogits": dlogits, **gradients}


def write():
    shutil.rmtree(FOLDER, ignore_errors=True)
    cases = {}
    for name, (_, _, shard) in MODELS.items():
        model = random_model(name)
        model.save_pretrained(FOLDER / name, max_shard_size=shard)
        (FOLDER / name / "generation_config.json").unlink(missing_ok=True)
        # As others read it: a conversion to bf16 rounds the frequencies of the rotary embedding too.
        cases[name] = reference(name, type(model).from_pretrained(FOLDER / name, dtype=torch.float32))
    write_cases("llama_family", cases)
    for file in FOLDER.rglob("*"):
        file.chmod(0o755 if file.is_dir() else 0o644)


class Lines(logging.Handler):
    """Keeps what transformers logs as a warning."""

    def __init__(self):
        super().__init__(logging.WARNING)
        self.lines = []

    def emit(self, record):
        self.lines.append(record.getMessage())


def load_quietly(path):
    """A model as transformers loads it; nothing may be told on the way."""
    handler = Lines()
    transformers_logging.get_logger().addHandler(handler)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        model = AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32)
    messages = handler.lines + [str(warning.message) for warning in caught]
    transformers_logging.get_logger().removeHandler(handler)
    assert not messages, (path, messages)
    return model


def check(commands):
    def run(command, *arguments):
        return subprocess.run(
            [f"{commands}/{command}", *map(str, arguments)], check=True, stdout=subprocess.PIPE, text=True).stdout

    for name in MODELS:
        with tempfile.TemporaryDirectory() as folder:
            folder = pathlib.Path(folder)
            run("tf-ckpt", "convert", FOLDER / name, folder / "run", "--from", "hf-llama")
            run("tf-ckpt", "convert", folder / "run", folder / "back", "--to", "hf-llama",
                *(["--type", "bf16"] if name == "bf16" else []))
            ours, theirs = load_quietly(folder / "back"), load_quietly(FOLDER / name)
            assert type(ours) is type(theirs), (type(ours), type(theirs))
            kept = ours.config.to_dict()
            for key, value in theirs.config.to_dict().items():
                # Where a model comes from, and what is padded, is nobody else's business.
                if key not in ("transformers_version", "_name_or_path", "pad_token_id", "head_dim"):
                    assert kept.get(key) == value, f"{name}: {key} is {kept.get(key)}, not {value}"
            for key, tensor in theirs.state_dict().items():
                assert torch.equal(tensor, ours.state_dict()[key]), (name, key)
        check_text(name, run)


def check_text(name, run):
    """Fifty greedy tokens, by a model whose vocabulary is that of the tokenizer of the fixtures."""
    configuration, kind, _ = MODELS[name]
    configuration = type(configuration)(**{**configuration.to_dict(), "vocab_size": 400})
    torch.manual_seed(5)
    model = kind(configuration)
    for parameter_name, parameter in model.named_parameters():
        torch.nn.init.normal_(parameter, mean=1.0 if "norm" in parameter_name else 0.0, std=0.3)
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        model.save_pretrained(folder / "model")
        (folder / "model/generation_config.json").unlink(missing_ok=True)
        tokenizer = folder / "model/tokenizer.model"
        shutil.copy("Tests/Fixtures/tokenizer/small.model", tokenizer)
        run("tf-ckpt", "convert", folder / "model", folder / "run", "--from", "hf-llama")

        def decode(ids):
            return run("tf-data", "tokenizer", "decode", "--model", tokenizer, *ids)[:-1]

        prompt = [int(word) for word in run("tf-data", "tokenizer", "encode", "--model", tokenizer, "red circle").split()]
        begin = [configuration.bos_token_id] + prompt
        with torch.no_grad():
            # What tf-sample never writes by itself.
            written = model.generate(
                torch.tensor([begin]), attention_mask=torch.ones(1, len(begin), dtype=torch.long), max_new_tokens=50,
                do_sample=False, suppress_tokens=[configuration.bos_token_id], eos_token_id=configuration.eos_token_id,
                pad_token_id=configuration.eos_token_id)[0, len(begin):].tolist()
        if written[-1] == configuration.eos_token_id:
            written.pop()
        ours = json.loads(run(
            "tf-sample", "text", "--checkpoint", folder / "run", "--prompt", "red circle", "--max-tokens", 50,
            "--precision", "f32", "--json"))
        text = "".join(part["text"] for part in ours["parts"])
        theirs = decode(prompt + written).removeprefix(decode(prompt))
        assert text == theirs, (name, text, theirs)
        print(f"{name}: loaded without a warning, bit-equal, and {len(written)} greedy tokens are the same")


if len(sys.argv) == 1:
    write()
else:
    check(sys.argv[2])
