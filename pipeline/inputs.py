"""Reads raw events from JSON lines: plain, gzip, zstd or standard input, one line in memory at a time."""

import gzip
import hashlib
import io
import os
import stat
import sys
import zlib
from collections.abc import Iterator, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, cast

import zstandard

from pipeline.errors import ConfigError, PipelineError
from pipeline.records import Source

_BUFFER_BYTES = 256 * 1024
_SKIP_BYTES = 1024 * 1024
# A zstd block of four bytes can stand for 128 KiB: what is fed at once bounds what comes out at once, to 8 MiB. Feeding
# more was hardly faster (measured: 326 MB/s of lines, 362 with sixteen times as much).
_ZSTD_FEED_BYTES = 256
_GZIP_MAGIC, _ZSTD_MAGIC = b"\x1f\x8b", b"\x28\xb5\x2f\xfd"
_DAMAGED = (EOFError, gzip.BadGzipFile, zlib.error, zstandard.ZstdError)


class DamagedInput(PipelineError):  # noqa: N818 - as InvalidEvent
    """An input is damaged, cut off or unreadable from some line on. What came before it has been read."""


@dataclass(frozen=True, slots=True)
class RawEvent:
    """One line: its bytes, where it stands, and whether it was too long to be read (then ``raw`` is empty)."""

    raw: bytes = field(repr=False)
    source: Source
    oversize: bool = False


class Inputs:
    """Some inputs, read one after the other.

    Attributes:
        topics: names of the inputs, by the topic under which rejections point into them.
        size_bytes: what they hold on disk, or None where that cannot be known (a pipe among them).
        position_bytes: how much of that has been read.
    """

    def __init__(self, names: Sequence[str], *, line_bytes_max: int) -> None:
        """Look at every input before the first is read.

        Args:
            names: paths, or ``-`` for standard input; ``.gz`` and ``.zst`` are decompressed, by name or content.
            line_bytes_max: a longer line is passed over, its size counted.

        Raises:
            ConfigError: an input is missing, a folder, or may not be read.
        """
        sizes = [_check(name) for name in names]
        self.topics: dict[str, str] = {}
        self.size_bytes = None if None in sizes else sum(size or 0 for size in sizes)
        self._names = tuple(names)
        self._line_bytes_max = line_bytes_max
        self._done_bytes = 0
        self._raw: IO[bytes] | None = None

    @property
    def position_bytes(self) -> int:
        """Return how many bytes have been read from disk, of compressed inputs the compressed ones."""
        if self._raw is None or not self._raw.seekable():
            return self._done_bytes
        return self._done_bytes + self._raw.tell()

    def events(self) -> Iterator[RawEvent]:
        """Yield all lines of all inputs.

        Raises:
            ConfigError: an input cannot be opened any more.
            DamagedInput: the text says after which line.
        """
        for name in self._names:
            with closing(_open_raw(name)) as raw:
                self._raw = raw
                yield from self._lines(name, raw)
                self._done_bytes, self._raw = self.position_bytes, None

    def _lines(self, name: str, raw: IO[bytes]) -> Iterator[RawEvent]:
        topic = _topic(name, raw)
        self.topics[topic] = name
        line, problem = 0, ""
        stream: IO[bytes] | None = None
        while not problem:
            try:
                stream = stream or _decompressed(name, raw)
                event = _read_line(stream, topic, line + 1, self._line_bytes_max)
            except _DAMAGED:
                problem = "damaged or cut off"
            except OSError as error:
                problem = f"cannot be read on ({error.strerror})"
            else:
                if event is None:
                    return
                line += 1
                yield event
        raise DamagedInput(f"{name}: {problem} after line {line:,}; what came before was read")


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
    del raw
    while chunk := stream.readline(_SKIP_BYTES):
        size += len(chunk)
        if chunk.endswith(b"\n"):
            size -= 1
            break
    return RawEvent(b"", Source(topic, 0, line, size), oversize=True)


def _check(name: str) -> int | None:
    """Return an input's size on disk, None for what has none; refuse what cannot be read."""
    if name == "-":
        return None
    if "://" in name:
        raise ConfigError("an input is a file, or - for standard input; a URL goes with --to, or into LETHE_STORE")
    try:
        status = Path(name).stat()
        if stat.S_ISDIR(status.st_mode):
            problem = "is a folder; name the files in it"
        elif not stat.S_ISREG(status.st_mode):
            return None  # a pipe: opening it here would take its writer away
        else:
            Path(name).open("rb").close()
            return status.st_size
    except (OSError, ValueError) as error:
        problem = f"cannot be opened ({_reason(error)})"
    raise ConfigError(f"{name}: {problem}")


def _reason(error: Exception) -> str:
    return error.strerror or "no reason given" if isinstance(error, OSError) else "not a path"


def _open_raw(name: str) -> IO[bytes]:
    if name == "-":
        return io.BufferedReader(cast("io.RawIOBase", _Borrowed(sys.stdin.buffer)), _BUFFER_BYTES)
    try:
        return Path(name).open("rb", buffering=_BUFFER_BYTES)
    except OSError as error:
        problem = f"{name}: cannot be opened ({error.strerror})"
    raise ConfigError(problem)


def _topic(name: str, raw: IO[bytes]) -> str:
    """Name an input without its path, which can name a person, but as it is now: line 5 of it rewritten is another."""
    version = ""
    with suppress(OSError):
        status = os.fstat(raw.fileno())
        version = f"{status.st_ino} {status.st_size} {status.st_mtime_ns}"
    place = name if name == "-" else str(Path(name).resolve())
    return "file:" + hashlib.sha256(f"{place}\0{version}".encode(errors="surrogateescape")).hexdigest()[:16]


def _decompressed(name: str, raw: IO[bytes]) -> IO[bytes]:
    """Return a stream of lines; compressed by its name, or by how it begins (as standard input may).

    Raises:
        EOFError: it is empty, which compressed files never are.
    """
    start = cast("io.BufferedReader", raw).peek(len(_ZSTD_MAGIC))
    zipped, zstd = name.endswith(".gz"), name.endswith(".zst")
    if (zipped or zstd) and not start:
        raise EOFError
    if zipped or start.startswith(_GZIP_MAGIC):
        return cast("IO[bytes]", gzip.GzipFile(fileobj=raw, mode="rb"))
    if zstd or start.startswith(_ZSTD_MAGIC):
        return cast("IO[bytes]", io.BufferedReader(_ZstdReader(raw), _BUFFER_BYTES))
    return raw


class _Borrowed(io.RawIOBase):
    """Standard input as a raw stream that is not closed with its reader."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = cast("io.BufferedReader", stream)

    def readable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._stream.fileno()

    def readinto(self, buffer: Any) -> int:
        return self._stream.readinto1(buffer)


class _ZstdReader(io.RawIOBase):
    """Decompresses zstd, frame after frame. The library's own reader takes a frame that is cut off for a whole one."""

    def __init__(self, raw: IO[bytes]) -> None:
        self._raw = raw
        self._fed = b""
        self._ready = memoryview(b"")
        self._frame: Any = None

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self._ready:
            if not self._feed():
                return 0
        count = min(len(self._ready), len(buffer))
        buffer[:count] = self._ready[:count]
        self._ready = self._ready[count:]
        return count

    def _feed(self) -> bool:
        """Decompress the next piece; tell whether there was one.

        Raises:
            EOFError: the input ends inside a frame.
        """
        self._fed = self._fed or self._raw.read(_ZSTD_FEED_BYTES)
        if not self._fed:
            if self._frame is not None:
                raise EOFError
            return False
        self._frame = self._frame or zstandard.ZstdDecompressor().decompressobj()
        self._ready = memoryview(self._frame.decompress(self._fed))
        self._fed = self._frame.unused_data
        if self._frame.eof:
            self._frame = None
        return True
