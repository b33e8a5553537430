"""Tables of a store beside those of its sinks, as text: a key, a time, a bound that the sweep keeps. Pure."""

from collections.abc import Mapping

import orjson

from pipeline.store.ddl import TABLE_SETTINGS

_DURABLE = ("fsync_after_insert", "fsync_part_directory")


def create_side_table(
    name: str, types: Mapping[str, str], *, key: str, time: str, bound_ms: int, partition: str
) -> str:
    """Return the statement that creates a table of which the newest row of a key counts.

    Args:
        name: of the table.
        types: of its columns, by name.
        key: column that identifies a row.
        time: column that ages are counted from.
        bound_ms: its bound.
        partition: function of the time: ``toDate`` or ``toYYYYMM``, as the sweep reads partitions.
    """
    columns = ", ".join(f"{column} {kind}" for column, kind in types.items())
    fsync = ", ".join(f"{setting} = {TABLE_SETTINGS[setting]}" for setting in _DURABLE)
    return (
        f"CREATE TABLE IF NOT EXISTS {name} ({columns}) ENGINE = ReplacingMergeTree PARTITION BY {partition}({time}) "
        f"ORDER BY {key} SETTINGS {fsync} COMMENT '{bound_comment(time, bound_ms)}'"
    )


def bound_comment(time: str, bound_ms: int) -> str:
    """Return a bound as the sweep reads it (`pipeline.store.holdings.read_bounds`)."""
    return orjson.dumps({"time": time, "bound_ms": bound_ms, "null_after_ms": {}}).decode()
