"""The gauges of a look at retention: the command's file and the archive's page show the same."""

from collections.abc import Iterable
from threading import Lock

from pipeline.metrics import MetricSet
from pipeline.retention import Holding, Verdict

_VERDICTS = list(Verdict)


class RetentionMetrics(MetricSet):
    """What a look at the sinks' retention found; whoever looks shows the same gauges. For several threads."""

    def __init__(self) -> None:
        super().__init__()
        self._lock = Lock()
        name, labels = "lethe_retention_", ("sink", "kind", "field")
        self._gauges = (
            self._gauge(f"{name}oldest_age_seconds", "Age of the oldest; no series: none.", *labels),
            self._gauge(f"{name}limit_seconds", "The age that the oldest must not pass.", *labels),
            self._gauge(f"{name}verdict", "0 holds, 1 late, 2 unseen, 3 broken. Above 0: look at once.", *labels),
            self._gauge(f"{name}held", "How many there are: rows, parts, files.", *labels),
            self._gauge(f"{name}held_bytes", "Their size on disk.", *labels),
        )
        self.looked = self._gauge(f"{name}looked_timestamp_seconds", "When all was seen last. Old: nobody looks.")

    def found(self, holdings: Iterable[Holding], now_ms: int) -> None:
        """Show what one look found, and nothing of an earlier one.

        The time is that of the last look that saw everything: one that did not leaves it as it is.

        Args:
            holdings: what was found, and what could not be looked at.
            now_ms: now, epoch milliseconds.
        """
        found = list(holdings)
        with self._lock:
            for gauge in self._gauges:
                gauge.clear()
            for one in found:
                values = (one.age_ms, one.bound_ms, _VERDICTS.index(one.verdict), one.count, one.size_bytes)
                for gauge, value, unit in zip(self._gauges, values, (1000, 1000, 1, 1, 1), strict=True):
                    if value is not None:
                        gauge.labels(one.sink, one.kind, one.field).set(value / unit)
            if found and all(one.verdict is not Verdict.UNSEEN for one in found):
                self.looked.set(now_ms / 1000)

    def render(self) -> bytes:
        """Return the metrics of one look, never half of another."""
        with self._lock:
            return super().render()
