"""Removes what is due (design §4): whole partitions, rows of months that are partly due, masked rows, lapsed fields.

The store's bounds are read from the comments of its own tables, so a sweep needs no policy, and its moment is given, so
it does not depend on the engine's clock. The engine's TTLs say the same and may come first; they promise no time.
"""

import re
import time
from collections.abc import Iterable
from dataclasses import dataclass

from pipeline.store.bounds import due_before_ms, partition_range_ms
from pipeline.store.client import Store
from pipeline.store.ddl import empty_null
from pipeline.store.holdings import (
    Bounds,
    Part,
    active_partitions,
    apply_masks,
    detached_parts,
    masked_partitions,
    outdated_parts,
    read_bounds,
    unfinished_mutations_ms,
    wait_for_parts,
)
from pipeline.store.scratch import drop_left_behind

_WAIT_S = 30.0
_POLL_S = 0.1
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
    drop_left_behind(store)
    tables = read_bounds(store)
    for bounds in tables:
        wait_for_parts(store, bounds)
        _drop_partitions(store, bounds, now_ms, report)
        _apply_masks(store, bounds, now_ms)
        _delete_rows(store, bounds, now_ms, report)
        _null_fields(store, bounds, now_ms, report)
    deadline = time.monotonic() + _WAIT_S
    while passing := sum(_count_passing(store, bounds, now_ms) for bounds in tables):
        if time.monotonic() > deadline:
            break
        time.sleep(_POLL_S)
    report.waiting = passing + sum(_count_due(detached_parts(store, bounds), bounds, now_ms) for bounds in tables)
    return report


def _drop_partitions(store: Store, bounds: Bounds, now_ms: int, report: SweepReport) -> None:
    due_before = due_before_ms(bounds.bound_ms, now_ms)
    for partition in active_partitions(store, bounds):
        range_ms = partition_range_ms(partition)
        if range_ms is not None and range_ms[1] <= due_before:
            store.command(f"ALTER TABLE {bounds.table} DROP PARTITION ID '{partition}'")
            report.partitions += 1
    for part in detached_parts(store, bounds):
        # Parts that the engine set aside (broken, unexpected) still hold bytes; one whose day cannot be read is due.
        if (part.range_ms is None or part.range_ms[1] <= due_before) and _PART_NAME.fullmatch(part.name):
            drop = f"DROP DETACHED PART '{part.name}' SETTINGS allow_drop_detached = 1"
            store.command(f"ALTER TABLE {bounds.table} {drop}")
            report.partitions += 1


def _apply_masks(store: Store, bounds: Bounds, now_ms: int) -> None:
    """Rewrite the parts in which something due may lie under a mask: no other statement here would see it."""
    apply_masks(store, bounds.table, masked_partitions(store, bounds, bounds.first_due_before_ms(now_ms)))


def _delete_rows(store: Store, bounds: Bounds, now_ms: int, report: SweepReport) -> None:
    where = f"{bounds.time} < fromUnixTimestamp64Milli({{due:Int64}}, 'UTC')"
    report.deleted += _mutate(store, bounds, "DELETE", where, due_before_ms(bounds.bound_ms, now_ms))


def _null_fields(store: Store, bounds: Bounds, now_ms: int, report: SweepReport) -> None:
    for null_after_ms in sorted(set(bounds.null_after_ms.values())):
        names = [name for name, after_ms in bounds.null_after_ms.items() if after_ms == null_after_ms]
        changes = ", ".join(f"`{name}` = {empty_null('Nullable(String)')}" for name in names)
        present = " OR ".join(f"`{name}` IS NOT NULL" for name in names)
        where = f"{bounds.time} < fromUnixTimestamp64Milli({{due:Int64}}, 'UTC') AND ({present})"
        report.nulled += _mutate(store, bounds, f"UPDATE {changes}", where, due_before_ms(null_after_ms, now_ms))


def _mutate(store: Store, bounds: Bounds, change: str, where: str, due_before: int) -> int:
    """Apply a mutation to the partitions that have rows for it, and return how many rows those were."""
    parameters = {"due": due_before}
    counts = f"SELECT _partition_id, count() FROM {bounds.table} WHERE {where} GROUP BY 1 ORDER BY 1"  # noqa: S608
    found = store.query(counts, parameters).rows
    for partition, _ in found:
        store.command(f"ALTER TABLE {bounds.table} {change} IN PARTITION ID '{partition}' WHERE {where}", parameters)
    return sum(count for _, count in found)


def _count_passing(store: Store, bounds: Bounds, now_ms: int) -> int:
    """Count what the engine is about to remove. Detached parts are not among it: nothing removes those by itself."""
    due = _count_due(outdated_parts(store, bounds), bounds, now_ms)
    return due + len(unfinished_mutations_ms(store, bounds))


def _count_due(parts: Iterable[Part], bounds: Bounds, now_ms: int) -> int:
    due_before = bounds.first_due_before_ms(now_ms)
    return sum(part.oldest_ms is None or part.oldest_ms < due_before for part in parts)
