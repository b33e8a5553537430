"""Bytes to JSON and back: fast for all of ordinary traffic, exact for its oddities.

orjson parses what it can. What it refuses or rounds (lone surrogates, a byte order mark, integers beyond 64 bits) goes
through the standard library, because valid traffic is never refused for an oddity. No error keeps the input.
"""

import json
from collections.abc import Container, Iterator
from typing import Any, NamedTuple

import orjson

from pipeline.errors import InvalidEvent, Reason, reject
from pipeline.records import Json

_DIGITS_MAX = 4300  # Python's own limit on converting digits to an integer; longer ones cost quadratic time
_REPLACEMENT = "\ufffd"


class Decoded(NamedTuple):
    """A decoded raw event: an object, and how many keys it repeats."""

    event: dict[str, Any]
    duplicate_keys: int

    def __repr__(self) -> str:
        return f"Decoded(duplicate_keys={self.duplicate_keys})"


class _NumberError(ValueError):
    """A number that cannot be kept; never leaves this module."""


def decode(raw: bytes, *, size_max: int, depth_max: int, declared: Container[str] = ()) -> Decoded:
    """Decode one raw event.

    Args:
        raw: UTF-8 JSON.
        size_max: bytes; a larger event is rejected unread.
        depth_max: objects and lists inside each other, the event itself included.
        declared: names of top-level members that a pointer may show.

    Raises:
        InvalidEvent: empty, too large, not UTF-8, not JSON, too deep, a number out of range, or not an object.
    """
    if len(raw) > size_max:
        reject(Reason.TOO_LARGE)
    event: Any = None
    odd = False
    try:
        event = orjson.loads(raw)
    except orjson.JSONDecodeError:
        odd = True  # handled outside: the exception holds the whole input
    duplicates = 0
    odd = odd or not _is_canonical(raw, event)
    if odd:
        event, duplicates = _decode_exactly(raw)
    if odd or raw.count(b"{") + raw.count(b"[") > depth_max:  # fewer brackets than levels allowed: no need to look
        check_depth(event, depth_max, declared)
    if odd and (b"\\ud" in raw or b"\\uD" in raw):
        clean = replace_surrogates(event)
        duplicates += _count_keys(event) - _count_keys(clean)  # keys that became one hide a value as a repeat does
        event = clean
    if not isinstance(event, dict):
        reject(Reason.NOT_AN_OBJECT)
    return Decoded(event, duplicates)


def encode(value: Any) -> bytes:
    """Encode JSON compactly as UTF-8; integers beyond 64 bits stay what they are."""
    wide = False
    try:
        return orjson.dumps(value)
    except orjson.JSONEncodeError:
        wide = True
    assert wide  # noqa: S101 - says why we are here, outside the except block
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode()


def parse_embedded(text: str) -> tuple[Json, int] | None:
    """Parse a string that may hold JSON.

    Returns:
        The value (it may hold lone surrogates) and its number of repeated keys, or None where it is not JSON.

    Raises:
        RecursionError: it nests too deep to be read; the caller redacts it whole.
    """
    pairs = _Pairs()
    try:
        value = _parser(pairs)(text)
    except ValueError:
        return None
    return value, pairs.repeated


def check_depth(value: Any, depth_max: int, declared: Container[str] = ()) -> None:
    """Check how deep a value nests, itself included.

    Raises:
        InvalidEvent: it nests deeper than ``depth_max``; the pointer names the event's field.
    """
    if _is_deeper(value, depth_max):
        deep = (
            (name for name, member in value.items() if _is_deeper(member, depth_max - 1)) if type(value) is dict else ()
        )
        name = next(iter(deep), None)
        reject(Reason.TOO_DEEP, "" if name is None else f"/{name}" if name in declared else "/*")


def _is_deeper(value: Any, depth_max: int) -> bool:
    if type(value) is dict:
        return depth_max <= 0 or any(_is_deeper(member, depth_max - 1) for member in value.values())
    if type(value) is list:
        return depth_max <= 0 or any(_is_deeper(member, depth_max - 1) for member in value)
    return False


def _is_canonical(raw: bytes, event: Any) -> bool:
    """Tell whether writing an event again gives the same bytes: then no key is repeated and no number was rounded.

    Compact JSON, as most gateways write it, passes; anything else goes through the exact parser.
    """
    try:
        return orjson.dumps(event) == raw
    except orjson.JSONEncodeError:  # nested deeper than orjson writes
        return False


class _Pairs:
    """Builds objects, the last of repeated keys winning, and counts the repeats."""

    def __init__(self) -> None:
        self.repeated = 0

    def __call__(self, pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        self.repeated += len(pairs) - len(found)
        return found


def _parser(pairs: _Pairs) -> Any:
    return json.JSONDecoder(
        object_pairs_hook=pairs, parse_constant=_refuse_constant, parse_int=_parse_int, parse_float=_parse_float
    ).decode


def _refuse_constant(_name: str) -> None:
    raise ValueError


def _parse_int(digits: str) -> int:
    if len(digits.removeprefix("-")) > _DIGITS_MAX:
        raise _NumberError
    return int(digits)


def _parse_float(text: str) -> float:
    value = float(text)
    if value in (float("inf"), float("-inf")):
        raise _NumberError
    return value


def _decode_exactly(raw: bytes) -> tuple[Any, int]:
    reason = None
    pairs = _Pairs()
    value: Any = None
    try:
        value = _parser(pairs)(raw.decode("utf-8").removeprefix("\ufeff"))
    except UnicodeDecodeError:
        reason = Reason.NOT_UTF8
    except _NumberError:
        reason = Reason.NUMBER_OUT_OF_RANGE
    except RecursionError:
        reason = Reason.TOO_DEEP
    except ValueError:
        reason = Reason.EMPTY if not raw.strip() else Reason.NOT_JSON
    if reason is not None:
        raise InvalidEvent(reason)
    return value, pairs.repeated


def replace_surrogates(value: Any) -> Any:
    """Replace lone surrogates, which no UTF-8 can hold, by U+FFFD, in keys too. The value's depth has been measured."""
    if isinstance(value, str):
        return (
            "".join(_REPLACEMENT if "\ud800" <= c <= "\udfff" else c for c in value) if _has_surrogate(value) else value
        )
    if isinstance(value, list):
        return [replace_surrogates(member) for member in value]
    if isinstance(value, dict):
        return {replace_surrogates(key): replace_surrogates(member) for key, member in value.items()}
    return value


def _count_keys(value: Any) -> int:
    if isinstance(value, dict):
        return len(value) + sum(map(_count_keys, value.values()))
    return sum(map(_count_keys, value)) if isinstance(value, list) else 0


def _has_surrogate(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return True
    return False


def texts_of(value: Any) -> Iterator[str]:
    """Yield every text of a decoded body, names of members included, in order. Not recursive: a body may be deep."""
    waiting = [value]
    while waiting:
        one = waiting.pop()
        if isinstance(one, str):
            yield one
        elif isinstance(one, dict):
            waiting.extend(part for member in reversed(one.items()) for part in reversed(member))
        elif isinstance(one, list):
            waiting.extend(reversed(one))
