r"""One pass over a text that says which patterns may match in it: the only module that imports hyperscan.

Hyperscan compiles all patterns into one automaton. With PREFILTER it may report a pattern that does not match, never
the reverse, so whatever it does not report needs no second look. The patterns are first made looser still, so that the
automaton is small: see `pipeline.detect.loosen`.

`\b`, `\w` and `\d` of Python know all of Unicode (design §6). A database compiled for that is several times slower, so
only what needs it is in one: patterns with `\w`, or with a letter beyond ASCII. A text beyond ASCII goes through it
first, and then, with its digits and spaces made those of ASCII, as bytes through the database of all patterns.

Compiling takes seconds; the result is kept in a cache folder, under a name made of its patterns and of Hyperscan's
version. A database from elsewhere can take over the process that loads it, so a folder or file that others can write
to is not read.
"""

import hashlib
import os
import stat
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path
from tempfile import NamedTemporaryFile
from threading import Lock
from typing import Any, NamedTuple

from pipeline.detect.loosen import fit_bytes, is_wide, loosen
from pipeline.errors import PipelineError

FLAGS = {"i": "CASELESS", "m": "MULTILINE", "s": "DOTALL"}
# Python's `\s` holds these control characters, Hyperscan's does not: scanned as spaces, they are held by both.
_SPACES = bytes.maketrans(b"\x1c\x1d\x1e\x1f", b"    ")
# Letters that Python's IGNORECASE takes for one of a-z, and Hyperscan does not.
_CASES: Mapping[str, str | int | None] = {"\u0130": "I", "\u0131": "i", "\u017f": "s", "\u212a": "K"}
_CASES_UTF8 = tuple((wide.encode(), str(plain).encode()) for wide, plain in _CASES.items())
_FORMAT = 3


class ScanError(PipelineError):
    """Hyperscan cannot stand in for one of the patterns; `scannable` says for which."""


class ScanPattern(NamedTuple):
    """A pattern of the scan.

    Attributes:
        regex: in the dialect that Python and Hyperscan share.
        flags: of ``i``, ``m`` and ``s``.
    """

    regex: str
    flags: str = ""


class Scanner:
    """Says which of its patterns may match in a text. Safe for threads, which take turns."""

    def __init__(self, database: Any = None, wide_database: Any = None, wide: Sequence[int] = ()) -> None:
        """Make a scanner of databases; the wide one's last pattern says that digits or spaces are beyond ASCII."""
        self._database = database
        self._wide_database = wide_database
        self._wide = (*wide, -1)
        self._lock = Lock()

    def hits(self, text: str) -> list[int]:
        """Return the numbers of the patterns that may match in the text, some of them twice."""
        found: list[int] = []
        if self._database is None:  # there is nothing to scan for
            return found
        append = found.append

        def on_match(number: int, _start: int, _end: int, _flags: int, _context: object) -> None:
            append(number)

        with self._lock:
            data = text.encode("ascii") if text.isascii() else self._scan_wide(text, found)
            self._database.scan(data.translate(_SPACES), match_event_handler=on_match)
        return found

    def _scan_wide(self, text: str, found: list[int]) -> bytes:
        """Add what the wide database says, and return what the other is to scan."""
        wide: list[int] = []
        data = _to_bytes(text)
        self._wide_database.scan(data, match_event_handler=lambda number, *_: wide.append(number))
        numbers = [self._wide[number] for number in wide]
        found.extend(number for number in numbers if number >= 0)
        return _to_bytes(text.translate(plain_chars())) if -1 in numbers else data

    def __repr__(self) -> str:
        return "Scanner()"


def _to_bytes(text: str) -> bytes:
    data = text.encode("utf-8", "replace")
    for wide, plain in _CASES_UTF8:  # several times as fast as `str.translate`
        data = data.replace(wide, plain)
    return data


@cache
def plain_chars() -> dict[int, str]:
    r"""Digits and spaces beyond ASCII, which `\d` and `\s` hold, and those of ASCII for them."""
    chars = [chr(code) for code in range(0x80, 0x20000)]
    digits = {ord(char): str(int(char)) for char in chars if char.isdecimal()}
    return digits | {ord(char): " " for char in chars if char.isspace()}


def make_scanner(patterns: Sequence[ScanPattern], cache_dir: Path | None = None) -> Scanner:
    """Return a scanner, from the cache if it is there.

    Args:
        patterns: numbered from 0.
        cache_dir: where compiled databases are kept; None for nowhere.

    Raises:
        ScanError: one of the patterns is none that `scannable` says yes to.
    """
    import hyperscan  # noqa: PLC0415 - most commands never detect anything

    if not patterns:
        return Scanner()
    wide = [number for number, pattern in enumerate(patterns) if is_wide(pattern.regex)]
    marker = ScanPattern("[" + "".join(map(chr, plain_chars())) + "]")
    chosen = [patterns[number] for number in wide] + [marker]
    return Scanner(
        _database(hyperscan, patterns, cache_dir, wide=False), _database(hyperscan, chosen, cache_dir, wide=True), wide
    )


def _database(hyperscan: Any, patterns: Sequence[ScanPattern], cache_dir: Path | None, *, wide: bool) -> Any:
    path = _cache_path(hyperscan, cache_dir, "db", (tuple(patterns), wide))
    database = _loaded(hyperscan, _read_private(path))
    if database is None:
        database = _compile(hyperscan, patterns, wide=wide)
        _write_private(path, hyperscan.dumpb(database))
    return database


def relocatable(patterns: Sequence[ScanPattern]) -> list[bool]:
    r"""Say of each pattern whether it is free of ``\A`` and ``\Z``: texts are scanned joined by line breaks."""
    return [not any(anchor in p.regex for anchor in (r"\A", r"\Z", r"\z", r"\G")) for p in patterns]


def scannable(patterns: Sequence[ScanPattern], cache_dir: Path | None = None) -> list[bool]:
    """Say of each pattern whether Hyperscan can stand in for it.

    Not one that is not `relocatable`, that matches the empty text, or that Hyperscan cannot compile. Each is compiled
    by itself for that, so ask only when `make_scanner` refused.
    """
    import hyperscan  # noqa: PLC0415 - as above

    path = _cache_path(hyperscan, cache_dir, "can", tuple(patterns))
    saved = _read_private(path)
    if saved is not None and len(saved) == len(patterns):
        return [mark == ord("y") for mark in saved]
    answers = [
        good and all(_compiles(hyperscan, pattern, wide=wide) for wide in {False, is_wide(pattern.regex)})
        for good, pattern in zip(relocatable(patterns), patterns, strict=True)
    ]
    _write_private(path, b"".join(b"y" if answer else b"n" for answer in answers))
    return answers


def _compiles(hyperscan: Any, pattern: ScanPattern, *, wide: bool) -> bool:
    try:
        _compile(hyperscan, [pattern], wide=wide)
    except ScanError:
        return False
    return True


def _compile(hyperscan: Any, patterns: Sequence[ScanPattern], *, wide: bool) -> Any:
    # MULTILINE for all: the texts of an event are joined by line breaks, and each begins and ends one for `^` and `$`.
    common = ["PREFILTER", "SINGLEMATCH", "MULTILINE", *(["UTF8", "UCP"] if wide else [])]
    flags, texts = [], []
    for pattern in patterns:
        text = loosen(pattern.regex.translate(str.maketrans(dict(_CASES))))
        # A class of letters beyond ASCII is one of letters only when the pattern is read as UTF-8.
        is_bytes = text.isascii() and not wide
        texts.append(fit_bytes(text) if is_bytes else text)
        names = {*common, *(FLAGS[flag] for flag in pattern.flags), *(() if is_bytes else ["UTF8"])}
        flags.append(sum(getattr(hyperscan, f"HS_FLAG_{name}") for name in names))
    database = hyperscan.Database(mode=hyperscan.HS_MODE_BLOCK)
    ids = list(range(len(texts)))
    refused = True
    with suppress(hyperscan.HyperscanError, UnicodeEncodeError):
        database.compile(expressions=[text.encode() for text in texts], ids=ids, elements=len(texts), flags=flags)
        refused = False
    if refused:
        raise ScanError
    return database


def _cache_path(hyperscan: Any, cache_dir: Path | None, kind: str, key: object) -> Path | None:
    if cache_dir is None:
        return None
    content = repr((_FORMAT, hyperscan.__version__, key))
    return cache_dir / f"scan-{hashlib.sha256(content.encode()).hexdigest()[:32]}.{kind}"


def _loaded(hyperscan: Any, saved: bytes | None) -> Any:
    """Return the database, or None for one that was made for another processor or another version."""
    if saved is None:
        return None
    try:
        database = hyperscan.loadb(saved, hyperscan.HS_MODE_BLOCK)
        database.scratch = hyperscan.Scratch(database)
    except hyperscan.HyperscanError:
        return None
    return database


def _read_private(path: Path | None) -> bytes | None:
    """Return a file that only its owner, who runs this process, can have written; else None."""
    if path is None:
        return None
    try:
        for place in (path.parent, path):
            status = place.stat()
            if status.st_uid != os.getuid() or status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
                return None
        return path.read_bytes()
    except OSError:
        return None


def _write_private(path: Path | None, data: bytes) -> None:
    """Write a file whole or not at all; a cache that cannot be written costs time, nothing else."""
    if path is None:
        return
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with NamedTemporaryFile(dir=path.parent, delete=False) as file:
            file.write(data)
        Path(file.name).replace(path)
    except OSError:
        return
