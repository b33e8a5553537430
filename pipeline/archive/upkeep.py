"""What the archive does for its store every hour: sweep it, then look whether every bound holds, and say so.

A sweep that fails is tried again and then ends the archive. A look that fails changes nothing in the store, so the
archive goes on, but no age of an earlier look is shown any more: one that nobody renews would look well for ever.
"""

import time
from collections.abc import Callable
from typing import Protocol

from pipeline.archive.metrics import ArchiveMetrics
from pipeline.archive.patience import Patience
from pipeline.errors import PipelineError
from pipeline.retention import Holding, Kind, Verdict, unseen, worst
from pipeline.retention_metrics import RetentionMetrics
from pipeline.store.sweep import SweepReport
from pipeline.worker.vitals import Vitals

SWEEP_EVERY_S = 3600.0
LOOK_AGAIN_S = 60.0
"""After a look that failed."""


class Kept(Protocol):
    """The store, as far as its upkeep goes."""

    def sweep(self) -> SweepReport:
        """Remove what is due."""
        ...

    def look(self) -> list[Holding]:
        """Hold the oldest of everything against its bound."""
        ...


class Upkeep:
    """Sweeps and looks when it is time; both take up the thread of the store."""

    def __init__(
        self,
        kept: Kept,
        patience: Patience,
        metrics: ArchiveMetrics,
        shown: RetentionMetrics,
        vitals: Vitals,
        now_ms: Callable[[], int],
        log: Callable[[str], None],
    ) -> None:
        """Prepare.

        Args:
            kept: the store.
            patience: calls it.
            metrics: of the archive.
            shown: what a look found.
            vitals: are told that a sweep begins: it may take long.
            now_ms: the clock, epoch milliseconds.
            log: writes a line for operators.
        """
        self._kept, self._patience, self._metrics, self._shown = kept, patience, metrics, shown
        self._vitals, self._now_ms, self._log = vitals, now_ms, log
        self._sweep_due_s = self._look_due_s = time.monotonic()

    async def run_when_due(self) -> None:
        """Do what is due; the first time is at once.

        Raises:
            SinkUnavailable: a sweep failed for longer than it is tried.
        """
        now_s = time.monotonic()
        if now_s >= self._sweep_due_s:
            self._vitals.committed()  # the time in which records may wait begins with it; not with each look
            await self._sweep()
            self._look_due_s, self._sweep_due_s = now_s, time.monotonic() + SWEEP_EVERY_S
        if now_s >= self._look_due_s:
            await self._look()

    async def _sweep(self) -> None:
        began_s = time.monotonic()
        report = await self._patience.call(self._kept.sweep)
        self._metrics.stage("sweep", time.monotonic() - began_s)
        self._metrics.swept(report)
        if report.waiting:
            self._log(f"sweep: {report.waiting} parts with due bytes are still there; the next sweep tries again")

    async def _look(self) -> None:
        began_s = time.monotonic()
        try:
            holdings = await self._patience.once(self._kept.look)
            self._look_due_s = self._sweep_due_s
        except PipelineError as error:
            holdings = [unseen("", Kind.STORE, str(error))]
            self._look_due_s = time.monotonic() + LOOK_AGAIN_S
        self._metrics.stage("look", time.monotonic() - began_s)
        self._shown.found(holdings, self._now_ms())
        if (verdict := worst(holdings)) is not Verdict.HOLDS:
            at = sorted({_name(one) for one in holdings if one.verdict is verdict})
            self._log(f"retention: {verdict}: {', '.join(at)}; lethe retention verify says more")


def _name(one: Holding) -> str:
    note = f" ({one.note})" if one.note else ""
    return " ".join(filter(None, (one.sink, one.kind.replace("_", " "), one.field))) + note
