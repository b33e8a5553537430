"""The worker processes of a supervisor: each with its start, signals and end, and what they answer together."""

import http.client
import signal
import socket
import subprocess
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from http import HTTPStatus
from typing import NamedTuple

from pipeline.worker.merge import LABEL, merge

ASK_S_MAX = 2.0
READY = "/readyz"
_CANNOT_START = 126  # as shells say it; so is the number that stands for signals
_SIGNALLED = 128
_ABOUT_UP = "Worker processes that answered. Fewer than there are lethe_worker_restarts_total: look at the log."
_ABOUT_RESTARTS = "Starts of a worker process beyond its first. A rise: it fails again and again."


@dataclass(frozen=True, slots=True)
class Backoff:
    """How long to wait before a child is started again.

    Attributes:
        first_s: after the first end; it doubles with each that follows.
        longest_s: at most.
        reset_s: a child that ran for so long is well, and its next end is a first one.
    """

    first_s: float = 1.0
    longest_s: float = 30.0
    reset_s: float = 60.0

    def after(self, wait_s: float, ran_s: float) -> float:
        """Return the wait after one of ``wait_s`` (0: none yet), when the child ran for ``ran_s`` since."""
        if not wait_s or ran_s >= self.reset_s:
            return self.first_s
        return min(2 * wait_s, self.longest_s)


class Answer(NamedTuple):
    """What a process answered."""

    status: int
    body: bytes


class Child:
    """One place in the group of processes, and whichever process is in it.

    One thread starts, signals and ends it. Others ask it.

    Attributes:
        index: its number, from 0.
        socket_path: where its process serves its pages.
        starts: how often a process was started here.
        was_ready: whether any of them was ever seen ready.
        wait_s: how long it was waited before the last start; 0 before the first.
        due_s: when the next start is due, in monotonic seconds.
    """

    def __init__(self, index: int, socket_path: str) -> None:
        self.index = index
        self.socket_path = socket_path
        self.starts = 0
        self.was_ready = False
        self.wait_s = 0.0
        self.due_s = 0.0
        self._process: subprocess.Popen[bytes] | None = None
        self._failed_start = False
        self._started_s = 0.0

    def start(self, command: Sequence[str]) -> str:
        """Start a process; return why that failed, "" when it did not. `take_end` tells of either.

        It is in a process group of its own: Ctrl-C on a terminal is for the supervisor alone, which lets it drain. Its
        standard input is a pipe that nothing is ever written to, and that ends with the supervisor, however that ends.
        """
        self.starts += 1
        self._started_s = time.monotonic()
        try:
            self._process = subprocess.Popen(command, stdin=subprocess.PIPE, process_group=0)  # noqa: S603 - lethe's own command, without a shell
        except OSError as error:
            self._failed_start = True
            return error.strerror or "unknown error"
        return ""

    @property
    def pid(self) -> int | None:
        """Return the process id while there is a process."""
        process = self._process  # one read: the other thread may take it away meanwhile
        return process.pid if process is not None and process.returncode is None else None

    @property
    def vacant(self) -> bool:
        """Return whether there is no process, nor an end that `take_end` has not told yet."""
        return self._process is None and not self._failed_start

    def ran_s(self) -> float:
        """Return how long ago the last start was."""
        return time.monotonic() - self._started_s

    def take_end(self) -> int | None:
        """Return the exit code, as shells say it, once after a process has ended; else None."""
        if self._failed_start:
            self._failed_start = False
            return _CANNOT_START
        process = self._process
        if process is None or (code := process.poll()) is None:
            return None
        self._process = None
        if process.stdin is not None:
            process.stdin.close()
        return _SIGNALLED - code if code < 0 else code

    def send(self, number: signal.Signals) -> None:
        """Send a signal to the process, if there is one; never to another that has got its number since."""
        if self._process is not None:
            self._process.send_signal(number)

    def ask(self, page: str) -> Answer | None:
        """Return what the process answers; None when there is none, or it does not answer in time."""
        answer = _ask(self.socket_path, page, ASK_S_MAX) if self.pid else None
        if answer is not None and answer.status == HTTPStatus.OK and page == READY:
            self.was_ready = True
        return answer


def reasons(children: Sequence[Child], page: str) -> str:
    """Say which children do not answer a probe with 200, and why; "" when all do."""
    found = []
    for child, answer in zip(children, _ask_all(children, page), strict=True):
        if answer is None:
            found.append(f"worker {child.index} {'does not answer' if child.pid else 'does not run'}")
        elif answer.status != HTTPStatus.OK:
            found.append(f"worker {child.index}: {answer.body.decode(errors='replace').strip()}")
    return "; ".join(found)


def metrics(children: Sequence[Child]) -> bytes:
    """Return the metrics of all children that answer, and how many do and were started again."""
    answers = zip(children, _ask_all(children, "/metrics"), strict=True)
    texts = {
        str(child.index): answer.body.decode(errors="replace")
        for child, answer in answers
        if answer is not None and answer.status == HTTPStatus.OK
    }
    restarts = "lethe_worker_restarts_total"
    own = [
        f"# HELP lethe_workers_up {_ABOUT_UP}\n# TYPE lethe_workers_up gauge\nlethe_workers_up {len(texts)}\n",
        f"# HELP {restarts} {_ABOUT_RESTARTS}\n# TYPE {restarts} counter\n",
        *(f'{restarts}{{{LABEL}="{child.index}"}} {max(0, child.starts - 1)}\n' for child in children),
    ]
    return (merge(texts) + "".join(own)).encode()


def _ask_all(children: Sequence[Child], page: str) -> list[Answer | None]:
    """Ask all at once, so that those that are stuck cost their time once."""
    with ThreadPoolExecutor(max(1, len(children)), thread_name_prefix="ask") as pool:
        return [*pool.map(lambda child: child.ask(page), children)]


def _ask(socket_path: str, page: str, timeout_s: float) -> Answer | None:
    connection = _UnixConnection(socket_path, timeout_s)
    try:
        connection.request("GET", page)
        response = connection.getresponse()
        return Answer(response.status, response.read())
    except (OSError, http.client.HTTPException):  # also an answer that breaks off
        return None
    finally:
        connection.close()


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, socket_path: str, timeout_s: float) -> None:
        super().__init__("localhost", timeout=timeout_s)
        self._socket_path = socket_path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._socket_path)
