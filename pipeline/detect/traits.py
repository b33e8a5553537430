"""What can be told of all matches of a pattern without looking for them: what they hold, and where they end. Pure.

A pattern is taken apart as its parser sees it; what cannot be told is not said.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from re import _parser as parser  # type: ignore[attr-defined]  # the only way to what a pattern is made of
from typing import Any

REPEATS = frozenset({"MAX_REPEAT", "MIN_REPEAT", "POSSESSIVE_REPEAT"})
_DIGITS = 10
_IN_CATEGORY: Mapping[str, Callable[[str], bool]] = {
    "CATEGORY_WORD": lambda char: char.isalnum() or char == "_",
    "CATEGORY_NOT_WORD": lambda char: not (char.isalnum() or char == "_"),
    "CATEGORY_DIGIT": str.isdecimal,
    "CATEGORY_NOT_DIGIT": lambda char: not char.isdecimal(),
    "CATEGORY_SPACE": str.isspace,
    "CATEGORY_NOT_SPACE": lambda char: not char.isspace(),
}
"""Which characters a category holds."""


def needs_digit(regex: str) -> bool:
    """Say whether every match of a pattern holds a digit. False where that cannot be told."""
    return _every_match_holds(regex, str.isdecimal, is_digits=True)


def needs_wide(regex: str) -> bool:
    """Say whether every match of a pattern holds a character beyond ASCII. False where that cannot be told."""
    if regex.isascii():
        return False
    if regex.isalpha():  # thousands are plain words
        return True
    return _every_match_holds(regex, lambda char: not char.isascii(), is_digits=False)


def stays_in_line(regex: str, *, dot_is_any: bool) -> bool:
    """Say whether no match of a pattern holds a line break, and none depends on one. False where that cannot be told.

    Args:
        regex: the pattern.
        dot_is_any: whether ``.`` takes line breaks too.
    """
    try:
        return not _takes_break(parser.parse(regex), dot_is_any=dot_is_any)
    except re.error:
        return False


def _takes_break(items: Iterable[Any], *, dot_is_any: bool) -> bool:
    for kind, value in items:
        name = str(kind)
        if (name == "ANY" and dot_is_any) or (name == "NOT_LITERAL" and value != ord("\n")):
            return True
        if name in ("LITERAL", "IN") and takes_char(name, value, "\n"):
            return True
        parts = _parts(name, value)
        if any(_takes_break(part, dot_is_any=dot_is_any) for part in parts):
            return True
    return False


def _parts(name: str, value: Any) -> Iterable[Any]:
    if name in REPEATS:
        return [value[2]]
    if name == "SUBPATTERN":
        return [value[3]]
    if name == "BRANCH":
        return list(value[1])
    if name == "ATOMIC_GROUP":
        return [value]
    # What may not stand there can be a line break as well as the end of the text: both are none of it.
    return [value[1]] if name == "ASSERT" else []


def takes_char(kind: str, value: Any, char: str) -> bool:
    """Say whether a literal or class, as the parser gives it, takes a character."""
    if kind == "LITERAL":
        return bool(value == ord(char))
    if kind != "IN":
        return False
    is_in = False
    for inner, of in value:
        name = str(inner)
        is_in |= (
            (name == "LITERAL" and of == ord(char))
            or (name == "RANGE" and of[0] <= ord(char) <= of[1])
            or (name == "CATEGORY" and _IN_CATEGORY.get(str(of), _never)(char))
        )
    return is_in != (str(value[0][0]) == "NEGATE")


def _never(_: str) -> bool:
    return False


def _every_match_holds(regex: str, is_one: Callable[[str], bool], *, is_digits: bool) -> bool:
    try:
        return _holds(parser.parse(regex), is_one, is_digits=is_digits)
    except re.error:
        return False


def _holds(items: Iterable[Any], is_one: Callable[[str], bool], *, is_digits: bool) -> bool:
    """Say whether every match of a part holds a character of a kind; ``[0-9]`` is one if it is of digits."""
    for kind, value in items:
        name = str(kind)
        if name == "IN" and all(_is_kind(str(k), v, is_one, is_digits=is_digits) for k, v in value):
            return True
        if name == "LITERAL" and is_one(chr(value)):
            return True
        if name in REPEATS and value[0] and _holds(value[2], is_one, is_digits=is_digits):
            return True
        if name == "SUBPATTERN" and _holds(value[3], is_one, is_digits=is_digits):
            return True
        if name == "BRANCH" and all(_holds(branch, is_one, is_digits=is_digits) for branch in value[1]):
            return True
    return False


def _is_kind(kind: str, value: Any, is_one: Callable[[str], bool], *, is_digits: bool) -> bool:
    if kind == "CATEGORY":
        return is_digits and str(value) == "CATEGORY_DIGIT"
    if kind == "RANGE":
        return all(is_one(chr(code)) for code in value) and (not is_digits or value[1] - value[0] < _DIGITS)
    return kind == "LITERAL" and is_one(chr(value))
