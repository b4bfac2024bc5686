"""Writes texts/: a small random model with a tokenizer, texts and questions, and what PyTorch makes of them.

The model is reference_model.py's; windows and scores follow lm-evaluation-harness (get_rolling_token_windows,
loglikelihood, multiple_choice).
"""

import json
import math
import random
import re
import shutil

import sentencepiece
import torch
from safetensors.torch import save_file

from fixture import FOLDER
from make_batch import SIZES, make_config, make_weights
from reference_model import Model

CONTEXT, STRIDES = 24, (24, 7)
SIZES["texts"] = (2, 32, 2, 48, 402, 4, 3, 8, 8)
out = FOLDER / "texts"
out.mkdir(exist_ok=True)
config = make_config("texts") | {"max_position_embeddings": 64}
weights = make_weights(config, seed=71)
(out / "config.json").write_text(json.dumps(config, indent=2) + "\n")
save_file(weights, out / "model.safetensors", {"format": "pt"})
shutil.copy(FOLDER / "tokenizer/small.model", out / "tokenizer.model")
tokenizer = sentencepiece.SentencePieceProcessor(model_file=str(out / "tokenizer.model"))
model = Model(config, {name: value.double() for name, value in weights.items()})
PREFIX = config["bos_token_id"]


def log_likelihood(inputs, targets):
    """Of the targets, which follow the last of the inputs one by one."""
    rows = torch.tensor(inputs, dtype=torch.int32)
    logits = model({"tokens": rows, "document_starts": torch.zeros(1, dtype=torch.int32)}, torch.float64)["logits"]
    table = torch.log_softmax(logits[-len(targets):], -1)
    return table[torch.arange(len(targets)), torch.tensor(targets)].sum().item()


def rolling(text, context, stride):
    tokens = tokenizer.encode(text)
    first = min(context, len(tokens))
    total = log_likelihood([PREFIX] + tokens[: first - 1], tokens[:first])
    done = first
    while done < len(tokens):
        count = min(len(tokens) - done, stride)
        end = done + count
        total += log_likelihood(tokens[end - context - 1 : end - 1], tokens[end - count : end])
        done = end
    return total, len(tokens)


def answer(context, continuation):
    spaces = len(context) - len(context.rstrip())
    if spaces > 0:
        continuation = context[-spaces:] + continuation
        context = context[:-spaces]
    whole = tokenizer.encode(context + continuation)
    before = len(tokenizer.encode(context)) if context else 0
    return log_likelihood(([PREFIX] + whole)[:-1], whole[before:])


source = random.Random(3)
WORDS = "the red circle large blue square of a small heart white diamond café plane figure by 12 lines, green".split()
sentence = lambda count: " ".join(source.choice(WORDS) for _ in range(count))
documents = [sentence(count) + ending for count, ending in ((60, ".\n"), (3, ""), (25, "  end "), (9, "\n\n"))]
(out / "documents.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in documents))

questions = []
for number in range(24):
    gold = source.randrange(3)
    if number % 4 == 3:
        question = {"contexts": [sentence(4) for _ in range(3)], "continuation": sentence(3)}
    else:
        context = sentence(source.randrange(0, 7)) + source.choice(["", "", " ", ":"])
        question = {"context": context, "choices": [sentence(source.randrange(1, 5)) for _ in range(3)]}
    questions.append(question | {"gold": gold})
(out / "questions.jsonl").write_text("".join(json.dumps(question) + "\n" for question in questions))

expected = {}
for stride in STRIDES:
    parts = [rolling(text, CONTEXT, stride) for text in documents]
    loss, tokens = -sum(part[0] for part in parts), sum(part[1] for part in parts)
    words = sum(len(re.split(r"\s+", text)) for text in documents)
    size = sum(len(text.encode()) for text in documents)
    expected[f"stride_{stride}"] = {
        "token_perplexity": math.exp(loss / tokens), "word_perplexity": math.exp(loss / words),
        "byte_perplexity": math.exp(loss / size), "bits_per_byte": loss / size / math.log(2),
        "tokens": tokens, "words": words, "bytes": size,
    }
right = {"acc": [], "acc_norm": [], "acc_bytes": []}
for question in questions:
    if "contexts" in question:
        scores = [answer(context, " " + question["continuation"]) for context in question["contexts"]]
    else:
        scores = [answer(question["context"], " " + choice) for choice in question["choices"]]
    best = lambda values: values.index(max(values)) == question["gold"]
    right["acc"].append(best(scores))
    if "choices" in question:
        choices = question["choices"]
        right["acc_norm"].append(best([score / len(choice) for score, choice in zip(scores, choices)]))
        right["acc_bytes"].append(best([score / len(choice.encode()) for score, choice in zip(scores, choices)]))
ranked = {}
for name, values in right.items():
    mean = sum(values) / len(values)
    ranked[f"{name},none"] = mean
    variance = sum((value - mean) ** 2 for value in values) / (len(values) - 1)
    ranked[f"{name}_stderr,none"] = math.sqrt(variance / len(values))
expected["ranked"] = ranked
(out / "expected.json").write_text(json.dumps(expected, indent=1) + "\n")
print(expected)
