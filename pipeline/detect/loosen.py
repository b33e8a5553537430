r"""Patterns made looser, so that a scan for many of them is fast: they match wherever the given ones do. Pure.

An automaton counts by states: a bound of 200 letters is 200 of them, each of thousands in Unicode. So what repeats
more than eight times loses its upper bound and keeps a low one of eight at most, and lookarounds, which Hyperscan's PREFILTER
drops anyway, are gone first.
"""

import re

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
    r"""Return a pattern for bytes of UTF-8, where ``.``, ``[^x]``, ``\W``, ``\S`` and ``\D`` take up to four a letter."""

    def wider(match: re.Match[str]) -> str:
        item, count = match["item"], match["count"] or ""
        if item is None or not _ANY.fullmatch(item) or count in ("*", "+"):
            return match.group()
        if count.startswith("{"):
            return f"{item}{{{count.strip('{}').partition(',')[0]},}}"
        return f"{item}{{{0 if count else 1},{_UTF8_BYTES_MAX}}}"

    return _TOKEN.sub(wider, regex)


def is_wide(regex: str) -> bool:
    r"""Say whether a pattern can need a letter beyond ASCII: it names one, or has ``\w`` or ``\B``."""
    return not regex.isascii() or any(escape in loosen(regex) for escape in (r"\w", r"\B", r"\p", r"\P", r"\X"))
