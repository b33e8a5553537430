"""Bytes to JSON and back: fast for all of ordinary traffic, exact for its oddities.

orjson parses what it can. What it refuses or rounds (lone surrogates, a byte order mark, integers beyond 64 bits) goes
through the standard library, because valid traffic is never refused for an oddity. No error keeps the input.
"""

import json
from collections.abc import Container
from dataclasses import dataclass, field
from typing import Any

import orjson

from pipeline.errors import InvalidEvent, Reason, reject
from pipeline.records import Json

_INT64_LIMIT = 2.0**63
_DIGITS_MAX = 4300  # Python's own limit on converting digits to an integer; longer ones cost quadratic time
_REPLACEMENT = "\ufffd"


@dataclass(frozen=True, slots=True)
class Decoded:
    """A decoded raw event: an object, how many keys it repeats, and its size."""

    event: dict[str, Any] = field(repr=False)
    duplicate_keys: int
    size_bytes: int


class _TooDeepError(Exception):
    """Found while measuring; never leaves this module."""


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
    if not odd:
        keys, exact = measure(event, depth_max, declared)
        odd = not exact or _key_count(raw) != keys
    if odd:
        event, duplicates = _decode_exactly(raw)
        measure(event, depth_max, declared)
        event = replace_surrogates(event)
    if not isinstance(event, dict):
        reject(Reason.NOT_AN_OBJECT)
    return Decoded(event, duplicates, len(raw))


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


def measure(value: Any, depth_max: int, declared: Container[str] = ()) -> tuple[int, bool]:
    """Count the keys below a value and tell whether every number in it is exact.

    Raises:
        InvalidEvent: it nests deeper than ``depth_max``; the pointer names the event's field.
    """
    deep = False
    result = (0, True)
    try:
        result = _measure(value, depth_max)
    except _TooDeepError:
        deep = True
    if deep:
        name = _deep_member(value, depth_max)
        reject(Reason.TOO_DEEP, "" if name is None else f"/{name}" if name in declared else "/*")
    return result


def _measure(value: Any, depth_left: int) -> tuple[int, bool]:
    if depth_left <= 0:
        raise _TooDeepError
    members = value.values() if type(value) is dict else value if type(value) is list else ()
    keys, exact = (len(value), True) if type(value) is dict else (0, True)
    for member in members:
        kind = type(member)
        if kind is dict or kind is list:
            if member:
                inner, inner_exact = _measure(member, depth_left - 1)
                keys += inner
                exact = exact and inner_exact
            elif depth_left <= 1:
                raise _TooDeepError
        elif kind is float and not -_INT64_LIMIT < member < _INT64_LIMIT:
            exact = False
    return keys, exact


def _deep_member(value: Any, depth_max: int) -> str | None:
    """Return the name of the first top-level member that is too deep."""
    if isinstance(value, dict):
        for name, member in value.items():
            try:
                _measure([member], depth_max)
            except _TooDeepError:
                return name
    return None


def _key_count(raw: bytes) -> int:
    """Count the keys that a compact text of JSON shows, or -1 where white space before a colon hides some.

    A key ends in ``":``; inside a string the quote is escaped. An escaped backslash at a key's end leads to one key
    too few, and so to the exact parser.
    """
    if b'" :' in raw or b'"\t:' in raw or b'"\n:' in raw or b'"\r' in raw:
        return -1
    return raw.count(b'":') - raw.count(b'\\":')


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
    if len(digits) > _DIGITS_MAX:
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
        return "".join(_REPLACEMENT if "\ud800" <= c <= "\udfff" else c for c in value) if _has_surrogate(value) else value
    if isinstance(value, list):
        return [replace_surrogates(member) for member in value]
    if isinstance(value, dict):
        return {replace_surrogates(key): replace_surrogates(member) for key, member in value.items()}
    return value


def _has_surrogate(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return True
    return False
