r"""One pass over a text that says which patterns may match in it: the only module that imports hyperscan.

Hyperscan compiles all patterns into one automaton. With PREFILTER it may report a pattern that does not match, never
the reverse, so whatever it does not report needs no second look. The patterns are first made looser still, so that the
automaton is small: see `pipeline.detect.loosen`.

What is scanned for, and in which form text beyond ASCII is read: see `pipeline.detect.sieve`.

Compiling takes seconds; the result is kept in a cache folder (`pipeline.detect.cache`), under a name made of its
patterns and of Hyperscan's version. From there a database is loaded when it is first asked.
"""

import os
import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import cache, partial
from pathlib import Path
from typing import Any, BinaryIO, Literal, NamedTuple

from pipeline.detect.cache import cache_path, open_private, write_private
from pipeline.detect.loosen import fit_bytes, fit_wide_bytes, loosen

FLAGS = {"i": "CASELESS", "m": "MULTILINE", "s": "DOTALL"}
# Python's `\s` holds these control characters, Hyperscan's does not: scanned as spaces, they are held by both.
_SPACES = bytes.maketrans(b"\x1c\x1d\x1e\x1f", b"    ")
# Letters that Python's IGNORECASE takes for one of a-z, and Hyperscan does not.
_CASES: Mapping[str, str | int | None] = {"\u0130": "I", "\u0131": "i", "\u017f": "s", "\u212a": "K"}
_CASES_UTF8 = tuple((wide.encode(), str(plain).encode()) for wide, plain in _CASES.items())
_CASELESS = re.compile(r"\(\?[a-z]*i")
_SIZE_BYTES = 8


Form = Literal["bytes", "wide bytes", "unicode"]
"""How a database reads text: as bytes; as bytes of which all beyond ASCII may be any letter; as Unicode."""


class ScanPattern(NamedTuple):
    """A pattern of the scan.

    Attributes:
        regex: in the dialect that Python and Hyperscan share.
        flags: of ``i``, ``m`` and ``s``.
    """

    regex: str
    flags: str = ""


class Matcher:
    """A database of patterns. Not safe for threads: they share its scratch, and what it found last."""

    def __init__(self, load: Callable[[], Any]) -> None:
        """Take what loads the database, for when the first text comes.

        There are a thousand, of which traffic asks a third; a scratch takes 40 KB and cannot be shared.
        """
        self._load = load
        self._scan = self._scan_first
        self._found: list[int] = []
        append = self._found.append

        def on_match(number: int, _start: int, _end: int, _flags: int, _context: object) -> None:
            append(number)

        self._on_match = on_match

    def numbers(self, data: bytes) -> list[int]:
        """Return the numbers of the patterns that may match in what `to_bytes` made of a text, each once.

        The list is the matcher's own, and is filled anew by the next call.

        Raises:
            Exception: the database cannot be read any more; what the text holds is not known.
        """
        self._found.clear()
        self._scan(data, match_event_handler=self._on_match)
        return self._found

    def _scan_first(self, data: bytes, *, match_event_handler: Callable[..., None]) -> None:
        database = self._load()
        if database.scratch is None:
            import hyperscan  # noqa: PLC0415 - as below

            database.scratch = hyperscan.Scratch(database)
        self._scan = database.scan
        self._scan(data, match_event_handler=match_event_handler)

    def __repr__(self) -> str:
        return "Matcher()"


def to_bytes(text: str) -> bytes:
    """Return a text as it is scanned."""
    if text.isascii():
        return text.encode("ascii").translate(_SPACES)
    data = text.encode("utf-8", "replace").translate(_SPACES)
    for wide, plain in _CASES_UTF8:  # several times as fast as `str.translate`
        data = data.replace(wide, plain)
    return data


@cache
def plain_chars() -> dict[int, str]:
    r"""Digits and spaces beyond ASCII, which `\d` and `\s` hold, and those of ASCII for them."""
    chars = [chr(code) for code in range(0x80, 0x20000)]
    digits = {ord(char): str(int(char)) for char in filter(str.isdecimal, chars)}
    return digits | {ord(char): " " for char in filter(str.isspace, chars)}


MARKER = ScanPattern("[" + "".join(map(chr, plain_chars())) + "]")
"""Matches where a text has digits or spaces beyond ASCII."""
_PLAIN = re.compile(MARKER.regex)


def plain(text: str) -> str:
    """Return a text with its digits and spaces made those of ASCII."""
    return _PLAIN.sub(lambda match: plain_chars()[ord(match.group())], text)


def make_matchers(
    groups: Sequence[Sequence[ScanPattern]], cache_dir: Path | None = None, form: Form = "bytes"
) -> list[Matcher | None]:
    """Compile groups of patterns, each by itself, or take them from the cache; None for an empty one.

    None too for a group with a pattern that Hyperscan cannot stand in for: it matches the empty text, or is too large.

    Args:
        groups: lists of patterns; a matcher numbers those of its group from 0.
        cache_dir: where compiled databases are kept; None for nowhere.
        form: how text is read.
    """
    import hyperscan  # noqa: PLC0415 - most commands never detect anything

    path = matchers_path(groups, cache_dir, form)
    matchers = kept_matchers(path, len(groups))
    if matchers is None:
        databases = [_compile(hyperscan, group, form) if group else None for group in groups]
        write_private(path, _packed(hyperscan, databases))
        # As kept they need no memory until they are asked for; where nothing can be kept, these stay.
        matchers = kept_matchers(path, len(groups))
        matchers = matchers or [database and Matcher(partial(_itself, database)) for database in databases]
    return matchers


def matchers_path(groups: Sequence[Sequence[ScanPattern]], cache_dir: Path | None, form: Form = "bytes") -> Path | None:
    """Return where the databases are kept that `make_matchers` makes of the same arguments; None for nowhere."""
    key = [tuple(group) for group in groups], form
    return cache_path(cache_dir, "db", (version(), key))


def version() -> str:
    """Return whose databases can be loaded: Hyperscan's version."""
    import hyperscan  # noqa: PLC0415 - as above

    return str(getattr(hyperscan, "__version__", ""))


def kept_matchers(path: Path | None, count: int) -> list[Matcher | None] | None:
    """Return the matchers that are kept in a file of so many; None for what another version made, or no such file."""
    import hyperscan  # noqa: PLC0415 - as above

    loaders = _kept(hyperscan, path, count)
    return None if loaders is None else [load and Matcher(load) for load in loaders]


def _packed(hyperscan: Any, databases: Sequence[Any]) -> bytes:
    saved = [b"" if database is None else hyperscan.dumpb(database) for database in databases]
    return b"".join(len(one).to_bytes(_SIZE_BYTES, "big") + one for one in saved)


def _kept(hyperscan: Any, path: Path | None, count: int) -> list[Callable[[], Any] | None] | None:
    """Return what loads each database of a file; None for what another processor or version made, or no such file."""
    file = open_private(path)
    if file is None:
        return None
    loaders: list[Callable[[], Any] | None] = []
    place, end = 0, os.fstat(file.fileno()).st_size
    with suppress(hyperscan.HyperscanError, OSError):
        for _ in range(count):
            size = int.from_bytes(os.pread(file.fileno(), _SIZE_BYTES, place), "big")
            place += _SIZE_BYTES
            if place + size > end:
                return None
            load = partial(_load, hyperscan, file, place, size) if size else None
            if load:
                load()  # to see now that it can be; it is loaded again when it is needed
            loaders.append(load)
            place += size
        return loaders if place == end else None
    return None


def _load(hyperscan: Any, file: BinaryIO, place: int, size: int) -> Any:
    return hyperscan.loadb(os.pread(file.fileno(), size, place), hyperscan.HS_MODE_BLOCK)


def _itself(database: Any) -> Any:
    return database


def relocatable(patterns: Sequence[ScanPattern]) -> list[bool]:
    r"""Say of each pattern whether it is free of ``\A`` and ``\Z``: texts are scanned joined by line breaks."""
    return [not any(anchor in p.regex for anchor in (r"\A", r"\Z", r"\z", r"\G")) for p in patterns]


def _compile(hyperscan: Any, patterns: Sequence[ScanPattern], form: Form) -> Any:
    """Return a database; None if it cannot stand in for one of the patterns."""
    flags, texts = [], []
    for pattern in patterns:
        text, names = _prepared(pattern, form)
        texts.append(text)
        flags.append(sum(getattr(hyperscan, f"HS_FLAG_{name}") for name in names))
    database = hyperscan.Database(mode=hyperscan.HS_MODE_BLOCK)
    with suppress(hyperscan.HyperscanError, UnicodeEncodeError):
        database.compile(
            expressions=[text.encode() for text in texts],
            ids=list(range(len(texts))),
            elements=len(texts),
            flags=flags,
        )
        return database
    return None


def _prepared(pattern: ScanPattern, form: Form) -> tuple[str, set[str]]:
    """Return what to compile of a pattern, and the names of its flags."""
    text = loosen(pattern.regex.translate(str.maketrans(dict(_CASES))))
    # MULTILINE for all: texts are scanned joined by line breaks, and each begins and ends one for `^` and `$`.
    names = {"PREFILTER", "SINGLEMATCH", "MULTILINE", *(FLAGS[flag] for flag in pattern.flags)}
    if form == "unicode":
        return text, names | {"UTF8", "UCP"}
    if form == "wide bytes":
        return fit_wide_bytes(text, is_caseless="i" in pattern.flags or bool(_CASELESS.search(text))), names
    # A class of letters beyond ASCII is one of letters only when the pattern is read as UTF-8.
    return (fit_bytes(text), names) if text.isascii() else (text, names | {"UTF8"})
