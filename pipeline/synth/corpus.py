"""The texts that synthetic traffic is made of: written for it, with nobody real in them."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from random import Random
from typing import Any

import orjson

Piece = tuple[str, int]
"""A text and its size inside a JSON string, in bytes."""

_BLOCK_SHARE = 0.3
_PARAGRAPH_BYTES = 700
_STRIDE = 4
_PARAGRAPH_BREAK_BYTES = 4


@dataclass(frozen=True, slots=True)
class Corpus:
    """All fragments, loaded once.

    Attributes:
        sentences: prose by language.
        blocks: code, logs, Markdown and maths.
        markers: sentences with room for a benign marker, by language.
        identifiers: sentences with room for an identifier, by kind and language; every kind has English ones.
        people: parts of invented names.
        tools: tool definitions with examples of their arguments and results.
        faults: errors, tracebacks and folders.
    """

    sentences: Mapping[str, tuple[Piece, ...]]
    blocks: tuple[Piece, ...]
    markers: Mapping[str, tuple[str, ...]]
    identifiers: Mapping[str, Mapping[str, tuple[str, ...]]]
    people: Mapping[str, tuple[str, ...]]
    tools: tuple[Mapping[str, Any], ...]
    faults: Mapping[str, Any]

    def fill(self, rng: Random, language: str, size_bytes: int) -> str:
        """Return paragraphs and blocks of about ``size_bytes`` bytes of JSON string, never much more."""
        parts: list[str] = []
        left = size_bytes
        while left > 0:
            if rng.random() < _BLOCK_SHARE:
                text, size = self.blocks[int(rng.random() * len(self.blocks))]
                if size <= left:
                    parts.append(text)
                    left -= size + _PARAGRAPH_BREAK_BYTES
                    continue
            text, size = self._paragraph(rng, language, min(left, _PARAGRAPH_BYTES))
            if not text:
                break
            parts.append(text)
            left -= size + _PARAGRAPH_BREAK_BYTES
        return "\n\n".join(parts)

    def _paragraph(self, rng: Random, language: str, size_bytes: int) -> Piece:
        pieces = self.sentences[language]
        chosen: list[str] = []
        used, at = 0, int(rng.random() * len(pieces))
        while True:
            text, size = pieces[at % len(pieces)]
            if used + size // 2 > size_bytes:  # half over on average is none over
                return " ".join(chosen), used
            chosen.append(text)
            used += size + 1
            at += 1 + int(rng.random() * _STRIDE)


def json_size(text: str) -> int:
    """Return the bytes that a text takes inside a JSON string."""
    return len(orjson.dumps(text)) - 2


@cache
def load_corpus() -> Corpus:
    """Load the fragments that ship with the package."""
    return Corpus(
        sentences={language: _pieces(texts) for language, texts in _load("prose").items()},
        blocks=_pieces(_load("blocks")),
        markers=_tuples(_load("markers")),
        identifiers={kind: _tuples(languages) for kind, languages in _load("identifiers").items()},
        people=_tuples(_load("people")),
        tools=tuple(_load("tools")),
        faults=_load("faults"),
    )


def _load(name: str) -> Any:
    return orjson.loads(files("pipeline.synth").joinpath("texts", f"{name}.json").read_bytes())


def _tuples(lists: Mapping[str, list[str]]) -> dict[str, tuple[str, ...]]:
    return {key: tuple(values) for key, values in lists.items()}


def _pieces(texts: list[str]) -> tuple[Piece, ...]:
    return tuple((text, json_size(text)) for text in texts)
