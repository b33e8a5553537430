r"""Patterns made looser, so that a scan for many of them is fast: they match wherever the given ones do. Pure.

An automaton counts by states: a bound of 200 letters is 200 of them, each of thousands in Unicode. So what repeats
more than eight times loses its upper bound and keeps a low one of eight at most, and lookarounds, which Hyperscan's
PREFILTER drops anyway, are gone first.
"""

import re
from re import _parser as parser  # type: ignore[attr-defined]  # the only way to what a pattern is made of
from typing import Any

_NAMED = re.compile(r"\(\?P<\w+>")
_LOOKAROUND = re.compile(r"\(\?<?[!=](?:[^()\[\]\\]|\\.|\[(?:[^\]\\]|\\.)*\])*\)")
_COUNT = re.compile(r"(?<!\\)\{(?P<low>\d+)(?:,(?P<high>\d*))?\}")
_COUNTED_MAX = 8
_OPENING = r"\((?:\?(?:P<\w+>|[:=!]|<[=!]|[a-zA-Z]+\)))?"
_TOKEN = re.compile(
    rf"(?P<opening>{_OPENING})"
    r"|(?P<item>\\.|\[\^?\]?(?:\\.|[^\]\\])*\]|.)(?P<count>\{\d+(?:,\d*)?\}|[*+?])?",
    re.DOTALL,
)
_ANY = re.compile(r"\.|\\[WSD]|\[\^.*|\[.*\\[WSD].*", re.DOTALL)
_UTF8_BYTES_MAX = 4


def loosen(regex: str) -> str:
    """Return a pattern that matches wherever the given one does, and is small as an automaton."""

    def wider(match: re.Match[str]) -> str:
        low, high = int(match["low"]), match["high"]
        top = low if high is None else int(high) if high else _COUNTED_MAX + 1
        return match.group() if top <= _COUNTED_MAX else f"{{{min(low, _COUNTED_MAX)},}}"

    plain = _NAMED.sub("(", regex)
    for _ in range(3):  # one within another
        plain = _LOOKAROUND.sub("", plain)
    return _COUNT.sub(wider, plain)


def fit_bytes(regex: str) -> str:
    r"""Return a pattern for bytes of UTF-8: ``.``, ``[^x]``, ``\W``, ``\S`` and ``\D`` take up to four of them."""

    def wider(match: re.Match[str]) -> str:
        item, count = match["item"], match["count"] or ""
        if item is None or not _ANY.fullmatch(item) or count in ("*", "+"):
            return match.group()
        if count.startswith("{"):
            return f"{item}{{{count.strip('{}').partition(',')[0]},}}"
        return f"{item}{{{0 if count else 1},{_UTF8_BYTES_MAX}}}"

    return _TOKEN.sub(wider, regex)


def needs_digit(regex: str) -> bool:
    """Say whether every match of a pattern holds a digit. False where that cannot be told."""
    try:
        return _needs_digit(parser.parse(regex))
    except re.error:
        return False  # the other engine's dialect


def _needs_digit(items: Any) -> bool:
    for kind, value in items:
        name = str(kind)
        if name == "IN" and all(
            (str(k) == "CATEGORY" and str(v) == "CATEGORY_DIGIT") or _is_digits(k, v) for k, v in value
        ):
            return True
        if name == "LITERAL" and chr(value).isdecimal():
            return True
        if name in ("MAX_REPEAT", "MIN_REPEAT") and value[0] and _needs_digit(value[2]):
            return True
        if name == "SUBPATTERN" and _needs_digit(value[3]):
            return True
        if name == "BRANCH" and all(_needs_digit(branch) for branch in value[1]):
            return True
    return False


def _is_digits(kind: Any, value: Any) -> bool:
    if str(kind) == "RANGE":
        return bool(ord("0") <= value[0] <= value[1] <= ord("9"))
    return str(kind) == "LITERAL" and chr(value).isdecimal()


def is_wide(regex: str) -> bool:
    r"""Say whether a pattern can need a letter beyond ASCII: it names one, or has ``\w`` or ``\B``."""
    if not regex.isascii() or "\\" not in regex:  # thousands are plain words
        return not regex.isascii()
    return any(escape in loosen(regex) for escape in (r"\w", r"\B", r"\p", r"\P", r"\X"))
