"""Several worker processes under one supervisor: it starts, restarts and drains them, and answers for all of them.

It holds no event and no key, and talks to no broker: it is small so that it does not fail.
"""

import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Self

from pipeline.boundedserver import Address
from pipeline.errors import ConfigError
from pipeline.worker.children import READY, Backoff, Child, metrics, reasons
from pipeline.worker.health import HealthServer, Page, probe
from pipeline.worker.merge import CONTENT_TYPE

EXIT_FLOOD = 4
"""Stopped by the rejection breaker: to start again without a look at the rejections would only write more of them."""
EXIT_FAILED = 1
DRAIN_MARGIN_S = 5.0
"""A child ends itself when its grace time is over; this is for those that cannot."""
_READY_POLL_S = 0.25
_LOOK_S = 1.0
_STOPS = (signal.SIGTERM, signal.SIGINT)
_SIGTERMED = 128 + signal.SIGTERM
_DRAINED = (0, _SIGTERMED)
"""Of SIGTERM itself dies only a child that does not handle it yet, and so has nothing to drain."""


@dataclass(frozen=True, slots=True)
class Setup:
    """What a supervisor is told.

    Attributes:
        processes: how many children, 1 or more.
        command: returns the command line of a child, from its index and the path of the Unix socket on which it must
            serve its pages. It must call `end_with_parent` too.
        grace_s: how long a child may drain; the same as its own.
        listen: where to serve the pages of all; None: nowhere.
        log: writes a line for operators; called by one thread at a time, not always the same.
        backoff: between restarts.
    """

    processes: int
    command: Callable[[int, str], Sequence[str]]
    grace_s: float
    listen: Address | None
    log: Callable[[str], None]
    backoff: Backoff = field(default_factory=Backoff)


def supervise(setup: Setup) -> int:
    """Run the children until SIGTERM or SIGINT, or until one of them ends in a way that ends all. Main thread only.

    Returns:
        0 when it was told to stop and every child drained. `EXIT_FLOOD` when a child ended with it. Else the exit code
        of the child that ended before it was ever ready on its first start (`EXIT_FAILED` for 0), or of one that did
        not drain; 128 and the number of the signal for one that was killed.

    Raises:
        ConfigError: the pages cannot be served, or there is no place for the children's sockets.
    """
    with _private_folder() as folder, _Signals() as signals:
        children = [Child(index, str(Path(folder) / f"{index}.sock")) for index in range(setup.processes)]
        supervisor = _Supervisor(setup, children, signals)
        with nullcontext() if setup.listen is None else HealthServer(setup.listen, supervisor.pages()) as server:
            if server is not None:
                setup.log(f"metrics and probes of all workers are at {_place(server.address)}")
            return supervisor.run()


def _place(address: Address) -> str:
    return address if isinstance(address, str) else f"{address[0]} port {address[1]}"


def _private_folder() -> TemporaryDirectory[str]:
    """Make a folder of mode 0700 for the children's sockets."""
    try:
        return TemporaryDirectory(prefix="lethe-workers-", ignore_cleanup_errors=True)
    except OSError as error:
        raise ConfigError(
            f"cannot make a folder for the workers' sockets: {error.strerror}; set TMPDIR to a folder that can be "
            "written to"
        ) from error


def end_with_parent(stop: Callable[[], None]) -> None:
    """Call ``stop`` when the supervisor is gone: a child calls this once, at its start.

    Args:
        stop: begins to drain; it is called on a thread of its own, and perhaps after a SIGTERM has done the same.
    """

    def wait() -> None:
        try:
            while os.read(0, 1024):
                pass
        except OSError:  # there is no standard input, and nobody to tell of the end
            pass
        stop()

    threading.Thread(target=wait, name="parent", daemon=True).start()


class _Supervisor:
    def __init__(self, setup: Setup, children: Sequence[Child], signals: "_Signals") -> None:
        self._setup = setup
        self._children = children
        self._signals = signals
        self._stopping = False
        self._logging = threading.Lock()

    def pages(self) -> Mapping[str, Page]:
        """Return the pages of all children together."""
        return {
            "/metrics": lambda: (HTTPStatus.OK, CONTENT_TYPE, metrics(self._children)),
            "/healthz": probe(lambda: reasons(self._expected(), "/healthz")),
            READY: probe(lambda: "stopping" if self._stopping else reasons(self._children, READY)),
        }

    def run(self) -> int:
        """Run until all ends; return the exit code."""
        for child in self._children:
            self._start(child)
        code = None
        while code is None:
            numbers = self._signals.wait(self._wait_s())
            stops = [number for number in _STOPS if number in numbers]
            if stops:
                self._log(f"{stops[0].name}: stopping")
                code = 0
            else:
                code = self._look_after()
        return self._drain(code)

    def _log(self, text: str) -> None:
        with self._logging:
            self._setup.log(text)

    def _expected(self) -> Sequence[Child]:
        """Return the children that must run: all, or those that still do when all is to end."""
        return [child for child in self._children if child.pid] if self._stopping else self._children

    def _start(self, child: Child) -> None:
        Path(child.socket_path).unlink(missing_ok=True)  # of one that was killed
        failure = child.start(self._setup.command(child.index, child.socket_path))
        if failure:
            self._log(f"worker {child.index} cannot be started: {failure}")
            return
        self._log(f"worker {child.index} started, process {child.pid}")
        threading.Thread(target=self._await_ready, args=(child, child.pid), name="ready", daemon=True).start()

    def _await_ready(self, child: Child, pid: int | None) -> None:
        """See it become ready; whether it ever was decides what its end means."""
        while pid is not None and child.pid == pid:
            answer = child.ask(READY)
            if answer is not None and answer.status == HTTPStatus.OK:
                self._log(f"worker {child.index} is ready")
                return
            time.sleep(_READY_POLL_S)

    def _wait_s(self) -> float:
        """Return how long nothing is to be done; a signal ends the wait."""
        due_s = [child.due_s - time.monotonic() for child in self._children if child.vacant]
        return max(0.0, min([_LOOK_S, *due_s]))

    def _look_after(self) -> int | None:
        """Take note of ends, and start again what is due; return an exit code when all must end."""
        for child in self._children:
            ended = child.take_end()
            if ended is not None:
                code = self._judge_end(child, ended)
                if code is not None:
                    return code
            if child.vacant and time.monotonic() >= child.due_s:
                self._start(child)
        return None

    def _judge_end(self, child: Child, code: int) -> int | None:
        ran_s = child.ran_s()
        told = f"worker {child.index} ended with code {code} after {ran_s:.0f} s"
        if code == EXIT_FLOOD:
            self._log(f"{told}: rejections flood, so all stop")
            return code
        if not child.was_ready:
            self._log(f"{told}, before it was ever ready: all stop")
            return code or EXIT_FAILED
        child.wait_s = self._setup.backoff.after(child.wait_s, ran_s)
        child.due_s = time.monotonic() + child.wait_s
        self._log(f"{told}; it starts again in {child.wait_s:g} s")
        return None

    def _drain(self, code: int) -> int:
        """Let all children end; return the exit code."""
        self._stopping = True
        limit_s = self._setup.grace_s + DRAIN_MARGIN_S
        for child in self._children:
            child.send(signal.SIGTERM)
        codes = self._collect(time.monotonic() + limit_s)
        late = [child for child in self._children if not child.vacant]
        for child in late:
            self._log(f"worker {child.index} did not end within {limit_s:g} s: it is killed")
            child.send(signal.SIGKILL)
        codes += self._collect(None)
        self._log("all workers have ended")
        if EXIT_FLOOD in codes:
            return EXIT_FLOOD
        return code or next((ended for ended in codes if ended not in _DRAINED), 0)

    def _collect(self, deadline_s: float | None) -> list[int]:
        """Wait for children to end, until none is left or the time is over; return their exit codes."""
        codes: list[int] = []
        while True:
            for child in self._children:
                ended = child.take_end()
                if ended is not None:
                    self._log(f"worker {child.index} ended with code {ended}")
                    codes.append(ended)
            left_s = _LOOK_S if deadline_s is None else deadline_s - time.monotonic()
            if left_s <= 0 or all(child.vacant for child in self._children):
                return codes
            self._signals.wait(min(left_s, _LOOK_S))


class _Signals:
    """Signals as something to wait for: their handlers do nothing, and a byte for each comes through a socket."""

    def __enter__(self) -> Self:
        self._reader, self._writer = socket.socketpair()
        self._writer.settimeout(0)  # a handler must not wait
        self._before_fd = signal.set_wakeup_fd(self._writer.fileno(), warn_on_full_buffer=False)
        self._before: dict[int, Any] = {
            number: signal.signal(number, lambda *_: None) for number in (*_STOPS, signal.SIGCHLD)
        }
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(self._before_fd)
        self._reader.close()
        self._writer.close()

    def wait(self, seconds: float) -> bytes:
        """Return the numbers of signals that came; none after so many seconds."""
        self._reader.settimeout(seconds)
        try:
            return self._reader.recv(4096)
        except (TimeoutError, BlockingIOError):  # the latter when not to wait at all
            return b""
