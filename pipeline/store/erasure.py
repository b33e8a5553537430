"""Takes an account's data out of a store (policy §8): content goes, operational records lose what refers to it.

In this order, so that a crash at any point leaves what is needed to go on: tombstones, content, operational records.
The request ids of an account are read from its operational records, which lose it last.

Rows of content are masked first, which takes seconds and hides them from every reader; their bytes go when parts are
rewritten without them (`purge_masked`). Until then they are on disk, as they are in outdated parts for a second more.
"""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from pipeline.coarsen import DAY_MS
from pipeline.store.client import Store
from pipeline.store.ddl import DIGEST, Table, column_types, empty_null
from pipeline.store.holdings import (
    Bounds,
    apply_masks,
    detached_parts,
    masked_partitions,
    outdated_parts,
    unfinished_mutations_ms,
)
from pipeline.store.lookup import bind_ids, chunks
from pipeline.store.rows import UNLINKED
from pipeline.store.scratch import ERASING, scratch_name
from pipeline.store.sidetables import create_side_table

TOMBSTONES = "tombstone_rows"
_SETTLE_S = 5.0
_POLL_S = 0.1
_TYPES = {"pseudonym": "String", "erased_at": "DateTime64(3, 'UTC')", "is_whole": "UInt8"}
_UNTIL = "`received_at` <= fromUnixTimestamp64Milli({until:Int64}, 'UTC')"


def ensure_tombstones(store: Store, content_bound_ms: int) -> None:
    """Make the table of tombstones where there is none; the sweep ends them when nothing can bring content back.

    Args:
        store: an open store.
        content_bound_ms: a record may come again from a topic for so long; its tombstone outlives that.
    """
    bound_ms = content_bound_ms + 2 * DAY_MS  # a record lives at least its bound less two days: pipeline.store.bounds
    create = create_side_table(
        TOMBSTONES, _TYPES, key="pseudonym", time="erased_at", bound_ms=bound_ms, partition="toDate"
    )
    store.command(create)


def add_tombstones(store: Store, pseudonyms: Sequence[str], now_ms: int, *, is_whole: bool) -> None:
    """Note requests that must not come back, by their pseudonyms under the suppression key.

    Args:
        store: an open store that has the table.
        pseudonyms: of the requests.
        now_ms: now, epoch milliseconds.
        is_whole: whether their operational records must not come back either.
    """
    if pseudonyms:
        count = len(pseudonyms)
        columns = {"pseudonym": pseudonyms, "erased_at": [now_ms] * count, "is_whole": [int(is_whole)] * count}
        store.insert(TOMBSTONES, columns, _TYPES)


def last_tombstone(store: Store) -> int:
    """Return a number that grows with each write of tombstones; 0 where nothing must be kept out."""
    found = store.query(
        "SELECT max(max_block_number) FROM system.parts WHERE database = {database:String} AND table = {table:String} "
        "AND active HAVING count() > 0",
        {"database": store.database, "table": TOMBSTONES},
    )
    return int(found.rows[0][0]) if found.rows else 0


def has_tombstones(store: Store) -> bool:
    """Say whether anything must not come back."""
    return last_tombstone(store) > 0


def find_tombstones(store: Store, pseudonyms: Sequence[str]) -> dict[str, bool]:
    """Return which of some requests have a tombstone, and whether it is of their operational records too."""
    found: dict[str, bool] = {}
    for chunk in chunks(list(pseudonyms)):
        some, parameters = bind_ids(chunk)
        sql = f"SELECT pseudonym, max(is_whole) FROM {TOMBSTONES} WHERE pseudonym IN {some} GROUP BY pseudonym"  # noqa: S608
        rows = store.query(sql, parameters).rows
        found.update((pseudonym, bool(is_whole)) for pseudonym, is_whole in rows)
    return found


def find_requests(store: Store, table: Table, column: str, values: Sequence[str], until_ms: int) -> list[str]:
    """Return the ids of requests received up to a time, sorted.

    Args:
        store: an open store.
        table: of operational records.
        column: of the table: ``account``, ``api_key`` or ``request_id``.
        values: what it holds: an account has a pseudonym in each key epoch.
        until_ms: latest received_at, epoch milliseconds.
    """
    _check_column(table, column)
    found = store.query(
        f"SELECT DISTINCT request_id FROM {table.name} WHERE `{column}` IN {{values:Array(String)}} AND {_UNTIL}",  # noqa: S608
        {"values": list(values), "until": until_ms},
    )
    return sorted(request_id for (request_id,) in found.rows)


def count_records(store: Store, table: Table, request_ids: Sequence[str]) -> int:
    """Return how many rows of some requests readers could see."""
    return _change(store, table, request_ids, "")


def mask_records(store: Store, table: Table, request_ids: Sequence[str]) -> int:
    """Hide rows from every reader, for good; return how many. Their bytes go with `purge_masked`."""
    return _change(store, table, request_ids, f"DELETE FROM {table.name} WHERE {{where}}", with_mask=True)  # noqa: S608 - a checked name


def unlink_records(store: Store, table: Table, fields: Sequence[str], request_ids: Sequence[str]) -> int:
    """Take what refers to the account out of operational rows; return of how many.

    A record that comes again for such a row is a repeat, whatever it says: `pipeline.store.rows.judge`.
    """
    types = column_types(table)
    for field in fields:
        _check_column(table, field)
    changes = ", ".join(f"`{field}` = {empty_null(types[field])}" for field in fields)
    change = f"ALTER TABLE {table.name} UPDATE {changes}, {DIGEST} = {UNLINKED} WHERE {{where}}"
    return _change(store, table, request_ids, change)


def delete_records(store: Store, table: Table, request_ids: Sequence[str]) -> int:
    """Delete rows by rewriting their parts; return how many rows."""
    return _change(store, table, request_ids, f"ALTER TABLE {table.name} DELETE WHERE {{where}}")


def drop_relinked(store: Store, table: Table, request_ids: Sequence[str]) -> int:
    """Delete the operational rows that refer to an account beside one of the same id that lost it; return how many."""
    found: set[str] = set()
    sql = (
        f"SELECT request_id FROM {table.name} WHERE request_id IN {{some:Array(String)}} GROUP BY request_id "  # noqa: S608
        f"HAVING min({DIGEST}) = {UNLINKED} AND max({DIGEST}) != {UNLINKED}"
    )
    for some in chunks(list(request_ids)):
        found.update(request_id for (request_id,) in store.query(sql, {"some": some}).rows)
    change = f"ALTER TABLE {table.name} DELETE WHERE {{where}}"
    return _change(store, table, sorted(found), change, only=f"{DIGEST} != {UNLINKED}")


def purge_masked(store: Store, table: Table) -> int:
    """Rewrite the parts that hold masked rows, without them; return of how many partitions. Safe to do again."""
    partitions = masked_partitions(store, _bounds(table))
    apply_masks(store, table.name, partitions)
    return len(partitions)


def count_lingering(store: Store, table: Table) -> int:
    """Return how much may still hold what was erased: masked partitions, other parts, mutations that are not done.

    Once there are no masks and mutations, no active part holds it, nor what merges will make of those. So the outdated
    parts of that moment are waited for, some seconds at most, and not those that come after: while others insert, there
    is hardly a moment without any.
    """
    bounds = _bounds(table)
    looks = (masked_partitions, detached_parts, unfinished_mutations_ms)
    if count := sum(len(look(store, bounds)) for look in looks):
        return count
    lingering = {part.name for part in outdated_parts(store, bounds)}
    deadline = time.monotonic() + _SETTLE_S
    while lingering and time.monotonic() < deadline:
        time.sleep(_POLL_S)
        lingering &= {part.name for part in outdated_parts(store, bounds)}
    return len(lingering)


def _bounds(table: Table) -> Bounds:
    null_after_ms = {field.name: field.null_after_ms for field in table.lapsing if field.null_after_ms is not None}
    return Bounds(table.name, table.time, table.bound_ms, null_after_ms)


def _change(
    store: Store, table: Table, request_ids: Sequence[str], sql: str, *, with_mask: bool = False, only: str = ""
) -> int:
    """Apply a mutation, or none, to the rows of some requests, and return how many there were."""
    if not request_ids:
        return 0
    with _scratch(store, request_ids) as scratch:
        where = f"request_id IN (SELECT request_id FROM {scratch}){only and ' AND '}{only}"  # noqa: S608 - a name of our own
        masked = " AND _row_exists" if with_mask else ""
        count = store.query(f"SELECT count() FROM {table.name} WHERE {where}{masked}").rows[0][0]  # noqa: S608
        if count and sql:
            store.command(sql.format(where=where))
        return int(count)


@contextmanager
def _scratch(store: Store, request_ids: Sequence[str]) -> Iterator[str]:
    """Have a table of some ids, in memory and for as long as it takes: parameters hold a few thousand at most."""
    name = scratch_name(ERASING)
    store.command(f"CREATE TABLE {name} (request_id String) ENGINE = Memory")
    try:
        store.insert(name, {"request_id": list(request_ids)}, {"request_id": "String"})
        yield name
    finally:
        store.command(f"DROP TABLE {name} SYNC")  # or its rows stay in memory for minutes


def _check_column(table: Table, column: str) -> None:
    if column not in column_types(table):
        raise KeyError(column)
