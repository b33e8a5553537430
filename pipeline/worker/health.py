"""Metrics and probes over HTTP, from threads of their own: they answer while the event loop is stuck.

What it serves is for Prometheus and an orchestrator, not for the world: few connections, each short, and no answer
repeats anything of a request.
"""

import socket
import socketserver
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from pipeline.errors import ConfigError, describe
from pipeline.worker.vitals import Snapshot

TEXT_TYPE = "text/plain; charset=utf-8"
CONNECTIONS_MAX = 8
SILENCE_S_MAX = 2.0
CONNECTION_S_MAX = 10.0
_LOOK_S = 0.25
_BACKLOG = 16

Address = tuple[str, int] | str
"""Host and port, or the path of a Unix socket."""
Page = Callable[[], tuple[int, str, bytes]]
"""Returns status, content type and body."""


def liveness(snapshot: Snapshot, stuck_s: float) -> str:
    """Say why a worker should be ended, or "" when it is alive. A member that stands by, without partitions, is.

    One that drains is judged by its grace time alone: it takes up nothing, and its loop does not tick any more.

    Args:
        snapshot: its signs of life.
        stuck_s: how long each of them may be away.
    """
    if snapshot.stopping_s is not None:
        return ""
    if snapshot.tick_age_s >= stuck_s:
        return f"the event loop has not come round for {snapshot.tick_age_s:.0f} s"
    if snapshot.lag and snapshot.progress_age_s >= stuck_s:
        return f"records wait and nothing was committed for {snapshot.progress_age_s:.0f} s"
    if snapshot.unheard_s >= stuck_s:
        return f"no broker has answered for {snapshot.unheard_s:.0f} s"
    if snapshot.rebalancing_s is not None and snapshot.rebalancing_s >= stuck_s:
        return f"rebalancing for {snapshot.rebalancing_s:.0f} s without an assignment"
    return ""


def readiness(snapshot: Snapshot) -> str:
    """Say why a worker is not at work, or "" when it is, or stands by without partitions."""
    if snapshot.stopping_s is not None:
        return "stopping"
    if snapshot.partitions is None:
        return "no assignment yet"
    return "" if snapshot.rebalancing_s is None else "rebalancing"


def probe(judge: Callable[[], str]) -> Page:
    """Return the page of a judgement: 200 and ``ok``, or 503 and the reason."""

    def page() -> tuple[int, str, bytes]:
        reason = judge()
        status = HTTPStatus.SERVICE_UNAVAILABLE if reason else HTTPStatus.OK
        return status, TEXT_TYPE, f"{reason or 'ok'}\n".encode()

    return page


def worker_pages(look: Callable[[], Snapshot], stuck_s: float, metrics: Page) -> Mapping[str, Page]:
    """Return the pages of one worker process.

    Args:
        look: returns its signs of life.
        stuck_s: as for `liveness`.
        metrics: the page of its metrics.
    """
    return {
        "/metrics": metrics,
        "/healthz": probe(lambda: liveness(look(), stuck_s)),
        "/readyz": probe(lambda: readiness(look())),
    }


class HealthServer:
    """Serves pages until it is closed. It works from the moment it is made."""

    def __init__(self, address: Address, pages: Mapping[str, Page]) -> None:
        """Listen, and begin to answer.

        Args:
            address: where to listen. Port 0 is any that is free; a Unix socket is for its owner only.
            pages: by path. They are called from several threads at once.

        Raises:
            ConfigError: it cannot listen there; the text names the setting.
        """
        self._server = _Server(_listen(address), pages)
        self._path = address if isinstance(address, str) else ""
        self._thread = threading.Thread(target=self._server.serve_forever, args=(_LOOK_S,), name="health", daemon=True)
        self._thread.start()

    @property
    def address(self) -> Address:
        """Return where it listens, with the real port."""
        if self._path:
            return self._path
        host, port = self._server.server_address[:2]
        return str(host), int(port)

    def close(self) -> None:
        """Listen no more. Answers that are under way are given, or end with the process."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
        if self._path:
            Path(self._path).unlink(missing_ok=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _listen(address: Address) -> socket.socket:
    if isinstance(address, str):
        family, place = socket.AF_UNIX, f"the Unix socket {address}"
        advice = "set TMPDIR to a folder that can be written to and has a short path"
    else:
        family, place = socket.AF_INET6 if ":" in address[0] else socket.AF_INET, f"{address[0]} port {address[1]}"
        advice = "set LETHE_METRICS_PORT to a free port (0: no metrics), LETHE_METRICS_HOST to an address of this host"
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


class _Server(socketserver.ThreadingMixIn, socketserver.TCPServer):
    """A thread for each connection, and a limit to both their number and their time.

    It is no `http.server.HTTPServer`: that one asks the name service for this host's name when it begins to listen.
    """

    daemon_threads = True
    block_on_close = False

    def __init__(self, listener: socket.socket, pages: Mapping[str, Page]) -> None:
        socketserver.BaseServer.__init__(self, listener.getsockname(), _Handler)
        self.socket = listener
        self.pages = pages
        self._due_s: dict[Any, float] = {}

    def verify_request(self, request: Any, client_address: Any) -> bool:  # noqa: ARG002 - the base class's signature
        """Refuse what is too much; only this thread lets in, so the limit holds."""
        return len(self._due_s) < CONNECTIONS_MAX

    def process_request(self, request: Any, client_address: Any) -> None:
        """Give a connection its thread and its time."""
        self._due_s[request] = time.monotonic() + CONNECTION_S_MAX
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


class _Handler(BaseHTTPRequestHandler):
    """Answers one request."""

    server: _Server
    timeout = SILENCE_S_MAX

    def do_GET(self) -> None:
        """Answer with the page."""
        page = self.server.pages.get(self.path.partition("?")[0])
        if page is None:
            self.send_error(HTTPStatus.NOT_FOUND)
            return
        try:
            answer = page()
        except Exception as error:  # noqa: BLE001 - whatever it is, its text could hold anything
            answer = HTTPStatus.INTERNAL_SERVER_ERROR, TEXT_TYPE, f"failed: {describe(error)}\n".encode()
        self._send(*answer)

    do_HEAD = do_GET  # noqa: N815 - the base class's name; `_send` leaves the body out

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:  # noqa: ARG002 - what the base class would say repeats parts of the request
        """Answer with the name of a status and nothing else."""
        self._send(code, TEXT_TYPE, f"{HTTPStatus(code).phrase}\n".encode())

    def _send(self, status: int, kind: str, body: bytes) -> None:
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
