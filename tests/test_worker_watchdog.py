"""The watchdog: ends a worker that is stuck or does not drain, and no other; not even one that was stopped for long."""

import asyncio
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from queue import Empty, SimpleQueue

import pytest

from pipeline.worker.vitals import GAP_S_MAX, Snapshot, Vitals
from pipeline.worker.watchdog import Watchdog, verdict

PATIENCE_S = 10.0
STUCK_S, GRACE_S = 30.0, 12.0


class Scene:
    """A watchdog on vitals whose clock goes on by a second with each look."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self.vitals = Vitals(lambda: self.now_s)
        self.looks = 0
        self.reasons: SimpleQueue[str] = SimpleQueue()
        self.each: Callable[[], None] = lambda: None

    def look(self) -> Snapshot:
        """Let a second pass, do what happens in it, and take a snapshot."""
        self.now_s += 1.0
        self.looks += 1
        self.each()
        return self.vitals.snapshot()

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Let the watchdog look."""
        dog = Watchdog(self.look, self.reasons.put, stuck_s=STUCK_S, grace_s=GRACE_S, interval_s=0.0)
        try:
            yield
        finally:
            dog.close()

    def reason(self) -> str:
        """Return the reason of the end; wait for it."""
        return self.reasons.get(timeout=PATIENCE_S)

    def look_for(self, looks: int) -> None:
        """Wait until the watchdog has looked so often."""
        deadline = time.monotonic() + PATIENCE_S
        while self.looks < looks and time.monotonic() < deadline:
            time.sleep(0.002)
        assert self.looks >= looks


@pytest.mark.parametrize(
    ("snapshot", "reason"),
    [
        (Snapshot(partitions=1), ""),
        (Snapshot(partitions=1, tick_age_s=30.0), "the event loop has not come round for 30 s"),
        (Snapshot(partitions=1, tick_age_s=999.0, stopping_s=11.9), ""),
        (Snapshot(partitions=1, stopping_s=12.0), "did not drain within 12 s"),
    ],
)
def test_the_verdict(snapshot: Snapshot, reason: str) -> None:
    """Stuck by the limits of liveness while it works, by the grace time while it drains."""
    assert verdict(snapshot, STUCK_S, GRACE_S) == reason


def test_a_loop_that_stops_ticking_ends_the_worker_once() -> None:
    """The end is called with the reason, one look after it was first seen, and never again."""
    scene = Scene()
    scene.vitals.assigned([0])
    with scene.watched():
        assert scene.reason() == "the event loop has not come round for 31 s"
        ended_after = scene.looks
        with pytest.raises(Empty):
            scene.reasons.get(timeout=0.05)
    assert (ended_after, scene.looks) == (31, 31)


def test_records_that_wait_end_the_worker() -> None:
    """A loop that ticks and commits nothing is stuck too."""
    scene = Scene()
    scene.vitals.assigned([0])
    scene.vitals.set_lag(0, 7)
    scene.each = scene.vitals.tick
    with scene.watched():
        assert scene.reason() == "records wait and nothing was committed for 31 s"


def test_silence_of_the_brokers_ends_the_worker() -> None:
    """One that nobody answers, since its login was taken away, say, does not know whether records wait."""
    scene = Scene()
    scene.vitals.assigned([0])
    scene.each = scene.vitals.tick
    with scene.watched():
        assert scene.reason() == "no broker has answered for 31 s"


def test_a_worker_that_does_not_drain_ends() -> None:
    """The grace time counts from the stop, whatever the loop does."""
    scene = Scene()
    scene.vitals.assigned([0])
    scene.vitals.stop()
    scene.each = scene.vitals.tick
    with scene.watched():
        assert scene.reason() == "did not drain within 12 s"
    assert scene.looks == 13


def test_a_worker_that_works_is_left_alone() -> None:
    """With ticks and commits nothing happens for a thousand looks."""
    scene = Scene()
    scene.vitals.assigned([0])

    def work() -> None:
        scene.vitals.tick()
        scene.vitals.set_lag(0, 1000)
        scene.vitals.committed()

    scene.each = work
    with scene.watched():
        scene.look_for(1000)
    assert scene.reasons.empty()


def test_a_reason_that_is_gone_at_the_next_look_ends_nothing() -> None:
    """A loop that ticks again in time is none that is stuck."""
    scene = Scene()
    scene.vitals.assigned([0])

    def tick_late() -> None:
        scene.vitals.set_lag(0, 0)
        if scene.looks % 31 == 0:
            scene.vitals.tick()

    scene.each = tick_late
    with scene.watched():
        scene.look_for(500)
    assert scene.reasons.empty()


def test_a_long_stop_ends_nothing() -> None:
    """A clock that jumps by an hour between two looks is a process that slept; its loop comes round a little later."""
    scene = Scene()
    scene.vitals.assigned([0])
    scene.vitals.set_lag(0, 7)

    def sleep_now_and_then() -> None:
        if scene.looks % 50 == 0:
            scene.now_s += 3600.0
        elif scene.looks % 50 > 3:
            scene.vitals.tick()
            scene.vitals.set_lag(0, 7)
            scene.vitals.committed()

    scene.each = sleep_now_and_then
    with scene.watched():
        scene.look_for(500)
    assert scene.reasons.empty()
    assert GAP_S_MAX < STUCK_S


def test_a_look_that_fails_ends_the_worker() -> None:
    """A watchdog that cannot see says so and ends what it cannot watch; the exception's text is not shown."""
    scene = Scene()

    def fail() -> None:
        raise ValueError("alice-at-example")

    scene.each = fail
    with scene.watched():
        reason = scene.reason()
    assert reason.startswith("the watchdog cannot look: ValueError at test_worker_watchdog.py:")
    assert "alice" not in reason


def test_it_works_while_the_event_loop_is_stuck() -> None:
    """A callback that never returns keeps the loop, not the watchdog."""
    vitals = Vitals(time.monotonic)
    vitals.assigned([0])
    released = threading.Event()
    reasons: SimpleQueue[str] = SimpleQueue()

    def end(reason: str) -> None:
        reasons.put(reason)
        released.set()

    async def stick() -> None:
        vitals.tick()
        released.wait(PATIENCE_S)

    dog = Watchdog(vitals.snapshot, end, stuck_s=0.1, grace_s=GRACE_S, interval_s=0.01)
    asyncio.run(stick())
    dog.close()
    assert reasons.get_nowait() == "the event loop has not come round for 0 s"


def test_it_can_be_closed_by_the_end_that_it_calls() -> None:
    """The end runs on the watchdog's own thread, and may tidy up."""
    made: SimpleQueue[Watchdog] = SimpleQueue()
    closed: SimpleQueue[str] = SimpleQueue()

    def end(reason: str) -> None:
        made.get(timeout=PATIENCE_S).close()
        closed.put(reason)

    stuck = Snapshot(tick_age_s=STUCK_S)
    made.put(Watchdog(lambda: stuck, end, stuck_s=STUCK_S, grace_s=GRACE_S, interval_s=0.0))
    assert closed.get(timeout=PATIENCE_S) == "the event loop has not come round for 30 s"


PROCESS = """
import os, sys, threading, time
from pipeline.worker import vitals as module
from pipeline.worker.watchdog import Watchdog

module.GAP_S_MAX = 0.2
vitals = module.Vitals(time.monotonic)
vitals.assigned([0])
vitals.set_lag(0, 7)
ended = threading.Event()
Watchdog(vitals.snapshot, lambda reason: os._exit(9), stuck_s=0.5, grace_s=25, interval_s=0.02)
while True:
    vitals.tick()
    vitals.set_lag(0, 7)
    vitals.committed()
    print(flush=True)
    for _ in range(100 if sys.argv[1] == "stuck" else 10):
        time.sleep(0.02)
"""


@contextmanager
def process(tmp_path: Path, mode: str) -> Iterator[subprocess.Popen[str]]:
    """Run a worker's loop and its watchdog, with its times scaled down to a tenth and less."""
    script = tmp_path / "worker.py"
    script.write_text(PROCESS)
    command = [sys.executable, str(script), mode]
    root = str(Path(__file__).resolve().parent.parent)
    with subprocess.Popen(  # noqa: S603 - our own script
        command, stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": root}
    ) as running:
        try:
            yield running
        finally:
            running.kill()


def test_a_process_that_was_stopped_goes_on(tmp_path: Path) -> None:
    """SIGSTOP for longer than the limit, then SIGCONT: it works on, although its loop takes a while to come round."""
    with process(tmp_path, "works") as running:
        assert running.stdout is not None
        assert running.stdout.readline() == "\n"
        running.send_signal(signal.SIGSTOP)
        os.waitid(os.P_PID, running.pid, os.WSTOPPED)
        time.sleep(0.8)  # the stop itself: nothing happens that could be waited for
        running.send_signal(signal.SIGCONT)
        assert [running.stdout.readline() for _ in range(4)] == ["\n"] * 4


def test_a_process_that_is_stuck_ends(tmp_path: Path) -> None:
    """The same process, whose loop does not come round in time, ends with the code that its end chose."""
    with process(tmp_path, "stuck") as running:
        assert running.wait(PATIENCE_S) == 9
