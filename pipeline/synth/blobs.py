"""Content in another coding: base64 media, opaque blobs, vectors, token ids and logprobs, each with a marker inside."""

from functools import cache
from itertools import pairwise
from random import Random
from string import ascii_letters, digits

import orjson

from pipeline.synth.draft import Draft, Json

_ALPHABET = ascii_letters + digits + "+/"
_OPENINGS = {
    "image/png": "iVBORw0KGgoAAAANSUhEUgAA",
    "image/jpeg": "/9j/4AAQSkZJRgABAQAAAQAB",
    "audio/wav": "UklGRiQAAABXQVZFZm10IBAA",
}
_MARKER_CHARS = 24
_POOL = 65_536
_DIMENSIONS = (1536, 1024, 768, 512, 256, 128, 64)
_FLOAT_BYTES = 12
_BASE64_FLOAT_BYTES = 16 / 3
_MARKED_IDS = 6


def write_base64(draft: Draft, pointer: str, kind: str, size_bytes: int, opening: str = "") -> str:
    """Return about ``size_bytes`` characters of base64, a whole number of quartets, a marker inside."""
    marker = draft.plant("".join(draft.rng.choices(ascii_letters, k=_MARKER_CHARS)), kind, pointer)
    pool = _base64_pool()
    length = max(size_bytes - len(opening) - _MARKER_CHARS, 16) // 4 * 4
    body = ""
    while len(body) < length:
        at = int(draft.rng.random() * len(pool))
        body += pool[at : at + length - len(body)]
    middle = length // 2
    return f"{opening}{body[:middle]}{marker}{body[middle:]}"


def write_media(draft: Draft, pointer: str, media_type: str, size_bytes: int) -> str:
    """Return media as base64 that begins as files of this type do."""
    return write_base64(draft, pointer, "media", size_bytes, _OPENINGS[media_type])


def write_vectors(draft: Draft, pointer: str, count: int, *, packed: bool) -> list[list[float] | str]:
    """Return as many embeddings as asked for, of the longest dimension that fits the room; none where none fits.

    Args:
        draft: the event.
        pointer: of the list whose items hold ``embedding``.
        count: number of vectors.
        packed: as base64 of 32-bit floats instead of lists.
    """
    width = _BASE64_FLOAT_BYTES if packed else _FLOAT_BYTES
    fitting = [size for size in _DIMENSIONS if size * width * count <= draft.room]
    if not fitting:
        return []
    return [_vector(draft, f"{pointer}/{index}/embedding", fitting[0], packed=packed) for index in range(count)]


def _vector(draft: Draft, pointer: str, dimensions: int, *, packed: bool) -> list[float] | str:
    if packed:
        return write_base64(draft, pointer, "vector", int(dimensions * _BASE64_FLOAT_BYTES))
    pool = _float_pool()
    at = int(draft.rng.random() * (len(pool) - dimensions))
    vector = list(pool[at : at + dimensions])
    marker = (10**13 + int(draft.rng.random() * 9 * 10**13)) / 10**15
    vector[int(draft.rng.random() * dimensions)] = marker
    draft.plant(orjson.dumps(marker).decode(), "vector", pointer)
    return vector


def write_token_ids(draft: Draft, pointer: str, size_bytes: int) -> list[int]:
    """Return a prompt as token ids, at least 40, about ``size_bytes`` when encoded."""
    pool = _id_pool()
    length = min(max(size_bytes // 6, 40), _POOL // 2)
    at = int(draft.rng.random() * (len(pool) - length))
    marked = [int(10_000 + draft.rng.random() * 90_000) for _ in range(_MARKED_IDS)]
    draft.plant(",".join(map(str, marked)), "token_ids", pointer)
    draft.count("request", 4 * length)
    return [*pool[at : at + length], *marked]


def write_chat_logprobs(draft: Draft, pointer: str, size_bytes: int) -> Json:
    """Return chat logprobs: a token an entry, one of them a marker."""
    tokens = _tokens(draft, pointer, max(size_bytes // 190, 1))
    return {"content": [_logprob(draft, token, left) for left, token in pairwise(["", *tokens])], "refusal": None}


def write_text_logprobs(draft: Draft, pointer: str, size_bytes: int) -> Json:
    """Return legacy completion logprobs: parallel lists, one token a marker."""
    tokens = _tokens(draft, f"{pointer}/tokens", max(size_bytes // 24, 1))
    offsets = [0]
    for token in tokens[:-1]:
        offsets.append(offsets[-1] + len(token))
    values = [_score(draft) for _ in tokens]
    return {"tokens": tokens, "token_logprobs": values, "top_logprobs": None, "text_offset": offsets}


def _tokens(draft: Draft, pointer: str, count: int) -> list[str]:
    marker = draft.plant("zq" + "".join(draft.rng.choices(ascii_letters, k=16)), "logprobs", pointer)
    return [*(draft.rng.choice(_WORDS) for _ in range(count)), f" {marker}"]


def _logprob(draft: Draft, token: str, instead: str) -> Json:
    top = [{"token": token, "logprob": _score(draft)}, {"token": instead, "logprob": -9.5}]
    return {"token": token, "logprob": top[0]["logprob"], "bytes": list(token.encode()), "top_logprobs": top}


def _score(draft: Draft) -> float:
    return -round(draft.rng.random() * 3, 4)


_WORDS = (" the", " a", " queue", " of", " bread", ",", ".", " slow", "ing", " and", " then", " water", " is", "\n")


@cache
def _base64_pool() -> str:
    return "".join(Random("base64").choices(_ALPHABET, k=_POOL))


@cache
def _float_pool() -> tuple[float, ...]:
    rng = Random("floats")
    return tuple(round(rng.gauss(0, 0.03), 8) for _ in range(_POOL))


@cache
def _id_pool() -> tuple[int, ...]:
    rng = Random("ids")
    return tuple(rng.randrange(128_000) for _ in range(_POOL))
