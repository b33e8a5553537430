"""Takes an account's data out of a store (policy §8): content goes, operational records lose what refers to it.

In this order, so that a crash at any point leaves what is needed to go on: tombstones, content, operational records.
The request ids of an account are read from its operational records, which lose it last.

Rows of content are masked first, which takes seconds and hides them from every reader; their bytes go when parts are
rewritten without them (`purge_masked`). Until then they are on disk, as they are in outdated parts for a second more.
"""

import secrets
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import orjson

from pipeline.coarsen import DAY_MS
from pipeline.store.client import Store
from pipeline.store.ddl import DIGEST, TABLE_SETTINGS, Table, column_types
from pipeline.store.rows import UNLINKED

TOMBSTONES = "tombstone_rows"
_TYPES = {"pseudonym": "String", "erased_at": "DateTime64(3, 'UTC')", "is_whole": "UInt8"}
_KEYS_A_QUERY = 2000
_UNTIL = "`received_at` <= fromUnixTimestamp64Milli({until:Int64}, 'UTC')"


def ensure_tombstones(store: Store, content_bound_ms: int) -> None:
    """Make the table of tombstones where there is none; the sweep ends them when nothing can bring content back.

    Args:
        store: an open store.
        content_bound_ms: a record may come again from a topic for so long; its tombstone outlives that.
    """
    bound_ms = content_bound_ms + 2 * DAY_MS  # a record lives at least its bound less two days: pipeline.store.bounds
    comment = orjson.dumps({"time": "erased_at", "bound_ms": bound_ms, "null_after_ms": {}}).decode()
    columns = ", ".join(f"{name} {kind}" for name, kind in _TYPES.items())
    fsync = ", ".join(f"{name} = {TABLE_SETTINGS[name]}" for name in ("fsync_after_insert", "fsync_part_directory"))
    store.command(
        f"CREATE TABLE IF NOT EXISTS {TOMBSTONES} ({columns}) ENGINE = ReplacingMergeTree PARTITION BY "
        f"toDate(erased_at) ORDER BY pseudonym SETTINGS {fsync} COMMENT '{comment}'"
    )


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


def has_tombstones(store: Store) -> bool:
    """Say whether anything must not come back."""
    found = store.query(
        "SELECT sum(rows) FROM system.parts WHERE database = {database:String} AND table = {table:String} AND active",
        {"database": store.database, "table": TOMBSTONES},
    )
    return bool(found.rows[0][0])


def find_tombstones(store: Store, pseudonyms: Sequence[str]) -> dict[str, bool]:
    """Return which of some requests have a tombstone, and whether it is of their operational records too."""
    found: dict[str, bool] = {}
    sql = (
        f"SELECT pseudonym, max(is_whole) FROM {TOMBSTONES} WHERE pseudonym IN {{some:Array(String)}} "  # noqa: S608
        "GROUP BY pseudonym"
    )
    for start in range(0, len(pseudonyms), _KEYS_A_QUERY):
        rows = store.query(sql, {"some": list(pseudonyms[start : start + _KEYS_A_QUERY])}).rows
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
    # Materialized, because a plain NULL leaves the value under its mask: see pipeline.store.sweep.
    changes = ", ".join(f"`{field}` = materialize(CAST(NULL, '{types[field]}'))" for field in fields)
    change = f"ALTER TABLE {table.name} UPDATE {changes}, {DIGEST} = {UNLINKED} WHERE {{where}}"
    return _change(store, table, request_ids, change)


def delete_records(store: Store, table: Table, request_ids: Sequence[str]) -> int:
    """Delete rows by rewriting their parts; return how many rows."""
    return _change(store, table, request_ids, f"ALTER TABLE {table.name} DELETE WHERE {{where}}")


def purge_masked(store: Store, table: Table) -> int:
    """Rewrite the parts that hold masked rows, without them; return how many parts. Safe to do again."""
    found = store.query(
        "SELECT partition_id, count() FROM system.parts WHERE database = {database:String} AND table = {table:String} "
        "AND active AND has_lightweight_delete GROUP BY 1 ORDER BY 1",
        {"database": store.database, "table": table.name},
    ).rows
    for partition, _ in found:
        store.command(f"ALTER TABLE {table.name} APPLY DELETED MASK IN PARTITION ID '{partition}'")
    return sum(count for _, count in found)


def count_lingering(store: Store, table: Table) -> int:
    """Return how many parts may still hold what was erased: masked, outdated or detached, or awaiting a mutation."""
    parameters = {"database": store.database, "table": table.name}
    of_table = "database = {database:String} AND table = {table:String}"
    # Parts that are being deleted are shown only to who asks for their state.
    lingering = "(_state IN ('Outdated', 'Deleting', 'DeleteOnDestroy') OR has_lightweight_delete)"
    counts = (
        f"SELECT count() FROM system.parts WHERE {lingering} AND ",  # noqa: S608 - as above, a constant
        "SELECT count() FROM system.detached_parts WHERE ",
        "SELECT count() FROM system.mutations WHERE NOT is_done AND ",
    )
    return sum(int(store.query(sql + of_table, parameters).rows[0][0]) for sql in counts)


def _change(store: Store, table: Table, request_ids: Sequence[str], sql: str, *, with_mask: bool = False) -> int:
    """Apply a mutation to the rows of some requests, and return how many there were."""
    if not request_ids:
        return 0
    with _scratch(store, request_ids) as scratch:
        where = f"request_id IN (SELECT request_id FROM {scratch})"  # noqa: S608 - a name of our own
        masked = " AND _row_exists" if with_mask else ""
        count = store.query(f"SELECT count() FROM {table.name} WHERE {where}{masked}").rows[0][0]  # noqa: S608
        if count:
            store.command(sql.format(where=where))
        return int(count)


@contextmanager
def _scratch(store: Store, request_ids: Sequence[str]) -> Iterator[str]:
    """Have a table of some ids, in memory and for as long as it takes: parameters hold a few thousand at most."""
    name = f"erasing_{secrets.token_hex(8)}"
    store.command(f"CREATE TABLE {name} (request_id String) ENGINE = Memory")
    try:
        store.insert(name, {"request_id": list(request_ids)}, {"request_id": "String"})
        yield name
    finally:
        store.command(f"DROP TABLE {name}")


def _check_column(table: Table, column: str) -> None:
    if column not in column_types(table):
        raise KeyError(column)
