"""Compares tf-data's ids with those of the library `tokenizers`, for vocabularies that models are published with.

    pip install tokenizers gguf faker
    pip download --no-deps --no-binary llama-cpp-python llama-cpp-python && tar xzf llama_cpp_python-*.tar.gz
    python real_tokenizers.py --check TF_DATA --vocabularies llama_cpp_python-*/vendor/llama.cpp/models [--lines 100000]

The vocabularies are too large, and not ours, to lie beside the tests: they come out of the source package of llama-cpp-python. For each
of them a tokenizer.json is made, texts (code, prose in many languages, emoji, odd spaces, ends of lines, letters drawn from all of
Unicode) are encoded by the library, and `tf-data import` makes a data set of them whose ids are compared one text after the other.
Prints the rates of both too, each on one core.
"""

import argparse
import json
import os
import pathlib
import random
import subprocess
import sys
import sysconfig
import tempfile
import time
import unicodedata

import gguf
from faker import Faker
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers

from tokenizer_parts import LLAMA3, QWEN2, SIGN, llama_decoder, split

FILES = {
    "gpt-2": (lambda: pre_tokenizers.ByteLevel(add_prefix_space=False), None),
    "llama-bpe": (lambda: split(LLAMA3), None),
    "qwen2": (lambda: split(QWEN2), normalizers.NFC()),
    "starcoder": (
        lambda: pre_tokenizers.Sequence(
            [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]), None),
    "mpt": (lambda: pre_tokenizers.ByteLevel(add_prefix_space=False), normalizers.NFC()),
    "llama-spm": None,
    "phi-3": None,
    "baichuan": None,
}


def tokenizer(name, folder):
    reader = gguf.GGUFReader(folder / f"ggml-vocab-{name}.gguf")
    field = lambda key: reader.fields["tokenizer.ggml." + key].contents()
    tokens, kinds = field("tokens"), field("token_type")
    vocabulary = {token: number for number, token in enumerate(tokens)}
    control = gguf.TokenType.CONTROL, gguf.TokenType.UNKNOWN
    special = [t for t, k in zip(tokens, kinds) if k in control]
    added = [t for t, k in zip(tokens, kinds) if k == gguf.TokenType.USER_DEFINED]
    if FILES[name]:
        make, normalizer = FILES[name]
        merges = [tuple(merge.split(" ")) for merge in field("merges")]
        made = Tokenizer(models.BPE(vocab=vocabulary, merges=merges, ignore_merges=name == "llama-bpe"))
        made.pre_tokenizer, made.decoder = make(), decoders.ByteLevel()
        if normalizer:
            made.normalizer = normalizer
    else:
        scores = field("scores")
        merges = []
        for token in tokens:
            pairs = [(token[:cut], token[cut:]) for cut in range(1, len(token))]
            pairs = [(a, b) for a, b in pairs if a in vocabulary and b in vocabulary]
            merges += [(-scores[vocabulary[token]], vocabulary[a], vocabulary[b], a, b) for a, b in pairs]
        made = Tokenizer(models.BPE(
            vocab=vocabulary, merges=[(a, b) for *_, a, b in sorted(merges)], unk_token="<unk>", fuse_unk=True, byte_fallback=True))
        made.normalizer = normalizers.Sequence([normalizers.Prepend(SIGN), normalizers.Replace(" ", SIGN)])
        made.decoder = llama_decoder
    made.add_special_tokens([AddedToken(t, normalized=False) for t in special])
    made.add_tokens([AddedToken(t, normalized=False) for t in added])
    made.encode_special_tokens = True
    return made


def texts(count):
    """Texts that no two runs draw differently, each of one line or some."""
    draws = random.Random(1)
    Faker.seed(1)
    locales = ["en_US", "de_DE", "fr_FR", "ru_RU", "ja_JP", "zh_CN", "zh_TW", "ko_KR", "ar_AA", "fa_IR", "he_IL", "el_GR", "hi_IN",
               "th_TH", "cs_CZ", "pl_PL", "uk_UA", "hu_HU", "bn_BD", "vi_VN", "ta_IN", "ka_GE", "hy_AM", "es_ES", "la"]
    prose = {locale: Faker(locale) for locale in locales}
    code = []
    for path in sorted(pathlib.Path(sysconfig.get_path("stdlib")).glob("*.py")):
        code += path.read_text(errors="replace").split("\n")
    emoji = [chr(c) for c in range(0x1F300, 0x1FAFF) if unicodedata.name(chr(c), "")] + [
        "👩‍👩‍👧‍👦", "🏳️‍🌈", "🇩🇪", "👍🏽", "1️⃣", "❤️", "\u200d", "\ufe0f"]
    letters = [chr(c) for c in range(0x20, 0x30000) if unicodedata.category(chr(c)) not in ("Cn", "Cs", "Co")]
    letters += ["\ue000", "\U00050000", "\U000a1234", "\U000e0041", "\U0010fffd"] * 20
    spaces = [" ", "  ", "   ", "\t", "\u00a0", "\u3000", "\u2003", "\u200b", "\n", "\r\n", "\r", "\n\n", " \n", "\n ", "\u2028", "\x85",
              "\x0b", "\x0c", "\x1c", "\u1680", "\u202f", "\u180e", "\ufeff"]
    words = ["don't", "DON'T", "it'S", "we'll", "'ſ", "x'", "''", "1628", "3.14", "1,000", "²", "Ⅷ", "٣٤", "!!", "...", "://", "_", "--", "(", ")",
             "café", "cafe\u0301", "ﬁ", "İ", "ǅ", "ß", "the", " of", "HTTPServer", "snake_case", "日本語", "한국", "ไทย", "नमस्ते", SIGN, "<s>", "<|endoftext|>",
             "<0x41>"]

    def mixed():
        parts = []
        for _ in range(draws.randrange(1, 25)):
            kind = draws.randrange(6)
            parts.append(draws.choice([emoji, letters, spaces, words, words, spaces][kind]) if kind else "".join(
                draws.choices(letters, k=draws.randrange(1, 4))))
        return "".join(parts)

    made = []
    while len(made) < count:
        kind = draws.randrange(4)
        if kind == 0:
            start = draws.randrange(len(code) - 8)
            text = "\n".join(code[start:start + draws.choice([1, 1, 2, 5])])
        elif kind == 1:
            text = mixed()
        else:
            fake = prose[draws.choice(locales)]
            text = draws.choice([fake.sentence, fake.text, fake.name, fake.address, fake.paragraph])()
            if draws.randrange(4) == 0:
                text = draws.choice(spaces) + text + draws.choice(emoji + spaces)
        if text:
            made.append(text)
    return made


def documents(path):
    """The ids of each text of a data set."""
    manifest = json.loads((path / "manifest.json").read_text())
    size = manifest["tokens"]["bytes"]
    raw = memoryview((path / "text.tokens").read_bytes()).cast("H" if size == 2 else "I")
    bounds = memoryview((path / "documents.index").read_bytes()).cast("Q")
    return [raw[a:b].tolist() for a, b in zip(bounds, bounds[1:])]


def check(program, folder, count):
    lines = texts(count)
    bytes_together = sum(len(line.encode()) for line in lines)
    print(f"{len(lines)} texts of {bytes_together / 1e6:.1f} MB, {sum(chr(10) in line for line in lines)} of several lines")
    differing = 0
    with tempfile.TemporaryDirectory() as place:
        place = pathlib.Path(place)
        (place / "lines.jsonl").write_text("".join(json.dumps({"text": line}) + "\n" for line in lines))
        for name in FILES:
            reference = tokenizer(name, folder)
            (place / "tokenizer.json").write_text(reference.to_str())
            begin = time.perf_counter()
            expected = [e.ids for e in reference.encode_batch(lines, add_special_tokens=False)]
            seconds = time.perf_counter() - begin
            begin = time.perf_counter()
            subprocess.run(
                [program, "import", "--jsonl", place / "lines.jsonl", "--tokenizer", place / "tokenizer.json",
                 "--validation-every", "0", "--out", place / name], check=True, stdout=subprocess.DEVNULL)
            own = time.perf_counter() - begin
            found = documents(place / name)
            wrong = [i for i in range(count) if i >= len(found) or found[i] != expected[i]]
            differing += len(wrong)
            print(f"{name}: {len(reference.get_vocab())} tokens, {sum(map(len, expected))} ids, {len(wrong)} texts differ; "
                  f"tokenizers {seconds:.1f} s, tf-data import {own:.1f} s")
            for i in wrong[:5]:
                print(" ", repr(lines[i]), "\n   ", expected[i], "\n   ", found[i] if i < len(found) else None)
    return differing


if __name__ == "__main__":
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    options = argparse.ArgumentParser()
    options.add_argument("--check", required=True)
    options.add_argument("--vocabularies", required=True, type=pathlib.Path)
    options.add_argument("--lines", type=int, default=100_000)
    options = options.parse_args()
    sys.exit(1 if check(options.check, options.vocabularies, options.lines) else 0)
