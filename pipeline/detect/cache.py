"""Files that cost seconds to make: compiled databases and patterns, tables of names, and what is told of patterns.

They are kept in a cache folder under names made of their contents' sources. A database from elsewhere can take over
the process that loads it, so a folder or file that others can write to is not read.
"""

import hashlib
import os
import stat
from contextlib import suppress
from functools import cache
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import BinaryIO

_DIGEST_BYTES = 32
_FILES_MAX = 100
"""So many files stay in the cache, the newest: a policy has about eight."""


ALL_MODULES = tuple(sorted(path.stem for path in Path(__file__).parent.glob("*.py")))
"""Of this package."""
_SCANS = ("gates", "literals", "loosen", "scan", "traits")


@cache
def _code_digest(modules: tuple[str, ...]) -> str:
    """Return a digest of the code that decides what is made of a key: other code makes other files."""
    digest = hashlib.sha256()
    for name in modules:
        with suppress(OSError):
            digest.update(Path(__file__).with_name(f"{name}.py").read_bytes())
    return digest.hexdigest()


def cache_path(cache_dir: Path | None, kind: str, key: object, made_by: tuple[str, ...] = _SCANS) -> Path | None:
    """Return where something is kept that is made of the key alone; None for nowhere.

    Args:
        cache_dir: the folder; None for nowhere.
        kind: what the file is.
        key: all that decides what is in it, but for code.
        made_by: the modules of this package whose code does.
    """
    if cache_dir is None:
        return None
    content = repr((_code_digest(made_by), key))
    return cache_dir / f"scan-{hashlib.sha256(content.encode()).hexdigest()[:32]}.{kind}"


def open_private(path: Path | None) -> BinaryIO | None:
    """Open a file that only its owner, who runs this process, can have written; else return None.

    Whatever becomes of its name, the file stays what it was: files are made anew, never written again.
    """
    if path is None:
        return None
    with suppress(OSError):
        file = path.open("rb", buffering=0)
        if all(_is_private(status) for status in (path.parent.stat(), os.fstat(file.fileno()))):
            return file
        file.close()
    return None


def _is_private(status: os.stat_result) -> bool:
    return status.st_uid == os.getuid() and not status.st_mode & (stat.S_IWGRP | stat.S_IWOTH)


def read_private(path: Path | None) -> bytes | None:
    """Return the contents of such a file; else None."""
    file = open_private(path)
    if file is None:
        return None
    with file, suppress(OSError):
        return file.read()
    return None


def read_whole(path: Path | None) -> bytes | None:
    """Return what `write_whole` wrote; None where that is not there, or is not what was written."""
    saved = read_private(path) or b""
    digest, data = saved[:_DIGEST_BYTES], saved[_DIGEST_BYTES:]
    return data if digest == _digest(data) else None


def write_whole(path: Path | None, data: bytes) -> None:
    """Write a file that says of itself whether it is whole: what it holds decides what is found."""
    write_private(path, _digest(data) + data)


def _digest(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()


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
