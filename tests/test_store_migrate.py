"""Migrations of an embedded store: only what adds, again without effect, and on from where one was killed."""

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from store_fixtures import NOW_MS, OPERATIONAL, SCHEMAS, SINKS, make_event

from pipeline.errors import ConfigError
from pipeline.policy.model import FieldType, RecordField, RecordSchema
from pipeline.sinks.base import WriteReport
from pipeline.store import Store, StoreSink, open_store
from pipeline.store.ddl import DIGEST
from pipeline.store.intake import make_tables
from pipeline.store.migrate import migrate, plan_migration

DAY_MS = 86_400_000
TIER = RecordField("tier", FieldType.STRING, nullable=True, closed=True)
PROXY = RecordField("proxy_ip", FieldType.STRING, nullable=True, null_after_ms=30 * DAY_MS)
GROWN = replace(OPERATIONAL, version=2, fields=(*OPERATIONAL.fields, TIER, PROXY))


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """Return a store with a row of the first version."""
    with open_store(f"chdb:{tmp_path / 'store'}", now_ms=NOW_MS) as opened:
        StoreSink(opened, SCHEMAS, SINKS, lambda: NOW_MS).write([make_event(1)])
        yield opened


def test_fields_that_a_schema_has_got_become_columns(store: Store) -> None:
    """An older store is refused with the command's name; migrated, its rows have null and new ones fit."""
    schemas = SCHEMAS | {"operational": GROWN}
    tables = make_tables(schemas, SINKS)
    with pytest.raises(ConfigError, match=r"operational_rows was made by another version .*`lethe store migrate`"):
        StoreSink(store, schemas, SINKS, lambda: NOW_MS)
    planned = plan_migration(store, tables)
    assert [s for s in planned if "ADD COLUMN" in s] == [
        "ALTER TABLE operational_rows ADD COLUMN IF NOT EXISTS `tier` LowCardinality(Nullable(String))",
        "ALTER TABLE operational_rows ADD COLUMN IF NOT EXISTS `proxy_ip` Nullable(String)",
    ]
    assert not [s for s in planned if "content" in s]
    assert migrate(store, tables) == planned
    assert migrate(store, tables) == plan_migration(store, tables) == []
    sink = StoreSink(store, schemas, SINKS, lambda: NOW_MS)
    event = make_event(2, operational={"tier": "gold", "proxy_ip": "p"}, body=None)
    assert sink.write([event]) == WriteReport(operational=1)
    rows = store.query("SELECT tier, proxy_ip, status FROM operational ORDER BY request_id").rows
    assert rows == [(None, None, 200), ("gold", "p", 200)]
    shown = store.query("SELECT create_table_query FROM system.tables WHERE name = 'operational_rows'").rows[0][0]
    assert re.search(r"`proxy_ip` Nullable\(String\) TTL", shown)


def test_a_migration_that_was_killed_goes_on(store: Store) -> None:
    """After each number of its statements, running it again leads to the same tables."""
    tables = make_tables(SCHEMAS | {"operational": GROWN}, SINKS)
    whole = plan_migration(store, tables)
    for done in whole[:-1]:
        store.command(done)
        left = plan_migration(store, tables)
        assert "MODIFY COMMENT" in str(left) or whole.index(done) == len(whole) - 2
    assert migrate(store, tables) == plan_migration(store, tables) == []
    assert store.query("SELECT tier FROM operational").rows == [(None,)]


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        (replace(GROWN, fields=OPERATIONAL.fields[:-4] + OPERATIONAL.fields[-3:]), "has a column error_type that"),
        (
            replace(GROWN, fields=(*OPERATIONAL.fields, replace(TIER, nullable=False))),
            r"tier is new and LowCardinality\(String\), and the rows",
        ),
        (
            replace(GROWN, fields=tuple(replace(f, nullable=True) if f.name == "status" else f for f in GROWN.fields)),
            r"status is Int64, and would be Nullable\(Int64\)",
        ),
        (replace(OPERATIONAL, version=0), "is of version 1 of its schema, newer than 0"),
    ],
)
def test_any_other_change_is_refused(store: Store, changed: RecordSchema, reason: str) -> None:
    """What is gone, of another type, without a value, or newer is named, and nothing is done."""
    before = store.query("SELECT name, type FROM system.columns WHERE table = 'operational_rows'").rows
    with pytest.raises(ConfigError, match=reason):
        migrate(store, make_tables(SCHEMAS | {"operational": changed}, SINKS))
    assert store.query("SELECT name, type FROM system.columns WHERE table = 'operational_rows'").rows == before
    assert DIGEST in dict(before)
