"""Every metric of the archive, with what it means. Labels are closed sets: sinks, stages, partitions that exist."""

from collections.abc import Mapping

from pipeline.metrics import MetricSet, start_at_zero
from pipeline.store.intake import STORED_SINKS, TableReport
from pipeline.store.sweep import SweepReport

_STAGES = ("collect", "store", "commit", "sweep", "look")
_STAGE_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0)
_RECORD_BUCKETS = (1, 10, 50, 100, 500, 1000, 2500, 5000, 10_000, 50_000)


class ArchiveMetrics(MetricSet):
    """The metrics of one archive."""

    def __init__(self) -> None:
        super().__init__()
        counter, gauge = self._counter, self._gauge
        self._read = counter("lethe_archive_read", "Records read from the topics.", "sink")
        self._inserted = counter("lethe_archive_inserted", "Rows inserted into the store.", "sink")
        self._repeated = counter("lethe_archive_repeated", "Records that the store had with the same bytes.", "sink")
        self._conflicts = counter(
            "lethe_archive_conflicts", "Same identity, other bytes; the first stays. Never expected: look.", "sink"
        )
        self._expired = counter("lethe_archive_expired", "Records that were due already, and were not stored.", "sink")
        self._erased = counter("lethe_archive_erased", "Records of requests that were erased, and stay so.", "sink")
        self._lost = counter(
            "lethe_archive_lost", "Records that retention took before they were archived. Never expected.", "sink"
        )
        self._skipped = counter("lethe_archive_skipped", "Records passed over because --skip named them.", "sink")
        self.failures = counter("lethe_archive_store_failures", "Writes and sweeps that failed, and were tried again.")
        self._swept = counter(
            "lethe_archive_swept", "What sweeps removed: partitions, deleted and nulled rows.", "what"
        )
        self._waiting = gauge("lethe_archive_sweep_waiting", "Parts with due bytes that are left after a sweep.")
        self._stages = self._histogram(
            "lethe_archive_stage_seconds",
            "Time of each stage of a batch, of sweeps, looks.",
            _STAGE_BUCKETS,
            "stage",
        )
        self._records = self._histogram("lethe_archive_batch_records", "Records stored at once.", _RECORD_BUCKETS)
        self._bytes = counter("lethe_archive_bytes", "Bytes of the records read.")
        self._lag = gauge("lethe_archive_lag_records", "Records that are not committed yet.", "sink", "partition")
        self._oldest = gauge("lethe_archive_oldest_uncommitted_seconds", "Age of the oldest of them, by its append.")
        self._committed = gauge("lethe_archive_last_commit_timestamp_seconds", "When offsets were committed last.")
        per_sink = (
            self._read,
            self._inserted,
            self._repeated,
            self._conflicts,
            self._expired,
            self._lost,
            self._erased,
        )
        for each in (*per_sink, self._skipped):
            start_at_zero(each, STORED_SINKS)
        start_at_zero(self._swept, ("partitions", "deleted", "nulled"))
        for stage in _STAGES:
            self._stages.labels(stage)

    def stored(self, read: Mapping[str, int], size_bytes: int, reports: Mapping[str, TableReport]) -> None:
        """Count a batch that is durable.

        Args:
            read: records read, by sink.
            size_bytes: of their values.
            reports: what became of them, by sink.
        """
        for sink, count in read.items():
            self._read.labels(sink).inc(count)
        self._records.observe(sum(read.values()))
        self._bytes.inc(size_bytes)
        for sink, report in reports.items():
            self._inserted.labels(sink).inc(report.inserted)
            self._repeated.labels(sink).inc(report.repeated)
            self._conflicts.labels(sink).inc(len(report.conflicts))
            self._expired.labels(sink).inc(report.expired)
            self._erased.labels(sink).inc(report.erased)

    def skipped(self, sink: str) -> None:
        """Count a record that was passed over."""
        self._skipped.labels(sink).inc()

    def lost(self, sink: str, records: int) -> None:
        """Count records that retention took."""
        self._lost.labels(sink).inc(records)

    def swept(self, report: SweepReport) -> None:
        """Count what a sweep did."""
        for what in ("partitions", "deleted", "nulled"):
            self._swept.labels(what).inc(getattr(report, what))
        self._waiting.set(report.waiting)

    def stage(self, stage: str, seconds: float) -> None:
        """Note how long a stage took."""
        self._stages.labels(stage).observe(seconds)

    def committed(self, now_ms: int) -> None:
        """Note a commit."""
        self._committed.set(now_ms / 1000)

    def behind(self, sink: str, partition: int, records: int) -> None:
        """Note how many records of a partition are not committed."""
        self._lag.labels(sink, str(partition)).set(records)

    def oldest(self, seconds: float) -> None:
        """Note the age of the oldest record that is not committed; 0 when all is."""
        self._oldest.set(seconds)
