"""What the archive did, told to metrics, probes and operators. Never with a value of a record."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence

from pipeline.archive.batch import Batch
from pipeline.archive.metrics import ArchiveMetrics
from pipeline.archive.reader import describe_start, lost_records
from pipeline.client import TopicPartition
from pipeline.store.intake import TableReport
from pipeline.worker.offsets import Start
from pipeline.worker.vitals import Vitals

_CONFLICTS_SHOWN_MAX = 5
"""Conflicts of a batch and sink that are named; the others are counted."""


class Account:
    """Keeps the account of one archive."""

    def __init__(
        self,
        metrics: ArchiveMetrics,
        vitals: Vitals,
        sinks: Mapping[str, str],
        now_ms: Callable[[], int],
        log: Callable[[str], None],
    ) -> None:
        """Prepare.

        Args:
            metrics: of this archive.
            vitals: its signs of life.
            sinks: sink of each topic.
            now_ms: the clock, epoch milliseconds.
            log: writes a line for operators.
        """
        self._metrics, self._vitals, self._sinks = metrics, vitals, sinks
        self._now_ms, self._log = now_ms, log
        self._totals: Counter[str] = Counter()
        self._numbers: dict[TopicPartition, int] = {}
        self._appended_ms: dict[TopicPartition, int] = {}

    def summary(self) -> str:
        """Say what was done so far."""
        done = self._totals
        return (
            f"{done['read']} records read, {done['inserted']} stored, {done['repeated']} there already, "
            f"{done['conflicts']} conflicts, {done['expired']} expired"
        )

    def begun(self, starts: Mapping[TopicPartition, Start], places: Sequence[TopicPartition]) -> None:
        """Take note of where the partitions begin, and say what is missing."""
        for at, start in starts.items():
            if said := describe_start(at, start):
                self._log(said)
        for topic, records in lost_records(starts.items()).items():
            self._metrics.lost(self._sinks[topic], records)
        self._numbers = {at: number for number, at in enumerate(places)}
        self._vitals.assigned(self._numbers.values())

    def stored(self, batch: Batch, reports: Mapping[str, TableReport]) -> None:
        """Count a batch that is durable, and name its conflicts by their places."""
        records = batch.records()
        self._metrics.stored({sink: len(getattr(records, sink)) for sink in reports}, batch.size_bytes, reports)
        self._totals["read"] += batch.read
        for sink, report in reports.items():
            conflicts = len(report.conflicts)
            self._totals.update(
                inserted=report.inserted, repeated=report.repeated, conflicts=conflicts, expired=report.expired
            )
            for key in report.conflicts[:_CONFLICTS_SHOWN_MAX]:
                self._log(f"conflict: {batch.place_of(sink, key)} has the identity of another record; the first stays")
            if conflicts > _CONFLICTS_SHOWN_MAX:
                self._log(f"conflict: {conflicts - _CONFLICTS_SHOWN_MAX} more {sink} records of this batch")

    def committed(self, batch: Batch) -> None:
        """Take note that a batch is committed."""
        self._metrics.committed(self._now_ms())
        self._appended_ms |= {TopicPartition(*at): appended_ms for at, appended_ms in batch.appended_ms.items()}
        self._vitals.committed([self._numbers[TopicPartition(*at)] for at in batch.ends])

    def behind(self, lags: Mapping[TopicPartition, int]) -> None:
        """Take note of how many records wait in each partition."""
        now_ms = self._now_ms()
        oldest_ms = now_ms
        for at, records in lags.items():
            self._metrics.behind(self._sinks[at.topic], at.partition, records)
            self._vitals.set_lag(self._numbers[at], records)
            appended_ms = self._appended_ms.setdefault(at, now_ms)
            if records:
                oldest_ms = min(oldest_ms, appended_ms)
            else:
                self._appended_ms[at] = now_ms  # what comes next is no older
        self._metrics.oldest(max(0, now_ms - oldest_ms) / 1000)
