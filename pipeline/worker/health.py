"""Metrics and probes over HTTP, from threads of their own: they answer while the event loop is stuck.

What it serves is for Prometheus and an orchestrator, not for the world: few connections, each short, and no answer
repeats anything of a request.
"""

import socket
import threading
from collections.abc import Callable, Mapping
from http import HTTPStatus
from pathlib import Path
from types import TracebackType
from typing import Self

from pipeline.boundedserver import TEXT_TYPE, Address, BoundedServer, TerseHandler, listen
from pipeline.errors import describe
from pipeline.worker.vitals import Snapshot

CONNECTIONS_MAX = 8
SILENCE_S_MAX = 2.0
CONNECTION_S_MAX = 10.0
_LOOK_S = 0.25

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
        self._server = _Server(_listener(address), pages)
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


def _listener(address: Address) -> socket.socket:
    if isinstance(address, str):
        advice = "set TMPDIR to a folder that can be written to and has a short path"
    else:
        advice = "set LETHE_METRICS_PORT to a free port (0: no metrics), LETHE_METRICS_HOST to an address of this host"
    return listen(address, advice)


class _Server(BoundedServer):
    """A server with pages."""

    def __init__(self, listener: socket.socket, pages: Mapping[str, Page]) -> None:
        super().__init__(listener, _Handler, connections_max=CONNECTIONS_MAX, connection_s_max=CONNECTION_S_MAX)
        self.pages = pages


class _Handler(TerseHandler):
    """Answers one request."""

    server: _Server
    timeout = SILENCE_S_MAX

    def do_GET(self) -> None:  # noqa: N802 - the base class's name
        """Answer with the page."""
        page = self.server.pages.get(self.path.partition("?")[0])
        if page is None:
            self.send_error(HTTPStatus.NOT_FOUND)
            return
        try:
            answer = page()
        except Exception as error:  # noqa: BLE001 - whatever it is, its text could hold anything
            answer = HTTPStatus.INTERNAL_SERVER_ERROR, TEXT_TYPE, f"failed: {describe(error)}\n".encode()
        self.answer(*answer)

    do_HEAD = do_GET  # noqa: N815 - the base class's name; `answer` leaves the body out
