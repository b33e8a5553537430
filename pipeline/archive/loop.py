"""The archive at work: collect a batch, store it, commit it, and nothing of these at the same time.

An offset is committed only after what is before it is durable in the store. A kill between the two repeats a batch, and
the store knows its identities: so records come at least once, and are read once.
"""

import asyncio
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Protocol

from pipeline.archive.account import Account
from pipeline.archive.batch import Batch, Place
from pipeline.archive.decode import Decode, NotARecord
from pipeline.archive.metrics import ArchiveMetrics
from pipeline.archive.patience import Patience
from pipeline.archive.reader import PositionLost, Reader
from pipeline.archive.upkeep import Upkeep
from pipeline.client import ConsumerRecord, KafkaError, TopicPartition
from pipeline.errors import PipelineError
from pipeline.store.intake import Records, TableReport
from pipeline.worker.vitals import Vitals

POLL_S = 0.5
FETCH_RECORDS_MAX = 200


class MalformedRecord(PipelineError):  # noqa: N818 - as InvalidEvent
    """A topic has a record that no worker of this version wrote. The text says where it is and what is wrong."""


class Target(Protocol):
    """Where records go: `pipeline.archive.process` makes it of a store."""

    @property
    def tag(self) -> str:
        """Which store it is, "" where that is not said (`pipeline.store.tags`)."""
        ...

    def write(self, records: Records) -> dict[str, TableReport]:
        """Store a batch durably."""
        ...


@dataclass(frozen=True, slots=True)
class Limits:
    """How much is stored at once.

    Attributes:
        records_max: records of a batch.
        bytes_max: bytes of a batch; the record that reaches it still belongs to it.
        wait_s: how long a batch may fill.
    """

    records_max: int
    bytes_max: int
    wait_s: float


@dataclass(frozen=True, slots=True)
class Edges:
    """What the loop is given from outside.

    Attributes:
        patience: calls the store.
        upkeep: sweeps it, and looks at it, between batches.
        log: writes a line for operators.
    """

    patience: Patience
    upkeep: Upkeep
    log: Callable[[str], None]


class Archive:
    """Moves records from a reader into a target until it is told to stop, or has read to the end that it found."""

    def __init__(
        self,
        reader: Reader,
        target: Target,
        decode: Mapping[str, Decode],
        limits: Limits,
        edges: Edges,
        metrics: ArchiveMetrics,
        vitals: Vitals,
        account: Account,
        *,
        once: bool = False,
        skips: Collection[str] = (),
    ) -> None:
        """Prepare.

        Args:
            reader: reads the topics.
            target: stores.
            decode: decoder of each sink.
            limits: of a batch.
            edges: how the store is called, and where lines go.
            metrics: is told what happens.
            vitals: likewise.
            account: likewise, of what was done.
            once: end when what is there at the start is stored.
            skips: texts of the places of records that are passed over.
        """
        self._reader, self._target, self._decode = reader, target, decode
        self._limits, self._edges, self._patience = limits, edges, edges.patience
        self._metrics, self._vitals, self._account = metrics, vitals, account
        self._once, self._skips = once, frozenset(skips)
        self._stopping = asyncio.Event()
        self._lost = False
        self._until: dict[TopicPartition, int] = {}

    def stop(self) -> None:
        """Take up nothing more; what was taken up is stored and committed."""
        if not self._stopping.is_set():
            self._edges.log("stopping: what was read is stored and committed first")
            self._vitals.stop()
            self._stopping.set()

    async def run(self) -> None:
        """Work.

        Raises:
            SinkUnavailable: the store, or Kafka, is away for longer than it is tried.
            MalformedRecord: a record is none; what was before it in its partition is stored and committed.
            KafkaError: the brokers' answer.
        """
        self._until = await self._begin()
        while not self._stopping.is_set():
            await self._edges.upkeep.run_when_due()
            await self._reader.say(self._target.tag)
            batch = await self._collect()
            if batch.read:
                await self._store(batch)
            if batch.fault:
                raise MalformedRecord(batch.fault)
            if self._lost or self._reader.has_grown():
                self._lost = False
                await self._begin()
            if self._once and await self._reader.has_reached(self._until):
                return

    async def _begin(self) -> dict[TopicPartition, int]:
        """Find positions, and say what is missing; return where each partition ends now."""
        starts, ends = await self._reader.begin(self._target.tag)
        self._account.begun(starts, self._reader.places)
        self._edges.log(f"reads {len(starts)} partitions")
        return ends

    async def _collect(self) -> Batch:
        """Read until a batch is full, has waited long enough, or cannot go on."""
        batch, limits = Batch(), self._limits
        began_s: float | None = None
        while room := batch.room(limits.records_max, limits.bytes_max, FETCH_RECORDS_MAX):
            left_s = POLL_S if began_s is None else began_s + limits.wait_s - time.monotonic()
            if left_s <= 0 or self._stopping.is_set():
                break
            try:
                fetched = await self._reader.fetch(min(left_s, POLL_S), room)
            except PositionLost:
                self._lost = True
                break
            for sink, record in fetched:
                if not self._take(batch, sink, record):
                    break
            if batch.fault or (self._once and await self._reader.has_reached(self._until)):
                break
            if began_s is None:
                if not batch.read:
                    break  # nothing waits: let the loop look around
                began_s = time.monotonic()
        if began_s is not None:
            self._metrics.stage("collect", time.monotonic() - began_s)
        return batch

    def _take(self, batch: Batch, sink: str, record: ConsumerRecord) -> bool:
        """Add a record to a batch; at one that is none, note the fault and return false."""
        place = Place(record.topic, record.partition, record.offset)
        decoded, problem = None, ""
        if str(place) in self._skips:
            self._edges.log(f"{place} is passed over, as --skip says: it is not in the store")
            self._metrics.skipped(sink)
        else:
            try:
                decoded = self._decode[sink](record.key, record.value, record.headers)
            except NotARecord as fault:
                problem = str(fault)
        if problem:
            batch.fault = (
                f"{place} {problem}. No worker of this version wrote it, so the archive stops: what is before it is "
                f"stored. Find out who writes there; `lethe archive --skip {place}` passes over it alone"
            )
            return False
        batch.pass_over(place, record.timestamp, len(record.value or b""))
        if decoded is not None:
            batch.add(decoded, place)
        return True

    async def _store(self, batch: Batch) -> None:
        """Store, and then commit; the other way round a kill in between would lose the batch."""
        self._reader.hold()
        began_s = time.monotonic()
        reports = await self._patience.call(lambda: self._target.write(batch.records()))
        self._metrics.stage("store", time.monotonic() - began_s)
        self._account.stored(batch, reports)
        began_s = time.monotonic()
        await self._reader.commit(batch.ends)
        self._metrics.stage("commit", time.monotonic() - began_s)
        self._account.committed(batch)
        self._reader.go_on()

    async def measure(self) -> None:
        """Ask how many records wait; while brokers are away, the last answer stands."""
        try:
            lags = await self._reader.lags()
        except KafkaError:  # the watchdog sees to it when this lasts
            return
        self._account.behind(lags)
