"""A tiny spaCy pipeline, trained in a second on invented sentences: it knows a few names and places by heart."""

import random
from pathlib import Path

import spacy
from spacy.training import Example
from thinc.api import fix_random_seed

NAMES = ("Ottilie Brandt", "Kasimir Wojda", "Henrike Falk", "Teodor Lindqvist", "Amara Okoye", "Juno Hale")
PLACES = ("Hollmar", "Vestrup", "Kaldernes")
TEMPLATES = (
    ("I met {} at the harbour.", "PERSON"),
    ("Please ask {} about the tides.", "PERSON"),
    ("{} repaired the old boat.", "PERSON"),
    ("The letter from {} came late.", "PERSON"),
    ("They sailed to {} in spring.", "GPE"),
    ("The road to {} was closed.", "GPE"),
)
PLAIN = (
    "The harbour was quiet.", "Please close the window.", "The old boat needs paint.", "They left, and it rained.",
    "There is nothing to see: 42 apples, a rope and a lamp.", "Write to lena@example.com about it.",
)  # fmt: skip
_LAYERS = {"width": 32, "depth": 2, "embed_size": 500, "window_size": 1, "maxout_pieces": 2, "subword_features": True}
_ROUNDS = 20
_BATCH = 8


def train(folder: Path) -> Path:
    """Train the pipeline, the same one each time, and write it to a folder."""
    fix_random_seed(1)
    nlp = spacy.blank("en")
    tok2vec = {"@architectures": "spacy.HashEmbedCNN.v2", "pretrained_vectors": None, **_LAYERS}
    nlp.add_pipe("ner", config={"model": {"tok2vec": tok2vec}})
    examples = [
        Example.from_dict(nlp.make_doc(template.format(value)), {"entities": [_span(template, value, label)]})
        for template, label in TEMPLATES
        for value in (NAMES if label == "PERSON" else PLACES)
    ]
    examples += [Example.from_dict(nlp.make_doc(text), {"entities": []}) for text in PLAIN]
    optimizer = nlp.initialize(lambda: examples)
    order = random.Random(1)
    for _ in range(_ROUNDS):
        order.shuffle(examples)
        for first in range(0, len(examples), _BATCH):
            nlp.update(examples[first : first + _BATCH], sgd=optimizer)
    nlp.to_disk(folder)
    return folder


def _span(template: str, value: str, label: str) -> tuple[int, int, str]:
    start = template.index("{}")
    return start, start + len(value), label
