"""Tiny models of the Llama family with their tokenizers, and the GGUF files that the gguf package makes of them.

Run from the top of the repository with a Python that has torch, transformers (5 or later), accelerate, tokenizers,
sentencepiece, protobuf and gguf:

    python Tests/Fixtures/gguf_files.py                 writes Tests/Fixtures/gguf
    python Tests/Fixtures/gguf_files.py --check DIRECTORY
        sends the models through tf-ckpt convert, whose executable is in DIRECTORY, has transformers load the GGUF files, and
        compares weights and tokens with those before
"""

import json
import pathlib
import shutil
import subprocess
import sys
import tempfile

import gguf
import numpy
import torch
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import (
    AutoModelForCausalLM, AutoTokenizer, LlamaConfig, LlamaForCausalLM, Qwen2Config, Qwen2ForCausalLM, Qwen3Config,
    Qwen3ForCausalLM)

FOLDER = pathlib.Path("Tests/Fixtures/gguf")
PIECES = pathlib.Path("Tests/Fixtures/tokenizer/small.model")
TEXT = pathlib.Path("Tests/Fixtures/texts/documents.jsonl")
WORDS = {
    "llama-bpe": r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+",
    "qwen2": r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+",
}
SCALING = {
    "rope_type": "llama3", "rope_theta": 500000.0, "factor": 32.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
    "original_max_position_embeddings": 64}


def sizes(**others):
    return dict(
        hidden_size=32, num_hidden_layers=1, num_attention_heads=4, num_key_value_heads=2, intermediate_size=64,
        max_position_embeddings=256, bos_token_id=1, eos_token_id=2, **others)


# name: (configuration, model, words or nothing for SentencePiece, types)
MODELS = {
    "pieces": (
        LlamaConfig, dict(rms_norm_eps=1e-5, num_hidden_layers=2), LlamaForCausalLM, None, ["q8_0", "bf16"]),
    "llama3": (
        LlamaConfig, dict(rms_norm_eps=1e-5, tie_word_embeddings=True, rope_parameters=SCALING), LlamaForCausalLM,
        "llama-bpe", ["f32"]),
    "qwen2": (
        Qwen2Config, dict(tie_word_embeddings=True, rope_parameters={"rope_type": "default", "rope_theta": 1e6}),
        Qwen2ForCausalLM, "qwen2", ["q8_0"]),
    "qwen3": (
        Qwen3Config, dict(head_dim=16, rope_parameters={"rope_type": "default", "rope_theta": 1e6}), Qwen3ForCausalLM,
        "qwen2", ["q8_0"]),
}
FILE_TYPES = {
    "f32": (gguf.LlamaFileType.ALL_F32, gguf.GGMLQuantizationType.F32),
    "bf16": (gguf.LlamaFileType.MOSTLY_BF16, gguf.GGMLQuantizationType.BF16),
    "q8_0": (gguf.LlamaFileType.MOSTLY_Q8_0, gguf.GGMLQuantizationType.Q8_0),
}


def byte_pairs(words):
    tokenizer = Tokenizer(models.BPE(ignore_merges=words == "llama-bpe"))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Split(Regex(WORDS[words]), "isolated"),
        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
    tokenizer.decoder = decoders.ByteLevel()
    texts = [json.loads(line)["text"] for line in TEXT.read_text().splitlines()]
    tokenizer.train_from_iterator(texts, trainers.BpeTrainer(
        vocab_size=330, initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()), show_progress=False,
        special_tokens=["<|unused|>", "<|begin_of_text|>", "<|end_of_text|>"]))
    return tokenizer


def write_model(name):
    kind, options, model_kind, words, _ = MODELS[name]
    folder = FOLDER / name
    folder.mkdir(parents=True)
    if words:
        tokenizer = byte_pairs(words)
        tokenizer.save(str(folder / "tokenizer.json"))
        (folder / "tokenizer_config.json").write_text(json.dumps(
            {"add_bos_token": words == "llama-bpe", "chat_template": "{{ messages[0]['content'] }}"}))
        vocabulary = tokenizer.get_vocab_size()
    else:
        shutil.copy(PIECES, folder / "tokenizer.model")
        vocabulary = len(pieces())
    torch.manual_seed(sorted(MODELS).index(name))
    model = model_kind(kind(**(sizes(vocab_size=vocabulary) | options)))
    for parameter_name, parameter in model.named_parameters():
        torch.nn.init.normal_(parameter, mean=1.0 if "norm" in parameter_name else 0.0, std=0.3)
    model.bfloat16().save_pretrained(folder)
    (folder / "generation_config.json").unlink(missing_ok=True)


def pieces():
    """The pieces of the SentencePiece model: text, score, kind."""
    from sentencepiece import sentencepiece_model_pb2
    model = sentencepiece_model_pb2.ModelProto()
    model.ParseFromString(PIECES.read_bytes())
    return [(piece.piece, piece.score, piece.type) for piece in model.pieces]


def write_gguf(name, kind, path):
    """What convert_hf_to_gguf.py does with the same models, in the order of ours."""
    folder, words = FOLDER / name, MODELS[name][3]
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    config = model.config
    file_type, matrix_type = FILE_TYPES[kind]
    architecture = config.model_type
    writer = gguf.GGUFWriter(path, architecture)
    writer.add_type("model")
    writer.add_name(path.stem)
    writer.add_file_type(file_type)
    writer.add_quantization_version(2)
    head = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    writer.add_block_count(config.num_hidden_layers)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_key_length(head)
    writer.add_value_length(head)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    rope = config.rope_parameters
    writer.add_rope_freq_base(rope["rope_theta"])
    writer.add_rope_dimension_count(head)
    writer.add_vocab_size(config.vocab_size)
    add_tokenizer(writer, folder, words, config.vocab_size)

    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH[architecture.upper()], config.num_hidden_layers)
    tensors = {}
    for own, tensor in model.state_dict().items():
        if own == "lm_head.weight" and config.tie_word_embeddings:
            continue
        if architecture == "llama" and ("q_proj" in own or "k_proj" in own):
            # Neighbouring pairs instead of halves.
            heads = config.num_attention_heads if "q_proj" in own else config.num_key_value_heads
            tensor = tensor.reshape(heads, 2, head // 2, -1).transpose(1, 2).reshape(tensor.shape)
        tensors[names.get_name(own, try_suffixes=(".weight", ".bias"))] = tensor.numpy()
    if rope["rope_type"] == "llama3":
        tensors["rope_freqs.weight"] = frequency_factors(rope, head)
    parts = ["attn_norm", "attn_q", "attn_k", "attn_v", "attn_output", "attn_q_norm", "attn_k_norm", "ffn_norm", "ffn_gate",
             "ffn_up", "ffn_down"]
    order = ["token_embd.weight", "rope_freqs.weight"]
    for block in range(config.num_hidden_layers):
        order += [f"blk.{block}.{part}.{end}" for part in parts for end in ("weight", "bias")]
    order += ["output_norm.weight", "output.weight"]
    assert set(tensors) <= set(order), set(tensors) - set(order)
    for key in filter(tensors.__contains__, order):
        tensor = numpy.ascontiguousarray(tensors[key])
        stored = gguf.GGMLQuantizationType.F32 if tensor.ndim == 1 else matrix_type
        writer.add_tensor(key, gguf.quants.quantize(tensor, stored), raw_dtype=stored)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def add_tokenizer(writer, folder, words, rows):
    if words:
        file = json.loads((folder / "tokenizer.json").read_text())
        tokens = [f"[PAD{index}]" for index in range(rows)]
        kinds = [gguf.TokenType.UNUSED] * rows
        for token, index in file["model"]["vocab"].items():
            tokens[index], kinds[index] = token, gguf.TokenType.NORMAL
        for token in file["added_tokens"]:
            kinds[token["id"]] = gguf.TokenType.CONTROL
        writer.add_tokenizer_model("gpt2")
        writer.add_tokenizer_pre(words)
        writer.add_token_list(tokens)
        writer.add_token_merges([" ".join(merge) for merge in file["model"]["merges"]])
    else:
        tokens, scores, kinds = zip(*pieces())
        writer.add_tokenizer_model("llama")
        writer.add_tokenizer_pre("default")
        writer.add_token_list(tokens)
        writer.add_token_scores(scores)
        writer.add_add_space_prefix(True)
    writer.add_token_types(kinds)
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    if not words:
        writer.add_unk_token_id(0)
    settings = folder / "tokenizer_config.json"
    settings = json.loads(settings.read_text()) if settings.exists() else {}
    writer.add_add_bos_token(settings.get("add_bos_token", True))
    writer.add_add_eos_token(False)
    if "chat_template" in settings:
        writer.add_chat_template(settings["chat_template"])


def frequency_factors(rope, head):
    factors = []
    for index in range(head // 2):
        frequency = rope["rope_theta"] ** -(index / (head // 2))
        turns = rope["original_max_position_embeddings"] * frequency / (2 * numpy.pi)
        low, high, factor = rope["low_freq_factor"], rope["high_freq_factor"], rope["factor"]
        if turns < low:
            factors.append(factor)
        elif turns > high:
            factors.append(1.0)
        else:
            share = (turns - low) / (high - low)
            factors.append(1 / ((1 - share) / factor + share))
    return numpy.array(factors, dtype=numpy.float32)


def write():
    shutil.rmtree(FOLDER, ignore_errors=True)
    for name, (_, _, _, _, kinds) in MODELS.items():
        write_model(name)
        for kind in kinds:
            write_gguf(name, kind, FOLDER / f"{name}-{kind}.gguf")
    for file in FOLDER.rglob("*"):
        file.chmod(0o755 if file.is_dir() else 0o644)


def check(commands):
    prompt = "The owl sees 1234 red hearts, it's late"

    def run(command, *arguments):
        return subprocess.run(
            [f"{commands}/{command}", *map(str, arguments)], check=True, stdout=subprocess.PIPE, text=True).stdout

    # transformers does not read the width of the heads of a Qwen3.
    for name in ("pieces", "llama3", "qwen2"):
        with tempfile.TemporaryDirectory() as folder:
            folder = pathlib.Path(folder)
            run("tf-ckpt", "convert", FOLDER / name, folder / "run", "--from", "hf-llama")
            theirs = AutoModelForCausalLM.from_pretrained(FOLDER / name, dtype=torch.float32)
            for kind in ("f32", "bf16", "f16", "q8_0"):
                run("tf-ckpt", "convert", folder / "run", folder / f"{kind}.gguf", "--to", "gguf", "--type", kind)
                ours = AutoModelForCausalLM.from_pretrained(folder, gguf_file=f"{kind}.gguf", dtype=torch.float32)
                error = max(
                    float((ours.state_dict()[key] - value).abs().max() / value.abs().max())
                    for key, value in theirs.state_dict().items())
                print(f"{name} {kind}: weights differ by {error:.1e} of the largest of their tensor")
                # The weights are bf16; f16 has more digits and less range, and a byte has 127 steps.
                assert error <= {"f32": 0, "bf16": 0, "f16": 1e-6, "q8_0": 0.5 / 127 + 1e-3}[kind], (name, kind)
            tokenizer = AutoTokenizer.from_pretrained(folder, gguf_file="f32.gguf")
            tokens = tokenizer(prompt, add_special_tokens=False)["input_ids"]
            answer = json.loads(run(
                "tf-data", "tokenizer", "encode", "--model", next((FOLDER / name).glob("tokenizer.[jm]*")), "--json",
                prompt))
            print(f"   {len(tokens)} tokens of both: {tokens == answer['ids']}")
            assert tokens == answer["ids"], (tokens, answer)


if __name__ == "__main__":
    if "--check" in sys.argv:
        check(sys.argv[sys.argv.index("--check") + 1])
    else:
        write()
