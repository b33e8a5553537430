"""The worker's engine: takes batches from the agent, works in slices, and lets them out while it works on the next.

Nothing is marked as done before both records of an event are acknowledged. Whatever is not a bad event ends the
process: its supervisor starts it again, and what was not committed is read again.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import NoReturn, Protocol

from pipeline.errors import PipelineError
from pipeline.metrics import WorkerMetrics
from pipeline.worker.batches import RawBatch
from pipeline.worker.breaker import Breaker, Flood
from pipeline.worker.offsets import Start
from pipeline.worker.outbox import Outbox
from pipeline.worker.route import Outgoing
from pipeline.worker.slices import Slice, Transform, open_slice
from pipeline.worker.vitals import Vitals
from pipeline.worker.watermark import Ledger
from pipeline.worker.works import Works

COMMIT_PAUSE_S = 0.05
"""Between two commits: each is a round trip, and what a kill repeats is what came meanwhile."""
TURN_S = 0.01
"""Longest computation between two turns of the event loop, unless one event takes longer."""


class RejectionFlood(PipelineError):  # noqa: N818 - as its neighbours in pipeline.errors
    """Rejections flood; the worker stops before it writes them."""


class Committer(Protocol):
    """Commits what the ledger has."""

    ledger: Ledger

    async def commit(self) -> bool:
        """Commit; say whether anything was."""


@dataclass(frozen=True, slots=True)
class Edges:
    """What the engine does to the world.

    Attributes:
        deliver: sends records, and returns when all are acknowledged.
        expired: makes the records that tell of a range of offsets (partition, first, last) that was never read.
        catch_up: returns when all restrictions and erasures are in force that were published before the call.
        joined: is told of each assignment.
        wall_ms: the clock, epoch milliseconds.
        end: ends the process for a reason, and does not return.
        log: writes a line for operators.
    """

    deliver: Callable[[Sequence[Outgoing]], Awaitable[None]]
    expired: Callable[[int, int, int], Sequence[Outgoing]]
    catch_up: Callable[[], Awaitable[None]]
    joined: Callable[[], None]
    wall_ms: Callable[[], int]
    end: Callable[[BaseException], NoReturn]
    log: Callable[[str], None]


class Engine:
    """One worker's work; it is the transport's observer.

    Everything happens on its loop, except that the transform may work in a thread of its own.
    """

    def __init__(
        self,
        transform: Transform,
        breaker: Breaker,
        edges: Edges,
        metrics: WorkerMetrics,
        vitals: Vitals,
        *,
        slice_s: float,
        aside: Executor | None = None,
    ) -> None:
        """Prepare.

        Args:
            transform: makes records.
            breaker: stops a flood of rejections.
            edges: what this engine does to the world.
            metrics: what it counts.
            vitals: its signs of life.
            slice_s: longest work before what came of it is sent.
            aside: has one thread, in which the transform works, so that the loop goes on while it waits for others;
                None: it works on the loop.
        """
        self.appended_ms: dict[int, int] = {}
        self._transform = transform
        self._slice_s = slice_s
        self._aside = aside
        self._breaker = breaker
        self._edges = edges
        self._metrics = metrics
        self._vitals = vitals
        self._committer: Committer | None = None
        self._outbox = Outbox(edges.deliver, self._done, edges.end)
        self._moved = asyncio.Event()
        self.works = Works()
        self._busy = 0
        self._owned: frozenset[int] = frozenset()
        self._interrupted = False
        self._stopping = False

    def attach(self, committer: Committer) -> None:
        """Say who commits; it exists only after the app that this engine works in."""
        self._committer = committer

    def in_flight(self) -> int:
        """Return how many batches and slices are in the works."""
        return self._busy + len(self._outbox)

    async def handle(self, batch: RawBatch) -> None:
        """Work through a batch, slice by slice; what a rebalance interrupts is read again by its next owner."""
        self._busy += 1
        try:
            self._metrics.stage("wait", time.monotonic() - batch.fetched_s)
            place = 0
            while place < len(batch.records) and not self._pausing():
                made = open_slice(batch, place)
                made.number = self.works.begin()
                place = await self._work(made, batch, place)
                self._guard(made)
                await self._outbox.put(made)
        finally:
            self._busy -= 1

    async def _work(self, made: Slice, batch: RawBatch, place: int) -> int:
        """Fill a slice, and give the loop a turn every few milliseconds, so that deliveries and commits go on."""
        began_s = time.monotonic()
        until_s = began_s + self._slice_s
        while place < len(batch.records):
            place = await self._fill(made, batch, place, min(until_s, time.monotonic() + TURN_S))
            if self._pausing() or time.monotonic() >= until_s:
                break
        self._metrics.stage("process", time.monotonic() - began_s)
        return place

    async def _fill(self, made: Slice, batch: RawBatch, place: int, until_s: float) -> int:
        if self._aside is not None:
            loop = asyncio.get_running_loop()
            return await loop.run_in_executor(self._aside, self._transform.fill, made, batch, place, until_s)
        place = self._transform.fill(made, batch, place, until_s)
        await asyncio.sleep(0)
        return place

    def _pausing(self) -> bool:
        return self._interrupted or self._stopping

    def _done(self, slices: Sequence[Slice], seconds: float) -> None:
        """Take note of slices that every sink has acknowledged."""
        if self._committer is not None:
            for made in slices:
                self._committer.ledger.done(made.partition, made.first, made.end)
            self._moved.set()
        for made in slices:
            self.works.end(made.number)
        self._metrics.stage("deliver", seconds)
        now_ms = self._edges.wall_ms()
        for made in slices:
            self.appended_ms[made.partition] = made.appended_ms
            ages_s = [(now_ms - received_ms) / 1000 for received_ms in made.received_ms]
            self._metrics.batch_done(made.tally, made.written, ages_s)

    def _guard(self, made: Slice) -> None:
        """Ask the breaker before anything of a slice is written."""
        keys = made.rejected_keys
        flood = self._breaker.add(time.monotonic(), made.partition, made.tally.events, keys, assigned=len(self._owned))
        if flood is not None:
            raise RejectionFlood(_flood_text(flood))

    async def keep_committing(self) -> None:
        """Commit whenever something was delivered; what is delivered meanwhile goes into the next commit."""
        while True:
            await self._moved.wait()
            self._moved.clear()
            if self._committer is not None:
                await self._committer.commit()
            await asyncio.sleep(COMMIT_PAUSE_S)

    def revoking(self) -> None:
        """Take up no more work: the slices in flight are finished and committed."""
        self._interrupted = True
        self._vitals.revoked()

    async def joined(self) -> None:
        """Have all that was published before this worker joined its group in force before it takes up a batch."""
        await self._edges.catch_up()

    def assigned(self, starts: Mapping[int, Start]) -> None:
        """Begin with these partitions."""
        self._edges.joined()
        self._interrupted = False
        gone = self._owned - starts.keys()
        self._owned = frozenset(starts)
        self._metrics.assigned(len(starts), gone)
        self.appended_ms.clear()
        self._vitals.assigned(starts)
        self._edges.log(f"assigned {len(starts)} partitions: {', '.join(map(str, sorted(starts))) or 'none'}")
        for partition, start in sorted(starts.items()):
            if start.restarted:
                self._edges.log(
                    f"partition {partition}: the committed offset is beyond the end of the log, which was made anew or "
                    f"cut; reading from its start, {start.offset}"
                )

    async def expired(self, partition: int, first: int, last: int) -> None:
        """Tell of records that retention took unread: in the log, in metrics, and as a rejection of the range."""
        self._edges.log(
            f"partition {partition}: offsets {first} to {last} expired in raw before they were read; these events are "
            "lost. The worker was away for longer than raw's bound"
        )
        self._metrics.lost.inc(last - first + 1)
        records = self._edges.expired(partition, first, last)
        await self._edges.deliver(records)
        self._metrics.records.labels("rejected").inc(len(records))

    def committed(self, outcome: str, seconds: float, partitions: Collection[int]) -> None:
        """Count a commit."""
        self._metrics.stage("commit", seconds)
        self._metrics.commits.labels(outcome).inc()
        if outcome == "done":
            self._vitals.committed(partitions)

    def die(self, error: BaseException) -> None:
        """End the process."""
        self._edges.end(error)

    def stop(self) -> None:
        """Take up no more work, for good."""
        self._stopping = True

    @property
    def owned(self) -> frozenset[int]:
        """Return the partitions that this worker has."""
        return self._owned


def _flood_text(flood: Flood) -> str:
    return (
        f"stopped by a flood of rejections: {flood.rejections} of {flood.events} events within a minute, in "
        f"{flood.partitions} partitions; the last ones were not written and are read again. Look at `lethe rejected "
        "--summary`: after a bad deploy of the gateway or of the schema, fix it and start again; to let them pass, set "
        "LETHE_REJECTION_SHARE_MAX=100"
    )
