"""A random Llama of transformers: the fixture for conversions, and a check of whole conversions with transformers.

Run from the top of the repository with a Python that has torch, transformers (5 or later), safetensors and sentencepiece:

    python Tests/Fixtures/checkpoint_llama.py            writes Tests/Fixtures/checkpoint/llama*
    python Tests/Fixtures/checkpoint_llama.py --compare A B    loads two directories and compares every tensor and logits
    python Tests/Fixtures/checkpoint_llama.py --check DIRECTORY
        sends a new random Llama through tf-ckpt convert and tf-eval forward, whose executables are in DIRECTORY, and back;
        then has transformers write greedy text with an exported Llama and its tokenizer, as tf-sample does
"""

import json
import logging
import pathlib
import shutil
import subprocess
import sys
import tempfile
import warnings

import sentencepiece
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaConfig, LlamaForCausalLM
from transformers.utils import logging as transformers_logging

FOLDER = "Tests/Fixtures/checkpoint/"


def random_llama(seed, **sizes):
    torch.manual_seed(seed)
    model = LlamaForCausalLM(LlamaConfig(max_position_embeddings=64, rms_norm_eps=1e-5, **sizes))
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return model


def logits(model, tokens):
    """In double precision, stored as f32."""
    with torch.no_grad():
        return model.double()(tokens.unsqueeze(0).long()).logits[0].float()


def to_meta(weight, heads):
    """The inverse of transformers' permutation for its rotary embedding."""
    outputs, inputs = weight.shape
    return weight.view(heads, 2, outputs // heads // 2, inputs).transpose(1, 2).reshape(outputs, inputs)


def write():
    model = random_llama(
        0, hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4, vocab_size=50,
        rope_theta=50000.0)
    model.save_pretrained(FOLDER + "llama", max_shard_size="50KB")
    pathlib.Path(FOLDER + "llama/generation_config.json").unlink()
    state = model.state_dict()
    save_file(
        {name: to_meta(state[name], 4).contiguous() for name in state if "q_proj" in name or "k_proj" in name},
        FOLDER + "llama_meta.safetensors")
    tokens = batch_tokens(50)
    save_file({"tokens": tokens, "logits": logits(model, tokens)}, FOLDER + "llama_logits.safetensors")


def batch_tokens(vocabulary):
    return torch.randint(3, vocabulary, (40,), dtype=torch.int32, generator=torch.Generator().manual_seed(1))


def compare(first, second):
    a = LlamaForCausalLM.from_pretrained(first, dtype=torch.float32)
    b = LlamaForCausalLM.from_pretrained(second, dtype=torch.float32)
    assert a.state_dict().keys() == b.state_dict().keys()
    for name, tensor in a.state_dict().items():
        assert torch.equal(tensor, b.state_dict()[name]), name
    tokens = torch.arange(40).unsqueeze(0) % a.config.vocab_size
    assert torch.equal(a(tokens).logits, b(tokens).logits)
    print(f"transformers loads both: {len(a.state_dict())} tensors and the logits are bit-equal")


class Lines(logging.Handler):
    """Keeps what transformers logs as a warning."""

    def __init__(self):
        super().__init__(logging.WARNING)
        self.lines = []

    def emit(self, record):
        self.lines.append(record.getMessage())


def check_text(commands):
    """Greedy text of an exported Llama: transformers by itself against tf-sample."""
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        model = random_llama(
            11, hidden_size=64, intermediate_size=96, num_hidden_layers=2, num_attention_heads=4, vocab_size=400)
        model.save_pretrained(folder / "llama")
        (folder / "llama/generation_config.json").unlink()
        shutil.copy("Tests/Fixtures/tokenizer/small.model", folder / "llama/tokenizer.model")
        for arguments in [["llama", "run", "--from", "hf-llama"], ["run", "exported", "--to", "hf-llama"]]:
            source, destination, *options = arguments
            subprocess.run(
                [f"{commands}/tf-ckpt", "convert", folder / source, folder / destination, *options], check=True)

        handler = Lines()
        transformers_logging.get_logger().addHandler(handler)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            tokenizer = AutoTokenizer.from_pretrained(folder / "exported")
            model = AutoModelForCausalLM.from_pretrained(folder / "exported", dtype=torch.float32)
            prompt = tokenizer("red circle", return_tensors="pt")
            written = model.generate(**prompt, max_new_tokens=24, do_sample=False)[0, prompt.input_ids.shape[1]:]
        messages = handler.lines + [str(warning.message) for warning in caught]
        assert not messages, messages

        vectors = json.loads(pathlib.Path("Tests/Fixtures/tokenizer/vectors.json").read_text())
        # What transformers reads differently, whoever wrote the files: a space at the beginning (it keeps one of two), and
        # special tokens written out.
        plain = [v for v in vectors if not v["text"].startswith((" ", "\u2581")) and "<s>" not in v["text"]]
        assert len(plain) >= 15
        for vector in plain:
            ids = tokenizer(vector["text"]).input_ids
            assert ids == [1] + vector["ids"], (vector, ids)
            assert tokenizer.decode(ids, skip_special_tokens=True) == vector["decoded"], vector

        ours = subprocess.run(
            [f"{commands}/tf-sample", "text", "--checkpoint", folder / "run", "--prompt", "red circle", "--max-tokens", "24",
             "--precision", "f32", "--json"], check=True, capture_output=True, text=True).stdout
        text = "".join(part["text"] for part in json.loads(ours)["parts"])
        # Decoded by SentencePiece: of bytes that are not UTF-8, transformers replaces also the letters among them.
        pieces = sentencepiece.SentencePieceProcessor(model_file=str(folder / "exported/tokenizer.model"))
        ids = tokenizer("red circle").input_ids[1:] + written.tolist()
        theirs = pieces.decode(ids).removeprefix("red circle")
        assert text == theirs, (text, theirs)
        print(f"AutoTokenizer gives BOS and the ids of {len(plain)} texts; greedy text is ours: {text!r}; no warning")


def check(commands):
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)

        def run(command, *arguments):
            subprocess.run([f"{commands}/{command}", *map(str, arguments)], check=True)

        # Two of the sizes are no powers of two; the vocabulary is that of a real tokenizer.
        model = random_llama(
            7, hidden_size=96, intermediate_size=200, num_hidden_layers=3, num_attention_heads=6, vocab_size=32000)
        model.save_pretrained(folder / "llama", max_shard_size="10MB")
        run("tf-ckpt", "convert", folder / "llama", folder / "run", "--from", "hf-llama")
        tokens = batch_tokens(32000)
        save_file(
            {"tokens": tokens, "document_starts": torch.tensor([0], dtype=torch.int32)}, folder / "batch.safetensors")
        run("tf-eval", "forward", "--checkpoint", folder / "run", "--batch", folder / "batch.safetensors",
            "--out", folder / "out.safetensors")
        ours, theirs = load_file(folder / "out.safetensors")["logits"][:, :32000], logits(model, tokens)
        error = ((ours - theirs).norm() / theirs.norm()).item()
        print(f"tf-eval forward against transformers: relative difference of the logits {error:.2e}")
        assert error <= 1e-5

        run("tf-ckpt", "convert", folder / "run", folder / "back", "--to", "hf-llama", "--shard-megabytes", 10)
        compare(folder / "llama", folder / "back")
        run("tf-ckpt", "convert", folder / "run", folder / "meta", "--to", "meta-llama")
        for type in ["f32", "bf16", "f16"]:
            run("tf-ckpt", "convert", folder / "run", folder / type, "--to", "safetensors", "--type", type,
                "--shard-megabytes", 5)
        run("tf-ckpt", "convert", folder / "run", folder / "one.safetensors", "--to", "safetensors")
        files = [file for file in folder.rglob("*.safetensors") if "llama" not in file.parts]
        tensors = 0
        for file in files:
            with safe_open(file, "pt") as opened:
                for name in opened.keys():
                    assert torch.isfinite(opened.get_tensor(name).float()).all(), (file, name)
                    tensors += 1
        print(f"safetensors reads all {len(files)} files: {tensors} tensors")


if len(sys.argv) == 1:
    write()
elif sys.argv[1] == "--check":
    check(sys.argv[2])
    check_text(sys.argv[2])
else:
    compare(sys.argv[2], sys.argv[3])
