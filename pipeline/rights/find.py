"""What there is about a subject in a store: how much, from when to when, under which keys; never what it says."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from pipeline.rights.erase import Named, StoreEraser, pseudonym_field
from pipeline.store.erasure import find_tombstones, has_tombstones
from pipeline.suppress import Action, ControlRecord, Subject

_DAYS = "count(), toString(toDate(min(received_at))), toString(toDate(max(received_at)))"
_UNLINKED = "none"
"""Stands for the key epoch of records that lost their account."""


class Found(NamedTuple):
    """What one sink has.

    Attributes:
        records: how many.
        first_day, last_day: of received_at, UTC, ``2026-11-23``; None where there is nothing.
    """

    records: int
    first_day: str | None
    last_day: str | None


@dataclass(frozen=True, slots=True)
class Suppressed:
    """What the control entries of a store say of a subject; times are epoch milliseconds.

    Attributes:
        restricted: whether no content of it is stored.
        erased_until_ms: the latest received_at that an erasure applies to, None for no erasure.
        held_until_ms: likewise of an erasure that keeps operational records.
    """

    restricted: bool = False
    erased_until_ms: int | None = None
    held_until_ms: int | None = None


class Finder:
    """Counts what a store has of a subject, over all key epochs."""

    def __init__(self, eraser: StoreEraser) -> None:
        """Take what finds requests in an open store."""
        self._eraser = eraser
        self._store = eraser.store

    def find(self, named: Named) -> dict[str, Found]:
        """Return what each sink has.

        Raises:
            ConfigError: the policy has no operational field by which such a subject could be found.
            SinkUnavailable: the store did not answer, or refused.
        """
        where, parameters = self._where(named)
        content = where
        if named.subject is not Subject.REQUEST:
            content = f"request_id IN (SELECT request_id FROM operational WHERE {where})"  # noqa: S608 - checked names
        sinks = {"operational": where, "content": content}
        return {sink: self._count(sink, condition, parameters) for sink, condition in sinks.items()}

    def epochs(self, named: Named) -> dict[str, int]:
        """Return how many operational records there are under each key epoch; the errors are those of `find`."""
        where, parameters = self._where(named)
        field = pseudonym_field(
            self._eraser.policy, Subject.ACCOUNT if named.subject is Subject.REQUEST else named.subject
        )
        epoch = f"if(isNull(`{field}`), '{_UNLINKED}', splitByChar(':', assumeNotNull(`{field}`))[1])"
        sql = f"SELECT {epoch} AS epoch, count() FROM operational WHERE {where} GROUP BY epoch ORDER BY epoch"  # noqa: S608
        return dict(self._store.query(sql, parameters).rows)

    def count_tombstones(self, named: Named, until_ms: int) -> int:
        """Return how many of its requests must not come back; the errors are those of `find`."""
        if not has_tombstones(self._store):
            return 0
        suppression = self._eraser.keys.suppression
        requests = self._eraser.requests_of(named, until_ms)
        return len(find_tombstones(self._store, [suppression(Subject.REQUEST, one) for one in requests]))

    def _where(self, named: Named) -> tuple[str, Mapping[str, Sequence[str]]]:
        if named.subject is Subject.REQUEST:
            return "request_id IN {values:Array(String)}", {"values": [named.value]}
        field = pseudonym_field(self._eraser.policy, named.subject)
        return f"`{field}` IN {{values:Array(String)}}", {"values": self._eraser.keys.pseudonyms(field, named.value)}

    def _count(self, view: str, where: str, parameters: Mapping[str, Any]) -> Found:
        found = self._store.query(f"SELECT {_DAYS} FROM {view} WHERE {where}", parameters)  # noqa: S608 - checked names
        count, first, last = found.rows[0]
        return Found(count, first, last) if count else Found(0, None, None)


def suppressed(entries: Iterable[ControlRecord], pseudonym: str) -> Suppressed:
    """Return what entries say of a pseudonym under the suppression key, in the order in which they were issued."""
    restricted = False
    erased: list[int] = []
    held: list[int] = []
    for entry in entries:
        if entry.pseudonym != pseudonym:
            continue
        if entry.action is Action.ERASE:
            (erased if entry.unlink else held).append(entry.received_until_ms or 0)
        else:
            restricted = entry.action is Action.RESTRICT
    return Suppressed(restricted, max(erased + held, default=None), max(held, default=None))
