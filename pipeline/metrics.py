"""Every metric, with what it means (the only module that imports prometheus-client). Labels are closed sets."""

from prometheus_client import CollectorRegistry, Counter, disable_created_metrics, generate_latest

from pipeline.errors import Reason
from pipeline.records import Anonymized, Fate
from pipeline.sinks.base import WriteReport

_SINKS = ("content", "operational", "rejected")
# A creation time beside each series doubles them and tells nothing.
disable_created_metrics()  # type: ignore[no-untyped-call]  # the library leaves it without annotations


class Metrics:
    """The metrics of one process, in a registry of their own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
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
            "Content by outcome: stored, expired, oversize. Oversize: a body grew past the sink.",
            "outcome",
        )
        self.unknown = self._counter(
            "lethe_unknown_fields", "Undeclared fields dropped. A rise: the event's shape changed."
        )
        self.duplicates = self._counter("lethe_duplicate_keys", "Keys that an object repeats; the last one won.")
        self.records = self._counter("lethe_records_written", "Records newly stored.", "sink")
        self.repeated = self._counter("lethe_records_repeated", "Records that were stored already with the same bytes.")
        self.conflicts = self._counter(
            "lethe_records_conflicting", "Same request id, other bytes. Never expected: look at once."
        )
        self._start_at_zero()

    def _start_at_zero(self) -> None:
        """Make the series of closed labels: the first count is then a rise that an alert sees, not a new series."""
        for fate in ("records", "rejected"):
            self.events.labels(fate)
        for reason in Reason:
            self.rejections.labels(str(reason))
        for sink in _SINKS:
            self.records.labels(sink)

    def _counter(self, name: str, meaning: str, *labels: str) -> Counter:
        return Counter(name, meaning, labels, registry=self.registry)

    def count_fate(self, fate: Fate) -> None:
        """Count one event."""
        if not isinstance(fate, Anonymized):
            self.events.labels("rejected").inc()
            self.rejections.labels(str(fate.reason)).inc()
            return
        self.events.labels("records").inc()
        self.outcomes.labels(fate.facts.content_outcome).inc()
        for entity, count in fate.facts.redactions.items():
            self.redactions.labels(entity).inc(count)
        if fate.facts.unknown_fields:
            self.unknown.inc(fate.facts.unknown_fields)
        if fate.facts.duplicate_keys:
            self.duplicates.inc(fate.facts.duplicate_keys)

    def count_write(self, report: WriteReport) -> None:
        """Count one write."""
        for sink in _SINKS:
            self.records.labels(sink).inc(getattr(report, sink))
        self.repeated.inc(report.repeated)
        self.conflicts.inc(report.conflicts)

    def render(self) -> bytes:
        """Return the metrics in Prometheus' text format."""
        return generate_latest(self.registry)
