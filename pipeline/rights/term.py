"""A term that is looked for in texts: a piece of text, or a regular expression that cannot run away.

Regular expressions are Hyperscan's: time grows with the text alone, whatever the expression, so nobody can stop the
process that owns a store with one. It refuses what it could not keep that promise for.
"""

import re
from collections.abc import Callable
from contextlib import suppress

from pipeline.errors import ConfigError

Find = Callable[[str], tuple[int, int] | None]
"""Returns where a term first ends in a text: start and end in code points; None where it is not."""


def make_finder(term: str, *, is_regex: bool, ignore_case: bool) -> Find:
    r"""Return what finds a term.

    Args:
        term: what is looked for.
        is_regex: whether it is a regular expression; ``\w``, ``\d`` and ``\b`` are those of ASCII then.
        ignore_case: whether upper and lower case are the same.

    Raises:
        ConfigError: it is no regular expression, or none that can be kept linear; the text does not repeat it.
    """
    if is_regex:
        return _regex_finder(term, ignore_case)
    if ignore_case:
        search = re.compile(re.escape(term), re.IGNORECASE).search

        def find_folded(text: str) -> tuple[int, int] | None:
            match = search(text)
            return None if match is None else match.span()

        return find_folded

    def find(text: str) -> tuple[int, int] | None:
        start = text.find(term)
        return None if start < 0 else (start, start + len(term))

    return find


def _regex_finder(term: str, ignore_case: bool) -> Find:
    import hyperscan  # noqa: PLC0415 - only a regular expression needs it

    flags = hyperscan.HS_FLAG_UTF8 | hyperscan.HS_FLAG_SOM_LEFTMOST | (hyperscan.HS_FLAG_CASELESS if ignore_case else 0)
    database = hyperscan.Database(mode=hyperscan.HS_MODE_BLOCK)
    compiled = False
    with suppress(hyperscan.HyperscanError, UnicodeEncodeError):  # its text repeats the expression
        database.compile(expressions=[term.encode()], ids=[0], elements=1, flags=[flags])
        compiled = True
    if not compiled:
        raise ConfigError(
            "that is no regular expression that can be searched for: look-around, back-references, what matches the "
            "empty text, and very large repeats are not possible"
        )
    found: list[tuple[int, int]] = []

    def on_match(_number: int, start: int, end: int, _flags: int, _context: object) -> bool:
        found.append((start, end))
        return True  # enough

    def find(text: str) -> tuple[int, int] | None:
        data = text.encode("utf-8", "replace")
        found.clear()
        with suppress(hyperscan.ScanTerminated):
            database.scan(data, match_event_handler=on_match)
        if not found:
            return None
        start, end = found[0]
        return len(data[:start].decode()), len(data[:end].decode())

    return find
