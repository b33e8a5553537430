"""An HTTP server that stays small whatever a client does: few connections, each short, and no word about any."""

import socket
import socketserver
import time
from contextlib import suppress
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

from pipeline.errors import ConfigError

TEXT_TYPE = "text/plain; charset=utf-8"
_BACKLOG = 16

Address = tuple[str, int] | str
"""Host and port, or the path of a Unix socket."""


def listen(address: Address, advice: str) -> socket.socket:
    """Return a socket that listens. Port 0 is any that is free; a Unix socket is for its owner only.

    Args:
        address: where.
        advice: what to do where it cannot.

    Raises:
        ConfigError: it cannot listen there; the text says where, and the advice.
    """
    if isinstance(address, str):
        family, place = socket.AF_UNIX, f"the Unix socket {address}"
    else:
        family, place = socket.AF_INET6 if ":" in address[0] else socket.AF_INET, f"{address[0]} port {address[1]}"
    listener = socket.socket(family)
    try:
        if isinstance(address, str):
            listener.bind(address)
            Path(address).chmod(0o600)  # nobody can connect before it listens
        else:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # past connections do not hold the port
            listener.bind(address)
        listener.listen(_BACKLOG)
    except OSError as error:
        listener.close()
        raise ConfigError(f"cannot listen on {place}: {error.strerror or error}; {advice}") from error
    return listener


class BoundedServer(socketserver.ThreadingMixIn, socketserver.TCPServer):
    """A thread for each connection, and a limit to both their number and their time.

    It is no `http.server.HTTPServer`: that one asks the name service for this host's name when it begins to listen.
    """

    daemon_threads = True
    block_on_close = False

    def __init__(
        self,
        listener: socket.socket,
        handler: type[BaseHTTPRequestHandler],
        *,
        connections_max: int,
        connection_s_max: float,
    ) -> None:
        """Take a socket that listens; `serve_forever` begins."""
        socketserver.BaseServer.__init__(self, listener.getsockname(), handler)
        self.socket = listener
        self._connections_max = connections_max
        self._connection_s_max = connection_s_max
        self._due_s: dict[Any, float] = {}

    def verify_request(self, request: Any, client_address: Any) -> bool:  # noqa: ARG002 - the base class's signature
        """Refuse what is too much; only this thread lets in, so the limit holds."""
        return len(self._due_s) < self._connections_max

    def process_request(self, request: Any, client_address: Any) -> None:
        """Give a connection its thread and its time."""
        self._due_s[request] = time.monotonic() + self._connection_s_max
        super().process_request(request, client_address)

    def service_actions(self) -> None:
        """Cut off connections whose time is over: one that sends a byte a second is never silent for long."""
        now_s = time.monotonic()
        for request, due_s in self._due_s.copy().items():
            if now_s >= due_s:
                with suppress(OSError):  # it has just ended by itself
                    request.shutdown(socket.SHUT_RDWR)

    def shutdown_request(self, request: Any) -> None:
        """End a connection."""
        super().shutdown_request(request)
        self._due_s.pop(request, None)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing: a client that went away is no event, and what it sent belongs into no log."""


class TerseHandler(BaseHTTPRequestHandler):
    """Answers without a word of the request in the answer, and without a log."""

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:  # noqa: ARG002 - what the base class would say repeats parts of the request
        """Answer with the name of a status and nothing else."""
        self.answer(code, TEXT_TYPE, f"{HTTPStatus(code).phrase}\n".encode())

    def answer(self, status: int, kind: str, body: bytes) -> None:
        """Send an answer; to HEAD without its body."""
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def version_string(self) -> str:
        """Return the Server header, without a version of anything."""
        return "lethe"

    def log_message(self, *_: Any) -> None:
        """Log nothing."""
