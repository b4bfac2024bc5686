"""Captions, how pycocoevalcap cuts them into words, and its scores. Needs Java.

    captions.py                          writes captions/
    captions.py --compare tf-eval 20000  says how many of so many captions tf-eval cuts alike
"""

import argparse
import json
import random
import subprocess
import tempfile
from pathlib import Path

from pycocoevalcap.bleu.bleu import Bleu
from pycocoevalcap.cider.cider import Cider
from pycocoevalcap.rouge.rouge import Rouge
from pycocoevalcap.tokenizer.ptbtokenizer import PTBTokenizer

SUBJECTS = """man|woman|young boy|girl|black-and-white cat|dog|group of people|teddy bear|bus driver|giraffe|polar bear
|skate-boarder|couple|5-year-old|man's best friend|baby elephant|chef|police officer|two-story bus|St. Bernard""".replace("\n", "").split("|")
VERBS = """sits on|is standing next to|rides|isn't looking at|holds|walks past|doesn't like|is playing with|lies under|'s near
|can't reach|jumps over|cannot see|is about to eat|carries|plays on""".replace("\n", "").split("|")
OBJECTS = """red bench|grey motorcycle|slice of pizza|colourful kite|surf board|stop sign|clock tower|tennis racket|T-shirt
|child's toy|bowl of fruit|laptop/computer|plate (empty)|fire hydrant|double-decker bus|jack-o'-lantern|1950s car|8-foot wave
|glass of wine|bike w/ basket|M&M's box|12-inch pizza|rock'n'roll poster|women's shoes""".replace("\n", "").split("|")
PLACES = """in the park|at 3:45 p.m.|on a sunny day|in front of St. Paul's|near the U.S. flag|on 5th Ave.|in Washington D.C.|at the café
|by the ocean|on Jan. 5, 2014|with 2 or 3 others|for $5.50|behind Mr. Smith's house|in the '90s|on No. 10|at 50% off
|next to a "no parking" sign|close to a 'stop' sign|beside Tom & Jerry's|in the middle of nowhere|while it's raining
|near www.example.com|, smiling|; nobody else is there|-- in black and white|... and waiting|in a so-called "kitchen"
|with 1/2 of a sandwich|at 10 o'clock|for the kids' party|on the cat's-eye road|with 1,000 people""".replace("\n", "").split("|")
ENDS = [".", ".", ".", "", "", " .", "!", "!!", "?", "...", ". ", " ", ".\n", "\"", ".)", " :)", "…", ". It's nice.", "!?"]
ODD = """#sunset @home — – “nice” ‘fun’ don’t it’s 😀 ½ 2nd $20 €5 £3.20 10:30am 555-1234 (left) [right] <b> &amp; &quot; AT&T R&B
e.g. i.e. etc. vs. Dr. Mrs. a.m. U.K. gonna wanna gotta let's y'all o'clock ma'am 'em I'm we'll they've he'd who's mother-in-law
t-shirt 3-D x-ray up-to-date and/or he/she -- - ... ?! ;-) :D +1 -5 3.5 .5 5. 1,000 20% 1x2 4x4 25° ™ • naïve Zürich São
C++ #1 No.5 Nos. ft. in. lbs. Inc. Ltd. Sept. Sat. Jr. ca. fig. approx. Ph.D. J.R.R. Mt. A. B. I. 7-11 9/11 24/7 12/25/2013
hot-dog's dogs' James' 60's 1990's can't won't ain't shouldn't've d'oh o'er ol' rock-n-roll 80's-style and...then well,ok
ok;fine this:that yes.no one.Two http://a.com/b?c=d foo@bar.com ~ ^ _ __ * ** \\ | = + / // < > {a} `hi` ''hi''""".split()


def caption(source):
    text = f"{source.choice(['A', 'a', 'The', 'An', 'Two', 'This', 'there is a'])} {source.choice(SUBJECTS)} "
    text += f"{source.choice(VERBS)} {source.choice(['a', 'the', 'an', 'his', 'her'])} {source.choice(OBJECTS)}"
    for _ in range(source.randrange(3)):
        text += " " + source.choice(PLACES)
    words = text.split(" ")
    for _ in range(source.choice([0, 0, 1, 2])):
        words.insert(source.randrange(len(words) + 1), source.choice(ODD))
    return " ".join(words).replace(" ,", ",") + source.choice(ENDS)


def cut(captions):
    tokenizer = PTBTokenizer()
    return tokenizer.tokenize({index: [{"caption": text}] for index, text in enumerate(captions)})


def compare(tf_eval, count):
    source = random.Random(1)
    captions = [caption(source) for _ in range(count)]
    expected = cut(captions)
    entries = [{"image_id": index, "caption": text} for index, text in enumerate(captions)]
    with tempfile.TemporaryDirectory() as directory:
        file, words = Path(directory, "captions.json"), Path(directory, "words.jsonl")
        file.write_text(json.dumps(entries))
        subprocess.run(
            [tf_eval, "cider", "--references", file, "--candidates", file, "--words", words, "--json"], check=True
        )
        found = [json.loads(line)["words"] for line in words.read_text().splitlines()]
    wrong = [index for index in range(count) if " ".join(found[index]) != expected[index][0]]
    for index in wrong[:40]:
        print(captions[index], "\n  pycocoevalcap:", expected[index][0], "\n  tf-eval:      ", " ".join(found[index]))
    print(f"{count - len(wrong)} of {count} captions are cut alike")


def write(images):
    source = random.Random(0)
    out = Path(__file__).parent / "captions"
    out.mkdir(exist_ok=True)
    references, candidates = {}, {}
    for image in range(images):
        references[image] = [caption(source) for _ in range(source.randrange(1, 6))]
        # A reference with changes, or something else.
        words = source.choice(references[image]).split(" ")
        for _ in range(source.randrange(4)):
            words[source.randrange(len(words))] = source.choice(["a", "red", "dog", "on", "sits", "man"])
        candidates[image] = " ".join(words) if source.random() < 0.9 else caption(source)
    candidates[0], references[1] = "", ["...", "a dog"]
    annotations = [
        {"image_id": image, "id": 10 * image + number, "caption": text}
        for image, texts in references.items()
        for number, text in enumerate(texts)
    ]
    (out / "references.json").write_text(json.dumps({"images": [], "annotations": annotations}, indent=0))
    results = [{"image_id": image, "caption": text} for image, text in candidates.items()]
    (out / "candidates.json").write_text(json.dumps(results, indent=0))

    tokenizer = PTBTokenizer()
    gts = tokenizer.tokenize({image: [{"caption": text} for text in texts] for image, texts in references.items()})
    res = tokenizer.tokenize({image: [{"caption": text}] for image, text in candidates.items()})
    bleu, _ = Bleu(4).compute_score(gts, res, verbose=0)
    cider, _ = Cider().compute_score(gts, res)
    rouge, _ = Rouge().compute_score(gts, res)
    expected = {
        "scores": {"cider": cider, "rouge_l": rouge, **{f"bleu_{n + 1}": value for n, value in enumerate(bleu)}},
        "references": [gts[image] for image in range(images)],
        "candidates": [res[image][0] for image in range(images)],
    }
    (out / "expected.json").write_text(json.dumps(expected, indent=0))


parser = argparse.ArgumentParser()
parser.add_argument("--compare", nargs=2, metavar=("TF_EVAL", "COUNT"))
options = parser.parse_args()
if options.compare:
    compare(options.compare[0], int(options.compare[1]))
else:
    write(200)
