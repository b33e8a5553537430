r"""Patterns made looser, so that a scan for many of them is fast: they match wherever the given ones do. Pure.

An automaton counts by states: a bound of 200 letters is 200 of them, each of thousands in Unicode. So what repeats
more than eight times loses its upper bound and keeps a low one of eight at most, and lookarounds, which Hyperscan's
PREFILTER drops anyway, are gone first.
"""

import re
from re import _parser as parser  # type: ignore[attr-defined]  # the only way to what a class is made of
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
_ASCII_MAX = 0x7F
# Letters of which case knows more than two: those of Greek that are signs too, and the final sigma.
_MANY_CASES = frozenset(
    "\u00b5\u00df\u0131\u017f\u01c4\u01c5\u01c6\u01c7\u01c8\u01c9\u01ca\u01cb\u01cc\u01f1\u01f2\u01f3\u0345\u0390\u0392"
    "\u0398\u0399\u039a\u039c\u03a0\u03a1\u03a3\u03a6\u03b0\u03b2\u03b5\u03b8\u03b9\u03ba\u03bc\u03c0\u03c1\u03c2\u03c3\u03c6"
)
_HIGH = r"\x80-\xff"
_CLASSES = {
    "CATEGORY_DIGIT": r"\d",
    "CATEGORY_NOT_DIGIT": r"\D",
    "CATEGORY_SPACE": r"\s",
    "CATEGORY_NOT_SPACE": r"\S",
    "CATEGORY_WORD": r"\w",
    "CATEGORY_NOT_WORD": r"\W",
}


def loosen(regex: str) -> str:
    """Return a pattern that matches wherever the given one does, and is small as an automaton."""

    def wider(match: re.Match[str]) -> str:
        low, high = int(match["low"]), match["high"]
        top = low if high is None else int(high) if high else _COUNTED_MAX + 1
        return match.group() if top <= _COUNTED_MAX else f"{{{min(low, _COUNTED_MAX)},}}"

    return _COUNT.sub(wider, _without_lookarounds(_NAMED.sub("(", regex)))


def _without_lookarounds(regex: str) -> str:
    for _ in range(3):  # one within another
        regex = _LOOKAROUND.sub("", regex)
    return regex


def fit_bytes(regex: str) -> str:
    r"""Return a pattern for bytes of UTF-8: ``.``, ``[^x]``, ``\W``, ``\S`` and ``\D`` take up to four of them."""

    def wider(match: re.Match[str]) -> str:
        item, count = match["item"], match["count"] or ""
        if item is None or not _ANY.fullmatch(item):
            return match.group()
        return item + _bytes_count(count)

    return _TOKEN.sub(wider, regex)


def fit_wide_bytes(regex: str, *, is_caseless: bool) -> str:
    r"""Return the same for a pattern with ``\w`` or letters beyond ASCII: any of those stands for all of them.

    ``\b`` goes, because bytes of UTF-8 are no word characters. Letters keep their bytes, in either case where that is
    ignored.
    """

    def wider(match: re.Match[str]) -> str:
        item, count = match["item"], match["count"] or ""
        if item is None:
            return match.group()
        if item in (r"\b", r"\B"):
            return ""
        if len(item) == 1 and not item.isascii() and item not in _MANY_CASES:
            cases = {item, item.lower(), item.upper()} if is_caseless else {item}
            if all(len(case) == 1 for case in cases):
                return f"(?:{'|'.join(map(_bytes_of, sorted(cases)))}){count}"
        made = f"[{_HIGH}]" if not item.isascii() and len(item) == 1 else _class_of_bytes(item)
        return match.group() if made is None else made + _bytes_count(count)

    return _TOKEN.sub(wider, regex)


def _bytes_of(char: str) -> str:
    return "".join(f"\\x{byte:02x}" for byte in char.encode())


def _class_of_bytes(item: str) -> str | None:
    """Return a class of bytes for a class of characters; None where all of them are ASCII."""
    if item == ".":
        return item
    if not item.startswith("[") and item not in _CLASSES.values():
        return None
    parts, is_high, is_negated = "", False, False
    for kind, value in _items_of_class(f"[{item}]" if item.startswith("\\") else item):
        is_negated |= kind == "NEGATE"
        is_high |= kind == "CATEGORY" and str(value) not in ("CATEGORY_DIGIT", "CATEGORY_SPACE")
        if kind == "CATEGORY":
            parts += _CLASSES[str(value)]
        elif kind != "NEGATE":
            low, high = value if kind == "RANGE" else (value, value)
            is_high |= high > _ASCII_MAX
            parts += f"\\x{low:02x}-\\x{min(high, _ASCII_MAX):02x}" if low <= _ASCII_MAX else ""
    if is_negated:
        return f"(?:[^{parts}]|[{_HIGH}])" if parts else r"[\s\S]"
    return f"[{parts}{_HIGH}]" if is_high else None


def _items_of_class(item: str) -> list[tuple[str, Any]]:
    ((kind, value),) = parser.parse(item)
    if str(kind) == "IN":
        return [(str(inner), of) for inner, of in value]
    return [*([("NEGATE", None)] if str(kind) == "NOT_LITERAL" else []), ("LITERAL", value)]


def _bytes_count(count: str) -> str:
    if count in ("*", "+"):
        return count
    if count.startswith("{"):
        return f"{{{count.strip('{}').partition(',')[0]},}}"
    return f"{{{0 if count else 1},{_UTF8_BYTES_MAX}}}"


def is_wide(regex: str) -> bool:
    r"""Say whether a pattern can need a letter beyond ASCII: it names one, or has ``\w`` or ``\B``."""
    if not regex.isascii() or "\\" not in regex:  # thousands are plain words
        return not regex.isascii()
    bare = _without_lookarounds(regex)
    return any(escape in bare for escape in (r"\w", r"[^\W", r"\B", r"\p", r"\P", r"\X"))
