"""The main job without a broker: raw events in, fates out to a sink, in bounded batches."""

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from pipeline.anonymize import Admission, Core, process
from pipeline.errors import Reason
from pipeline.inputs import RawEvent
from pipeline.metrics import Metrics
from pipeline.records import Fate, Rejection
from pipeline.rejects import make_rejection
from pipeline.sinks.base import Sink, WriteReport

FUTURE_SLACK_MS = 5 * 60 * 1000
"""An event may be this much later than now (design §2)."""
_BATCH_BYTES_MAX = 32 * 1024 * 1024


@dataclass(slots=True)
class Summary:
    """What a run did; counts and closed names only."""

    events: int = 0
    bytes_read: int = 0
    accepted: int = 0
    rejections: Counter[str] = field(default_factory=Counter)
    redactions: Counter[str] = field(default_factory=Counter)
    outcomes: Counter[str] = field(default_factory=Counter)
    unknown_fields: int = 0
    dropped_fields: int = 0
    duplicate_keys: int = 0
    written: WriteReport = field(default_factory=WriteReport)

    def count(self, fate: Fate) -> None:
        """Count one event."""
        self.events += 1
        if isinstance(fate, Rejection):
            self.rejections[str(fate.reason)] += 1
            return
        self.accepted += 1
        self.redactions.update(fate.facts.redactions)
        self.outcomes[fate.facts.content_outcome] += 1
        self.unknown_fields += fate.facts.unknown_fields
        self.dropped_fields += fate.facts.dropped_fields
        self.duplicate_keys += fate.facts.duplicate_keys


def admit_for_store(now_ms: int, content_hold_ms: int | None, operational_hold_ms: int | None) -> Admission:
    """Return the admission of a store, whose clock is received_at; None holds for ever (files)."""
    return Admission(
        latest_ms=now_ms + FUTURE_SLACK_MS,
        content_from_ms=None if content_hold_ms is None else now_ms - content_hold_ms,
        operational_from_ms=None if operational_hold_ms is None else now_ms - operational_hold_ms,
    )


def to_fate(event: RawEvent, core: Core, admission: Admission) -> Fate:
    """Return the fate of one line; one too long to be read is rejected unread."""
    if event.oversize:
        return make_rejection(event.source, Reason.TOO_LARGE, "", core.policy)
    return process(event.raw, event.source, core, admission)


def run(
    events: Iterable[RawEvent],
    core: Core,
    sink: Sink,
    admit: Callable[[], Admission],
    *,
    batch_max: int,
    metrics: Metrics,
    progress: Callable[[Summary], None] = lambda _: None,
) -> Summary:
    """Run all events through the core into the sink.

    Args:
        events: raw lines.
        core: policy, detector and keys.
        sink: where fates go; closed as complete only when the input came to its end.
        admit: the admission of the next batch, read from the edge's clock.
        batch_max: events a write, at most; their bytes are bounded too.
        metrics: counted as it goes.
        progress: called after each write.

    Raises:
        SinkUnavailable, KeyringError: the run ends; what was written stays, and running again adds the rest.
    """
    summary = Summary()
    batch: list[Fate] = []
    batch_bytes = 0
    admission = admit()
    complete = False
    try:
        for event in events:
            fate = to_fate(event, core, admission)
            summary.count(fate)
            metrics.count_fate(fate)
            summary.bytes_read += event.source.size_bytes
            batch.append(fate)
            batch_bytes += _weight(fate)
            if len(batch) >= batch_max or batch_bytes >= _BATCH_BYTES_MAX:
                _flush(batch, sink, summary, metrics)
                batch_bytes = 0
                admission = admit()
                progress(summary)
        _flush(batch, sink, summary, metrics)
        progress(summary)
        complete = True
    finally:
        sink.close(complete=complete)
    return summary


def _weight(fate: Fate) -> int:
    if isinstance(fate, Rejection) or fate.content is None:
        return 0
    return len(fate.content.body.data)


def _flush(batch: list[Fate], sink: Sink, summary: Summary, metrics: Metrics) -> None:
    if batch:
        report = sink.write(batch)
        summary.written.add(report)
        metrics.count_write(report)
        batch.clear()
