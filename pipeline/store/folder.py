"""The folder of an embedded store: who owns it, and where inserts are spooled."""

import fcntl
import re
import secrets
import shutil
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from pipeline.errors import ConfigError

SPOOL = "lethe-spool"
_SPOOL_OF_THIS_PROCESS = secrets.token_hex(8)
_spool_lock = threading.Lock()


def make_folder(folder: Path, label: str) -> Path:
    """Make a store's folder, closed to other users, and return its real path.

    Raises:
        ConfigError: it cannot be made, or is no folder.
    """
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        return folder.resolve()
    except OSError as error:
        reason = error.strerror
    raise ConfigError(f"{label}: the folder cannot be made or used: {reason}")


def existing_folder(folder: Path, label: str) -> Path:
    """Return the real path of a store's folder that is there already.

    Raises:
        ConfigError: it is not, or it is no store.
    """
    if (folder / "metadata").is_dir():
        return folder.resolve()
    raise ConfigError(f"{label}: there is no store")


def own_spool(folder: Path) -> Path:
    """Return this process's folder for spooled inserts; it need not exist."""
    return folder / SPOOL / _SPOOL_OF_THIS_PROCESS


def why_not_opened(folder: Path, *, already_open: bool) -> str:
    """Say why chdb refused a folder. It names no reason itself, but holds a lock on ``status`` while it runs."""
    if already_open:
        return "this process has another embedded store open, and chdb admits one folder a process: close that first"
    status = folder / "status"
    with suppress(OSError), status.open("rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            owner = re.search(rb"PID: (\d+)", file.read(200))
            who = f"process {int(owner[1])}" if owner else "another process"
            return f"{who} has this folder open, and chdb admits one process: wait until it ends, or use a server"
    return "chdb cannot open this folder: is it a store of lethe, writable for this user?"


def clear_spool(folder: Path) -> Path:
    """Return this process's folder for spooled inserts, and remove what killed processes left of theirs.

    The driver writes an insert into a temporary file for chdb to read. In the system's own folder a killed process
    would leave that content behind for ever; here the next opening removes it, and nobody else reads it.
    """
    spool = folder / SPOOL
    spool.mkdir(mode=0o700, exist_ok=True)
    own = own_spool(folder)
    for left in spool.iterdir():
        if left != own:
            shutil.rmtree(left)
    return own


@contextmanager
def spooled_in(spool: Path | None) -> Iterator[None]:
    """Let temporary files be made in ``spool`` meanwhile; the driver offers no other way to say where."""
    if spool is None:
        yield
        return
    with _spool_lock:
        spool.mkdir(mode=0o700, exist_ok=True)  # another store of this process may have closed and removed it
        before, tempfile.tempdir = tempfile.tempdir, str(spool)
        try:
            yield
        finally:
            tempfile.tempdir = before
