"""Writes clip_model/: a CLIP model of random weights in the form of Hugging Face, and what transformers computes with it.

Needs torch, transformers and pillow.
"""

import json
import sys
from collections import Counter
from pathlib import Path

# Programs beside this one are called like packages that are needed.
here = Path(sys.path.pop(0))

import numpy  # noqa: E402
import torch  # noqa: E402
from PIL import Image  # noqa: E402
from transformers import CLIPConfig, CLIPModel, CLIPTokenizer  # noqa: E402

out = here / "clip_model"
out.mkdir(exist_ok=True)

# A vocabulary of the form of OpenAI's: single bytes, single bytes at the end of a word, merges, markers.
printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
others = [byte for byte in range(256) if byte not in printable]
letter = {byte: chr(byte) for byte in printable} | {byte: chr(256 + n) for n, byte in enumerate(others)}
letters = [letter[byte] for byte in printable + others]
corpus = "a photo of a red circle above the blue square, two green triangles beside yellow circles café 3 squares it's".split()
words = Counter(tuple([*(letter[b] for b in word.encode())][:-1] + [letter[word.encode()[-1]] + "</w>"]) for word in corpus * 2)
merges = []
for _ in range(90):
    pairs = Counter()
    for word, count in words.items():
        for pair in zip(word, word[1:]):
            pairs[pair] += count
    if not pairs:
        break
    best = max(pairs, key=lambda pair: (pairs[pair], pair))
    merges.append(best)
    merged = {}
    for word, count in words.items():
        symbols, i = [], 0
        while i < len(word):
            if word[i : i + 2] == best:
                symbols.append(word[i] + word[i + 1])
                i += 2
            else:
                symbols.append(word[i])
                i += 1
        merged[tuple(symbols)] = merged.get(tuple(symbols), 0) + count
    words = merged
tokens = letters + [x + "</w>" for x in letters]
for left, right in merges:
    if left + right not in tokens:
        tokens.append(left + right)
tokens += ["<|startoftext|>", "<|endoftext|>"]
vocabulary = {token: number for number, token in enumerate(tokens)}
(out / "vocab.json").write_text(json.dumps(vocabulary, ensure_ascii=False))
(out / "merges.txt").write_text("#version: 0.2\n" + "\n".join(" ".join(merge) for merge in merges) + "\n")

LENGTH = 24
tower = {"hidden_act": "quick_gelu", "layer_norm_eps": 1e-5, "attention_dropout": 0.0}
config = CLIPConfig(
    text_config=tower
    | {
        "vocab_size": len(tokens), "hidden_size": 24, "intermediate_size": 40, "num_hidden_layers": 2,
        "num_attention_heads": 2, "max_position_embeddings": LENGTH, "bos_token_id": len(tokens) - 2,
        "eos_token_id": len(tokens) - 1, "pad_token_id": len(tokens) - 1,
    },
    vision_config=tower
    | {
        "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4, "image_size": 32,
        "patch_size": 8,
    },
    projection_dim=16,
)
torch.manual_seed(0)
model = CLIPModel(config).eval()
with torch.no_grad():
    for name, parameter in model.named_parameters():
        if name != "logit_scale":
            scale = 1.0 if "layer_norm" in name or "layrnorm" in name else 0.0
            parameter.copy_(scale + 0.25 * torch.randn(parameter.shape))
model.save_pretrained(out)
tokenizer = CLIPTokenizer.from_pretrained(out)

texts = [
    "A photo of a red circle above the blue square", "two  green\ttriangles", "it's the squares' café, isn't it?!",
    "3 circles & 12 squares: they'll do", "ÉCOLE Σ 日本語 ½ … 🙂🙂", "", "yellow", "l'été'd",
    " ".join(["a red circle"] * 20),
]
pictures = []
for index in range(len(texts)):
    # Not tall enough for the other order of passes that newer versions of Pillow take.
    height, width = 30 + 6 * index, 90 - 5 * index
    y, x, c = numpy.meshgrid(numpy.arange(height), numpy.arange(width), numpy.arange(3), indexing="ij")
    pictures.append(((y * (3 + index) + x * (5 + 2 * index) + c * 40) % 256).astype(numpy.uint8))


def pixels(array):
    side = config.vision_config.image_size
    image = Image.fromarray(array)
    short = min(image.size)
    size = [side if edge == short else int(side * edge / short) for edge in image.size]
    image = image.resize(size, Image.BICUBIC)
    left, top = (size[0] - side) // 2, (size[1] - side) // 2
    image = image.crop((left, top, left + side, top + side))
    mean, deviation = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
    values = (numpy.asarray(image).astype(numpy.float32) / 255 - mean) / numpy.array(deviation)
    return torch.from_numpy(values.astype(numpy.float32)).permute(2, 0, 1)[None]


def tensor(result):
    return result if isinstance(result, torch.Tensor) else result.pooler_output


cases = []
with torch.no_grad():
    for text, picture in zip(texts, pictures):
        ids = tokenizer(text, truncation=True, max_length=LENGTH)["input_ids"]
        image = tensor(model.get_image_features(pixels(picture)))[0]
        words = tensor(model.get_text_features(torch.tensor([ids])))[0]
        cases.append({
            "text": text, "height": picture.shape[0], "width": picture.shape[1], "ids": ids,
            "image": [float(v) for v in image / image.norm()], "words": [float(v) for v in words / words.norm()],
            "score": 100 * float(torch.cosine_similarity(image[None], words[None])),
        })
        print(repr(text), len(ids), cases[-1]["score"])
(out / "expected.json").write_text(json.dumps(cases, indent=0) + "\n")
for name in out.iterdir():
    print(name.name, name.stat().st_size)
