"""A sink in memory, for tests: it keeps the first record of each identity."""

from collections.abc import Hashable, Sequence
from typing import TypeVar

from pipeline.records import Anonymized, ContentRecord, Fate, OperationalRecord, Rejection
from pipeline.sinks.base import WriteReport

_K = TypeVar("_K", bound=Hashable)
_R = TypeVar("_R", ContentRecord, OperationalRecord, Rejection)


class MemorySink:
    """Keeps records by request id and rejections by where they came from (follows `pipeline.sinks.base.Sink`).

    Attributes:
        content, operational, rejected: what is kept.
        complete: how it was closed, None while it is open.
    """

    def __init__(self) -> None:
        self.content: dict[str, ContentRecord] = {}
        self.operational: dict[str, OperationalRecord] = {}
        self.rejected: dict[tuple[str, int, int], Rejection] = {}
        self.complete: bool | None = None

    def write(self, fates: Sequence[Fate]) -> WriteReport:
        """Keep a batch."""
        report = WriteReport()
        for fate in fates:
            if isinstance(fate, Anonymized):
                if fate.content is not None:
                    report.content += _keep(self.content, fate.content.request_id, fate.content, report)
                report.operational += _keep(self.operational, fate.operational.request_id, fate.operational, report)
            else:
                place = (fate.source.topic, fate.source.partition, fate.source.offset)
                report.rejected += _keep(self.rejected, place, fate, report)
        return report

    def close(self, *, complete: bool) -> None:
        """Remember how the run ended; nothing to release."""
        self.complete = complete


def _keep(kept: dict[_K, _R], identity: _K, record: _R, report: WriteReport) -> bool:
    """Keep a record whose identity is new and say so; count any other."""
    if identity not in kept:
        kept[identity] = record
        return True
    report.repeated += kept[identity] == record
    report.conflicts += kept[identity] != record
    return False
