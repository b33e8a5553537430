"""Reads a store's content from one end to the other, in memory that does not grow with it.

Partition by partition, the newest first, and in each by request id: a page of ids and sizes, then bodies by the few
MiB. Bodies come as they are stored; whoever reads them has an opener (`pipeline.seal`).

A partition is read by itself. So an id that came under two days, which a view shows once, is read in each of them: that
is what must be when its bytes are to be changed or found.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

from pipeline.coarsen import format_timestamp
from pipeline.policy.model import FieldType
from pipeline.records import Fields, Sealed
from pipeline.seal import Opener
from pipeline.store.bounds import partition_range_ms
from pipeline.store.client import Store
from pipeline.store.ddl import Table, encoding_column
from pipeline.store.holdings import Bounds, active_partitions

PAGE_IDS = 20_000
_CHUNK_IDS = 500
_CHUNK_BYTES = 8 << 20


@dataclass(frozen=True, slots=True)
class Selection:
    """Which content is asked for; what is left out is any.

    Attributes:
        since_ms: received then or later, epoch milliseconds; content has received_at to the minute.
        until_ms: received before then.
        model, endpoint: values of their catalogues.
        entity: of which something was redacted, as the record counts it.
        below_version: made by a policy of a lower version.
    """

    since_ms: int | None = None
    until_ms: int | None = None
    model: str = ""
    endpoint: str = ""
    entity: str = ""
    below_version: int | None = None

    def where(self) -> tuple[str, dict[str, Any]]:
        """Return a condition over rows of content, and its parameters."""
        conditions = {
            "received_at >= fromUnixTimestamp64Milli({since:Int64}, 'UTC')": ("since", self.since_ms),
            "received_at < fromUnixTimestamp64Milli({until:Int64}, 'UTC')": ("until", self.until_ms),
            "model = {model:String}": ("model", self.model or None),
            "endpoint = {endpoint:String}": ("endpoint", self.endpoint or None),
            "mapContains(redactions, {entity:String})": ("entity", self.entity or None),
            "policy_version < {version:Int64}": ("version", self.below_version),
        }
        chosen = {text: named for text, named in conditions.items() if named[1] is not None}
        return " AND ".join(["1", *chosen]), dict(chosen.values())

    def reaches(self, partition: str) -> bool:
        """Tell whether a partition may hold some of it."""
        range_ms = partition_range_ms(partition)
        if range_ms is None:
            return True
        begin_ms, end_ms = range_ms
        is_late = self.until_ms is not None and begin_ms >= self.until_ms
        return not is_late and (self.since_ms is None or end_ms > self.since_ms)


class Stored(NamedTuple):
    """A content record as a store has it.

    Attributes:
        request_id: its identity.
        fields: the clear fields, as the record had them.
        body: as it is sealed.
    """

    request_id: str
    fields: Fields
    body: Sealed

    def __repr__(self) -> str:
        return f"Stored({self.request_id})"


def partitions_of(store: Store, table: Table, selection: Selection) -> list[str]:
    """Return the partitions that may hold what is selected, the newest first."""
    found = active_partitions(store, Bounds(table.name, table.time, table.bound_ms, {}))
    return [partition for partition in reversed(found) if selection.reaches(partition)]


def count_records(store: Store, table: Table, partition: str, selection: Selection) -> int:
    """Return how much of what is selected a partition has."""
    where, parameters = selection.where()
    sql = f"SELECT count() FROM {table.name} FINAL WHERE _partition_id = {{partition:String}} AND {where}"  # noqa: S608
    return int(store.query(sql, {**parameters, "partition": partition}).rows[0][0])


def read_ids(store: Store, table: Table, partition: str, selection: Selection) -> Iterator[list[str]]:
    """Yield the ids of what is selected in a partition, in order, page by page."""
    for page in _pages(store, table, partition, selection, "0"):
        yield [request_id for request_id, _ in page]


def read_content(store: Store, table: Table, partition: str, selection: Selection) -> Iterator[list[Stored]]:
    """Yield what is selected in a partition, in the order of request ids; a list has one record, or 8 MiB at most.

    Args:
        store: open.
        table: of content.
        partition: of `partitions_of`.
        selection: what is asked for.

    Raises:
        SinkUnavailable: the store did not answer, or refused.
    """
    body, columns = _columns(table)
    sql = (
        f"SELECT {', '.join(columns)} FROM {table.name} FINAL WHERE _partition_id = {{partition:String}} "  # noqa: S608
        "AND request_id IN {ids:Array(String)} ORDER BY request_id"
    )
    for page in _pages(store, table, partition, selection, f"length(`{body}`)"):
        for ids in _chunks(page):
            rows = store.query(sql, {"partition": partition, "ids": ids}, binary=(body,)).rows
            yield [_stored(table, values) for values in rows]


def read_record(store: Store, table: Table, request_id: str) -> Stored | None:
    """Return the content of one request as readers see it, None where there is none; the errors are as above."""
    body, columns = _columns(table)
    sql = f"SELECT {', '.join(columns)} FROM {table.sink} WHERE request_id = {{id:String}}"  # noqa: S608 - checked names
    rows = store.query(sql, {"id": request_id}, binary=(body,)).rows
    return _stored(table, rows[0]) if rows else None


def open_body(opener: Opener, record: Stored) -> bytes:
    """Return the JSON of a record's body.

    Raises:
        KeyringError: it is sealed in a way that the opener does not open, or its key is gone.
    """
    version: Any = record.fields["schema_version"]
    return opener.open(record.body, request_id=record.request_id, schema_version=version)


def _columns(table: Table) -> tuple[str, list[str]]:
    """Return the name of the body, and the columns to select: clear fields, the body's encoding, the body."""
    (body,) = (field.name for field in table.fields if field.type is FieldType.BODY)
    clear = [field.name for field in table.fields if field.name != body]
    return body, [f"`{name}`" for name in (*clear, encoding_column(body), body)]


def _pages(
    store: Store, table: Table, partition: str, selection: Selection, size: str
) -> Iterator[list[tuple[str, int]]]:
    where, parameters = selection.where()
    sql = (
        f"SELECT request_id, {size} FROM {table.name} FINAL WHERE _partition_id = {{partition:String}} "  # noqa: S608
        f"AND request_id > {{after:String}} AND {where} ORDER BY request_id LIMIT {PAGE_IDS}"
    )
    after = ""
    while page := store.query(sql, {**parameters, "partition": partition, "after": after}).rows:
        yield [(request_id, int(bytes_long)) for request_id, bytes_long in page]
        after = page[-1][0]


def _chunks(page: Sequence[tuple[str, int]]) -> Iterator[list[str]]:
    """Yield ids whose bodies together are read at once."""
    ids: list[str] = []
    total = 0
    for request_id, size in page:
        if ids and (total + size > _CHUNK_BYTES or len(ids) == _CHUNK_IDS):
            yield ids
            ids, total = [], 0
        ids.append(request_id)
        total += size
    yield ids


def _stored(table: Table, values: Sequence[Any]) -> Stored:
    *clear, encoding, body = values
    names = [field.name for field in table.fields if field.type is not FieldType.BODY]
    fields: Mapping[str, Any] = dict(zip(names, map(plain_value, clear), strict=True))
    return Stored(fields["request_id"], fields, Sealed(encoding, bytes(body)))


def plain_value(value: Any) -> Any:
    """Return a value of a row as its record had it: timestamps are text there."""
    return format_timestamp(round(value.timestamp() * 1000)) if isinstance(value, datetime) else value
