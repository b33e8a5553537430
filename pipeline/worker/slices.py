"""The worker's use of the core: raw records in, outgoing records and counts out, for a bounded time at a go."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from pipeline.anonymize import Core, process
from pipeline.records import Rejection, Source
from pipeline.suppress import Suppressions
from pipeline.tally import Tally
from pipeline.worker.admit import AgeLimits, admit
from pipeline.worker.batches import RawBatch, RawRecord
from pipeline.worker.route import Outgoing, Router


@dataclass(slots=True)
class Slice:
    """What came of some records of a batch that follow one another.

    Attributes:
        partition: of the raw topic.
        first: the offset from which on it covers the partition.
        end: the offset up to which it does, not included; what is worked on moves it.
        outgoing: records to deliver.
        outgoing_bytes: size of their values.
        tally: counts.
        written: how many records go to each sink.
        rejected_keys: keys of the raw records that were rejected, for the breaker.
        received_ms: when the requests were received that made records.
        appended_ms: when the last of its raw records was appended.
        number: of this piece of work, see `pipeline.worker.works`.
    """

    partition: int
    first: int
    end: int
    outgoing: list[Outgoing] = field(default_factory=list)
    outgoing_bytes: int = 0
    tally: Tally = field(default_factory=Tally)
    written: dict[str, int] = field(default_factory=lambda: {"content": 0, "operational": 0, "rejected": 0})
    rejected_keys: list[bytes | None] = field(default_factory=list)
    received_ms: list[int] = field(default_factory=list)
    appended_ms: int = 0
    number: int = 0

    def __repr__(self) -> str:
        return f"Slice({self.partition}, {self.first}..{self.end}, {len(self.outgoing)} records)"


class Transform(Protocol):
    """Turns raw records into what goes out."""

    def fill(self, made: Slice, batch: RawBatch, place: int, until_s: float) -> int:
        """Work from the record at ``place`` on, at least one, until a time; return the next place.

        Args:
            made: takes what comes of the records, and moves on to the offset behind the last of them.
            batch: has the records.
            place: of the first record to work on.
            until_s: monotonic seconds. One record may take longer.
        """


class CoreTransform:
    """The transform of the worker: every record through the core."""

    def __init__(
        self,
        core: Callable[[], Core],
        router: Router,
        raw_topic: str,
        limits: AgeLimits,
        suppressions: Callable[[], Suppressions],
        *,
        now_ms: Callable[[], int],
        monotonic_s: Callable[[], float],
    ) -> None:
        """Prepare.

        Args:
            core: the core as it is now: keys are reloaded while the worker runs.
            router: makes records of fates.
            raw_topic: name for rejections.
            limits: how old a request may be.
            suppressions: those in force now.
            now_ms: the clock, epoch milliseconds.
            monotonic_s: the clock for durations.
        """
        self._core = core
        self._router = router
        self._topic = raw_topic
        self._limits = limits
        self._suppressions = suppressions
        self._now_ms = now_ms
        self._monotonic_s = monotonic_s

    def fill(self, made: Slice, batch: RawBatch, place: int, until_s: float) -> int:
        """Work from the record at ``place`` on, at least one, until a time; return the next place.

        Raises:
            KeyringError: no key epoch covers an event; the process must stop.
            DetectorLost: the detector cannot work any more; likewise.
        """
        records = batch.records
        core, suppressions, now_ms = self._core(), self._suppressions(), self._now_ms()
        while True:
            self._one(records[place], made, core, suppressions, now_ms)
            place += 1
            if place == len(records):
                made.end = batch.end
                return place
            made.end = records[place - 1].offset + 1
            if self._monotonic_s() >= until_s:
                return place

    def _one(self, record: RawRecord, made: Slice, core: Core, suppressions: Suppressions, now_ms: int) -> None:
        raw = record.value or b""
        source = Source(self._topic, made.partition, record.offset, len(raw))
        fate = process(raw, source, core, admit(now_ms, record.timestamp, self._limits, suppressions))
        made.tally.count(fate)
        made.tally.bytes_read += len(raw)
        made.appended_ms = record.timestamp
        for outgoing in self._router.route(fate):
            made.outgoing.append(outgoing)
            made.outgoing_bytes += len(outgoing.value)
            made.written[outgoing.sink] += 1
        if isinstance(fate, Rejection):
            made.rejected_keys.append(record.key)
        else:
            made.received_ms.append(fate.facts.received_at_ms)


def open_slice(batch: RawBatch, place: int) -> Slice:
    """Return an empty slice that begins at a record of a batch; the first one covers the gap before it, too."""
    first = batch.first if place == 0 else batch.records[place - 1].offset + 1
    return Slice(batch.partition, first, first)
