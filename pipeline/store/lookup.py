"""Which records a store already has, looked up by their identity."""

import re
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import Any

from pipeline.store.client import Store
from pipeline.store.ddl import DIGEST, Table
from pipeline.store.rows import Key, Stamp

_KEYS_A_QUERY = 2000
"""A server takes parameters of at most 128 KiB each (http_max_field_value_size); an id is 40 bytes, quoted 44."""
_NEAR_ROWS_MIN = 1000
_PLAIN = re.compile(r"[0-9A-Za-z_.:,-]*", re.ASCII)


class _Verbatim:
    """A parameter that needs no escapes: the driver looks for them one character at a time."""

    def __init__(self, text: str) -> None:
        self._text = text

    def __str__(self) -> str:
        return self._text


def find_records(store: Store, tables: Sequence[Table], ids: Iterable[str]) -> list[dict[Key, Stamp]]:
    """Find the rows of some request ids, in all tables with one query.

    Ids of a batch are of about the same time, and begin with it: so rows between the first and the last of them are
    asked for, which costs a third of asking for each. Where those are too many, each is asked for.

    Args:
        store: the store.
        tables: record tables, whose key is the request id.
        ids: request ids.

    Returns:
        For each table what is stored; of an id stored more than once, the row that readers see.

    Raises:
        SinkUnavailable: the store did not answer, or refused.
    """
    wanted = sorted(set(ids))
    if not wanted:
        return [{} for _ in tables]
    limit = 2 * len(wanted) + _NEAR_ROWS_MIN
    near = f"key >= {{first:String}} AND key <= {{last:String}} LIMIT {limit}"
    rows = store.query(_select(tables, near), {"first": wanted[0], "last": wanted[-1]}).rows
    if max(Counter(row[0] for row in rows).values(), default=0) == limit:
        rows = []
        for chunk in chunks(wanted):
            some, parameters = bind_ids(chunk)
            rows += store.query(_select(tables, f"key IN {some}"), parameters).rows
    return _stamps(rows, len(tables), frozenset(wanted))


def _stamps(rows: Iterable[tuple[Any, ...]], tables: int, wanted: Collection[str]) -> list[dict[Key, Stamp]]:
    found: list[dict[Key, Stamp]] = [{} for _ in range(tables)]
    for number, key, digest, version, lapsing in rows:
        if key in wanted:
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


def bind_ids(ids: Sequence[str]) -> tuple[str, dict[str, Any]]:
    """Return ids as an expression and its parameter, for ``IN``.

    Plain ones go as one text, which binds six times as fast as a list.

    Args:
        ids: at least one.
    """
    text = ",".join(ids)
    if _PLAIN.fullmatch(text) and text.count(",") == len(ids) - 1:
        return "splitByChar(',', {ids:String})", {"ids": _Verbatim(text)}
    return "{ids:Array(String)}", {"ids": list(ids)}


def _select(tables: Sequence[Table], where: str) -> str:
    """Return one query over all tables; their key is called ``key`` in the condition. In one thread: it is small."""
    selects = []
    for number, table in enumerate(tables):
        lapsing = ", ".join(f"CAST(`{field.name}`, 'Nullable(String)')" for field in table.lapsing)
        selects.append(
            f"SELECT {number}, `{table.key[0]}` AS key, {DIGEST}, `{table.version}`, "  # noqa: S608 - checked names
            f"CAST([{lapsing}], 'Array(Nullable(String))') FROM {table.name} WHERE {where}"
        )
    return " UNION ALL ".join(selects) + " SETTINGS max_threads = 1"


def chunks(values: list[Any]) -> Iterator[list[Any]]:
    """Yield the values, as many at once as one query takes."""
    for begin in range(0, len(values), _KEYS_A_QUERY):
        yield values[begin : begin + _KEYS_A_QUERY]
