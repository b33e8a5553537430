"""Where the process that has an embedded store open listens, and who may come: processes of the same user alone."""

import errno
import os
import socket
import struct
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from pipeline.errors import ConfigError, SinkUnavailable

WAIT_S = 30.0
"""How long a command waits until it is its turn to be served."""
_FOLDER, _NAME = "lethe-socket", "socket"
_PATH_BYTES_MAX = 107  # unix(7): an address has 108 bytes, the NUL at its end among them
_BACKLOG = 16
_GREETING = b"\n"
_CREDENTIALS = struct.Struct("3i")  # unix(7), SO_PEERCRED: process, user, group

_served: set[Path] = set()


def listen(folder: Path) -> socket.socket:
    """Listen in the folder of a store that this process has open; what another one left there is stale.

    Raises:
        OSError: it cannot be listened there.
    """
    if not hasattr(socket, "SO_PEERCRED"):
        raise OSError(0, "this system does not say whose process is at the other end of a socket")
    path = folder / _FOLDER / _NAME
    _make_private(path.parent)
    path.unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX)
    try:
        with _address(path) as address:
            listener.bind(address)
        path.chmod(0o600)  # nobody can connect before it listens
        listener.listen(_BACKLOG)
    except OSError:
        listener.close()
        raise
    _served.add(folder)
    return listener


def forget(folder: Path) -> None:
    """Remove the socket at which this process listened."""
    _served.discard(folder)
    forget_stale(folder)


def forget_stale(folder: Path) -> None:
    """Remove the socket of an owner that was killed: this process has the store open, so none other can listen."""
    if folder in _served or (folder / _FOLDER).is_symlink():
        return
    with suppress(OSError):
        (folder / _FOLDER / _NAME).unlink(missing_ok=True)
        (folder / _FOLDER).rmdir()


def welcome(connection: socket.socket) -> bool:
    """Greet whoever came, and say whether they may stay: they must be of this user."""
    if _user_of(connection) != os.geteuid():
        return False
    connection.sendall(_GREETING)
    return True


def dial(folder: Path, label: str, wait_s: float = WAIT_S) -> socket.socket | None:
    """Connect to the process that has a store open; None where none listens.

    Args:
        folder: the store's.
        label: what messages call the store.
        wait_s: how long to wait until that process has time.

    Raises:
        ConfigError: a process of another user listens there.
        SinkUnavailable: it has no time, or is ending.
    """
    connection = socket.socket(socket.AF_UNIX)
    connection.settimeout(wait_s)
    problem = ""
    try:
        with _address(folder / _FOLDER / _NAME) as address:
            connection.connect(address)
        if _user_of(connection) != os.geteuid():
            connection.close()
            raise ConfigError(f"{label}: a process of another user has this store open")
        if connection.recv(1) == _GREETING:
            return connection
        problem = "is ending: run this again"
    except (TimeoutError, BlockingIOError):
        problem = f"serves other commands, and had no time for {wait_s:g} s: run this again"
    except OSError:  # nothing listens: whether the folder can be opened, its opening says
        pass
    connection.close()
    if problem:
        raise SinkUnavailable(f"{label}: the process that has this store open {problem}")
    return None


def _user_of(connection: socket.socket) -> int:
    """Return the user at the other end, or -1 where the system does not say."""
    option = getattr(socket, "SO_PEERCRED", None)
    if option is None:
        return -1
    return int(_CREDENTIALS.unpack(connection.getsockopt(socket.SOL_SOCKET, option, _CREDENTIALS.size))[1])


def _make_private(folder: Path) -> None:
    """Make a folder, or see that it is one of this user's own and no link to another, and close it to others."""
    with suppress(FileExistsError):
        folder.mkdir(mode=0o700)
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        if os.fstat(fd).st_uid != os.geteuid():
            raise PermissionError(errno.EPERM, "it is another user's")
        os.fchmod(fd, 0o700)
    finally:
        os.close(fd)


@contextmanager
def _address(path: Path) -> Iterator[str]:
    """Yield an address of a path: where it is too long for one, by the descriptor of its folder."""
    if len(os.fsencode(path)) <= _PATH_BYTES_MAX:
        yield str(path)
        return
    fd = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{fd}/{path.name}"
    finally:
        os.close(fd)
