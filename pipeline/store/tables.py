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
    """Create what is missing, and give existing tables the policy's bounds.

    Raises:
        ConfigError: a table exists with other columns than its record schema now has.
        SinkUnavailable: the store did not answer, or refused.
    """
    known = known_settings(store)
    comments = comments_of(store)
    for table in tables:
        if table.name not in comments:
            store.command(create_table(table, known))
        else:
            _check_columns(store, table)
            if comments[table.name] != bounds_comment(table):
                for statement in alter_bounds(table):
                    store.command(statement)
        store.command(create_view(table))


def known_settings(store: Store) -> frozenset[str]:
    """Return which of `TABLE_SETTINGS` the engine has."""
    found = store.query(
        "SELECT name FROM system.merge_tree_settings WHERE name IN {names:Array(String)}",
        {"names": sorted(TABLE_SETTINGS)},
    )
    return frozenset(name for (name,) in found.rows)


def comments_of(store: Store) -> dict[str, str]:
    """Return the comment of each table, by name; the bounds of ours stand there."""
    found = store.query(
        "SELECT name, comment FROM system.tables WHERE database = {database:String}", {"database": store.database}
    )
    return dict(found.rows)


def _check_columns(store: Store, table: Table) -> None:
    found = store.query(
        "SELECT name, type FROM system.columns WHERE database = {database:String} AND table = {table:String}",
        {"database": store.database, "table": table.name},
    )
    if dict(found.rows) != column_types(table):
        raise ConfigError(
            f"{store.label}: table {table.name} was made by another version of the {table.sink} schema "
            f"(now {table.schema_version}): write to a new folder or database"
        )
