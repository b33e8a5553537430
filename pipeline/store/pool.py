"""The one door to urllib3: the driver speaks HTTP to a server, and here over a socket that is dialled otherwise."""

import socket
from collections.abc import Callable
from functools import partial
from typing import Any

from urllib3 import HTTPConnectionPool, PoolManager
from urllib3.connection import HTTPConnection


class _Dialled(HTTPConnection):
    """A connection over whatever socket a function gives."""

    def __init__(self, dial: Callable[[], socket.socket], *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._dial = dial

    def connect(self) -> None:
        """Dial."""
        self.sock = self._dial()
        self.sock.settimeout(self.timeout)


def pool_over(dial: Callable[[], socket.socket]) -> PoolManager:
    """Return a pool of one connection, dialled anew when the other end closed it.

    Args:
        dial: returns a connected socket. Whatever it raises, the driver passes on in errors of its own.
    """
    pool = type("_Pool", (HTTPConnectionPool,), {"ConnectionCls": partial(_Dialled, dial)})
    manager = PoolManager(num_pools=1, maxsize=1, block=True)
    manager.pool_classes_by_scheme = {"http": pool}
    return manager
