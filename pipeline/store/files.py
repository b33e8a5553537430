"""The files of an embedded store, read without its engine: what lies there before the engine starts and tidies up."""

import fnmatch
import os
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from pipeline.store.bounds import partition_range_ms
from pipeline.store.folder import SPOOL, own_spool
from pipeline.store.url import EmbeddedTarget, Target

_DETACHED = "detached"
_TICKS = 8  # a DateTime64 is a little-endian 64-bit number of milliseconds; the file has the least and the greatest


@dataclass(slots=True)
class TableFiles:
    """The parts of one table on disk: active, outdated, detached and half-written ones alike.

    Attributes:
        parts: how many.
        size_bytes: of all their files.
        oldest_ms: time of the oldest record that any of them may hold; None without parts.
        undated: parts of which no file and no name says how old they are.
    """

    parts: int = 0
    size_bytes: int = 0
    oldest_ms: int | None = None
    undated: int = 0


@dataclass(slots=True)
class FolderFiles:
    """What lies in the folder of an embedded store.

    Attributes:
        tables: parts by table name.
        spooled: files that a process which ended left of an insert.
        spooled_bytes: their size.
        spooled_age_ms: age of the oldest of them, by the file system's clock; None without any.
    """

    tables: dict[str, TableFiles] = field(default_factory=dict)
    spooled: int = 0
    spooled_bytes: int = 0
    spooled_age_ms: int | None = None


def files_of(target: Target) -> FolderFiles | None:
    """Return what lies in the folder of an embedded store; None of a server, whose disks nobody sees from here."""
    return look_into(target.folder, target.database) if isinstance(target, EmbeddedTarget) else None


def look_into(folder: Path, database: str) -> FolderFiles:
    """Read the folder of an embedded store. What vanishes meanwhile is left out.

    Args:
        folder: of the store; it may be missing.
        database: its database.
    """
    found = FolderFiles()
    for table in _folders(folder / "data" / database):
        found.tables[table.name] = _look_into_table(table)
    own = own_spool(folder)
    now_s = time.time()
    for path in _files(folder / SPOOL):
        if not path.is_relative_to(own):
            with suppress(OSError):
                status = path.stat()
                age_ms = int((now_s - status.st_mtime) * 1000)
                found.spooled += 1
                found.spooled_bytes += status.st_size
                found.spooled_age_ms = max(found.spooled_age_ms or 0, age_ms)
    return found


def _look_into_table(table: Path) -> TableFiles:
    found = TableFiles()
    for part in (*_folders(table), *_folders(table / _DETACHED)):
        sizes = list(_sizes(part))
        if part.name == _DETACHED or not sizes:
            continue
        found.parts += 1
        found.size_bytes += sum(sizes)
        oldest_ms = _oldest_ms(part)
        if oldest_ms is None:
            found.undated += 1
        elif found.oldest_ms is None or oldest_ms < found.oldest_ms:
            found.oldest_ms = oldest_ms
    return found


def _oldest_ms(part: Path) -> int | None:
    """Return the time of a part's oldest record, from its index of extremes, else the begin of the day in its name."""
    for path in _files(part, "minmax_*.idx"):
        with suppress(OSError):
            content = path.read_bytes()
            if len(content) == 2 * _TICKS:
                return int.from_bytes(content[:_TICKS], "little", signed=True)
            if len(content) == _TICKS:  # a DateTime: two times 32 bits, in seconds
                return int.from_bytes(content[:4], "little") * 1000
    names = (partition_range_ms(word) for word in part.name.split("_"))
    return next((range_ms[0] for range_ms in names if range_ms is not None), None)


def _folders(folder: Path) -> Iterator[Path]:
    with suppress(OSError):
        yield from sorted(path for path in folder.iterdir() if path.is_dir())


def _files(folder: Path, pattern: str = "*") -> Iterator[Path]:
    for parent, _, names in os.walk(folder):  # passes over a folder that vanishes meanwhile
        yield from (Path(parent, name) for name in fnmatch.filter(names, pattern))


def _sizes(folder: Path) -> Iterator[int]:
    for path in _files(folder):
        with suppress(OSError):
            yield path.stat().st_size
