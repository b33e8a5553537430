"""One event while it is written: its random numbers, its canaries, its budget of bytes."""

from collections.abc import Mapping
from random import Random
from typing import Any, Literal, TypeVar
from urllib.parse import quote

import orjson

from pipeline.synth.corpus import Corpus, json_size
from pipeline.synth.identifiers import MAKERS, make_card
from pipeline.synth.model import Canary, Expect

T = TypeVar("T")
Json = dict[str, Any]
Side = Literal["request", "response"]

_BIRDS: dict[str, str] = {"request": "kestrel", "response": "heron", "error": "bittern"}
_SYLLABLES = tuple(c + v for c in "bdfgklmnprstvzjh" for v in "aeio")
_SERIAL_BITS = 36
_SERIAL_STEP = 0x9E3779B97
_TOKEN_BYTES = 4
_MODEL_BYTES = 200
_IDENTIFIER_BYTES = 2500
_ENCODED, _UPPER = 0.25, 0.45


class Draft:
    """An event being written. Every value that is planted goes through `plant`.

    Attributes:
        rng: the event's own random numbers, so that no event depends on another.
        corpus: fragments of text.
        request_id: of the event.
        language: of its prose.
        model: name that the bodies repeat.
        received_ms: receipt, epoch milliseconds.
        own: own identifiers that the envelope declares and content may repeat, by kind.
        pending: kinds of identifiers still to be written into content.
        canaries: what was planted.
        room: bytes left for the body that is being written.
    """

    __slots__ = (
        "_marked",
        "_serial",
        "_written",
        "canaries",
        "corpus",
        "language",
        "model",
        "own",
        "pending",
        "received_ms",
        "request_id",
        "rng",
        "room",
    )

    def __init__(self, rng: Random, corpus: Corpus, request_id: str, received_ms: int, serial: int) -> None:
        self.rng = rng
        self.corpus = corpus
        self.request_id = request_id
        self.received_ms = received_ms
        self.language = "en"
        self.model = ""
        self.own: Mapping[str, str] = {}
        self.pending: list[str] = []
        self.canaries: list[Canary] = []
        self.room = 0
        self._serial = serial * _SERIAL_STEP % (1 << _SERIAL_BITS)
        self._marked: set[str] = set()
        self._written = {"request": 0, "response": 0, "error": 0}

    def plant(self, value: str, kind: str, pointer: str, expect: Expect = "absent") -> str:
        """Note a canary at a pointer and return it, to be put there."""
        self.canaries.append(Canary(value, kind, pointer, self.request_id, expect))
        return value

    def chance(self, share: float) -> bool:
        """Return True in this share of calls."""
        return self.rng.random() < share

    def hex(self, digits: int) -> str:
        """Return random hex digits."""
        return f"{self.rng.getrandbits(4 * digits):0{digits}x}"

    def spend(self, part: T) -> T:
        """Take the encoded size of a part out of the room, and return the part."""
        self.room -= len(orjson.dumps(part))
        return part

    @property
    def marked(self) -> bool:
        """Whether a benign marker was planted."""
        return bool(self._marked)

    def tokens(self, side: Side) -> int:
        """Return the number of tokens of a body so far, at four bytes each."""
        return self._written[side] // _TOKEN_BYTES

    def count(self, side: Side, size_bytes: int) -> None:
        """Count bytes of a body that are not prose, such as media, as written."""
        self._written[side] += size_bytes

    def prose(self, pointer: str, size_bytes: int) -> str:
        """Return text of about this size for a pointer: a marker in a body's first, identifiers while any wait."""
        side = pointer.split("/", 2)[1]
        special = self._identifier_sentences(pointer, size_bytes)
        if side not in self._marked:
            special.append(self._marker_sentence(pointer))
        filler = self.corpus.fill(self.rng, self.language, size_bytes - sum(map(json_size, special)) - len(special))
        if filler:
            special.insert(int(self.rng.random() * (len(special) + 1)), filler)
        text = " ".join(special)
        self._written[side] += len(text) + 1
        return text

    def identifier(self, pointer: str) -> tuple[str, str]:
        """Take the next pending kind; return it and a value of it, planted at the pointer as it is."""
        kind = self.pending.pop()
        value = self.own[kind] if kind in self.own else MAKERS[kind](self.rng)
        return kind, self.plant(value, kind, pointer)

    def identifier_sentence(self, pointer: str) -> str:
        """Take the next pending kind; return a sentence with a value of it: an own one at times in another form."""
        kind = self.pending[-1]
        if kind == "PERSON":
            self.pending.pop()
            return self._fit(kind, self._third_person())
        if kind not in self.own:
            return self._fit(kind, self.identifier(pointer)[1])
        self.pending.pop()
        draw = self.rng.random()
        if draw < _ENCODED:
            return self._fit("own_encoded", self.plant(quote(self.own[kind], safe=""), kind, pointer))
        form = self.own[kind].upper() if draw < _UPPER else self.own[kind]
        return self._fit(kind, self.plant(form, kind, pointer))

    def card_number(self, pointer: str) -> int:
        """Return a card number as an integer, planted at the pointer."""
        number = make_card(self.rng).replace(" ", "").replace("-", "")
        return int(self.plant(number, "CREDIT_CARD", pointer))

    def opening(self) -> Json:
        """Return a request body with its model, or without one where the room is small."""
        return {"model": self.model} if self.room > _MODEL_BYTES else {}

    def split(self, total: int, parts: int) -> list[int]:
        """Split a number of bytes unevenly over parts."""
        weights = [0.3 + self.rng.random() for _ in range(parts)]
        scale = total / sum(weights)
        return [int(weight * scale) for weight in weights]

    def _marker_sentence(self, pointer: str) -> str:
        """Return a sentence with the body's benign marker: a word that nothing should touch, unique in its seed."""
        side = pointer.split("/", 2)[1]
        self._marked.add(side)
        word = _BIRDS[side]
        word += "".join(_SYLLABLES[self._serial >> shift & 63] for shift in range(0, _SERIAL_BITS, 6))
        template = self.rng.choice(self.corpus.markers[self.language])
        return template.replace("{}", self.plant(word, "benign", pointer, "present"))

    def _identifier_sentences(self, pointer: str, size_bytes: int) -> list[str]:
        """Write one waiting identifier, and another for each further few kilobytes."""
        count = min(len(self.pending), 1 + size_bytes // _IDENTIFIER_BYTES)
        return [self.identifier_sentence(pointer) for _ in range(count)]

    def _fit(self, kind: str, value: str) -> str:
        languages = self.corpus.identifiers[kind]
        return self.rng.choice(languages.get(self.language, languages["en"])).replace("{}", value)

    def _third_person(self) -> str:
        people = self.corpus.people
        return f"{self.rng.choice(people['third_given'])} {self.rng.choice(people['third_family'])}"
