"""The parts of the worker that touch Kafka, each alone: gaps, places for batches, and the end of a process."""

import asyncio
import os
import subprocess
import sys
import threading
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import pytest
from faust.types import TP
from worker_harness import ROOT

from pipeline.errors import SinkUnavailable
from pipeline.worker.client_thread import ConsumerThread
from pipeline.worker.delivery import Delivery
from pipeline.worker.ending import ask_briefly
from pipeline.worker.route import Outgoing
from pipeline.worker.transport import Consumer
from pipeline.worker.watermark import Ledger

AT = TP("raw", 0)
CLOSED = """
import os
from pipeline.worker.ending import end_process
def log(text):
    raise BrokenPipeError
end_process("why", 7, log, lambda: None)
"""
BLOCKED = """
import time
import pipeline.worker.ending as ending
ending.LAST_WORDS_S = 0.2
ending.end_process("why", 7, lambda text: time.sleep(60), lambda: None)
"""


def reader() -> Any:
    """Return a consumer as far as gaps need one, which expects offset 10 next."""
    consumer: Any = Consumer.__new__(Consumer)
    consumer._ends, consumer._gaps = {0: 10}, {}
    consumer.ledger = Ledger()
    return consumer


def test_a_gap_is_believed_the_second_time() -> None:
    """What is missing is read for once more; when the log itself has the gap, the reader goes on behind it."""
    consumer = reader()
    assert [consumer._is_next(AT, 15) for _ in range(2)] == [False, True]


def test_a_gap_that_was_believed_is_no_evidence_for_the_next() -> None:
    """The same gap after a new start is looked at afresh: a rebalance can throw away the same fetch twice."""
    consumer = reader()
    assert [consumer._is_next(AT, 15) for _ in range(3)] == [False, True, False]


@pytest.mark.parametrize("first", [10, 7])
def test_what_follows_or_repeats_is_no_gap(first: int) -> None:
    """Records that begin where the last ended, or before, are taken at once."""
    assert reader()._is_next(AT, first)


class Log:
    """A client at a position of one partition, whose log has records at some offsets."""

    def __init__(self, position: int, offsets: Sequence[int]) -> None:
        self.position, self.offsets = position, offsets
        self.sought: list[int] = []
        self._max_poll_records = 100
        assignment = SimpleNamespace(tps={AT}, state_value=lambda _: self)
        self._subscription = SimpleNamespace(subscription=SimpleNamespace(assignment=assignment))
        self.has_valid_position = True

    def seek(self, _: Any, offset: int) -> None:
        """Go there."""
        self.sought.append(offset)
        self.position = offset

    def fetch(self) -> dict[TP, list[Any]]:
        """Return the records from the position on, and move behind the log's last offset."""
        found = [SimpleNamespace(offset=offset) for offset in self.offsets if offset >= self.position]
        self.position = max(self.position, 20)
        return {AT: found} if found else {}


class _Thread(ConsumerThread):
    """The thread as far as one fetch needs it, on the test's own loop."""

    def __init__(self, log: Log) -> None:
        self._fetching, self._believed, self._log = asyncio.Lock(), {}, log

    def _ensure_consumer(self) -> Any:
        return self._log

    async def call_thread(self, call: Any, *arguments: Any) -> Any:
        """Call at once."""
        return await call(*arguments)

    async def _fetch_records(self, *_: Any, **__: Any) -> Any:
        return self._log.fetch()


def test_what_a_thrown_away_fetch_took_is_fetched_again() -> None:
    """The last records of a partition were thrown away: the next fetch goes back for them, and needs no newer ones."""
    thread = _Thread(Log(10, offsets=range(10, 20)))
    fetches = [asyncio.run(thread.fetch({AT: end}, 0.1)) for end in (10, 10, 20)]
    assert [len(fetched.get(AT, ())) for fetched in fetches] == [10, 10, 0]
    assert thread._log.sought == [10]


def test_a_gap_at_the_end_of_a_log_is_believed_when_going_back_finds_nothing() -> None:
    """The client is further on because the log ends with a gap: the reader looks once, and then lets it be."""
    thread = _Thread(Log(15, offsets=()))
    fetches = [asyncio.run(thread.fetch({AT: 10}, 0.1)) for _ in range(3)]
    assert (fetches, thread._log.sought) == ([{}, {}, {}], [10, 10])


class SlowProducer:
    """Takes a batch at a time and acknowledges none in time."""

    def __init__(self) -> None:
        self.inside = self.most_inside = 0

    async def partitions_for(self, _: str) -> set[int]:
        """Return one partition."""
        return {0}

    def create_batch(self) -> Any:
        """Return a batch that takes everything."""
        return type("Batch", (), {"size": lambda _: 0, "append": lambda *_, **__: True, "close": lambda _: None})()

    async def send_batch(self, *_: Any, **__: Any) -> asyncio.Future[None]:
        """Wait for a place, and return an acknowledgement that never comes."""
        self.inside += 1
        self.most_inside = max(self.most_inside, self.inside)
        await asyncio.sleep(0.01)
        self.inside -= 1
        return asyncio.get_running_loop().create_future()


def test_one_slice_at_a_time_waits_for_a_place_and_none_for_ever() -> None:
    """Slices are handed to the client one after another, and what is never acknowledged is told in time."""

    async def deliver() -> tuple[int, list[str]]:
        producer = SlowProducer()
        delivery = Delivery(patience_s=0.3)
        delivery.connect(lambda: producer)
        record = Outgoing("content", "topic", b"key", b"value", [])
        ends = await asyncio.gather(*(delivery.deliver([record]) for _ in range(4)), return_exceptions=True)
        return producer.most_inside, [type(end).__name__ for end in ends]

    assert asyncio.run(deliver()) == (1, [SinkUnavailable.__name__] * 4)


@pytest.mark.parametrize("code", [CLOSED, BLOCKED], ids=["closed", "blocked"])
def test_a_process_ends_although_nobody_reads_why(code: str) -> None:
    """A standard error that is closed, or that nobody empties, keeps no process alive."""
    environ = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", code], env=environ, timeout=30, check=False, capture_output=True)  # noqa: S603 - ours
    assert done.returncode == 7


def test_what_is_asked_at_the_end_does_not_hold_it_up() -> None:
    """A better reason is told when it is found in time, and otherwise the one that is known."""
    silent = threading.Event()
    assert ask_briefly(lambda: "the topic is gone", "no answer") == "the topic is gone"
    assert ask_briefly(lambda: str(silent.wait(60)), "no answer", 0.05) == "no answer"
    silent.set()
