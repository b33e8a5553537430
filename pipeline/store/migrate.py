"""Brings a store's tables to the record schemas as they are now, where these have only got fields.

What is to be done is worked out from the columns that are there, so doing it again does nothing, and a migration that
was killed goes on where it ended. A table's comment, written last, says which version of its schema it is of.
"""

from collections.abc import Sequence

import orjson

from pipeline.errors import ConfigError
from pipeline.store.client import Store
from pipeline.store.ddl import Table, add_column, column_types, create_view
from pipeline.store.tables import changes_of, ensure_tables, known_settings, read_columns, read_comments

_NULLABLE = ("Nullable(", "LowCardinality(Nullable(", "Map(")
"""Types of columns that existing rows can do without: they have null there, or an empty map."""


def plan_migration(store: Store, tables: Sequence[Table]) -> list[str]:
    """Return the statements that a migration would run, in order; none when the store is as the schemas say.

    Raises:
        ConfigError: a table differs by more than columns that it lacks; the text names them all.
        SinkUnavailable: the store did not answer, or refused.
    """
    known, comments = known_settings(store), read_comments(store)
    statements, problems = [], []
    for table in tables:
        comment = comments.get(table.name)
        added: list[str] = []
        if comment is not None:
            there = read_columns(store, table)
            problems += _problems(table, there, comment)
            added = [add_column(table, name) for name in column_types(table) if name not in there]
        changes = [*added, *changes_of(table, comment, known)]
        statements += [*changes, create_view(table)] if changes else []
    if problems:
        raise ConfigError(
            f"{store.label}: this is no change that adds only: {'; '.join(problems)}. Write to a new folder or database"
        )
    return statements


def migrate(store: Store, tables: Sequence[Table]) -> list[str]:
    """Bring the tables to their schemas, and return the statements of the plan.

    Raises:
        ConfigError: as `plan_migration`; nothing is done then.
        SinkUnavailable: the store did not answer, or refused; run it again.
    """
    statements = plan_migration(store, tables)
    for statement in statements:
        store.command(statement)
    ensure_tables(store, tables)
    return statements


def _problems(table: Table, there: dict[str, str], comment: str) -> list[str]:
    wanted = column_types(table)
    found = [f"{table.name} has a column {name} that the schema has not" for name in there if name not in wanted]
    for name, kind in wanted.items():
        if name in there and there[name] != kind:
            found.append(f"{table.name}: {name} is {there[name]}, and would be {kind}")
        elif name not in there and not kind.startswith(_NULLABLE):
            found.append(f"{table.name}: {name} is new and {kind}, and the rows that are there have no value for it")
    version = _version_of(comment)
    if version > table.schema_version:
        found.append(f"{table.name} is of version {version} of its schema, newer than {table.schema_version}")
    return found


def _version_of(comment: str) -> int:
    """Return the version of the schema that a table's comment names; 0 where it names none."""
    try:
        return int(orjson.loads(comment).get("schema_version", 0))
    except (orjson.JSONDecodeError, AttributeError):
        return 0
