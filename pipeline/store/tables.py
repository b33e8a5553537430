"""Makes a store's tables and views what the policy says they are."""

from collections.abc import Iterable

from pipeline.errors import ConfigError
from pipeline.store.client import Store
from pipeline.store.ddl import (
    TABLE_SETTINGS,
    Table,
    alter_bounds,
    bounds_comment,
    column_types,
    create_table,
    create_view,
)


def ensure_tables(store: Store, tables: Iterable[Table]) -> None:
    """Create what is missing, and give existing tables the policy's bounds. No column of a table is touched.

    Raises:
        ConfigError: a table exists with other columns than its record schema now has.
        SinkUnavailable: the store did not answer, or refused.
    """
    known = known_settings(store)
    comments = read_comments(store)
    for table in tables:
        if table.name in comments and read_columns(store, table) != column_types(table):
            raise ConfigError(
                f"{store.label}: table {table.name} was made by another version of the {table.sink} schema "
                f"(now {table.schema_version}): `lethe store migrate` adds columns where that is all that has changed; "
                "otherwise write to a new folder or database"
            )
        for statement in changes_of(table, comments.get(table.name), known):
            store.command(statement)
        store.command(create_view(table))


def changes_of(table: Table, comment: str | None, known: frozenset[str]) -> list[str]:
    """Return the statements that make a table, or give it the policy's bounds; none when it is as it should be.

    Args:
        table: the table.
        comment: that of the table in the store, None where there is none.
        known: which of `TABLE_SETTINGS` the engine has.
    """
    if comment is None:
        return [create_table(table, known)]
    return [] if comment == bounds_comment(table) else alter_bounds(table)


def known_settings(store: Store) -> frozenset[str]:
    """Return which of `TABLE_SETTINGS` the engine has."""
    found = store.query(
        "SELECT name FROM system.merge_tree_settings WHERE name IN {names:Array(String)}",
        {"names": sorted(TABLE_SETTINGS)},
    )
    return frozenset(name for (name,) in found.rows)


def read_comments(store: Store) -> dict[str, str]:
    """Return the comment of every table that is there."""
    found = store.query(
        "SELECT name, comment FROM system.tables WHERE database = {database:String}", {"database": store.database}
    )
    return dict(found.rows)


def read_columns(store: Store, table: Table) -> dict[str, str]:
    """Return the type of every column that a table has in the store."""
    found = store.query(
        "SELECT name, type FROM system.columns WHERE database = {database:String} AND table = {table:String}",
        {"database": store.database, "table": table.name},
    )
    return dict(found.rows)
