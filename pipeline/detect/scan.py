r"""One pass over a text that says which patterns may match in it: the only module that imports hyperscan.

Hyperscan compiles all patterns into one automaton. With PREFILTER it may report a pattern that does not match, never
the reverse, so whatever it does not report needs no second look. The patterns are first made looser still, so that the
automaton is small: see `pipeline.detect.loosen`.

What is scanned for, and in which form text beyond ASCII is read: see `pipeline.detect.sieve`.

Compiling takes seconds; the result is kept in a cache folder, under a name made of its patterns and of Hyperscan's
version. A database from elsewhere can take over the process that loads it, so a folder or file that others can write
to is not read.
"""

import hashlib
import os
import re
import stat
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any, Literal, NamedTuple

from pipeline.detect.loosen import fit_bytes, fit_wide_bytes, loosen

FLAGS = {"i": "CASELESS", "m": "MULTILINE", "s": "DOTALL"}
# Python's `\s` holds these control characters, Hyperscan's does not: scanned as spaces, they are held by both.
_SPACES = bytes.maketrans(b"\x1c\x1d\x1e\x1f", b"    ")
# Letters that Python's IGNORECASE takes for one of a-z, and Hyperscan does not.
_CASES: Mapping[str, str | int | None] = {"\u0130": "I", "\u0131": "i", "\u017f": "s", "\u212a": "K"}
_CASES_UTF8 = tuple((wide.encode(), str(plain).encode()) for wide, plain in _CASES.items())
_CASELESS = re.compile(r"\(\?[a-z]*i")
_SIZE_BYTES = 8
_FILES_MAX = 64
"""So many files stay in the cache, the newest: a policy has about five."""


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

    def __init__(self, database: Any) -> None:
        self._scan = database.scan
        self._found: list[int] = []
        append = self._found.append

        def on_match(number: int, _start: int, _end: int, _flags: int, _context: object) -> None:
            append(number)

        self._on_match = on_match

    def numbers(self, data: bytes) -> list[int]:
        """Return the numbers of the patterns that may match in what `to_bytes` made of a text, each once.

        The list is the matcher's own, and is filled anew by the next call.
        """
        self._found.clear()
        self._scan(data, match_event_handler=self._on_match)
        return self._found

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
    digits = {ord(char): str(int(char)) for char in chars if char.isdecimal()}
    return digits | {ord(char): " " for char in chars if char.isspace()}


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

    key = [tuple(group) for group in groups], form
    path = cache_path(cache_dir, "db", (getattr(hyperscan, "__version__", ""), key))
    databases = _unpacked(hyperscan, read_private(path), len(groups))
    if databases is None:
        databases = [_compile(hyperscan, group, form) if group else None for group in groups]
        write_private(path, _packed(hyperscan, databases))
    return [None if database is None else Matcher(database) for database in databases]


def _packed(hyperscan: Any, databases: Sequence[Any]) -> bytes:
    saved = [b"" if database is None else hyperscan.dumpb(database) for database in databases]
    return b"".join(len(one).to_bytes(_SIZE_BYTES, "big") + one for one in saved)


def _unpacked(hyperscan: Any, saved: bytes | None, count: int) -> list[Any] | None:
    """Return the databases; None for what was made for another processor or version, or is no such file."""
    if saved is None:
        return None
    databases, place = [], 0
    for _ in range(count):
        size = int.from_bytes(saved[place : place + _SIZE_BYTES], "big")
        place += _SIZE_BYTES
        one = saved[place : place + size]
        place += size
        if place > len(saved):
            return None
        try:
            database = hyperscan.loadb(one, hyperscan.HS_MODE_BLOCK) if size else None
            if database is not None:
                database.scratch = hyperscan.Scratch(database)
        except hyperscan.HyperscanError:
            return None
        databases.append(database)
    return databases if place == len(saved) else None


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


@cache
def _code_digest() -> str:
    """Return a digest of the code that decides what is made of patterns: other code makes other files."""
    digest = hashlib.sha256()
    for name in ("gates", "literals", "loosen", "scan", "traits"):
        with suppress(OSError):
            digest.update(Path(__file__).with_name(f"{name}.py").read_bytes())
    return digest.hexdigest()


def cache_path(cache_dir: Path | None, kind: str, key: object) -> Path | None:
    """Return where something is kept that is made of the key alone; None for nowhere."""
    if cache_dir is None:
        return None
    content = repr((_code_digest(), key))
    return cache_dir / f"scan-{hashlib.sha256(content.encode()).hexdigest()[:32]}.{kind}"


def read_private(path: Path | None) -> bytes | None:
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


def write_private(path: Path | None, data: bytes) -> None:
    """Write a file whole or not at all; a cache that cannot be written costs time, nothing else."""
    if path is None:
        return
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with NamedTemporaryFile(dir=path.parent, delete=False) as file:
            file.write(data)
        Path(file.name).replace(path)
        made = sorted(path.parent.glob("scan-*"), key=lambda one: one.stat().st_mtime)
        for old in made[:-_FILES_MAX]:
            old.unlink(missing_ok=True)
    except OSError:
        return
