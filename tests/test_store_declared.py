"""Every table of a store, and every column of it, is declared with its bound and reason (`schemas/stores/tables/`)."""

import json
from collections.abc import Iterator
from fnmatch import fnmatchcase
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from conftest import KEYS
from store_fixtures import DAY_MS, NOW_MS, bound_of, declared_tables, to_iso

from pipeline.archive.target import StoreTarget
from pipeline.policy.files import default_schemas_dir
from pipeline.policy.load import Policy
from pipeline.policy.validator import Validator
from pipeline.records import ContentRecord, OperationalRecord, Sealed
from pipeline.rights.erase import Named, Operational, StoreEraser
from pipeline.rights.steps import keep_entry
from pipeline.store import Store, open_store
from pipeline.store.intake import Records
from pipeline.suppress import Action, ControlRecord, Subject
from pipeline.usage.build import build
from pipeline.usage.folding import Rules

DECLARED = {name: one for one in declared_tables() for name in one["tables"]}
YESTERDAY_MS = NOW_MS - NOW_MS % DAY_MS - DAY_MS
ACCOUNT = "acct_5f0c77de21b94a08"
Tables = dict[str, dict[str, str]]


@pytest.fixture(scope="module")
def store(folder: Path) -> Iterator[Store]:
    """Return an empty store."""
    with open_store(f"chdb:{folder}", now_ms=NOW_MS, database="declared") as opened:
        yield opened


@pytest.fixture(scope="module")
def seen(store: Store, policy: Policy) -> Tables:
    """Return the columns of all tables that were there at any time while a store is used in every way."""
    tables: Tables = {}
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(store, "command", partial(run_and_look, store.command, tables, store))
        use(store, policy)
    return tables


def run_and_look(run: Any, tables: Tables, store: Store, *arguments: Any) -> None:
    """Run a statement, and note the columns that are there after it."""
    run(*arguments)
    sql = (
        "SELECT table, name, type FROM system.columns WHERE database = {database:String} AND table NOT IN "
        "(SELECT name FROM system.tables WHERE database = {database:String} AND engine = 'View')"
    )
    for table, name, kind in store.query(sql, {"database": store.database}).rows:
        tables.setdefault(table, {})[name] = kind


def use(store: Store, policy: Policy) -> None:
    """Archive a day, count it, and erase an account."""
    operational, content = [], []
    shared: dict[str, Any] = {
        "schema_version": 1,
        "policy_version": 1,
        "policy_digest": "d" * 16,
        "received_at": to_iso(YESTERDAY_MS),
    }
    for number in range(2):
        request = {**shared, "request_id": f"req_{number:032x}", "endpoint": "other", "model": "other"}
        facts: dict[str, Any] = {"account": KEYS.pseudonyms("account", ACCOUNT)[0], "status": 200}
        every = dict.fromkeys(field.name for field in policy.operational.fields)
        operational.append(OperationalRecord(request["request_id"], {**every, **request, **facts}))
        content.append(ContentRecord(request["request_id"], {**request, "redactions": {}}, Sealed("json", b"{}")))
    StoreTarget(store, policy, lambda: NOW_MS, partial(KEYS.suppression, Subject.REQUEST)).write(
        Records(content, operational)
    )
    bound_ms, rules = policy.stores["aggregates"].retention_ms, Rules(accounts_min=5, share_max=80)
    build(store, YESTERDAY_MS, YESTERDAY_MS + DAY_MS, NOW_MS, rules, bound_ms)
    pseudonym = KEYS.suppression("account", ACCOUNT)
    entry = ControlRecord("0192f0c1-a2b3-7c4d-8e5f-60718293a4b5", Action.RESTRICT, Subject.ACCOUNT, pseudonym, NOW_MS)
    eraser = StoreEraser(store, policy, KEYS)
    keep_entry(eraser, entry)
    erased = eraser.erase(Named(Subject.ACCOUNT, ACCOUNT), NOW_MS, NOW_MS, Operational.UNLINK)
    assert erased == (2, 2, 2, 1)


def test_what_is_declared_is_whole() -> None:
    """Each declaration has a reason for the table and for each column, and of none does it say that it holds text."""
    meta = json.loads((default_schemas_dir() / "meta" / "store-table.schema.json").read_text("utf-8"))
    for one in declared_tables():
        assert [*Validator(meta).errors(one)] == [], one["tables"]
        assert one["aged_from"] in {"", "received_at", *one["columns"]}
        assert not (one["aged_from"] == "" and one["bound"]["of"])


def test_each_table_has_the_columns_that_are_declared_and_no_other(seen: Tables, policy: Policy) -> None:
    """Those of the time of one call too; and every declared table was there."""
    records = {"content": policy.content, "operational": policy.operational, "rejection": policy.rejection}
    used = set()
    for table, columns in seen.items():
        (name,) = (name for name in DECLARED if fnmatchcase(table, name))
        one = DECLARED[name]
        fields = {field.name for field in records[one["record"]].fields} if "record" in one else set()
        beside = {column: kind for column, kind in columns.items() if column not in fields}
        assert beside == {column: said["type"] for column, said in one["columns"].items()}, table
        assert fields <= set(columns), table
        used.add(name)
    assert used == set(DECLARED)


def test_each_table_has_the_bound_that_is_declared(store: Store, seen: Tables, policy: Policy) -> None:
    """The comment, by which the sweep goes, says the same bound, from the same column."""
    sql = "SELECT name, comment FROM system.tables WHERE database = {database:String} AND engine != 'View'"
    live = dict(store.query(sql, {"database": store.database}).rows)
    assert set(live) == {name for name in seen if "usage_build" not in name and "erasing" not in name}
    for name, comment in live.items():
        said = json.loads(comment)
        assert (said["time"], said["bound_ms"]) == (DECLARED[name]["aged_from"], bound_of(DECLARED[name], policy)), name
