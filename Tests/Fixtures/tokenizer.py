"""Makes the tokenizer fixtures with the reference implementation: pip install sentencepiece; python tokenizer.py

Writes tokenizer/small.model, a BPE model with Llama's settings, and tokenizer/vectors.json: texts with the ids and the
decoded text that the reference gives for them.
"""

import io
import json
import pathlib

import sentencepiece

directory = pathlib.Path(__file__).parent / "tokenizer"
directory.mkdir(exist_ok=True)

colours = ["red", "orange", "yellow", "green", "blue", "purple", "brown", "black", "white"]
shapes = ["circle", "square", "heart", "diamond", "triangle"]
corpus = [f"{size}{colour} {shape}" for size in ["", "large ", "small "] for colour in colours for shape in shapes]
corpus += [
    "a plane figure bounded by one curved line, every point equally distant from the centre",
    "a quadrilateral with four equal sides and four right angles",
    "the hollow muscular organ whose contractions pump the blood through the body in 1628",
    "a transparent piece of diamond that has been cut and polished; worth 5,000 or 12,000 crowns",
    "the quality of being white, as of new snow or milk",
    "café, naïve, über",
]
model = io.BytesIO()
sentencepiece.SentencePieceTrainer.train(
    sentence_iterator=iter(corpus), model_writer=model, vocab_size=400, model_type="bpe", byte_fallback=True,
    normalization_rule_name="identity", split_digits=True, add_dummy_prefix=True, remove_extra_whitespaces=False,
    allow_whitespace_only_pieces=True, unk_id=0, bos_id=1, eos_id=2, pad_id=-1, character_coverage=0.9999,
    num_threads=1, minloglevel=2)
(directory / "small.model").write_bytes(model.getvalue())

processor = sentencepiece.SentencePieceProcessor(model_proto=model.getvalue())
texts = [
    "", " ", "  ", "a", "red circle", " red circle", "red  circle ", "large orange diamond", "Purple HEART", "12,345",
    "in 1628", "über café", "日本語", "🔴 red", "tab\tnew\nline", "<s>red</s>", "a b", "\u2581x", "\x00", "é é",
    "the quality of being a circle in 2024; or of 10 squares",
]
vectors = []
for text in texts:
    ids = processor.encode(text)
    vectors.append({"text": text, "ids": ids, "decoded": processor.decode(ids)})
(directory / "vectors.json").write_text(json.dumps(vectors, ensure_ascii=True, indent=1) + "\n")
