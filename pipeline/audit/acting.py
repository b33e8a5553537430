"""How a command does what is privileged: an entry before it, and one after, whatever became of it."""

from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress

from pipeline.audit.entry import AuditFault, Deed, Head, Outcome
from pipeline.audit.log import AuditLog
from pipeline.errors import PipelineError


class Tally:
    """What an action says of itself while it is done.

    Attributes:
        log, sequence: of the entry that began it; receipts name it.
        counts: how much it touched, by names of the catalogue audit_counts.
        refused: whether it was refused rather than failed, when it ends with an error.
    """

    def __init__(self, begun: Head) -> None:
        self.log, self.sequence = begun.log, begun.sequence
        self.counts: Counter[str] = Counter()
        self.refused = False

    def refuse(self, error: PipelineError) -> PipelineError:
        """Note that the action is refused, and return the error that is to be raised."""
        self.refused = True
        return error


@contextmanager
def audited(log: AuditLog, deed: Deed, counts: Mapping[str, int] | None = None) -> Iterator[Tally]:
    """Do a privileged action inside: it is on record before it begins, and its end after it.

    Args:
        log: where.
        deed: what, why and about whom.
        counts: what is known before it begins, by names of the catalogue audit_counts.

    Raises:
        AuditFault: it could not be recorded that the action begins, and it did not begin; or it was done, and only
            that could not be recorded.
    """
    tally = Tally(_record(log, deed, Outcome.STARTED, "nothing was done", None, counts))
    tally.counts.update(counts or {})
    try:
        yield tally
    except BaseException:  # Ctrl-C ends an action too
        outcome = Outcome.REFUSED if tally.refused else Outcome.FAILED
        with suppress(AuditFault):  # the action's own error is told; the chain shows what began and did not end
            log.append(deed, outcome, started=tally.sequence, counts=tally.counts)
        raise
    _record(log, deed, Outcome.DONE, "the action was done, and its end is not on record", tally.sequence, tally.counts)


def _record(
    log: AuditLog, deed: Deed, outcome: Outcome, otherwise: str, started: int | None, counts: Mapping[str, int] | None
) -> Head:
    """Write an entry, or say what became of the action without it."""
    try:
        return log.append(deed, outcome, started=started, counts=counts)
    except AuditFault as error:
        problem = str(error)
    raise AuditFault(f"{problem}; {otherwise}")
