"""Lets other commands work on an embedded store that this process has open: over a socket, each on a connection.

chdb admits one process to a folder. So that process answers for it: it runs the statements of others on connections of
their own, side by side with its own work. A change takes the turn, which the owner has while it stores a batch:
what it looked up, tombstones before all, is still so when it inserts (`pipeline.store.intake`).
"""

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, cast

from pipeline.errors import describe
from pipeline.store.client import SETTINGS
from pipeline.store.engine import Engine
from pipeline.store.exchange import Exchange
from pipeline.store.folder import own_spool
from pipeline.store.rendezvous import forget, listen, welcome
from pipeline.store.url import EmbeddedTarget, Target

CLIENTS_MAX = 4
MEMORY_BYTES_MAX = 512 << 20
"""What one statement of a command may take in the engine; one that wants more is refused (ClickHouse error 241)."""
_LOOK_S = 0.25
_LIMITS = {
    "max_memory_usage": MEMORY_BYTES_MAX,
    # What does not fit is refused, and never written into temporary files, whose content nothing would expire.
    "max_bytes_ratio_before_external_sort": 0,
    "max_bytes_ratio_before_external_group_by": 0,
    # A block is a part of an answer that is in memory whole.
    "max_block_size": 4096,
}


@contextmanager
def served(target: Target, turn: threading.Lock, log: Callable[[str], None]) -> Iterator[None]:
    """Serve a store meanwhile, where it is an embedded one. What keeps this from listening is said, and nothing more.

    Args:
        target: a store that this process has open.
        turn: held by this process while it looks up and inserts.
        log: writes a line for operators.
    """
    server = _listening(target.folder.resolve(), turn, log) if isinstance(target, EmbeddedTarget) else None
    try:
        yield
    finally:
        if server is not None:
            server.close()


def _listening(folder: Path, turn: threading.Lock, log: Callable[[str], None]) -> "StoreServer | None":
    try:
        return StoreServer(folder, turn, log)
    except OSError as error:
        log(f"no other command can work on this store meanwhile: it cannot be listened in its folder: {error.strerror}")
    return None


class StoreServer:
    """Serves a store from the moment it is made until it is closed (follows `pipeline.store.exchange.Owner`)."""

    def __init__(self, folder: Path, turn: threading.Lock, log: Callable[[str], None]) -> None:
        """Listen.

        Args:
            folder: real path of the store's folder, which this process has open.
            turn: as of `served`.
            log: as of `served`.

        Raises:
            OSError: it cannot be listened there.
        """
        self.turn, self.spool = turn, own_spool(folder)
        self._folder, self._log = folder, log
        self._listener = listen(folder)
        self._listener.settimeout(_LOOK_S)
        self._slots = threading.Semaphore(CLIENTS_MAX)
        self._closing = threading.Event()
        self._lock = threading.Lock()
        self._guests: dict[socket.socket, threading.Thread] = {}
        self._thread = threading.Thread(target=self._accept, name="store-socket", daemon=True)
        self._thread.start()

    def connect(self) -> Engine:
        """Return a connection for one command."""
        return Engine(self._folder, SETTINGS | _LIMITS)

    def close(self) -> None:
        """Listen no more, and wait until the statements that are under way are answered."""
        self._closing.set()
        self._thread.join()
        forget(self._folder)
        self._listener.close()
        with self._lock:
            guests = dict(self._guests)
            for connection in guests:
                with suppress(OSError):  # it may be gone
                    connection.shutdown(socket.SHUT_RD)  # one that says nothing now is at its end
        for thread in guests.values():
            thread.join()

    def _accept(self) -> None:
        """Let commands in, as many at once as there are slots; others wait, and say so when it takes too long."""
        while not self._closing.is_set():
            if not self._slots.acquire(timeout=_LOOK_S):
                continue
            connection = self._next()
            if connection is None:
                self._slots.release()
                continue
            thread = threading.Thread(target=self._serve, args=(connection,), name="store-guest", daemon=True)
            with self._lock:
                self._guests[connection] = thread
            thread.start()

    def _next(self) -> socket.socket | None:
        try:
            connection, _ = self._listener.accept()
        except TimeoutError:  # nobody came
            return None
        except OSError:  # no descriptor is free, or the like: it may pass
            self._closing.wait(_LOOK_S)
            return None
        try:
            if welcome(connection):
                return connection
        except OSError:  # who came is gone again
            pass
        connection.close()
        return None

    def _serve(self, connection: socket.socket) -> None:
        try:
            Exchange(connection, "", cast("Any", self))
        except OSError:  # the command was killed, or takes nothing any more: what it began is done or cancelled
            pass
        except Exception as error:  # noqa: BLE001 - the owner's own work goes on
            self._log(f"a command's work on the store ended early: {describe(error)}")
        finally:
            with self._lock:
                del self._guests[connection]
                connection.close()
            self._slots.release()
