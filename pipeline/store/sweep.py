"""Removes what is due (design §4): whole partitions, rows of months that are partly due, and lapsed fields.

The store's bounds are read from the comments of its own tables, so a sweep needs no policy, and its moment is given, so
it does not depend on the engine's clock. The engine's TTLs say the same and may come first; they promise no time.
"""

import re
import time
from collections.abc import Mapping
from dataclasses import dataclass

import orjson

from pipeline.store.bounds import due_before_ms, partition_range_ms
from pipeline.store.client import Store

_WAIT_S = 30.0
_POLL_S = 0.1
# A plain NULL only sets the null mask: the nested column, and so the file, keeps the value under it (measured, chdb
# 26.9). A materialized NULL is a column of its own, whose nested values are empty.
_EMPTY_NULL = "materialize(CAST(NULL, 'Nullable(String)'))"
_PART_NAME = re.compile(r"[A-Za-z0-9_-]+", re.ASCII)


@dataclass(slots=True)
class SweepReport:
    """What a sweep did.

    Attributes:
        partitions: partitions dropped whole, detached parts included.
        deleted: rows deleted from partitions that are only partly due.
        nulled: rows whose lapsed fields were made null.
        waiting: parts that may still hold due bytes: outdated but still on disk, detached, or awaiting an unfinished
            mutation. Not 0 after the waiting time means that something is in the way; the next sweep tries again.
    """

    partitions: int = 0
    deleted: int = 0
    nulled: int = 0
    waiting: int = 0


@dataclass(frozen=True, slots=True)
class _Bounds:
    table: str
    time: str
    bound_ms: int
    null_after_ms: Mapping[str, int]

    def first_due_before_ms(self, now_ms: int) -> int:
        """Return the midnight before which anything of a record is due."""
        return due_before_ms(min([self.bound_ms, *self.null_after_ms.values()]), now_ms)


def sweep(store: Store, now_ms: int) -> SweepReport:
    """Remove everything that is due at ``now_ms`` and wait until its bytes are gone from the disk.

    What is due is said in `pipeline.store.bounds`: after a sweep no content is older than its bound less the slack, so
    sweeps up to a slack (one day) apart keep the bound. Rows of a month that is partly due are rewritten by a mutation,
    once a day at most, never masked: a masked row stays in its part.

    Args:
        store: an open store; one without tables is left alone.
        now_ms: now, epoch milliseconds.

    Raises:
        SinkUnavailable: the store did not answer, or refused.
    """
    report = SweepReport()
    tables = _read_bounds(store)
    for bounds in tables:
        store.command(f"SYSTEM WAIT LOADING PARTS {bounds.table}")  # outdated ones load late, and would not be counted
        _drop_partitions(store, bounds, now_ms, report)
        _delete_rows(store, bounds, now_ms, report)
        _null_fields(store, bounds, now_ms, report)
    deadline = time.monotonic() + _WAIT_S
    report.waiting = sum(_count_waiting(store, bounds, now_ms) for bounds in tables)
    while report.waiting and time.monotonic() < deadline:
        time.sleep(_POLL_S)
        report.waiting = sum(_count_waiting(store, bounds, now_ms) for bounds in tables)
    return report


def _read_bounds(store: Store) -> list[_Bounds]:
    found = store.query(
        "SELECT name, comment FROM system.tables WHERE database = {database:String} AND endsWith(name, '_rows') "
        "AND startsWith(comment, {ours:String}) ORDER BY name",
        {"database": store.database, "ours": '{"time":'},
    )
    bounds = []
    for name, comment in found.rows:
        facts = orjson.loads(comment)
        bounds.append(_Bounds(name, facts["time"], facts["bound_ms"], facts["null_after_ms"]))
    return bounds


def _partitions(store: Store, bounds: _Bounds, *, active: bool) -> list[str]:
    found = store.query(
        "SELECT partition_id FROM system.parts WHERE database = {database:String} AND table = {table:String} "
        "AND active = {active:UInt8} ORDER BY name",
        {"database": store.database, "table": bounds.table, "active": int(active)},
    )
    return [partition for (partition,) in found.rows]


def _drop_partitions(store: Store, bounds: _Bounds, now_ms: int, report: SweepReport) -> None:
    due_before = due_before_ms(bounds.bound_ms, now_ms)
    for partition in sorted(set(_partitions(store, bounds, active=True))):
        range_ms = partition_range_ms(partition)
        if range_ms is not None and range_ms[1] <= due_before:
            store.command(f"ALTER TABLE {bounds.table} DROP PARTITION ID '{partition}'")
            report.partitions += 1
    for part, home in _detached(store, bounds):
        # Parts that the engine set aside (broken, unexpected) still hold bytes; one whose day cannot be read is due.
        range_ms = partition_range_ms(home or "")
        if (range_ms is None or range_ms[1] <= due_before) and _PART_NAME.fullmatch(part):
            store.command(f"ALTER TABLE {bounds.table} DROP DETACHED PART '{part}' SETTINGS allow_drop_detached = 1")
            report.partitions += 1


def _detached(store: Store, bounds: _Bounds) -> list[tuple[str, str | None]]:
    found = store.query(
        "SELECT name, partition_id FROM system.detached_parts "
        "WHERE database = {database:String} AND table = {table:String} ORDER BY name",
        {"database": store.database, "table": bounds.table},
    )
    return [(name, partition) for name, partition in found.rows]


def _delete_rows(store: Store, bounds: _Bounds, now_ms: int, report: SweepReport) -> None:
    where = f"{bounds.time} < fromUnixTimestamp64Milli({{due:Int64}}, 'UTC')"
    report.deleted += _mutate(store, bounds, "DELETE", where, due_before_ms(bounds.bound_ms, now_ms))


def _null_fields(store: Store, bounds: _Bounds, now_ms: int, report: SweepReport) -> None:
    for null_after_ms in sorted(set(bounds.null_after_ms.values())):
        names = [name for name, after_ms in bounds.null_after_ms.items() if after_ms == null_after_ms]
        changes = ", ".join(f"`{name}` = {_EMPTY_NULL}" for name in names)
        present = " OR ".join(f"`{name}` IS NOT NULL" for name in names)
        where = f"{bounds.time} < fromUnixTimestamp64Milli({{due:Int64}}, 'UTC') AND ({present})"
        report.nulled += _mutate(store, bounds, f"UPDATE {changes}", where, due_before_ms(null_after_ms, now_ms))


def _mutate(store: Store, bounds: _Bounds, change: str, where: str, due_before: int) -> int:
    """Apply a mutation to the partitions that have rows for it, and return how many rows those were."""
    parameters = {"due": due_before}
    counts = f"SELECT _partition_id, count() FROM {bounds.table} WHERE {where} GROUP BY 1 ORDER BY 1"  # noqa: S608
    found = store.query(counts, parameters).rows
    for partition, _ in found:
        store.command(f"ALTER TABLE {bounds.table} {change} IN PARTITION ID '{partition}' WHERE {where}", parameters)
    return sum(count for _, count in found)


def _count_waiting(store: Store, bounds: _Bounds, now_ms: int) -> int:
    due_before = bounds.first_due_before_ms(now_ms)
    partitions = [*_partitions(store, bounds, active=False), *(partition for _, partition in _detached(store, bounds))]
    ranges = [partition_range_ms(partition or "") for partition in partitions]
    unfinished = store.query(
        "SELECT count() FROM system.mutations "
        "WHERE database = {database:String} AND table = {table:String} AND NOT is_done",
        {"database": store.database, "table": bounds.table},
    )
    return sum(range_ms is None or range_ms[0] < due_before for range_ms in ranges) + int(unfinished.rows[0][0])
