"""Ports that nobody else takes, neither another cluster at the same moment nor a client while a broker is down."""

import contextlib
import secrets
import socket
from pathlib import Path

HOST = "127.0.0.1"
FIRST = 20_000
EPHEMERAL_DEFAULT = 32_768
_RANGE_FILE = Path("/proc/sys/net/ipv4/ip_local_port_range")


class PortClaims:
    """TCP ports of this machine, claimed until closed or until this process ends.

    They lie below the range that the system gives to outgoing connections: there a client that keeps trying a dead
    broker can end up holding the broker's own port. The claim on a TCP port is a UDP socket bound to the same number,
    which the system releases however the process ends, and which leaves the TCP port to the broker.
    """

    def __init__(self) -> None:
        self._claims: list[socket.socket] = []

    def take(self, port: int) -> bool:
        """Claim a port; return whether it was free."""
        claim = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        try:
            claim.bind((HOST, port))
            with socket.socket() as probe:
                # As the broker binds: connections of the last one that still linger are no obstacle.
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                probe.bind((HOST, port))
        except OSError:
            claim.close()
            return False
        self._claims.append(claim)
        return True

    def take_any(self) -> int:
        """Claim a free port and return it."""
        count = _ephemeral_first() - FIRST
        # Not from the first on: clients of a cluster that has just stopped may still look for it.
        start = secrets.randbelow(count)
        for step in range(count):
            port = FIRST + (start + step) % count
            if self.take(port):
                return port
        raise OSError(f"no free port from {FIRST} to {FIRST + count - 1}")

    def close(self) -> None:
        """Give the ports back."""
        while self._claims:
            self._claims.pop().close()


def _ephemeral_first() -> int:
    with contextlib.suppress(OSError, ValueError):
        return max(int(_RANGE_FILE.read_text("ascii").split()[0]), FIRST + 1000)
    return EPHEMERAL_DEFAULT
