"""What the tables of a store hold, wherever it lies: active, outdated and detached parts, and unfinished mutations.

The store's bounds are read from the comments of its own tables, so this needs no policy. Sweep and proof share it.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from pipeline.store.bounds import due_before_ms, partition_range_ms
from pipeline.store.client import Result, Store

_ON_THEIR_WAY = "'Outdated', 'Deleting', 'DeleteOnDestroy'"


@dataclass(frozen=True, slots=True)
class Bounds:
    """A table with bounds.

    Attributes:
        table: its name.
        time: the column that ages are counted from.
        bound_ms: the rows' bound.
        null_after_ms: bounds of the fields that become null before.
    """

    table: str
    time: str
    bound_ms: int
    null_after_ms: Mapping[str, int]

    @property
    def sink(self) -> str:
        """Name of the sink."""
        return self.table.removesuffix("_rows")

    @property
    def first_bound_ms(self) -> int:
        """The bound of what must go first: of a part that cannot be queried nobody knows what is in it."""
        return min([self.bound_ms, *self.null_after_ms.values()])

    def first_due_before_ms(self, now_ms: int) -> int:
        """Return the midnight before which anything of a record is due."""
        return due_before_ms(self.first_bound_ms, now_ms)


@dataclass(frozen=True, slots=True)
class Part:
    """A part of a table that no query reads any more.

    Attributes:
        name: its name.
        range_ms: begin and end of its partition; None where the name does not say.
        oldest_ms: the time from which its records are, as exactly as the engine says; None where nothing says.
        size_bytes: on disk.
    """

    name: str
    range_ms: tuple[int, int] | None
    oldest_ms: int | None
    size_bytes: int


def read_bounds(store: Store) -> list[Bounds]:
    """Return the tables of a store that have bounds, by name.

    Raises:
        SinkUnavailable: the store did not answer, or refused; so do all others here.
    """
    found = store.query(
        "SELECT name, comment FROM system.tables WHERE database = {database:String} "
        "AND startsWith(comment, {ours:String}) ORDER BY name",
        {"database": store.database, "ours": '{"time":'},
    )
    bounds = []
    for name, comment in found.rows:
        facts = orjson.loads(comment)
        bounds.append(Bounds(name, facts["time"], facts["bound_ms"], facts["null_after_ms"]))
    return bounds


def active_partitions(store: Store, bounds: Bounds) -> list[str]:
    """Return the ids of the partitions that queries read."""
    found = _ask(store, bounds, "SELECT DISTINCT partition_id FROM system.parts", "AND active ORDER BY partition_id")
    return [partition for (partition,) in found.rows]


def active_bytes(store: Store, bounds: Bounds) -> int:
    """Return the size of the parts that queries read."""
    return int(_ask(store, bounds, "SELECT sum(bytes_on_disk) FROM system.parts", "AND active").rows[0][0])


def masked_partitions(store: Store, bounds: Bounds, before_ms: int | None = None) -> list[str]:
    """Return the partitions in which rows lie under a mask; with a time, in parts with records older than that.

    A lightweight delete hides a row and leaves its bytes, and queries do not see it.
    """
    older = "" if before_ms is None else f"AND toUnixTimestamp(min_time) * 1000 < {before_ms:d} "
    found = _ask(
        store,
        bounds,
        "SELECT DISTINCT partition_id FROM system.parts",
        f"AND active AND has_lightweight_delete {older}ORDER BY partition_id",
    )
    return [partition for (partition,) in found.rows]


def apply_masks(store: Store, table: str, partitions: Iterable[str]) -> None:
    """Rewrite partitions without the rows that lie under a mask.

    In one mutation: each of them replaces every part of the table, by links where there is nothing to rewrite.
    """
    changes = ", ".join(f"APPLY DELETED MASK IN PARTITION ID '{partition}'" for partition in partitions)
    if changes:
        store.command(f"ALTER TABLE {table} {changes}")


def outdated_parts(store: Store, bounds: Bounds) -> list[Part]:
    """Return the parts that a merge or mutation replaced and that are on disk still.

    Only who asks for ``_state`` is shown those that are being deleted, whose files are there for a moment more.
    """
    columns = "SELECT name, partition_id, toUnixTimestamp(min_time), bytes_on_disk FROM system.parts"
    found = _ask(store, bounds, columns, f"AND _state IN ({_ON_THEIR_WAY}) ORDER BY name")
    return [_to_part(name, partition, oldest_s * 1000, size) for name, partition, oldest_s, size in found.rows]


def detached_parts(store: Store, bounds: Bounds) -> list[Part]:
    """Return the parts that the engine or an operator set aside."""
    columns = "SELECT name, partition_id, bytes_on_disk FROM system.detached_parts"
    found = _ask(store, bounds, columns, "ORDER BY name")
    return [_to_part(name, partition or "", 0, size) for name, partition, size in found.rows]


def unfinished_mutations_ms(store: Store, bounds: Bounds) -> list[int]:
    """Return when each mutation that is not done was ordered, in epoch milliseconds."""
    columns = "SELECT toUnixTimestamp(create_time) FROM system.mutations"
    found = _ask(store, bounds, columns, "AND NOT is_done ORDER BY create_time")
    return [created_s * 1000 for (created_s,) in found.rows]


def wait_for_parts(store: Store, bounds: Bounds) -> None:
    """Wait until an engine that has just started knows all parts: outdated ones load late, and would be missed."""
    store.command(f"SYSTEM WAIT LOADING PARTS {bounds.table}")


def _to_part(name: str, partition: str, oldest_ms: int, size_bytes: int) -> Part:
    range_ms = partition_range_ms(partition)
    return Part(name, range_ms, oldest_ms or (range_ms[0] if range_ms else None), size_bytes)


def _ask(store: Store, bounds: Bounds, select: str, rest: str) -> Result:
    where = "WHERE database = {database:String} AND table = {table:String}"
    parameters: dict[str, Any] = {"database": store.database, "table": bounds.table}
    return store.query(f"{select} {where} {rest}", parameters)
