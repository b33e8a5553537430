"""The files of the audit log: one a month, ``audit-YYYYMM.jsonl``, mode 0600, in a folder that nobody else enters."""

import os
import re
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from pipeline.audit.entry import ENTRY_BYTES_MAX, AuditFault
from pipeline.coarsen import DAY_MS, format_timestamp
from pipeline.keys.privatefile import PRIVATE_MODE, flocked, quote, sync_folder

SLACK_MS = DAY_MS
"""How long before its bound a segment is due: the timer that removes it may fail for that long."""

_NAME = re.compile(r"audit-([0-9]{4})(0[1-9]|1[0-2])\.jsonl", re.ASCII)
_TAIL_BYTES = 2 * (ENTRY_BYTES_MAX + 1)
_BLOCK_BYTES = 16 * ENTRY_BYTES_MAX


class Tail(NamedTuple):
    """The end of a segment.

    Attributes:
        size: of the file, bytes.
        last: its last whole line, without its end; b"" when there is none.
        torn: what follows it, of a process that was killed while it wrote.
    """

    size: int
    last: bytes
    torn: bytes


def segment_name(at_ms: int) -> str:
    """Return the name of the segment of a time, epoch milliseconds."""
    return f"audit-{format_timestamp(at_ms)[:7].replace('-', '')}.jsonl"


def segments_of(folder: Path) -> list[Path]:
    """Return the segments of a folder, the oldest first."""
    return sorted(path for path in folder.iterdir() if _NAME.fullmatch(path.name))


def is_due(path: Path, bound_ms: int, now_ms: int) -> bool:
    """Tell whether a segment must go, so that its oldest entry does not outlive the bound.

    Args:
        path: the segment.
        bound_ms: the longest time from an entry to its bytes being gone.
        now_ms: epoch milliseconds.
    """
    match = _NAME.fullmatch(path.name)
    if match is None:
        return False
    begin = datetime(int(match[1]), int(match[2]), 1, tzinfo=UTC)
    return int(begin.timestamp()) * 1000 + bound_ms - SLACK_MS <= now_ms


def prepare_folder(folder: Path) -> None:
    """Make the folder where there is none, and check that nobody else can enter it.

    Raises:
        AuditFault: it cannot be made, or is open to others.
    """
    with explained(folder, "made"):
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    check_folder(folder)


def check_folder(folder: Path) -> None:
    """Check that a folder is there, and that nobody else can enter it.

    Raises:
        AuditFault: it is not.
    """
    with explained(folder, "opened"):
        status = folder.stat()
    if not stat.S_ISDIR(status.st_mode):
        raise AuditFault(f"{folder} is no folder: LETHE_AUDIT names the one of the audit log")
    _check(folder, status, "700")


def read_tail(path: Path) -> Tail:
    """Return the end of a segment.

    Raises:
        AuditFault: it cannot be read, is open to others, or what is torn is longer than any entry.
    """
    with opened(path, os.O_RDONLY) as descriptor:
        size = os.fstat(descriptor).st_size
        data = os.pread(descriptor, _TAIL_BYTES, max(0, size - _TAIL_BYTES))
    whole, newline, torn = data.rpartition(b"\n")
    if not newline:
        whole, torn = b"", data
    if len(torn) > ENTRY_BYTES_MAX or (size > len(data) and b"\n" not in whole):
        raise AuditFault(f"{path} ends in what is no entry: `lethe audit-log verify` says more")
    return Tail(size, whole.rpartition(b"\n")[2], torn)


def read_lines(path: Path) -> Iterator[tuple[bytes, bool]]:
    """Yield the lines of a segment without their ends, and whether each has one; of a far too long one its beginning.

    Raises:
        AuditFault: it cannot be read, or is open to others.
    """
    with opened(path, os.O_RDONLY) as descriptor, os.fdopen(descriptor, "rb", closefd=False) as file:
        while line := file.readline(ENTRY_BYTES_MAX + 2):
            ends = line.endswith(b"\n")
            piece = line
            while not ends and piece:
                piece = file.readline(ENTRY_BYTES_MAX + 2)
                ends = piece.endswith(b"\n")
            yield line.removesuffix(b"\n"), ends


def read_backwards(path: Path) -> Iterator[bytes]:
    """Yield the whole lines of a segment without their ends, the last one first.

    Raises:
        AuditFault: it cannot be read, is open to others, or has a line longer than any entry.
    """
    pieces = _pieces_backwards(path)
    next(pieces)  # what follows the last end is no whole line
    yield from pieces


def _pieces_backwards(path: Path) -> Iterator[bytes]:
    """Yield what stands between the ends of lines, from the end of a file on."""
    with opened(path, os.O_RDONLY) as descriptor:
        position, rest = os.fstat(descriptor).st_size, b""
        while position:
            size = min(position, _BLOCK_BYTES)
            position -= size
            rest, *lines = (os.pread(descriptor, size, position) + rest).split(b"\n")
            yield from reversed(lines)
            if len(rest) > _BLOCK_BYTES:
                raise AuditFault(f"{path} has what is no entry: `lethe audit-log verify` says more")
        yield rest


def append_line(path: Path, line: bytes, size: int) -> None:
    """Write a line to the end of a segment, and wait until it is on the disk; or leave the segment as it was.

    Args:
        path: the segment; the caller holds the lock.
        line: without its end.
        size: of the segment, bytes.

    Raises:
        AuditFault: the disk is full or gone.
    """
    data = line + b"\n"
    with opened(path, os.O_WRONLY | os.O_APPEND) as descriptor:
        try:
            written = os.write(descriptor, data)
            if written == len(data):
                os.fsync(descriptor)
                return
        except OSError as error:
            reason = error.strerror or "an error of the disk"
        else:
            reason = "the disk is full"
        with explained(path, "shortened"):
            os.ftruncate(descriptor, size)
    raise AuditFault(f"the audit log cannot be written ({path}: {reason})")


def cut(path: Path, size: int) -> None:
    """Shorten a segment, durably.

    Raises:
        AuditFault: it cannot be.
    """
    with opened(path, os.O_WRONLY) as descriptor:
        os.ftruncate(descriptor, size)
        os.fsync(descriptor)


def create_segment(path: Path) -> None:
    """Make an empty segment, durably.

    Raises:
        AuditFault: it cannot be made, or is there.
    """
    with explained(path, "made"):
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, PRIVATE_MODE)
        os.close(descriptor)
        sync_folder(path.parent)


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold the lock of the log; reading waits for it too."""
    with explained(folder, "locked"), flocked(folder):
        yield


@contextmanager
def opened(path: Path, flags: int) -> Iterator[int]:
    """Yield a descriptor of a private file.

    Raises:
        AuditFault: it cannot be used, or is open to others.
    """
    with explained(path, "used"):
        descriptor = os.open(path, flags | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
        try:
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode):
                raise AuditFault(f"{path} is not a plain file")
            _check(path, status, "600")
            yield descriptor
        finally:
            os.close(descriptor)


@contextmanager
def explained(path: Path, action: str) -> Iterator[None]:
    """Turn an `OSError`, which names a path and nothing of an entry, into an `AuditFault`."""
    try:
        yield
    except OSError as error:
        raise AuditFault(f"the audit log cannot be {action} ({path}: {error.strerror})") from error


def _check(path: Path, status: os.stat_result, mode: str) -> None:
    if status.st_uid not in {os.geteuid(), 0}:
        raise AuditFault(f"{path} belongs to another user: the audit log must be of the user that acts")
    if status.st_mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise AuditFault(f"{path} is open to group or others: run 'chmod {mode} {quote(path)}'")
