"""Which records a store already has, looked up by their identity."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from pipeline.store.client import Store
from pipeline.store.ddl import DIGEST, Table
from pipeline.store.rows import Key, Stamp

_KEYS_A_QUERY = 2000
"""A server takes parameters of at most 128 KiB each (http_max_field_value_size); an id is 40 bytes, quoted 44."""


def find_records(store: Store, tables: Sequence[Table], ids: Iterable[str]) -> list[dict[Key, Stamp]]:
    """Find the rows of some request ids, in all tables with one query: binding ids costs as much as finding them.

    Args:
        store: the store.
        tables: record tables, whose key is the request id.
        ids: request ids.

    Returns:
        For each table what is stored; of an id stored more than once, the row that readers see.

    Raises:
        SinkUnavailable: the store did not answer, or refused.
    """
    found: list[dict[Key, Stamp]] = [{} for _ in tables]
    sql = " UNION ALL ".join(_select_by_id(number, table) for number, table in enumerate(tables))
    for chunk in chunks(sorted(set(ids))):
        for number, key, digest, version, lapsing in store.query(sql, {"ids": chunk}).rows:
            stamp = Stamp(digest, version, tuple(lapsing))
            before = found[number].get((key,))
            if before is None or stamp.version > before.version:
                found[number][(key,)] = stamp
    return found


def find_rejections(store: Store, table: Table, keys: Iterable[Key]) -> dict[Key, Stamp]:
    """Find which rejections, known by topic, partition and offset, are stored.

    Raises:
        SinkUnavailable: the store did not answer, or refused.
    """
    offsets: dict[tuple[Any, ...], set[Any]] = defaultdict(set)
    for topic, partition, offset in keys:
        offsets[topic, partition].add(offset)
    sql = (
        f"SELECT `topic`, `partition`, `offset`, {DIGEST} FROM {table.name} WHERE `topic` = {{topic:String}} "  # noqa: S608
        "AND `partition` = {partition:Int64} AND `offset` IN {offsets:Array(Int64)}"
    )
    found: dict[Key, Stamp] = {}
    for (topic, partition), wanted in offsets.items():
        for chunk in chunks(sorted(wanted)):
            rows = store.query(sql, {"topic": topic, "partition": partition, "offsets": chunk}).rows
            found |= {tuple(key): Stamp(digest, 0, ()) for *key, digest in rows}
    return found


def _select_by_id(number: int, table: Table) -> str:
    lapsing = ", ".join(f"CAST(`{field.name}`, 'Nullable(String)')" for field in table.lapsing)
    return (
        f"SELECT {number}, `{table.key[0]}`, {DIGEST}, `{table.version}`, "  # noqa: S608 - checked names
        f"CAST([{lapsing}], 'Array(Nullable(String))') FROM {table.name} "
        f"WHERE `{table.key[0]}` IN {{ids:Array(String)}}"
    )


def chunks(values: list[Any]) -> Iterator[list[Any]]:
    """Yield the values, as many at once as one query takes."""
    for begin in range(0, len(values), _KEYS_A_QUERY):
        yield values[begin : begin + _KEYS_A_QUERY]
