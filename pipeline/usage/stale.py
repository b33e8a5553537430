"""Days of which an erasure took records: their lines still count the account, so they go at once, and are built anew.

A day is marked before its records change, and its lines are taken out after. A build that had counted the records
before, and put its lines in place after, finds the mark when it ends, and takes them out again. So at no time after an
erasure is there a line that counts what it took, nor one of fewer accounts than may be shown: until the day is built
again, it has none.
"""

import secrets
from collections.abc import Collection, Sequence
from typing import Any, NamedTuple

from pipeline.store.client import Store
from pipeline.store.ddl import Table
from pipeline.store.lookup import chunks
from pipeline.store.sidetables import create_side_table
from pipeline.usage.tables import PERIOD, TABLES

STALE = "usage_stale_rows"
_TYPES = {"day": "DateTime('UTC')", "mark": "String", "is_built": "UInt8"}
_WITHDRAWN = f"toStartOfDay({PERIOD}) IN (SELECT day FROM {STALE} FINAL WHERE is_built = 0)"  # noqa: S608 - constants


class Mark(NamedTuple):
    """A day that waits to be built anew, for one erasure.

    Attributes:
        day_ms: its midnight, epoch milliseconds.
        mark: random; says nothing of the erasure.
    """

    day_ms: int
    mark: str


def mark_days(store: Store, operational: Table, request_ids: Sequence[str]) -> int:
    """Mark the days of some requests, whose records are about to change; return how many days those are.

    Args:
        store: an open store. One without aggregates is left alone.
        operational: the table of these records.
        request_ids: of the requests.

    Raises:
        SinkUnavailable: the store did not answer, or refused; so do all others here.
    """
    if not _has(store, TABLES[0]):
        return 0
    sql = (
        f"SELECT DISTINCT toUnixTimestamp(toStartOfDay(received_at)) FROM {operational.name} "  # noqa: S608 - its own name
        "WHERE request_id IN {ids:Array(String)} AND account IS NOT NULL"  # as `pipeline.usage.day` counts
    )
    days = sorted({day for ids in chunks(list(request_ids)) for (day,) in store.query(sql, {"ids": ids}).rows})
    if days:
        create = create_side_table(
            STALE, _TYPES, key="(day, mark)", time="day", bound_ms=operational.bound_ms, partition="toYYYYMM"
        )
        store.command(create)
        _insert(store, [Mark(day * 1000, secrets.token_hex(8)) for day in days], is_built=False)
    return len(days)


def withdraw(store: Store) -> None:
    """Take the lines of all marked days out. Safe to do again."""
    if not _has(store, STALE):
        return
    for name in TABLES:
        if store.query(f"SELECT count() FROM {name} WHERE {_WITHDRAWN}").rows[0][0]:  # noqa: S608 - as above
            store.command(f"ALTER TABLE {name} DELETE WHERE {_WITHDRAWN}")


def read_marks(store: Store) -> list[Mark]:
    """Return the marks of all days that wait."""
    if not _has(store, STALE):
        return []
    found = store.query(f"SELECT toUnixTimestamp(day), mark FROM {STALE} FINAL WHERE is_built = 0 ORDER BY ALL")  # noqa: S608
    return [Mark(day * 1000, mark) for day, mark in found.rows]


def settle(store: Store, marks: Collection[Mark]) -> None:
    """Note that days are built anew, of which the marks were read before; and take out what was marked meanwhile."""
    if marks:
        _insert(store, marks, is_built=True)
    withdraw(store)


def _insert(store: Store, marks: Collection[Mark], *, is_built: bool) -> None:
    columns: dict[str, list[Any]] = {
        "day": [mark.day_ms // 1000 for mark in marks],
        "mark": [mark.mark for mark in marks],
        "is_built": [int(is_built)] * len(marks),
    }
    store.insert(STALE, columns, _TYPES)


def _has(store: Store, table: str) -> bool:
    sql = "SELECT 1 FROM system.tables WHERE database = {database:String} AND name = {name:String}"
    return bool(store.query(sql, {"database": store.database, "name": table}).rows)
