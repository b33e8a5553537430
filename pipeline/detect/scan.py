r"""One pass over a text that says which patterns may match in it: the only module that imports hyperscan.

Hyperscan compiles all patterns into one automaton. With PREFILTER it may report a pattern that does not match, never
the reverse, so whatever it does not report needs no second look. `\b`, `\w` and `\d` of Python know all of Unicode, so
a text that is not ASCII goes through a second database, compiled for it (design §6).

Compiling takes seconds; the result is kept in a cache folder, under a name made of its patterns and of Hyperscan's
version. A database from elsewhere can take over the process that loads it, so a folder or file that others can write
to is not read.
"""

import hashlib
import os
import stat
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import NamedTemporaryFile
from threading import Lock
from typing import Any, NamedTuple

FLAGS = {"i": "CASELESS", "m": "MULTILINE", "s": "DOTALL"}
# Python's `\s` holds these control characters, Hyperscan's does not: scanned as spaces, they are held by both.
_SPACES = bytes.maketrans(b"\x1c\x1d\x1e\x1f", b"    ")
# Letters that Python's IGNORECASE takes for one of a-z, and Hyperscan does not.
_CASES: Mapping[str, str | int | None] = {"\u0130": "I", "\u0131": "i", "\u017f": "s", "\u212a": "K"}
_CASES_UTF8 = tuple((wide.encode(), str(plain).encode()) for wide, plain in _CASES.items())
_FORMAT = 1


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

    def __init__(self, ascii_database: Any, wide_database: Any) -> None:
        self._ascii = ascii_database
        self._wide = wide_database
        self._lock = Lock()

    def hits(self, text: str) -> list[int]:
        """Return the numbers of the patterns that may match in the text, each once."""
        found: list[int] = []
        if self._ascii is None:  # there is nothing to scan for
            return found
        append = found.append

        def on_match(number: int, _start: int, _end: int, _flags: int, _context: object) -> None:
            append(number)

        if text.isascii():
            database, data = self._ascii, text.encode("ascii")
        else:
            database, data = self._wide, text.encode("utf-8", "replace")
            for wide, plain in _CASES_UTF8:  # several times as fast as `str.translate`
                data = data.replace(wide, plain)
        with self._lock:
            database.scan(data.translate(_SPACES), match_event_handler=on_match)
        return found

    def __repr__(self) -> str:
        return "Scanner()"


def make_scanner(patterns: Sequence[ScanPattern], cache_dir: Path | None = None) -> Scanner:
    """Return a scanner, from the cache if it is there.

    Args:
        patterns: numbered from 0; each must be one that `scannable` says yes to.
        cache_dir: where compiled databases are kept; None for nowhere.
    """
    import hyperscan  # noqa: PLC0415 - most commands never detect anything

    made: list[Any] = []
    for wide in (False, True) if patterns else ():
        path = _cache_path(hyperscan, cache_dir, "db", (tuple(patterns), wide))
        database = _loaded(hyperscan, _read_private(path))
        if database is None:
            database = _compile(hyperscan, patterns, wide=wide)
            _write_private(path, hyperscan.dumpb(database))
        made.append(database)
    return Scanner(*made) if made else Scanner(None, None)


def scannable(patterns: Sequence[ScanPattern], cache_dir: Path | None = None) -> list[bool]:
    r"""Say of each pattern whether Hyperscan can stand in for it.

    Not one with ``\A`` or ``\Z`` (texts are scanned joined by line breaks), not one that matches the empty text, and
    not one that Hyperscan cannot compile.
    """
    import hyperscan  # noqa: PLC0415 - as above

    path = _cache_path(hyperscan, cache_dir, "can", tuple(patterns))
    saved = _read_private(path)
    if saved is not None and len(saved) == len(patterns):
        return [mark == ord("y") for mark in saved]
    some = [pattern for pattern in patterns if _is_relocatable(pattern.regex)]
    # Nearly always all of them compile; then one trial in the quicker of the two databases says so.
    good = set(some) if _compiles(hyperscan, some, wide=False) else set()
    good = good or {p for p in some if all(_compiles(hyperscan, [p], wide=wide) for wide in (False, True))}
    answers = [pattern in good for pattern in patterns]
    _write_private(path, b"".join(b"y" if answer else b"n" for answer in answers))
    return answers


def _is_relocatable(regex: str) -> bool:
    return not any(anchor in regex for anchor in (r"\A", r"\Z", r"\z", r"\G"))


def _compiles(hyperscan: Any, patterns: Sequence[ScanPattern], *, wide: bool) -> bool:
    try:
        _compile(hyperscan, patterns, wide=wide)
    except (hyperscan.HyperscanError, UnicodeEncodeError):
        return False
    return True


def _compile(hyperscan: Any, patterns: Sequence[ScanPattern], *, wide: bool) -> Any:
    # MULTILINE for all: the texts of an event are joined by line breaks, and each begins and ends one for `^` and `$`.
    common = ["PREFILTER", "SINGLEMATCH", "MULTILINE", *(["UTF8", "UCP"] if wide else [])]
    flags = []
    for pattern in patterns:
        # A class of letters beyond ASCII is one of letters only when the pattern is read as UTF-8.
        names = {*common, *(FLAGS[flag] for flag in pattern.flags), *(() if pattern.regex.isascii() else ["UTF8"])}
        flags.append(sum(getattr(hyperscan, f"HS_FLAG_{name}") for name in names))
    texts = [pattern.regex.translate(str.maketrans(dict(_CASES))) for pattern in patterns]
    database = hyperscan.Database(mode=hyperscan.HS_MODE_BLOCK)
    ids = list(range(len(texts)))
    database.compile(expressions=[text.encode() for text in texts], ids=ids, elements=len(texts), flags=flags)
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
