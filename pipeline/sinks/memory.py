"""A sink in memory, for previews and tests: it keeps the last fate of each identity."""

from collections.abc import Sequence

from pipeline.records import Anonymized, ContentRecord, Fate, OperationalRecord, Rejection
from pipeline.sinks.base import WriteReport


class MemorySink:
    """Keeps records by request id and rejections by where they came from."""

    def __init__(self) -> None:
        self.content: dict[str, ContentRecord] = {}
        self.operational: dict[str, OperationalRecord] = {}
        self.rejected: dict[tuple[str, int, int], Rejection] = {}

    def write(self, fates: Sequence[Fate]) -> WriteReport:
        """Keep a batch."""
        report = WriteReport()
        for fate in fates:
            if isinstance(fate, Anonymized):
                self._keep(fate, report)
            else:
                key = (fate.source.topic, fate.source.partition, fate.source.offset)
                report.rejected += key not in self.rejected
                report.repeated += key in self.rejected
                self.rejected[key] = fate
        return report

    def _keep(self, fate: Anonymized, report: WriteReport) -> None:
        known = self.operational.get(fate.operational.request_id)
        if known is not None:
            same = known == fate.operational and self.content.get(known.request_id) == fate.content
            report.repeated += same
            report.conflicts += not same
            return
        self.operational[fate.operational.request_id] = fate.operational
        report.operational += 1
        if fate.content is not None:
            self.content[fate.content.request_id] = fate.content
            report.content += 1

    def close(self, *, complete: bool) -> None:
        """Nothing to release."""
