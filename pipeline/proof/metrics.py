"""The gauges of an audit, for an alert: which check does not hold. Labels are clauses and names of checks alone."""

from collections.abc import Iterable

from pipeline.metrics import MetricSet
from pipeline.proof.report import Check
from pipeline.retention import Verdict

_VERDICTS = list(Verdict)


class AuditMetrics(MetricSet):
    """What one audit came to."""

    def __init__(self, checks: Iterable[Check], now_ms: int) -> None:
        """Show it.

        Args:
            checks: of one audit.
            now_ms: now, epoch milliseconds.
        """
        super().__init__()
        labels = ("clause", "check")
        verdict = self._gauge("lethe_audit_verdict", "0 holds, 1 late, 2 unseen, 3 broken. Above 0: look.", *labels)
        found = self._gauge("lethe_audit_found", "How much is wrong, of whatever kind.", *labels)
        for one in checks:
            verdict.labels(one.clause, one.name).set(_VERDICTS.index(one.verdict))
            found.labels(one.clause, one.name).set(sum(one.found.values()))
        self._gauge("lethe_audit_looked_timestamp_seconds", "When this was seen. Old: nobody looks.").set(now_ms / 1000)
