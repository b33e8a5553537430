"""Reads raw events from JSON lines: plain, gzip, zstd or standard input, one line in memory at a time."""

import gzip
import hashlib
import io
import sys
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, cast

import zstandard

from pipeline.errors import ConfigError
from pipeline.records import Source

_SKIP_BYTES = 1024 * 1024
_DAMAGED = (EOFError, gzip.BadGzipFile, zlib.error, zstandard.ZstdError)


@dataclass(frozen=True, slots=True)
class RawEvent:
    """One line: its bytes, where it stands, and whether it was too long to be read (then ``raw`` is empty)."""

    raw: bytes = field(repr=False)
    source: Source
    oversize: bool = False


def read_events(name: str, *, line_bytes_max: int) -> Iterator[RawEvent]:
    """Yield the lines of a file, or of standard input for ``-``.

    Args:
        name: path; ``.gz`` and ``.zst`` are decompressed.
        line_bytes_max: a longer line is passed over, its size counted.

    Raises:
        ConfigError: the file cannot be opened, or is damaged; the text says after which line.
    """
    topic = "file:" + hashlib.sha256(_identity(name).encode()).hexdigest()[:16]
    line, problem = 0, ""
    with _open(name) as stream:
        while True:
            try:
                event = _read_line(stream, topic, line + 1, line_bytes_max)
            except _DAMAGED:
                problem = f"{name}: damaged or cut off after line {line}; what came before it was read"
                break
            if event is None:
                break
            line += 1
            yield event
    if problem:
        raise ConfigError(problem)


def _read_line(stream: IO[bytes], topic: str, line: int, line_bytes_max: int) -> RawEvent | None:
    raw = stream.readline(line_bytes_max + 2)
    if not raw:
        return None
    size = len(raw)
    if raw.endswith(b"\n"):
        stripped = raw.removesuffix(b"\n").removesuffix(b"\r")
        return RawEvent(stripped, Source(topic, 0, line, len(stripped)))
    if size <= line_bytes_max:
        return RawEvent(raw, Source(topic, 0, line, size))
    while chunk := stream.readline(_SKIP_BYTES):
        size += len(chunk)
        if chunk.endswith(b"\n"):
            break
    return RawEvent(b"", Source(topic, 0, line, size), oversize=True)


def _identity(name: str) -> str:
    return name if name == "-" else str(Path(name).resolve())


def _open(name: str) -> IO[bytes]:
    if name == "-":
        return sys.stdin.buffer
    problem = ""
    try:
        if name.endswith(".gz"):
            return cast("IO[bytes]", gzip.open(name, "rb"))
        stream = Path(name).open("rb")  # noqa: SIM115 - the caller closes it
    except OSError as error:
        problem = f"{name}: cannot be opened ({error.strerror})"
    if problem:
        raise ConfigError(problem)
    if name.endswith(".zst"):
        reader = zstandard.ZstdDecompressor().stream_reader(stream, read_across_frames=True, closefd=True)
        return cast("IO[bytes]", io.BufferedReader(cast("io.RawIOBase", reader), buffer_size=_SKIP_BYTES))
    return stream


def input_bytes(names: list[str]) -> int | None:
    """Return the size on disk of all inputs, or None where it cannot be known (standard input)."""
    if "-" in names:
        return None
    return sum(Path(name).stat().st_size for name in names if Path(name).exists())
