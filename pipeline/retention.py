"""Whether what a sink holds keeps to its bound: the age of the oldest, judged. Pure; topics and stores share it."""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum


class Verdict(StrEnum):
    """What a look came to, from best to worst."""

    HOLDS = "holds"
    LATE = "late"
    """Within the bound, but what removes it should have come by now: the alert before the bound."""
    UNSEEN = "unseen"
    """Nobody could look. Never the same as holds."""
    BROKEN = "broken"


class Kind(StrEnum):
    """Where records can be, or what is left of them."""

    TOPIC = "topic"
    ROWS = "rows"
    FIELD = "field"
    OUTDATED = "outdated_parts"
    DETACHED = "detached_parts"
    MUTATIONS = "mutations"
    FILES = "files"
    SPOOL = "spool"
    KEYS = "keys"
    """What opens sealed content: it goes with its day, and what a copy still has is unreadable."""
    STORE = "store"
    """The store as a whole, when it could not be opened."""


@dataclass(frozen=True, slots=True)
class Holding:
    """One kind of thing that a sink holds.

    Attributes:
        sink: name of the sink or table; "" for what is of no one sink.
        kind: what it is.
        field: of a field that becomes null, its name.
        verdict: what the look came to.
        count: how many there are: partitions with records, rows, parts, mutations, files; None where nobody knows.
        size_bytes: on disk, or None.
        age_ms: of the oldest; None where there is none.
        late_ms: the age from which it is late.
        bound_ms: the age that it must not pass.
        note: what to know beside, "" when nothing.
    """

    sink: str
    kind: Kind
    field: str
    verdict: Verdict
    count: int | None
    size_bytes: int | None
    age_ms: int | None
    late_ms: int | None
    bound_ms: int | None
    note: str


def judge(
    sink: str,
    kind: Kind,
    *,
    age_ms: int | None,
    late_ms: int,
    bound_ms: int,
    count: int | None = None,
    size_bytes: int | None = None,
    field: str = "",
    undated: int = 0,
    note: str = "",
) -> Holding:
    """Judge the oldest of a kind; the arguments are as in `Holding`.

    Of ``undated``, how many have no readable age, one is enough to break: it may be of any age.
    """
    if undated or (age_ms is not None and age_ms > bound_ms):
        verdict = Verdict.BROKEN
    else:
        verdict = Verdict.LATE if age_ms is not None and age_ms > late_ms else Verdict.HOLDS
    note = f"{undated} whose age cannot be read" if undated else note
    return Holding(sink, kind, field, verdict, count, size_bytes, age_ms, late_ms, bound_ms, note)


def unseen(sink: str, kind: Kind, reason: str) -> Holding:
    """Return what stands for something that could not be looked at."""
    return Holding(sink, kind, "", Verdict.UNSEEN, None, None, None, None, None, reason)


def worst(holdings: Iterable[Holding]) -> Verdict:
    """Return the worst verdict; of nothing, unseen: where nothing was looked at, nothing is proved."""
    order = list(Verdict)
    return max((holding.verdict for holding in holdings), key=order.index, default=Verdict.UNSEEN)
