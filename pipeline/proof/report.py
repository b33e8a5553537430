"""What an audit came to: checks, each of one clause of the privacy policy. Pure."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from pipeline.retention import Holding, Verdict


@dataclass(frozen=True, slots=True)
class Check:
    """One check; kinds, counts and places only, never a value.

    Attributes:
        clause: of the privacy policy, such as ``§5``.
        name: what was looked at.
        verdict: what the look came to.
        looked: how many things were looked at.
        found: what is wrong, by kind.
        note: what to know beside, "" when nothing.
    """

    clause: str
    name: str
    verdict: Verdict
    looked: int = 0
    found: Mapping[str, int] = field(default_factory=dict)
    note: str = ""


def judged(clause: str, name: str, looked: int, found: Mapping[str, int], note: str = "") -> Check:
    """Return a check: broken where something is found, unseen where there was nothing to look at."""
    verdict = Verdict.BROKEN if found else Verdict.HOLDS if looked else Verdict.UNSEEN
    return Check(clause, name, verdict, looked, dict(found), note or ("" if looked else "there is nothing to look at"))


def of_holdings(holdings: Iterable[Holding], clauses: Mapping[str, str]) -> list[Check]:
    """Return one check for each sink that was looked at: whether it keeps its bound.

    Args:
        holdings: of the retention proof.
        clauses: of each sink, by its name.
    """
    by_sink: dict[str, list[Holding]] = {}
    for one in holdings:
        by_sink.setdefault(one.sink, []).append(one)
    order = list(Verdict)
    checks = []
    for sink, some in by_sink.items():
        last = max(some, key=lambda one: order.index(one.verdict))
        bad = {f"{one.kind} {one.verdict}": 1 for one in some if one.verdict is not Verdict.HOLDS}
        name = f"retention: {sink}" if sink else "retention"
        checks.append(Check(clauses.get(sink, "§5"), name, last.verdict, len(some), bad, last.note))
    return checks


def worst(checks: Iterable[Check]) -> Verdict:
    """Return the worst verdict; of nothing, unseen."""
    order = list(Verdict)
    return max((check.verdict for check in checks), key=order.index, default=Verdict.UNSEEN)
