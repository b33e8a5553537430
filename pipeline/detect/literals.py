"""What every match of a pattern holds: one of a few literals, or a digit. A scan for those alone is cheap. Pure.

A pattern is taken apart as its parser sees it. Literals are in lower case, to be looked for in any case; whatever
cannot be told ends one, so that what is said always holds. A short one is worth looking for only where a word begins,
so that is told too: by a mark in front of it.
"""

import re
from collections.abc import Iterable
from itertools import product
from re import _parser as parser  # type: ignore[attr-defined]  # the only way to what a pattern is made of
from re import escape
from string import ascii_letters, ascii_uppercase, digits
from typing import Any, NamedTuple

from pipeline.detect.scan import ScanPattern
from pipeline.detect.traits import REPEATS, needs_digit, takes_char

_STRINGS_MAX = 256
_SETS_MAX = 512
_CHARS_MAX = 16
_PREFIX_CHARS = 5
_CLASS_MAX = 4
_GOOD_CHARS = 4
_RARE, _RARE_CHARS = "@~&%", 3
_LITERAL = re.compile(r"(?:[^\\.^$*+?{}\[\]|()]|\\[^A-Za-z0-9])+")

_WORD_BEGINS, _CAPITAL_BEGINS = "\ue000", "\ue001"  # no letter or digit before; a capital, and no other before
_MARKS = _WORD_BEGINS + _CAPITAL_BEGINS
_MARKED_CHARS_MAX = 2
# Scans take digits of other scripts, and letters with a case in ASCII, for those of ASCII: `pipeline.detect.scan`.
_TAKEN_FOR_ASCII = "\u0967\u0661\u212a\u0130"
_CAPITALS = frozenset(ascii_uppercase + digits + _TAKEN_FOR_ASCII)
_LETTERS_AND_DIGITS = frozenset(ascii_letters + digits + _TAKEN_FOR_ASCII + "\u017f\u0131")

Strings = frozenset[str]
_EMPTY: Strings = frozenset({""})
_NOTHING: Strings = frozenset({"", _WORD_BEGINS, _CAPITAL_BEGINS})


class _Known(NamedTuple):
    """What is known of the matches of a part of a pattern, in lower case.

    Attributes:
        exact: each match is one of these; None if that cannot be told.
        prefix: each match begins with one of these.
        holds: each match holds one of these; None if that cannot be told.
    """

    exact: Strings | None
    prefix: Strings
    holds: Strings | None


_UNKNOWN = _Known(None, _EMPTY, None)


def is_literal(regex: str) -> bool:
    """Say whether a pattern is a plain text, some of it escaped."""
    return bool(_LITERAL.fullmatch(regex))


class Told(NamedTuple):
    """What can be told of a pattern's matches.

    Attributes:
        held: patterns of literals of which one matches in each; empty if that cannot be told.
        is_number: whether each holds a digit.
    """

    held: tuple[ScanPattern, ...]
    is_number: bool


def tell(regex: str) -> Told:
    """Tell of a pattern's matches what scans can go by."""
    return Told(literals(regex), needs_digit(regex))


def literals(regex: str) -> tuple[ScanPattern, ...]:
    """Return patterns of literals of which one matches in every match of a pattern; none if that cannot be told.

    Each has three characters at least, or two where a word begins, or is a rare sign.
    """
    try:
        known = _sequence(parser.parse(regex))
    except re.error:
        return ()  # the other engine's dialect
    best = _best(known.holds, known.exact, known.prefix) or frozenset()
    # With three characters, where a word begins makes little difference.
    plain = frozenset(one if _weight(one) <= _MARKED_CHARS_MAX + 1 else one.lstrip(_MARKS) for one in best)
    if any(_weight(one) <= _MARKED_CHARS_MAX for one in plain):
        return ()
    return tuple(_pattern(one) for one in sorted(_shortest(plain)))


def _pattern(text: str) -> ScanPattern:
    if text[0] == _WORD_BEGINS:
        return ScanPattern(f"(?:^|[^A-Za-z0-9]){escape(text[1:])}", "i")
    if text[0] == _CAPITAL_BEGINS:
        return ScanPattern(f"(?:^|[^A-Z0-9]){text[1].upper()}(?i:{escape(text[2:])})")
    return ScanPattern(escape(text), "i")


def _shortest(strings: Strings) -> Strings:
    """Leave out what holds another one."""
    return frozenset(one for one in strings if not any(other in one for other in strings if other != one))


def _best(*sets: Strings | None) -> Strings | None:
    """Return the set that says most: whose shortest string is longest, up to four characters, or that has fewest."""
    known = [_rarest(one) for one in sets if one and len(one) <= _SETS_MAX and not one & _NOTHING]
    return max(known, key=lambda one: (min(_GOOD_CHARS, *map(_weight, one)), -len(one)), default=None)


def _rarest(strings: Strings) -> Strings:
    """Return the rare signs that the strings hold, where some are too short to tell anything and all hold one."""
    if all(_weight(one) > _MARKED_CHARS_MAX for one in strings):
        return strings
    rare = [next((char for char in _RARE if char in one), "") for one in strings]
    return frozenset(rare) if all(rare) else strings


def _weight(text: str) -> int:
    """Say how much a text tells, in characters: one that is rare, or beyond ASCII, counts as three."""
    bare = text.strip(_MARKS)
    return len(text) + _RARE_CHARS * (not bare.isascii() or (len(bare) == 1 and bare in _RARE))


def _sequence(items: Iterable[Any]) -> _Known:
    run: Strings = _EMPTY
    prefix: Strings | None = None
    best: Strings | None = None
    for kind, value in items:
        if mark := _mark(str(kind), value, run):
            run = frozenset(mark + one for one in run)
            continue
        known = _item(str(kind), value)
        joined = _joined(run, known.exact) if known.exact is not None else None
        if joined is not None:
            run = joined
            continue
        begun = _begun(run, known.prefix)
        if prefix is None:
            prefix = frozenset(one[: _PREFIX_CHARS + 1] for one in begun)
        best = _best(best, begun, run, known.holds)
        run = known.exact if known.exact is not None else _EMPTY
    is_exact = prefix is None
    return _Known(run if is_exact else None, run if prefix is None else prefix, _best(best, run))


def _begun(run: Strings, prefix: Strings) -> Strings:
    """Return what a run and what follows begin with, cut shorter where it would be too many."""
    for size in range(_PREFIX_CHARS + 1, 0, -1):
        joined = _joined(run, frozenset(one[:size] for one in prefix))
        if joined is not None:
            return joined
    return run


def _joined(first: Strings, second: Strings) -> Strings | None:
    if len(first) * len(second) > _STRINGS_MAX or max(map(len, first)) + max(map(len, second)) > _CHARS_MAX:
        return None
    return frozenset(_after(a, b) for a, b in product(first, second))


def _after(first: str, second: str) -> str:
    """Put two strings together. Only the first one's mark counts, and only before a letter or digit."""
    if not first:
        return second
    second = second.lstrip(_MARKS)
    return (
        second if first in _MARKS and second and not (second[0].isascii() and second[0].isalnum()) else first + second
    )


def _mark(kind: str, value: Any, run: Strings) -> str:
    """Return the mark of what an assertion says of the character before the run; "" for nothing."""
    if kind == "AT":
        return _WORD_BEGINS if run == _EMPTY and str(value) == "AT_BOUNDARY" else ""
    if kind != "ASSERT_NOT" or value[0] > 0:
        return ""
    before, *rest = value[1] or [(None, None)]
    if rest:  # ``d(?<!\\wd)``: the run is one character, and the assertion looks behind it
        same = _item(str(rest[0][0]), rest[0][1]).exact if len(rest) == 1 else None
        if same != run or any(len(one) != 1 for one in run):
            return ""
    elif run != _EMPTY:
        return ""
    held = {char for char in _LETTERS_AND_DIGITS if takes_char(str(before[0]), before[1], char)}
    if held == _LETTERS_AND_DIGITS:
        return _WORD_BEGINS
    is_capital = rest and str(rest[0][0]) == "LITERAL" and chr(rest[0][1]) in _CAPITALS
    return _CAPITAL_BEGINS if is_capital and held >= _CAPITALS else ""


def _item(kind: str, value: Any) -> _Known:
    if kind in {"LITERAL", "IN"}:
        return _chars({chr(value)} if kind == "LITERAL" else _class(value))
    if kind in {"AT", "ASSERT", "ASSERT_NOT"}:
        return _Known(_EMPTY, _EMPTY, None)
    if kind in {"SUBPATTERN", "ATOMIC_GROUP"}:
        return _sequence(value[3] if kind == "SUBPATTERN" else value)
    if kind == "BRANCH":
        return _branches([_sequence(branch) for branch in value[1]])
    return _repeat(*value) if kind in REPEATS else _UNKNOWN


def _chars(chars: set[str]) -> _Known:
    lower = frozenset(char.lower() for char in chars)
    if not lower or len(lower) > _CLASS_MAX or any(len(char) != 1 for char in lower):
        return _UNKNOWN
    return _Known(lower, lower, lower)


def _class(value: Iterable[Any]) -> set[str]:
    """Return the characters of a class; none where they are many."""
    chars: set[str] = set()
    for kind, item in value:
        if str(kind) == "LITERAL":
            chars.add(chr(item))
        elif str(kind) == "RANGE" and item[1] - item[0] < _CLASS_MAX:
            chars.update(map(chr, range(item[0], item[1] + 1)))
        else:
            return set()
    return chars


def _branches(known: list[_Known]) -> _Known:
    exact: Strings | None = frozenset()
    holds: Strings | None = frozenset()
    for branch in known:
        exact = exact | branch.exact if exact is not None and branch.exact is not None else None
        best = _best(branch.holds, branch.exact, branch.prefix)
        holds = holds | best if holds is not None and best is not None else None
    prefix = frozenset[str]().union(*(branch.prefix for branch in known))
    few = exact if exact is not None and len(exact) <= _STRINGS_MAX else None
    return _Known(few, prefix if len(prefix) <= _SETS_MAX else _EMPTY, holds)


def _repeat(low: int, high: Any, items: Iterable[Any]) -> _Known:
    known = _sequence(items)
    if low == 0:
        exact = known.exact | _EMPTY if high == 1 and known.exact is not None else None
        return _Known(exact, _EMPTY, None)
    exact = _EMPTY if low == high and low <= _CHARS_MAX else None
    for _ in range(low):
        exact = _joined(exact, known.exact) if exact is not None and known.exact is not None else None
    return _Known(exact, known.prefix, _best(known.holds, known.exact, exact))
