"""The parts of the worker that touch Kafka, each alone: gaps, places for batches, and the end of a process."""

import asyncio
import os
import subprocess
import sys
from typing import Any

import pytest
from faust.types import TP
from worker_harness import ROOT

from pipeline.errors import SinkUnavailable
from pipeline.worker.delivery import Delivery
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


class Thread:
    """Notes where the client is sent, and finds every partition at 10."""

    def __init__(self) -> None:
        self.gone_to: list[int] = []

    async def go_to(self, tp: TP, offset: int) -> None:
        """Take note."""
        assert tp == AT
        self.gone_to.append(offset)


def reader() -> Any:
    """Return a consumer as far as gaps need one, which expects offset 10 next."""
    consumer: Any = Consumer.__new__(Consumer)
    consumer._thread = Thread()
    consumer._ends, consumer._gaps = {0: 10}, {}
    consumer.ledger = Ledger()
    return consumer


def test_a_gap_is_believed_the_second_time() -> None:
    """The reader goes back once for what is missing; when the log itself has the gap, it goes on behind it."""
    consumer = reader()
    looks = [asyncio.run(consumer._is_next(AT, 15)) for _ in range(2)]
    assert (looks, consumer._thread.gone_to) == ([False, True], [10])


def test_a_gap_that_was_believed_is_no_evidence_for_the_next() -> None:
    """The same gap after a new start is looked at afresh: a rebalance can throw away the same fetch twice."""
    consumer = reader()
    looks = [asyncio.run(consumer._is_next(AT, 15)) for _ in range(3)]
    assert (looks, consumer._thread.gone_to) == ([False, True, False], [10, 10])


@pytest.mark.parametrize("first", [10, 7])
def test_what_follows_or_repeats_is_no_gap(first: int) -> None:
    """Records that begin where the last ended, or before, are taken at once."""
    assert asyncio.run(reader()._is_next(AT, first))


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
