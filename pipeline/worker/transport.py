"""Faust's Kafka transport, delivering one event a partition batch, with an own account of what is delivered.

Faust's own account loses records (docs/adr/006-worker-delivery.md): it acknowledges what failed, commits
past holes, and forgets what is acknowledged before it commits at a rebalance. So the raw topic is declared without
Faust's acknowledgements, and this consumer keeps a `Ledger`: the agent says what is delivered, and only that is
committed, after every slice and before partitions are given up.
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Any, cast

from faust.transport.drivers import aiokafka as driver
from faust.types import TP, ConsumerMessage

from pipeline.client import IllegalStateError, NoOffsetForPartitionError, OffsetOutOfRangeError
from pipeline.errors import SinkUnavailable
from pipeline.worker.batches import RawBatch, split
from pipeline.worker.client_thread import ConsumerThread
from pipeline.worker.fetcher import Fetcher
from pipeline.worker.observer import Observer
from pipeline.worker.producer import Producer
from pipeline.worker.watermark import Ledger

FETCH_TIMEOUT_S = 1.0
QUEUED_BYTES_MAX = 8 << 20
"""What waits for the agent at most, and one batch more."""
SEEK_MARGIN_S = 5.0
"""Faust stops waiting for a seek after a request's time, and then for ever does nothing, without a word."""
_DRAIN_POLL_S = 0.01


class Consumer(driver.Consumer):
    """Delivers batches, resolves offsets itself, and commits only what the ledger has."""

    _thread: ConsumerThread

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.ledger = Ledger()
        self._waiting: deque[int] = deque()
        self._taken = asyncio.Event()
        self._committing = asyncio.Lock()
        self._ends: dict[int, int] = {}
        self._gaps: dict[int, tuple[int, int]] = {}
        self._revocations = 0
        self._worker = cast("Any", self.app)  # pipeline.worker.agent.WorkerApp
        self._observer: Observer = self._worker.observer
        self._in_flight: Callable[[], int] = self._worker.in_flight

    def _new_consumer_thread(self) -> ConsumerThread:
        return ConsumerThread(self, loop=self.loop, beacon=self.beacon)

    async def perform_seek(self) -> None:
        """Begin where the group left off; Faust calls it when a rebalance has ended and before anything is fetched."""
        await self._find_positions(again=False)

    async def _find_positions(self, *, again: bool) -> None:
        limit_s = self.app.conf.broker_request_timeout - SEEK_MARGIN_S
        try:
            async with asyncio.timeout(limit_s):
                await self._begin(again=again)
        except (asyncio.CancelledError, IllegalStateError):  # another rebalance has begun
            raise
        except TimeoutError:
            self._observer.die(SinkUnavailable(f"the brokers did not say within {limit_s:g} s where to begin"))
        except BaseException as error:  # noqa: BLE001 - Faust would log it, and go on without a position
            self._observer.die(error)

    async def on_partitions_revoked(self, revoked: set[TP]) -> None:
        """Stop taking up work at once; Faust then waits in `wait_empty`, which commits.

        While the app stops, Faust would close the client here, and what is still in the works could not be committed.
        """
        self._revocations += 1
        self._observer.revoking()
        if self.app.should_stop:
            await self.wait_empty()
            return
        await super().on_partitions_revoked(revoked)

    async def on_partitions_assigned(self, assigned: set[TP], generation_id: int = 0) -> None:
        """Note an empty assignment, of which Faust makes nothing; others begin in `perform_seek`."""
        if self.app.should_stop:
            return
        if not assigned:
            self.ledger.keep(())
            self._observer.assigned({})
        await super().on_partitions_assigned(assigned, generation_id)

    async def _begin(self, *, again: bool) -> None:
        """Begin in every partition; ``again`` when they are ours already and only positions were lost.

        Raises:
            IllegalStateError: partitions were revoked meanwhile; Faust then begins once more.
        """
        revocations = self._revocations
        starts = await self._thread.begin(self.assignment())
        await self._observer.joined()
        if revocations != self._revocations:
            raise IllegalStateError("partitions were revoked")
        self._waiting.clear()
        self.ledger.keep(())
        self._gaps.clear()  # a gap that was seen before is no evidence now
        for tp, start in starts.items():
            self._ends[tp.partition] = start.offset
            self.ledger.start(tp.partition, start.offset if start.expired is None else start.expired[0])
        if not again:
            self._observer.assigned({tp.partition: start for tp, start in starts.items()})
        for tp, start in starts.items():
            if start.expired is not None:
                await self._observer.expired(tp.partition, *start.expired)
                self.ledger.done(tp.partition, start.expired[0], start.offset)

    async def _drain_messages(self, fetcher: Any) -> None:
        """Fetch and hand over batches until told to stop (Faust's fetcher service runs this)."""
        try:
            while not (self.should_stop or fetcher.should_stop):
                await self._fetch_once()
        except self.consumer_stopped_errors:
            if not self.app.should_stop:
                raise
        except asyncio.CancelledError:
            raise
        except BaseException as error:  # noqa: BLE001 - Faust would log it, and fetch no more
            self._observer.die(error)

    async def _fetch_once(self) -> None:
        ends = {tp: self._ends[tp.partition] for tp in self._get_active_partitions() if tp.partition in self._ends}
        if not (self.flow_active and ends):
            await asyncio.sleep(_DRAIN_POLL_S)
            return
        generation = self.app.consumer_generation_id
        await self._have_room(generation)
        try:
            fetched = await self._thread.fetch(ends, FETCH_TIMEOUT_S)
        except (NoOffsetForPartitionError, OffsetOutOfRangeError):
            with suppress(IllegalStateError):  # a rebalance has begun, and positions are found when it ends
                await self._begin_again(generation)
            return
        fetched_s = time.monotonic()
        for tp, records in fetched.items():
            if not self._is_current(generation):
                return
            if not self._is_next(tp, records[0].offset):
                continue
            for run in split(records, self._worker.batch_bytes_max):
                await self._have_room(generation)
                if not self._is_current(generation):
                    return
                await self._hand_over(tp, run, generation, fetched_s)

    def _is_current(self, generation: int) -> bool:
        """Tell whether partitions are still those of a fetch; otherwise they begin anew at what is committed."""
        return self.flow_active and generation == self.app.consumer_generation_id

    async def _begin_again(self, generation: int) -> None:
        """Find new positions: retention overtook this reader, or the client looked before they were chosen."""
        while self._waiting or self._in_flight():  # noqa: ASYNC110 - Faust's queue has nothing to wait for
            await asyncio.sleep(_DRAIN_POLL_S)
        await self.commit()
        if self._is_current(generation):
            await self._find_positions(again=True)

    def _is_next(self, tp: TP, first: int) -> bool:
        """Tell whether records that begin at an offset are the next ones; if not, the next fetch goes back.

        A log may have a gap (what a transaction leaves, what retention took). But a fetch that was thrown away after
        the client has moved on looks the same from here. So a gap is believed when it is there a second time.
        """
        expected = self._ends[tp.partition]
        if first <= expected or self._gaps.pop(tp.partition, None) == (expected, first):
            return True
        self._gaps[tp.partition] = (expected, first)
        return False

    async def _hand_over(self, tp: TP, records: Any, generation: int, fetched_s: float) -> None:
        first, end = self._ends[tp.partition], records[-1].offset + 1
        if end <= first:
            return  # read again by a client that went back
        self._ends[tp.partition] = end
        new = [record for record in records if record.offset >= first]
        batch = RawBatch(tp.partition, first, end, new, sum(len(record.value or b"") for record in new), fetched_s)
        value: Any = batch  # Faust hands on what it gets
        message = ConsumerMessage(
            tp.topic, tp.partition, first, 0.0, 0, None, None, value, None, 0, 0, tp, generation_id=generation
        )
        self._waiting.append(batch.size_bytes)
        await self.callback(message)

    def taken(self) -> None:
        """Take note that the agent has taken the batch that waited longest."""
        if self._waiting:  # those of an assignment that is over are forgotten already
            self._waiting.popleft()
        self._taken.set()

    async def _have_room(self, generation: int) -> None:
        """Wait while enough waits for the agent already, and the partitions are those of a generation."""
        while sum(self._waiting) > QUEUED_BYTES_MAX and self._is_current(generation):
            self._taken.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(FETCH_TIMEOUT_S):
                    await self._taken.wait()

    async def commit(self, topics: Any = None, start_new_transaction: bool = True) -> bool:  # noqa: ARG002 - Faust's signature
        """Commit what the ledger has, one commit at a time."""
        async with self._committing:
            return await self._commit_ledger()

    async def _commit_ledger(self) -> bool:
        offsets = self.ledger.committable()
        if not offsets:
            return False
        began_s = time.monotonic()
        if not self._worker.commits:  # a shadow: it keeps its account, and leaves the group's as it is
            self.ledger.committed(offsets)
            self._observer.committed("done", 0.0, offsets)
            return True
        outcome = await self._thread.store({TP(self._worker.raw_topic, p): offset for p, offset in offsets.items()})
        if outcome == "done":
            self.ledger.committed(offsets)
        self._observer.committed(outcome, time.monotonic() - began_s, offsets)
        return outcome == "done"

    async def lags(self) -> dict[int, int]:
        """Return how many records of each owned partition are not committed, by what the brokers say of its end."""
        ends, commits = await self._thread.log_ends(), self.ledger.commits()
        return {p: max(0, end - commits[p]) for p, end in ends.items() if p in commits}

    @property
    def membership(self) -> ConsumerThread:
        """Return what knows of the group."""
        return self._thread

    async def wait_empty(self) -> None:
        """Wait until all that is in the works is delivered, and commit it: before partitions go, and at the end."""
        self._observer.revoking()
        while self._in_flight():  # noqa: ASYNC110 - a few turns, at rebalances only
            await asyncio.sleep(_DRAIN_POLL_S)
        await self.commit()

    def ack(self, message: Any) -> bool:  # noqa: ARG002 - Faust's signature
        """Do nothing: the agent marks in the ledger what is delivered."""
        return True


class Transport(driver.Transport):
    """The transport with the classes above."""

    Consumer = Consumer
    Fetcher = Fetcher
    Producer = Producer
