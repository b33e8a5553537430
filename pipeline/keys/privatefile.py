"""Files of keys, and others that only their owner may see: mode 0600, checked when read, replaced whole.

No error here holds any part of a file.
"""

import fcntl
import os
import shlex
import stat
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from pipeline.errors import KeyringError

PRIVATE_MODE = 0o600

_BYTES_MAX = 1 << 20


def resolve(path: Path) -> Path:
    """Follow symlinks, so that a change replaces the file and not the link to it."""
    return Path(os.path.realpath(path))


def read_private(path: Path, kind: str, hint: str) -> bytes:
    """Return what a file holds, after checking that nobody else can read or change it (policy §7).

    Args:
        path: the file.
        kind: what an error calls it, such as ``key file``.
        hint: what to do where there is none.

    Raises:
        KeyringError: it is missing, or too large, or as `check_private`.
    """
    with explained(path, "read"):
        if not path.exists():
            raise KeyringError(f"there is no {kind} at {path}: {hint}")
        # O_NONBLOCK: to open a named pipe must not wait for its writer.
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        try:
            # Of the open file, not of the path: what was checked is what is read.
            check_private(path, os.fstat(descriptor))
            with os.fdopen(descriptor, "rb", closefd=False) as file:
                data = file.read(_BYTES_MAX + 1)
        finally:
            os.close(descriptor)
    if len(data) > _BYTES_MAX:
        raise KeyringError(f"{path} is not a {kind}: it is larger than {_BYTES_MAX} bytes")
    return data


def check_private(path: Path, status: os.stat_result) -> None:
    """Check that a file is plain, the current user's or root's, and open to nobody else.

    One of root's may be read by a group of this process: so it is with secrets that an orchestrator mounts for a user
    other than root, and PostgreSQL and others have the same rule for their keys.

    Raises:
        KeyringError: it is not; the text says what to do.
    """
    if not stat.S_ISREG(status.st_mode):
        raise KeyringError(f"{path} is not a plain file")
    if status.st_uid not in {os.geteuid(), 0}:
        raise KeyringError(f"{path} belongs to another user, who can read and change it: use a key file of your own")
    allowed = stat.S_IRGRP if _is_handed_over(status) else 0
    if status.st_mode & (stat.S_IRWXG | stat.S_IRWXO) & ~allowed:
        mode = stat.S_IMODE(status.st_mode)
        raise KeyringError(f"{path} is open to group or others (mode {mode:04o}): run 'chmod 600 {quote(path)}'")


def _is_handed_over(status: os.stat_result) -> bool:
    """Tell whether a file is root's, and this process, which is not, can only read it through a group."""
    return status.st_uid == 0 != os.geteuid() and status.st_gid in {os.getegid(), *os.getgroups()}


def create_private(path: Path, data: bytes, hint: str) -> None:
    """Write a file where none is. The name is claimed first, so that nothing that is there can be overwritten.

    Args:
        path: the file; the caller holds the lock of its folder.
        data: what it shall hold.
        hint: what to do where there is one.

    Raises:
        KeyringError: there is something already, or it cannot be written.
    """
    with explained(path, "made"):
        try:
            os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, PRIVATE_MODE))
        except FileExistsError:
            exists = True
        else:
            exists = False
    if exists:
        raise KeyringError(f"{path} exists and is not overwritten: {hint}")
    try:
        replace_private(path, data)
    except BaseException:  # whatever stopped it, an empty file must not stay
        path.unlink()
        raise


def replace_private(path: Path, data: bytes) -> None:
    """Put a new file in the place of the old one, durably; the caller holds the lock of its folder.

    Raises:
        KeyringError: it cannot be written; then the old one is still there.
    """
    new = path.with_name(f".{path.name}.new")
    with explained(path, "written"):
        new.unlink(missing_ok=True)  # of a process that was killed here; it may hold keys that are to be gone
        try:
            descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, PRIVATE_MODE)
            with os.fdopen(descriptor, "wb") as file:
                os.fchmod(descriptor, PRIVATE_MODE)  # whatever the umask took away
                file.write(data)
                file.flush()
                os.fsync(descriptor)
            new.replace(path)
        finally:
            new.unlink(missing_ok=True)  # there only if something failed
        sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Make names of files survive a loss of power.

    Raises:
        OSError: the folder is gone.
    """
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def locked_folder(path: Path) -> Iterator[None]:
    """Hold the lock of a file's folder. The file cannot carry it itself, since a change puts another in its place.

    Raises:
        KeyringError: there is no such folder.
    """
    with ExitStack() as stack:
        with explained(path.parent, "opened"):
            stack.enter_context(flocked(path.parent))
        yield


@contextmanager
def flocked(folder: Path) -> Iterator[None]:
    """Hold the lock of a folder itself.

    Raises:
        OSError: there is no such folder.
    """
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


@contextmanager
def explained(path: Path, action: str) -> Iterator[None]:
    """Turn an `OSError`, which names a path and never a key, into a `KeyringError`."""
    try:
        yield
    except OSError as error:
        raise KeyringError(f"{path} cannot be {action}: {error.strerror}") from error


def quote(path: Path) -> str:
    """Return a path as a shell takes it."""
    return shlex.quote(str(path))
