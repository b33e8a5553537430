"""Every metric, with what it means (the only module that imports prometheus-client). Labels are closed sets."""

from bisect import bisect_left
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, disable_created_metrics, generate_latest
from prometheus_client.metrics_core import HistogramMetricFamily
from prometheus_client.registry import Collector

from pipeline.errors import Reason
from pipeline.records import Facts, Fate, Rejection
from pipeline.sinks.base import WriteReport
from pipeline.tally import Tally

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_SINKS = ("content", "operational", "rejected")
_OUTCOMES = ("stored", "expired", "restricted", "erased", "oversize")
_COMMITS = ("done", "rebalanced", "failed")
_STAGES = ("wait", "process", "deliver", "commit")
_STAGE_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
_SIZE_BUCKETS = (1, 5, 10, 25, 50, 100, 250, 500)
_AGE_BUCKETS = (*_STAGE_BUCKETS[4:13], 60.0, 300.0, 1800.0, 7200.0, 21_600.0, 43_200.0, 86_400.0)
# A creation time beside each series doubles them and tells nothing.
disable_created_metrics()  # type: ignore[no-untyped-call]  # the library leaves it without annotations


class MetricSet:
    """The metrics of one process, in a registry of their own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()

    def render(self) -> bytes:
        """Return the metrics in Prometheus' text format."""
        return generate_latest(self.registry)

    def _counter(self, name: str, meaning: str, *labels: str) -> Counter:
        return Counter(name, meaning, labels, registry=self.registry)

    def _gauge(self, name: str, meaning: str, *labels: str) -> Gauge:
        return Gauge(name, meaning, labels, registry=self.registry)

    def _histogram(self, name: str, meaning: str, buckets: Iterable[float], *labels: str) -> Histogram:
        return Histogram(name, meaning, labels, buckets=tuple(buckets), registry=self.registry)


class Metrics(MetricSet):
    """The metrics of a run, and of a worker."""

    def __init__(self) -> None:
        super().__init__()
        self.events = self._counter("lethe_events", "Raw events read, by fate: records or rejected.", "fate")
        self.rejections = self._counter(
            "lethe_rejections", "Raw events refused. A rise in one reason: a producer changed.", "reason"
        )
        self.redactions = self._counter(
            "lethe_redactions",
            "Spans and leaves replaced. A drop to none: a detector is silent, which is a leak.",
            "entity",
        )
        self.outcomes = self._counter(
            "lethe_content",
            "Content by outcome: stored, expired, restricted, erased, oversize. Oversize: a body grew past the sink.",
            "outcome",
        )
        self.unknown = self._counter(
            "lethe_unknown_fields", "Undeclared fields dropped. A rise: the event's shape changed."
        )
        self.duplicates = self._counter("lethe_duplicate_keys", "Keys that an object repeats; the last one won.")
        self.records = self._counter(
            "lethe_records_written", "Records newly stored, or acknowledged by a topic.", "sink"
        )
        self.repeated = self._counter("lethe_records_repeated", "Records that were stored already with the same bytes.")
        self.conflicts = self._counter(
            "lethe_records_conflicting", "Same request id, other bytes. Never expected: look at once."
        )
        for fate in ("records", "rejected"):
            self.events.labels(fate)
        start_at_zero(self.rejections, map(str, Reason))
        start_at_zero(self.records, _SINKS)

    def count_fate(self, fate: Fate) -> None:
        """Count one event. A tally for each would take three times as long."""
        if isinstance(fate, Rejection):
            self.events.labels("rejected").inc()
            self.rejections.labels(str(fate.reason)).inc()
            return
        self.events.labels("records").inc()
        self.outcomes.labels(fate.facts.content_outcome).inc()
        _add(self.redactions, fate.facts.redactions)
        self._count_oddities(fate.facts)

    def count_tally(self, tally: Tally) -> None:
        """Count what became of some events."""
        for counter, counts in (
            (self.events, {"records": tally.accepted, "rejected": tally.rejections.total()}),
            (self.rejections, tally.rejections),
            (self.redactions, tally.redactions),
            (self.outcomes, tally.outcomes),
        ):
            _add(counter, counts)
        self._count_oddities(tally)

    def _count_oddities(self, counts: Facts | Tally) -> None:
        if counts.unknown_fields:
            self.unknown.inc(counts.unknown_fields)
        if counts.duplicate_keys:
            self.duplicates.inc(counts.duplicate_keys)

    def count_write(self, report: WriteReport) -> None:
        """Count one write."""
        _add(self.records, {sink: getattr(report, sink) for sink in _SINKS})
        self.repeated.inc(report.repeated)
        self.conflicts.inc(report.conflicts)


class WorkerMetrics(Metrics):
    """The metrics of one worker."""

    def __init__(self) -> None:
        super().__init__()
        self._known_models: Container[str] = ()
        counter, gauge = self._counter, self._gauge
        self.bytes_read = counter("lethe_raw_bytes", "Size of the raw events read.")
        self.models = counter("lethe_requests", "Events that became records, by model of the catalogue.", "model")
        self.commits = counter("lethe_commits", "Commits of offsets: done, rebalanced or failed.", "outcome")
        self.rebalances = counter("lethe_rebalances", "Assignments of partitions. Many: workers come and go.")
        self.lost = counter(
            "lethe_raw_expired",
            "Raw records that retention took before they were read. Never expected: events are lost.",
        )
        self.stages = self._histogram(
            "lethe_stage_seconds",
            "Time of a batch in each stage: wait for its turn, process, deliver until acknowledged, commit.",
            _STAGE_BUCKETS,
            "stage",
        )
        self.batches = self._histogram("lethe_batch_events", "Events worked on and delivered at once.", _SIZE_BUCKETS)
        self.age = _BulkHistogram(
            "lethe_event_age_seconds", "From received_at to records that are acknowledged by every sink.", _AGE_BUCKETS
        )
        self.registry.register(self.age)
        self.lag = gauge("lethe_lag_records", "Raw records that wait in a partition of this worker's.", "partition")
        self.oldest = gauge(
            "lethe_oldest_raw_age_seconds",
            "Age of the record that is read next, by its append. At raw's bound it is lost; a warning comes at half.",
            "partition",
        )
        self.partitions = gauge("lethe_partitions", "Partitions that this worker has.")
        self.policy = gauge("lethe_policy_info", "The policy in force; always 1.", "version", "digest")
        self.bounds = gauge("lethe_retention_bound_seconds", "Bound of each sink, as the policy states it.", "sink")
        self.suppressed = gauge("lethe_control_entries", "Entries of the control topic that were read.")
        self._loaded = gauge("lethe_keys_loaded_timestamp_seconds", "When keys were loaded last.")
        self._epoch = gauge("lethe_keys_epoch_timestamp_seconds", "From when on the newest key epoch is in force.")
        self._days = [
            gauge(f"lethe_keys_{which}_day_timestamp_seconds", meaning, "keys")
            for which, meaning in (
                ("oldest", "Begin of the oldest day that has a key: ip or seal."),
                ("newest", "Begin of the newest day that has a key: ip or seal. Past its end, a worker stops."),
            )
        ]
        start_at_zero(self.outcomes, _OUTCOMES)
        start_at_zero(self.commits, _COMMITS)
        for stage in _STAGES:
            self.stages.labels(stage)

    def describe_policy(self, version: int, digest: str, bounds_ms: Mapping[str, int], models: Container[str]) -> None:
        """Say which policy is in force, the bound of each of its sinks, and which models are its catalogue's."""
        self._known_models = models
        self.policy.labels(str(version), digest).set(1)
        for sink, bound_ms in bounds_ms.items():
            self.bounds.labels(sink).set(bound_ms / 1000)

    def keys_loaded(self, now_ms: int, epoch_ms: int, days: Mapping[str, Sequence[int]]) -> None:
        """Say which keys are in force.

        Args:
            now_ms: now; like all here, epoch milliseconds.
            epoch_ms: from when on the newest key epoch is in force.
            days: begins of the days that have a key, in order, by kind of key.
        """
        self._loaded.set(now_ms / 1000)
        self._epoch.set(epoch_ms / 1000)
        for kind, begins in days.items():
            for gauge, begin in zip(self._days, (begins[:1], begins[-1:]), strict=True):
                if begin:
                    gauge.labels(kind).set(begin[0] / 1000)
                else:
                    gauge.remove_by_labels({"keys": kind})

    def batch_done(self, tally: Tally, written: Mapping[str, int], ages_s: Iterable[float]) -> None:
        """Count a slice that is delivered.

        Args:
            tally: what became of its events.
            written: records acknowledged, by sink.
            ages_s: from the receipt of each request that made records until now.
        """
        self.count_tally(tally)
        for model, count in tally.models.items():
            self.models.labels(model if model in self._known_models else "other").inc(count)
        _add(self.records, written)
        self.bytes_read.inc(tally.bytes_read)
        self.batches.observe(tally.events)
        self.age.observe_all([max(age_s, 0.0) for age_s in ages_s])  # a gateway's clock may be ahead; sums only rise

    def stage(self, stage: str, seconds: float) -> None:
        """Note how long a stage took."""
        self.stages.labels(stage).observe(seconds)

    def assigned(self, partitions: int, gone: Iterable[int]) -> None:
        """Note an assignment; series of partitions that are gone end."""
        self.rebalances.inc()
        self.partitions.set(partitions)
        for partition in gone:
            for gauge in (self.lag, self.oldest):
                gauge.remove_by_labels({"partition": str(partition)})

    def behind(self, partition: int, records: int, oldest_s: float) -> None:
        """Note how far behind a partition is: records that wait, and the age of the next one."""
        self.lag.labels(str(partition)).set(records)
        self.oldest.labels(str(partition)).set(oldest_s)


class _BulkHistogram(Collector):
    """A histogram that takes many values at a go: the library's takes one at a time, a microsecond and more each."""

    def __init__(self, name: str, meaning: str, buckets: tuple[float, ...]) -> None:
        self._name, self._meaning, self._buckets = name, meaning, buckets
        self._counts = [0] * (len(buckets) + 1)
        self._sum = 0.0

    def observe_all(self, values: Iterable[float]) -> None:
        for value in values:
            self._counts[bisect_left(self._buckets, value)] += 1
            self._sum += value

    def collect(self) -> Iterator[Any]:
        total, cumulative = 0, []
        for bound, count in zip((*map(str, self._buckets), "+Inf"), self._counts, strict=True):
            total += count
            cumulative.append((bound, total))
        yield HistogramMetricFamily(self._name, self._meaning, buckets=cumulative, sum_value=self._sum)


def start_at_zero(counter: Counter, labels: Iterable[str]) -> None:
    """Make the series of closed labels: the first count is then a rise that an alert sees, not a new series."""
    for label in labels:
        counter.labels(label)


def _add(counter: Counter, counts: Mapping[str, int]) -> None:
    for label, count in counts.items():
        if count:
            counter.labels(label).inc(count)
