"""The supervisor: real processes and real signals. Children come back, drain, and never outlive it."""

import os
import re
import signal
import stat
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from pipeline.errors import ConfigError
from pipeline.worker import supervisor as module
from pipeline.worker.children import Answer, Backoff, Child, _ask, reasons
from pipeline.worker.health import HealthServer, probe
from pipeline.worker.supervisor import EXIT_FLOOD, Setup, end_with_parent, supervise

ROOT = Path(__file__).resolve().parent.parent
PATIENCE_S = 10.0

# A worker without its work. What it is to do stands in a file beside it: how it begins, how it ends a drain.
CHILD = """
import json, os, signal, sys, time
from pathlib import Path
from pipeline.worker.health import HealthServer, probe
from pipeline.worker.supervisor import end_with_parent

index, path, folder = sys.argv[1:]
orders = Path(folder) / f"{index}.json"
def order(name, otherwise):
    return json.loads(orders.read_text()).get(name, otherwise) if orders.exists() else otherwise
def say(text):
    os.write(2, f"child {index}: {text}\\n".encode())  # whole, whoever else writes
def leave(reason):
    say(reason)
    if not order("deaf", False):
        os._exit(order("drained", 0))
if order("begin", None) is not None:
    os._exit(order("begin", None))
if not order("raw", False):
    signal.signal(signal.SIGTERM, lambda *_: leave("SIGTERM"))
signal.signal(signal.SIGINT, lambda *_: leave("SIGINT"))
signal.signal(signal.SIGUSR1, lambda *_: os._exit(order("end", 0)))
end_with_parent(lambda: leave("EOF"))
metrics = f"# TYPE lethe_events_total counter\\nlethe_events_total {index}\\n".encode()
with HealthServer(path, {
    "/metrics": lambda: (200, "text/plain", metrics),
    "/healthz": probe(lambda: order("stuck", "")),
    "/readyz": probe(lambda: order("unready", "")),
}):
    while True:
        time.sleep(0.02)  # not signal.pause: a signal that another thread took would not end it
"""

# Its times are scaled down; its rules are not. It looks by itself once a minute, so signals must wake it.
SUPERVISOR = """
import os, sys
from pipeline.worker import children, health, supervisor
folder, program, count, grace_s, ask_s = sys.argv[1:]
supervisor.DRAIN_MARGIN_S, supervisor._READY_POLL_S, supervisor._LOOK_S = 0.1, 0.01, 60
children.ASK_S_MAX, health._LOOK_S = float(ask_s), 0.01
setup = supervisor.Setup(
    processes=int(count),
    command=lambda index, path: [program, folder + "/child.py", str(index), path, folder],
    grace_s=float(grace_s),
    listen=folder + "/all.sock",
    log=lambda text: os.write(2, f"supervisor: {text}\\n".encode()),
    backoff=children.Backoff(first_s=0.02, longest_s=0.05, reset_s=60),
)
sys.exit(supervisor.supervise(setup))
"""


class Group:
    """A supervisor and its children, and what they all write to standard error."""

    def __init__(self, folder: Path, *arguments: object) -> None:
        self.folder = folder
        self.lines: list[str] = []
        self._seen = 0
        self._more = threading.Condition()
        self.process = subprocess.Popen(  # noqa: S603 - our own script
            [sys.executable, str(folder / "supervisor.py"), str(folder), *map(str, arguments)],
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
            env={**os.environ, "PYTHONPATH": str(ROOT), "TMPDIR": str(folder)},
        )
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            with self._more:
                self.lines.append(line.rstrip("\n"))
                self._more.notify_all()

    def next(self, pattern: str) -> re.Match[str]:
        """Return the next line that matches, from the last one found on; wait for it."""
        deadline = time.monotonic() + PATIENCE_S
        with self._more:
            while True:
                while self._seen < len(self.lines):
                    self._seen += 1
                    if match := re.fullmatch(pattern, self.lines[self._seen - 1]):
                        return match
                left_s = deadline - time.monotonic()
                assert left_s > 0, f"no line {pattern!r} in {self.lines}"
                self._more.wait(left_s)

    def rewind(self) -> None:
        """Look at all lines again."""
        self._seen = 0

    def wait_ready(self, *indexes: int) -> None:
        """Wait until these children were seen ready, in any order."""
        for index in indexes:
            self.rewind()
            self.next(f"supervisor: worker {index} is ready")

    def pids(self, index: int) -> list[int]:
        """Return the processes that were started at a place, oldest first."""
        found = [re.fullmatch(rf"supervisor: worker {index} started, process (\d+)", line) for line in self.lines]
        return [int(match.group(1)) for match in found if match]

    def kill(self, index: int, number: signal.Signals) -> None:
        """Send a signal to a child."""
        os.kill(self.pids(index)[-1], number)

    def ask(self, page: str) -> Answer:
        """Return the supervisor's answer."""
        answer = _ask(str(self.folder / "all.sock"), page, PATIENCE_S)
        assert answer is not None
        return answer

    def metrics(self) -> dict[tuple[str, str], float]:
        """Return the merged samples by name and worker, each of which must be there once, in one run of its family."""
        families = list(text_string_to_metric_families(self.ask("/metrics").body.decode()))
        samples = [sample for family in families for sample in family.samples]
        found = {(sample.name, sample.labels.get("worker", "")): sample.value for sample in samples}
        assert (len(found), len({family.name for family in families})) == (len(samples), len(families))
        return found

    def wait(self) -> int:
        """Return the exit code once the supervisor and every child have ended: then nobody holds standard error."""
        code = self.process.wait(PATIENCE_S)
        self._reader.join(PATIENCE_S)
        assert not self._reader.is_alive(), f"a child outlives the supervisor: {self.lines}"
        return code

    def close(self) -> None:
        """Leave no process behind, whatever the test found."""
        self.process.kill()
        self.process.wait()
        pids = [pid for index in range(3) for pid in self.pids(index)]
        for pid in pids:
            with suppress(OSError):
                if str(self.folder).encode() in Path(f"/proc/{pid}/cmdline").read_bytes():
                    os.kill(pid, signal.SIGKILL)
        self._reader.join()
        assert self.process.stderr is not None
        self.process.stderr.close()


@pytest.fixture
def folder() -> Iterator[Path]:
    """Make a folder with a short path: those of Unix sockets are short."""
    with tempfile.TemporaryDirectory(prefix="lethe-test-") as made:
        (Path(made) / "child.py").write_text(CHILD)
        (Path(made) / "supervisor.py").write_text(SUPERVISOR)
        yield Path(made)


@contextmanager
def group(
    folder: Path,
    processes: int = 2,
    *,
    program: str = sys.executable,
    grace_s: float = PATIENCE_S,
    ask_s: float = PATIENCE_S,
) -> Iterator[Group]:
    """Run a supervisor."""
    running = Group(folder, program, processes, grace_s, ask_s)
    try:
        yield running
    finally:
        running.close()


def give_order(folder: Path, index: int, text: str) -> None:
    """Tell a child what to do, in JSON; at once and whole, since it may look at any time."""
    draft = folder / f"{index}.draft"
    draft.write_text(text)
    draft.replace(folder / f"{index}.json")


# While all is well


def test_children_work_until_sigterm_and_all_answer_as_one(folder: Path) -> None:
    """Probes are ok, metrics are everyone's and valid, sockets are private; then all drain, and nothing is left."""
    with group(folder, 3) as running:
        running.wait_ready(0, 1, 2)
        assert [running.ask(page) for page in ("/healthz", "/readyz")] == [(200, b"ok\n")] * 2
        assert running.metrics() == {
            **{("lethe_events_total", str(index)): float(index) for index in range(3)},
            ("lethe_workers_up", ""): 3.0,
            **{("lethe_worker_restarts_total", str(index)): 0.0 for index in range(3)},
        }
        (private,) = [place for place in folder.glob("lethe-workers-*") if place.is_dir()]
        modes = [stat.S_IMODE(place.stat().st_mode) for place in (private, *private.iterdir())]
        assert modes == [0o700, 0o600, 0o600, 0o600]
        running.process.terminate()
        assert running.wait() == 0
        assert sorted(line for line in running.lines if line.startswith("child")) == [
            f"child {index}: SIGTERM" for index in range(3)
        ]
        assert running.lines[-1] == "supervisor: all workers have ended"
        assert [*folder.glob("lethe-workers-*"), *folder.glob("*.sock")] == []


def test_ctrl_c_reaches_the_supervisor_only(folder: Path) -> None:
    """SIGINT to the whole foreground group is one SIGTERM for each child, which drains."""
    with group(folder) as running:
        running.wait_ready(0, 1)
        os.killpg(running.process.pid, signal.SIGINT)
        assert running.wait() == 0
        assert "supervisor: SIGINT: stopping" in running.lines
        assert sorted(line for line in running.lines if line.startswith("child")) == [
            "child 0: SIGTERM",
            "child 1: SIGTERM",
        ]


# While a child is not well


def test_a_killed_child_is_started_again(folder: Path) -> None:
    """Only the one that was killed; it answers again, and the restart is counted."""
    with group(folder) as running:
        running.wait_ready(0, 1)
        running.kill(0, signal.SIGKILL)
        running.next(r"supervisor: worker 0 ended with code 137 after \d+ s; it starts again in 0.02 s")
        running.next("supervisor: worker 0 is ready")
        assert (len(running.pids(0)), len(running.pids(1))) == (2, 1)
        metrics = running.metrics()
        assert (metrics["lethe_workers_up", ""], metrics["lethe_events_total", "0"]) == (2.0, 0.0)
        assert [metrics["lethe_worker_restarts_total", str(index)] for index in range(2)] == [1.0, 0.0]
        assert running.ask("/healthz") == (200, b"ok\n")
        running.process.terminate()
        assert running.wait() == 0


def test_a_child_that_fails_again_and_again_is_waited_for_longer(folder: Path) -> None:
    """Once it was ready, no end but a flood stops the others; waits double to the longest."""
    with group(folder) as running:
        running.wait_ready(0, 1)
        give_order(folder, 0, '{"begin": 2}')
        running.kill(0, signal.SIGKILL)
        waits = [
            running.next(rf"supervisor: worker 0 ended with code {code} .*; it starts again in (.*) s").group(1)
            for code in (137, 2, 2, 2)
        ]
        assert waits == ["0.02", "0.04", "0.05", "0.05"]
        give_order(folder, 0, "{}")
        running.next("supervisor: worker 0 is ready")
        running.process.terminate()
        assert running.wait() == 0


def test_a_child_that_is_not_well_shows_in_the_probes(folder: Path) -> None:
    """Each probe says which child gives which reason; the others' metrics go on."""
    with group(folder) as running:
        running.wait_ready(0, 1)
        give_order(folder, 1, '{"stuck": "the event loop has not come round for 300 s", "unready": "rebalancing"}')
        assert running.ask("/healthz") == (503, b"worker 1: the event loop has not come round for 300 s\n")
        assert running.ask("/readyz") == (503, b"worker 1: rebalancing\n")
        assert running.metrics()["lethe_workers_up", ""] == 2.0


def test_a_child_that_hangs_is_missing_and_keeps_nobody_waiting(folder: Path) -> None:
    """A stopped process answers nothing: it is left out after a short while, and said to be."""
    with group(folder, ask_s=1.0) as running, ThreadPoolExecutor(1) as other:
        running.wait_ready(0, 1)
        running.kill(0, signal.SIGSTOP)
        health = other.submit(running.ask, "/healthz")
        metrics = running.metrics()
        assert (metrics["lethe_workers_up", ""], ("lethe_events_total", "0") in metrics) == (1.0, False)
        assert metrics["lethe_events_total", "1"] == 1.0
        assert health.result() == (503, b"worker 0 does not answer\n")
        running.kill(0, signal.SIGCONT)
        running.process.terminate()
        assert running.wait() == 0


def test_children_end_with_a_supervisor_that_was_killed(folder: Path) -> None:
    """Nobody tells them but the end of their standard input, and they drain."""
    with group(folder) as running:
        running.wait_ready(0, 1)
        running.process.kill()
        assert running.wait() == -signal.SIGKILL
        assert sorted(line for line in running.lines if line.startswith("child")) == ["child 0: EOF", "child 1: EOF"]


# When all must end


@pytest.mark.parametrize(("code", "expected"), [(2, 2), (0, 1)])
def test_a_child_that_ends_before_it_was_ever_ready_ends_all(folder: Path, code: int, expected: int) -> None:
    """A wrong setting is no reason to try for ever: its code is the supervisor's. An end unasked is never a success."""
    give_order(folder, 1, f'{{"begin": {code}}}')
    with group(folder) as running:
        assert running.wait() == expected
        assert len(running.pids(1)) == 1
        assert re.search(rf"worker 1 ended with code {code} after \d+ s, before it was ever ready", str(running.lines))


def test_a_child_that_cannot_be_started_ends_all(folder: Path) -> None:
    """As a shell says it, with the reason in the log."""
    with group(folder, program=str(folder / "nothing")) as running:
        assert running.wait() == 126
        assert "supervisor: worker 0 cannot be started: No such file or directory" in running.lines


def test_a_flood_of_rejections_ends_all(folder: Path) -> None:
    """The breaker of one child stops everyone, and nobody is started again."""
    give_order(folder, 0, f'{{"end": {EXIT_FLOOD}}}')
    with group(folder) as running:
        running.wait_ready(0, 1)
        running.kill(0, signal.SIGUSR1)
        assert running.wait() == EXIT_FLOOD == 4
        assert (len(running.pids(0)), len(running.pids(1))) == (1, 1)
        assert "child 1: SIGTERM" in running.lines


@pytest.mark.parametrize("code", [2, EXIT_FLOOD])
def test_a_child_that_fails_while_it_drains_is_told(folder: Path, code: int) -> None:
    """The code is 0 only when every child drained."""
    give_order(folder, 1, f'{{"drained": {code}}}')
    with group(folder) as running:
        running.wait_ready(0, 1)
        running.process.terminate()
        assert running.wait() == code
        assert f"supervisor: worker 1 ended with code {code}" in running.lines


def test_a_child_that_does_not_end_is_killed(folder: Path) -> None:
    """After the grace time and a margin; the others have drained long since."""
    give_order(folder, 0, '{"deaf": true}')
    with group(folder, grace_s=0.2) as running:
        running.wait_ready(0, 1)
        running.process.terminate()
        assert running.wait() == 137
        assert "supervisor: worker 0 did not end within 0.3 s: it is killed" in running.lines


def test_a_child_that_cannot_drain_yet_has_nothing_to_drain(folder: Path) -> None:
    """SIGTERM ends it before it handles that signal; no work was lost, and all is well."""
    give_order(folder, 0, '{"raw": true}')
    with group(folder) as running:
        running.wait_ready(0, 1)
        running.process.terminate()
        assert running.wait() == 0
        assert "supervisor: worker 0 ended with code 143" in running.lines


# Without processes


def test_waits_double_from_a_second_to_half_a_minute() -> None:
    """The waits of a child that never runs for long, and of one that ran for a minute."""
    backoff, waits = Backoff(), [0.0]
    for _ in range(7):
        waits.append(backoff.after(waits[-1], ran_s=59.9))
    assert waits[1:] == [1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0]
    assert backoff.after(30.0, ran_s=60.0) == 1.0


@settings(deadline=None)
@given(st.lists(st.floats(0, 1e6)))
def test_waits_stay_within_their_bounds(runs_s: list[float]) -> None:
    """However children end, a wait is never shorter than the first nor longer than the longest."""
    backoff, wait_s = Backoff(), 0.0
    for ran_s in runs_s:
        wait_s = backoff.after(wait_s, ran_s)
        assert backoff.first_s <= wait_s <= backoff.longest_s


def refuse(index: int, path: str) -> list[str]:
    """Fail: no child may be started."""
    raise AssertionError(index, path)


def test_a_taken_port_is_a_wrong_setting() -> None:
    """It is told before a child is started, and the signals are as before."""
    before = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT, signal.SIGCHLD)]
    with (
        HealthServer(("127.0.0.1", 0), {"/healthz": probe(lambda: "")}) as taken,
        pytest.raises(ConfigError, match="LETHE_METRICS_PORT"),
    ):
        supervise(Setup(1, refuse, 1.0, taken.address, print))
    assert [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT, signal.SIGCHLD)] == before


def test_no_place_for_sockets_is_a_wrong_setting(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A folder for temporary files that is not there is named as what to set."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "nothing"))
    with pytest.raises(ConfigError, match="set TMPDIR"):
        supervise(Setup(1, refuse, 1.0, None, print))


def test_probes_of_a_supervisor_that_stops() -> None:
    """It is ready no more; it is alive, although children end: that is what they are to do."""
    signals: Any = None
    stopping = module._Supervisor(Setup(1, refuse, 1.0, None, print), [Child(0, "/nothing")], signals)
    assert [stopping.pages()[page]()[2] for page in ("/healthz", "/readyz")] == [b"worker 0 does not run\n"] * 2
    stopping._stopping = True
    assert [stopping.pages()[page]()[2] for page in ("/healthz", "/readyz")] == [b"ok\n", b"stopping\n"]


def test_children_are_asked_at_once() -> None:
    """Each answer waits until all were asked, so that asking one after the other would find none."""
    gate = threading.Barrier(5, timeout=PATIENCE_S)

    class Slow(Child):
        def ask(self, page: str) -> Answer:
            gate.wait()
            return Answer(503, page.encode())

    assert reasons([Slow(index, "") for index in range(5)], "/x") == "; ".join(f"worker {i}: /x" for i in range(5))


def test_a_child_that_does_not_run_answers_nothing() -> None:
    """Nobody is asked at a place where there is no process."""
    child = Child(0, "/nothing")
    assert (child.pid, child.vacant, child.take_end(), child.ask("/healthz")) == (None, True, None, None)


@pytest.mark.parametrize("inputs", [[b"x", b""], [OSError()]], ids=["end", "closed"])
def test_a_child_without_a_parent_stops(inputs: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """At the end of its standard input, not at bytes in it, and at once where there is none to read."""
    stopped = threading.Event()
    reads: list[tuple[int, bool]] = []

    def read(descriptor: int, _: int) -> bytes:
        reads.append((descriptor, stopped.is_set()))
        given_: Any = inputs[len(reads) - 1]
        if isinstance(given_, OSError):
            raise given_
        return bytes(given_)

    monkeypatch.setattr(module, "os", SimpleNamespace(read=read))
    end_with_parent(stopped.set)
    assert stopped.wait(PATIENCE_S)
    assert reads == [(0, False)] * len(inputs)
