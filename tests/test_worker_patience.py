"""How long a delivery is waited for: in turns of the loop, so that an event that computes long makes nobody late."""

import asyncio
import time

import pytest

from pipeline.errors import SinkUnavailable
from pipeline.worker import delivery
from pipeline.worker.delivery import Delivery
from pipeline.worker.route import Outgoing

RECORD = Outgoing("content", "t", b"k", b"v", [])


class Builder:
    """A batch of aiokafka's."""

    def append(self, **_record: object) -> object:
        """Take a record."""
        return self

    def size(self) -> int:
        """Return that it has room."""
        return 0

    def close(self) -> None:
        """Do nothing."""


class Producer:
    """Acknowledges after so many turns of the loop, or never."""

    def __init__(self, turns: int | None) -> None:
        self._turns = turns

    async def partitions_for(self, _topic: str) -> set[int]:
        """Return one partition."""
        return {0}

    def create_batch(self) -> Builder:
        """Return a batch."""
        return Builder()

    async def send_batch(self, _builder: Builder, _topic: str, *, partition: int) -> asyncio.Future[int]:
        """Return what will be acknowledged."""
        acknowledged = asyncio.get_running_loop().create_future()

        async def acknowledge() -> None:
            for _ in range(self._turns or 0):
                await asyncio.sleep(0.01)
            acknowledged.set_result(partition)

        self.task = None if self._turns is None else asyncio.create_task(acknowledge())
        return acknowledged


def deliver(producer: Producer, blocked_s: float) -> None:
    """Deliver a record with half a second of patience, while something computes on the loop."""

    async def run() -> None:
        way = Delivery(0.5)
        way.connect(lambda: producer)
        delivering = asyncio.create_task(way.deliver([RECORD]))
        await asyncio.sleep(0.02)
        time.sleep(blocked_s)  # noqa: ASYNC251 - an event that takes the loop
        await delivering

    asyncio.run(run())


def test_an_event_that_computes_long_makes_no_delivery_late(monkeypatch: pytest.MonkeyPatch) -> None:
    """The loop is taken for longer than is waited; the acknowledgement comes in the turns after."""
    monkeypatch.setattr(delivery, "_TURN_S", 0.1)
    deliver(Producer(turns=10), blocked_s=0.7)


def test_what_is_never_acknowledged_ends_the_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is passed over: it raises, and says which setting it is."""
    monkeypatch.setattr(delivery, "_TURN_S", 0.1)
    with pytest.raises(SinkUnavailable, match="LETHE_DELIVERY_S"):
        deliver(Producer(turns=None), blocked_s=0)
