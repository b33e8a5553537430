"""The one door to urllib3: the driver speaks HTTP, here over a Unix socket to the process that has a store open."""

import socket
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from urllib3 import HTTPConnectionPool, PoolManager
from urllib3.connection import HTTPConnection

from pipeline.store.rendezvous import dial


class _Dialled(HTTPConnection):
    """A connection over whatever socket a function gives."""

    def __init__(self, dial: Callable[[], socket.socket], *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._dial = dial

    def connect(self) -> None:
        """Dial."""
        self.sock = self._dial()
        self.sock.settimeout(self.timeout)


def pool_to_owner(folder: Path, label: str) -> PoolManager | None:
    """Return a pool of one connection to the process that has a store open; None where none listens.

    Args:
        folder: the store's.
        label: what messages call the store.

    Raises:
        ConfigError, SinkUnavailable: as `pipeline.store.rendezvous.dial`.
    """
    first = dial(folder, label)
    if first is None:
        return None
    dialled = [first]

    def connection() -> socket.socket:
        if dialled:
            return dialled.pop()
        again = dial(folder, label)
        if again is None:
            raise ConnectionRefusedError
        return again

    pool = type("_Pool", (HTTPConnectionPool,), {"ConnectionCls": partial(_Dialled, connection)})
    manager = PoolManager(num_pools=1, maxsize=1, block=True)
    manager.pool_classes_by_scheme = {"http": pool}
    return manager
