"""Tables and views as text, derived from the record schemas. Pure: nothing here talks to a store."""

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass

import orjson

from pipeline.coarsen import DAY_MS
from pipeline.errors import PolicyError
from pipeline.policy.model import FieldType, RecordField, RecordSchema, SinkPolicy
from pipeline.store.bounds import check_bound, due_after_ms

DIGEST = "record_digest"
INSERTED_AT = "inserted_at"
REJECTION_KEY = ("topic", "partition", "offset")
_RECORD_KEY = ("request_id",)
_TIME, _VERSION = "received_at", "policy_version"
_DAILY_UP_TO_MS = 92 * DAY_MS
"""Longer bounds have monthly partitions: 400 daily ones would make every read open 400 parts."""

_NAME = re.compile(r"[a-z][a-z0-9_]{0,62}", re.ASCII)
_LOW_CARDINALITY = re.compile(r"^LowCardinality\((.+)\)$")
_TIMESTAMP = "DateTime64(3, 'UTC')"
_TYPES: Mapping[FieldType, str] = {
    FieldType.STRING: "String",
    FieldType.TIMESTAMP: _TIMESTAMP,
    FieldType.INTEGER: "Int64",
    FieldType.NUMBER: "Float64",
    FieldType.BOOLEAN: "Bool",
    FieldType.COUNTS: "Map(LowCardinality(String), UInt32)",
    FieldType.BODY: "String",
}

TABLE_SETTINGS: Mapping[str, str] = {
    # A batch that was acknowledged survives a power cut, and so does what a merge made of it.
    "fsync_after_insert": "1",
    "fsync_part_directory": "1",
    "min_compressed_bytes_to_fsync_after_merge": "1",
    # Outdated parts hold what a mutation removed: by default they stay for up to minutes, here for about a second.
    "old_parts_lifetime": "1",
    "merge_tree_clear_old_parts_interval_seconds": "1",
    "cleanup_delay_period": "1",
    "max_cleanup_delay_period": "1",
    "cleanup_delay_period_random_add": "0",
    # Column statistics are another copy of values (hashes, minima, maxima) that a mutation need not renew.
    "auto_statistics_types": "''",
}
"""Settings of every table; a server that does not know one of them is not given it."""


@dataclass(frozen=True, slots=True)
class Table:
    """A table of one sink.

    Attributes:
        sink: the sink's name, which its view has too.
        schema_version: version of the record schema.
        fields: the record's fields.
        key: columns that identify a record; the sort key.
        time: the column its age is counted from.
        version: the column of which the highest value wins, or "" where the first row stays.
        bound_ms: the sink's bound.
    """

    sink: str
    schema_version: int
    fields: tuple[RecordField, ...]
    key: tuple[str, ...]
    time: str
    version: str
    bound_ms: int

    @property
    def name(self) -> str:
        """Name of the table; readers use the view, named like the sink."""
        return f"{self.sink}_rows"

    @property
    def lapsing(self) -> tuple[RecordField, ...]:
        """Fields that become null before their record goes (design §2)."""
        return tuple(field for field in self.fields if field.null_after_ms is not None)


def make_table(sink: SinkPolicy, schema: RecordSchema) -> Table:
    """Derive a sink's table from its record schema.

    A schema with request_id, received_at and policy_version is a record, aged from its request; any other is taken for
    a rejection, which knows no request: it is aged from its insertion.

    Raises:
        PolicyError: the schema has a field that a table cannot have, or the bound is too short.
    """
    check_bound(sink.name, sink.retention_ms)
    names = {field.name for field in schema.fields}
    for field in schema.fields:
        _check_field(schema.name, field)
    key: tuple[str, ...]
    if names >= {*_RECORD_KEY, _TIME, _VERSION}:
        key, time, version = _RECORD_KEY, _TIME, _VERSION
    elif names >= set(REJECTION_KEY):
        key, time, version = REJECTION_KEY, INSERTED_AT, ""
    else:
        raise PolicyError(f"{schema.name}: a stored record has request_id, received_at and policy_version")
    return Table(sink.name, schema.version, schema.fields, key, time, version, sink.retention_ms)


def _check_field(schema: str, field: RecordField) -> None:
    if not _NAME.fullmatch(field.name) or field.name in {DIGEST, INSERTED_AT}:
        raise PolicyError(f"{schema}: a field has a name that a column cannot have")
    if field.nullable and field.type in {FieldType.COUNTS, FieldType.BODY}:
        raise PolicyError(f"{schema}: {field.name} cannot be nullable, being {field.type}")
    if field.null_after_ms is None:
        return
    if not field.nullable or field.type is not FieldType.STRING:
        raise PolicyError(f"{schema}: {field.name} becomes null in the store, so it must be a nullable string")
    check_bound(f"{schema}: {field.name}", field.null_after_ms)


def column_types(table: Table) -> dict[str, str]:
    """Return the type of every column, in order, spelled as ClickHouse spells it."""
    types: dict[str, str] = {}
    for field in table.fields:
        types[field.name] = _column_type(field)
        if field.type is FieldType.BODY:
            types[encoding_column(field.name)] = "LowCardinality(String)"
    if table.time == INSERTED_AT:
        types[INSERTED_AT] = _TIMESTAMP
    return types | {DIGEST: "UInt64"}


def insert_types(table: Table) -> dict[str, str]:
    """Return the type of every column as it is sent: the engine makes dictionaries much faster than the driver does."""
    return {name: _LOW_CARDINALITY.sub(r"\1", kind) for name, kind in column_types(table).items()}


def encoding_column(body: str) -> str:
    """Return the name of the column that says how a body column is encoded."""
    return f"{body}_encoding"


def _column_type(field: RecordField) -> str:
    name = _TYPES[field.type]
    if field.nullable:
        name = f"Nullable({name})"
    return f"LowCardinality({name})" if field.closed and field.type is FieldType.STRING else name


def create_table(table: Table, known_settings: Collection[str]) -> str:
    """Return the statement that creates a table.

    Args:
        table: the table.
        known_settings: which of `TABLE_SETTINGS` the engine has.
    """
    attributes = {field.name: " CODEC(ZSTD(1))" for field in table.fields if field.type is FieldType.BODY}
    attributes |= {field.name: f" TTL {_column_ttl(table, field)}" for field in table.lapsing}
    columns = ",\n  ".join(f"`{name}` {kind}{attributes.get(name, '')}" for name, kind in column_types(table).items())
    settings = [f"{name} = {value}" for name, value in TABLE_SETTINGS.items() if name in known_settings]
    if _is_daily(table):
        settings.append("ttl_only_drop_parts = 1")
    return (
        f"CREATE TABLE IF NOT EXISTS {table.name} (\n  {columns}\n)\n"
        f"ENGINE = ReplacingMergeTree({table.version})\n"
        f"PARTITION BY {'toDate' if _is_daily(table) else 'toYYYYMM'}({table.time})\n"
        f"ORDER BY ({', '.join(f'`{name}`' for name in table.key)})\n"
        f"TTL {_row_ttl(table)}\n"
        f"SETTINGS {', '.join(settings)}\n"
        f"COMMENT '{bounds_comment(table)}'"
    )


def create_view(table: Table) -> str:
    """Return the statement that creates the view which shows each record once.

    The partition key derives from the time, not from the identity, so partitions must be merged when reading: a
    record that came again under another time is still one.
    """
    columns = ", ".join(f"`{name}`" for name in column_types(table) if name != DIGEST)
    return (
        f"CREATE OR REPLACE VIEW {table.sink} AS SELECT {columns} FROM {table.name} FINAL "  # noqa: S608 - checked names
        "SETTINGS do_not_merge_across_partitions_select_final = 0"
    )


def alter_bounds(table: Table) -> list[str]:
    """Return the statements that give an existing table the policy's bounds; the comment comes last, as a receipt.

    Parts are not rewritten for it (``materialize_ttl_after_modify``): the sweep enforces the new bounds.
    """
    changes = [
        f"MODIFY TTL {_row_ttl(table)}",
        *(f"MODIFY COLUMN `{one.name}` {_column_type(one)} TTL {_column_ttl(table, one)}" for one in table.lapsing),
    ]
    statements = [f"ALTER TABLE {table.name} {change} SETTINGS materialize_ttl_after_modify = 0" for change in changes]
    return [*statements, f"ALTER TABLE {table.name} MODIFY COMMENT '{bounds_comment(table)}'"]


def add_column(table: Table, name: str) -> str:
    """Return the statement that gives an existing table a column; its rows have null, or an empty map, there."""
    return f"ALTER TABLE {table.name} ADD COLUMN IF NOT EXISTS `{name}` {column_types(table)[name]}"


def bounds_comment(table: Table) -> str:
    """Return the table's bounds and the version of its schema as JSON.

    Kept as its comment: any opening can sweep without the policy, and a migration is done once it says so.
    """
    null_after = {field.name: field.null_after_ms for field in table.lapsing}
    facts = {"time": table.time, "bound_ms": table.bound_ms, "null_after_ms": null_after}
    return orjson.dumps({**facts, "schema_version": table.schema_version}).decode()


def empty_null(kind: str) -> str:
    """Return a NULL of a type that leaves nothing behind.

    A plain NULL only sets the null mask: the nested column, and so the file, keeps the value under it (measured, chdb
    26.9). A materialized NULL is a column of its own, whose nested values are empty.
    """
    return f"materialize(CAST(NULL, '{kind}'))"


def _is_daily(table: Table) -> bool:
    return table.bound_ms <= _DAILY_UP_TO_MS


def _row_ttl(table: Table) -> str:
    return ttl(table.time, table.bound_ms)


def _column_ttl(table: Table, field: RecordField) -> str:
    return ttl(table.time, field.null_after_ms or table.bound_ms)


def ttl(time: str, bound_ms: int) -> str:
    """Return the moment the record's day is due, which is the sweep's too: whichever comes first removes it."""
    return f"toStartOfDay(toDateTime(`{time}`, 'UTC')) + toIntervalSecond({due_after_ms(bound_ms) // 1000})"
