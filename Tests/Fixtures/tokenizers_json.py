"""Makes tokenizers_json.json with the reference implementation: pip install tokenizers; python tokenizers_json.py

For each form of tokenizer.json that is read, a small one trained here, and texts with the ids and the decoded text that the
reference gives for them: with special tokens as letters, and with special tokens read.
"""

import json
import pathlib
import random

from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

from tokenizer_parts import LLAMA3, QWEN2, SIGN, TEKKEN, llama_decoder, split

corpus = [
    "A red circle and a large blue square, painted in 1628 by someone who didn't care.",
    "They've said it's the quality of being white, as of new snow or milk; we'll see what you'd think.",
    "Une idée naïve: le café est déjà froid, où êtes-vous?", "Größe und Übermaß heißen Straße 12345.",
    "Привет, мир! Красный круг и синий квадрат.", "日本語の文章です。赤い丸と青い四角。", "مرحبا بالعالم", "नमस्ते दुनिया",
    "for i in range(10):\n    if x[i] != 0:\n        print(f\"{x[i]:>10}\")\n\treturn None\n\n", "🔴 red, 🏳️‍🌈 flag",
    "THE TITLE IN CAPITALS and CamelCaseWords with snake_case_words, HTTPServer2024",
] * 4

texts = [
    "", " ", "  ", "   ", "a", " a", "a ", "  a  b   c    ", "red circle", " red circle", "Hello, world!",
    "it's they've I'll you'd we're I'm can't 'tis 'S'T'RE'VE'M'LL'D 'sun", "IT'S THEY'VE DON'T", "rock 'n' roll's",
    "'\u017f o'\u017fa", "1", "12", "123", "1234", "12345678901", "3.14159 1,000,000 2²⁷ ½ Ⅷ ①②", "x1y22z333", "٣٤٥ १२३",
    "in 1628 there were 12 of 1234", "tab\tnew\nline\r\nend\r", "\n", "\n\n\n", " \n \n x", "a\n\n  b\n   \n", "\r\n\r\n",
    "a  \n", "   \t\t  x", "\u00a0x\u00a0\u00a0y", "\u3000全角　空白", "\u2028\u2029\u0085z", "\u200b\u200dzero\ufeff", "\x00\x01\x7f",
    "über café naïve", "u\u0308ber cafe\u0301 \u1112\u1161\u11ab e\u0301\u0323", "\u0301\u0301a \u0301 b", "\u212b \u2126 \ufb01",
    "日本語の文章です。", "中文，没有空格。", "한국어 텍스트", "Привет, мир!", "مرحبا بالعالم 123", "नमस्ते दुनिया", "ไทยไม่มีวรรค",
    "🔴 red", "👩‍👩‍👧‍👦🏳️‍🌈🇩🇪", "emoji🔴inside", "\u2581x", "a\u2581\u2581b \u2581", "\U0010ffff\ufffd\U000e0041",
    "def f(x):\n    return x**2 + 1  # comment\n", "<html><body class=\"a\">x &lt; y</body></html>", "a/b//c\\d|e", "!!!???...---===",
    "====================================================", "http://example.com/path?x=1&y=2#z", "snake_case CamelCase HTTPServer",
    "ǅ ʰello ªº ÀÉÎÕÜ straße İstanbul ﬁne", "ΑΒΓ αβγ Ж ж 𝔘𝔫𝔦 𝟘𝟙", "<s>red</s> <unk>", "<0x41> <0x0A>",
    "x<|end|>y <|end|> z<s>q</s><keep>a <keep>  b <word> a<word>b <Norm>c d<Norm>  <lr>  e",
    "<|begin_of_text|>a<|reserved_special_token_0|>b<|endoftext|>", "long " * 40 + "end", "ab" * 60,
]


def added(*special):
    """Special tokens, and ordinary ones of each kind."""
    return [AddedToken(text, special=True, normalized=False) for text in ("<|end|>",) + special] + [
        AddedToken("<keep>", normalized=False), AddedToken("<word>", single_word=True, normalized=False),
        AddedToken("<Norm>", normalized=True), AddedToken("<lr>", lstrip=True, rstrip=True, normalized=False)]


def of_bytes(pre_tokenizer, special, normalizer=None, ignore_merges=False, template=None):
    tokenizer = Tokenizer(models.BPE(ignore_merges=ignore_merges))
    if normalizer:
        tokenizer.normalizer = normalizer
    tokenizer.pre_tokenizer = pre_tokenizer
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.train_from_iterator(corpus, trainers.BpeTrainer(
        vocab_size=600, show_progress=False, initial_alphabet=pre_tokenizers.ByteLevel.alphabet()))
    tokenizer.add_special_tokens([t for t in added(*special) if t.special])
    tokenizer.add_tokens([t for t in added() if not t.special])
    if template:
        tokenizer.post_processor = processors.TemplateProcessing(
            single=f"{template} $A", pair=f"{template} $A {template} $B",
            special_tokens=[(template, tokenizer.token_to_id(template))])
    return tokenizer


def of_letters(normalizer, pre_tokenizer, bytes_too, decoder, extra=()):
    special = ["<unk>", "<s>", "</s>"] + list(extra) + ([f"<0x{b:02X}>" for b in range(256)] if bytes_too else [])
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>", fuse_unk=True, byte_fallback=bytes_too))
    if normalizer:
        tokenizer.normalizer = normalizer
    # For the training alone, where the form itself does not cut: no token goes over the beginning of a word.
    tokenizer.pre_tokenizer = pre_tokenizer or pre_tokenizers.Split(SIGN, "merged_with_next")
    if isinstance(pre_tokenizer, pre_tokenizers.Metaspace) and not pre_tokenizer.split:
        tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme=pre_tokenizer.prepend_scheme, split=True)
    tokenizer.train_from_iterator(corpus, trainers.BpeTrainer(
        vocab_size=500, show_progress=False, special_tokens=special, limit_alphabet=60))
    description = json.loads(tokenizer.to_str())
    description["pre_tokenizer"] = json.loads(pre_tokenizer.__getstate__()) if pre_tokenizer else None
    description["added_tokens"] = [t for t in description["added_tokens"] if not t["content"].startswith("<0x")]
    tokenizer = Tokenizer.from_str(json.dumps(description))
    tokenizer.decoder = decoder
    tokenizer.add_special_tokens([t for t in added() if t.special])
    tokenizer.add_tokens([t for t in added() if not t.special])
    return tokenizer


def over_spaces():
    """Tokens with spaces inside, so that text cannot be encoded word by word."""
    tokens = ["<unk>", "<s>", "</s>", SIGN] + list("abcdehilnorstu") + ["th", "the", f"{SIGN}the"]
    merges = [("t", "h"), ("th", "e"), (SIGN, "the")]
    for left, right in [(f"{SIGN}the", SIGN), ("r", "e"), ("re", "d"), (f"{SIGN}the{SIGN}", "red"), ("d", SIGN), ("a", SIGN)]:
        merges.append((left, right))
        tokens.append(left + right)
    tokenizer = Tokenizer(models.BPE(
        vocab={t: i for i, t in enumerate(tokens)}, merges=merges, unk_token="<unk>", fuse_unk=False))
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend(SIGN), normalizers.Replace(" ", SIGN)])
    tokenizer.decoder = decoders.Sequence([decoders.Replace(SIGN, " "), decoders.Fuse()])
    tokenizer.add_special_tokens(["<unk>", "<s>", "</s>"])
    return tokenizer


def over_bytes():
    """Merges of the tokens of single bytes, whose names say nothing of the text that they stand for."""
    tokens = ["<unk>", "<s>", "</s>"] + [f"<0x{i:02X}>" for i in range(256)] + [SIGN] + list("aehrt")
    merges = []
    for left, right in [("<0x0A>", "a"), ("a", "<0x0A>"), ("<0xC3>", "<0xA9>"), ("t", "h"), ("<0x64>", SIGN), ("th", "e"), ("r", "<unk>")]:
        merges.append((left, right))
        tokens.append(left + right)
    tokenizer = Tokenizer(models.BPE(
        vocab={t: i for i, t in enumerate(tokens)}, merges=merges, unk_token="<unk>", byte_fallback=True))
    tokenizer.normalizer = normalizers.Replace(" ", SIGN)
    tokenizer.decoder = llama_decoder
    tokenizer.add_special_tokens(["<unk>", "<s>", "</s>"])
    return tokenizer


bytes_of = pre_tokenizers.ByteLevel
forms = {
    "gpt2": of_bytes(bytes_of(add_prefix_space=False), ["<|endoftext|>"]),
    "gpt2 with a space": of_bytes(bytes_of(add_prefix_space=True), ["<|endoftext|>"]),
    "llama3": of_bytes(
        split(LLAMA3), ["<|begin_of_text|>", "<|end_of_text|>"] + [f"<|reserved_special_token_{i}|>" for i in range(4)],
        ignore_merges=True, template="<|begin_of_text|>"),
    "qwen2": of_bytes(split(QWEN2), ["<|endoftext|>", "<|vision_start|>", "<|vision_end|>"], normalizer=normalizers.NFC()),
    "starcoder": of_bytes(
        pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True), bytes_of(add_prefix_space=False)]),
        ["<|endoftext|>"]),
    "tekken": of_bytes(split(TEKKEN), ["<s>", "</s>"], template="<s>"),
    "llama2": of_letters(
        normalizers.Sequence([normalizers.Prepend(SIGN), normalizers.Replace(" ", SIGN)]), None, True, llama_decoder),
    "gemma": of_letters(
        normalizers.Replace(" ", SIGN), None, True,
        decoders.Sequence([decoders.Replace(SIGN, " "), decoders.ByteFallback(), decoders.Fuse()])),
    "metaspace first": of_letters(None, pre_tokenizers.Metaspace(prepend_scheme="first", split=False), True, llama_decoder),
    "metaspace always": of_letters(None, pre_tokenizers.Metaspace(prepend_scheme="always"), False, decoders.Metaspace()),
    "tokens over spaces": over_spaces(),
    "merges of bytes": over_bytes(),
}

result = []
draws = random.Random(1)
for name, tokenizer in forms.items():
    cases = []
    alphabet = [c for t in texts for c in t] + ["the ", " of", "circle", "'s", "\u00e9"]
    drawn = ["".join(draws.choice(alphabet) for _ in range(draws.randrange(1, 40))) for _ in range(20)]
    for text in texts + drawn:
        tokenizer.encode_special_tokens = True
        plain = tokenizer.encode(text, add_special_tokens=False).ids
        tokenizer.encode_special_tokens = False
        parsed = tokenizer.encode(text, add_special_tokens=False).ids
        case = {"text": text, "ids": plain, "decoded": tokenizer.decode(plain)}
        if parsed != plain:
            case["parsed"] = parsed
        cases.append(case)
    # Runs of tokens that no text has.
    odd = [[draws.randrange(tokenizer.get_vocab_size()) for _ in range(draws.randrange(1, 12))] for _ in range(25)]
    result.append({
        "name": name, "tokenizer": tokenizer.to_str(), "cases": cases,
        "odd": [{"ids": ids, "decoded": tokenizer.decode(ids)} for ids in odd]})
path = pathlib.Path(__file__).parent / "tokenizers_json.json"
path.write_text(json.dumps(result, ensure_ascii=True, separators=(",", ":")).replace('},{"text', '},\n{"text') + "\n")
print({r["name"]: (len(r["tokenizer"]), len(r["cases"])) for r in result}, path.stat().st_size)
