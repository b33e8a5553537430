"""The main job without a broker: raw events in, fates out to a sink, in bounded batches."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from pipeline.anonymize import Admission, Core, process
from pipeline.errors import Reason
from pipeline.inputs import DamagedInput, RawEvent
from pipeline.metrics import Metrics
from pipeline.records import Fate, Rejection
from pipeline.rejects import make_rejection
from pipeline.sinks.base import Sink, WriteReport
from pipeline.suppress import Suppressions
from pipeline.tally import Tally

FUTURE_SLACK_MS = 5 * 60 * 1000
"""An event may be this much later than now (design §2)."""
_BATCH_BYTES_MAX = 32 * 1024 * 1024
_RECORDS_BYTES = 2048
"""About what an event's records take besides its body."""
_REJECTIONS_SHOWN = 5


@dataclass(slots=True)
class Summary(Tally):
    """What a run did: counts, closed names, and the first rejections, which are pointers."""

    written: WriteReport = field(default_factory=WriteReport)
    first_rejections: list[Rejection] = field(default_factory=list)

    def count(self, fate: Fate) -> None:
        """Count one event."""
        Tally.count(self, fate)  # a dataclass with slots is made anew, and super() means the one before
        if isinstance(fate, Rejection) and len(self.first_rejections) < _REJECTIONS_SHOWN:
            self.first_rejections.append(fate)


def admit_for_store(
    now_ms: int,
    content_hold_ms: int | None,
    operational_hold_ms: int | None,
    suppressions: Suppressions | None = None,
) -> Admission:
    """Return the admission of a store, whose clock is received_at; None holds for ever (files)."""
    return Admission(
        latest_ms=now_ms + FUTURE_SLACK_MS,
        content_from_ms=None if content_hold_ms is None else now_ms - content_hold_ms,
        operational_from_ms=None if operational_hold_ms is None else now_ms - operational_hold_ms,
        suppressions=suppressions,
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
    summary: Summary | None = None,
    progress: Callable[[Summary], None] = lambda _: None,
) -> Summary:
    """Run all events through the core into the sink.

    Args:
        events: raw lines.
        core: policy, detector and keys.
        sink: where fates go; closed as complete only when the input came to its end.
        admit: the admission of the next event, from the edge's clock: lines of a pipe can come in for hours.
        batch_max: events a write, at most; their bytes are bounded too.
        metrics: counted as it goes.
        summary: filled as it goes, so that the caller has it when the run ends early.
        progress: called after each event; must be cheap.

    Raises:
        DamagedInput: an input ended early; what came before is stored, and the sink is not closed as complete.
        SinkUnavailable, KeyringError: the run ends; what was written stays, and running again adds the rest.
    """
    summary = summary or Summary()
    complete = False
    try:
        damage = _run_batches(events, core, admit, _Writer(sink, batch_max, summary, metrics), progress)
        complete = damage is None
    finally:
        sink.close(complete=complete)
    if damage is not None:
        raise damage
    return summary


def _run_batches(
    events: Iterable[RawEvent],
    core: Core,
    admit: Callable[[], Admission],
    writer: "_Writer",
    progress: Callable[[Summary], None],
) -> DamagedInput | None:
    """Run the events; return what ended the input before its end, with all that came before it written."""
    damage = None
    try:
        for event in events:
            writer.add(to_fate(event, core, admit()), event.source.size_bytes)
            progress(writer.summary)
    except DamagedInput as error:
        damage = error
    writer.flush()
    progress(writer.summary)
    return damage


class _Writer:
    """Gathers fates into batches, bounded in number and bytes, and counts what becomes of them."""

    def __init__(self, sink: Sink, batch_max: int, summary: Summary, metrics: Metrics) -> None:
        self.summary = summary
        self._sink = sink
        self._batch_max = batch_max
        self._metrics = metrics
        self._batch: list[Fate] = []
        self._bytes = 0

    def add(self, fate: Fate, size_bytes: int) -> None:
        self.summary.count(fate)
        self.summary.bytes_read += size_bytes
        self._metrics.count_fate(fate)
        self._batch.append(fate)
        self._bytes += _weight(fate)
        if len(self._batch) >= self._batch_max or self._bytes >= _BATCH_BYTES_MAX:
            self.flush()

    def flush(self) -> None:
        if self._batch:
            report = self._sink.write(self._batch)
            self.summary.written.add(report)
            self._metrics.count_write(report)
        self._batch, self._bytes = [], 0


def _weight(fate: Fate) -> int:
    if isinstance(fate, Rejection) or fate.content is None:
        return _RECORDS_BYTES
    return _RECORDS_BYTES + len(fate.content.body.data)
