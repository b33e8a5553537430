"""What the engine keeps beside the data: no log of it has a value, and a server is set up so that none gets one."""

import re
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import KEYS, RECEIVED_AT_MS
from store_fixtures import NOW_MS, SCHEMAS, SINKS, declared_tables, make_event
from test_architecture import ROOT

from pipeline.errors import SinkUnavailable
from pipeline.policy.load import Policy
from pipeline.store import Store, StoreSink, open_store
from pipeline.store.ddl import make_table
from pipeline.store.erasure import find_requests, mask_records, purge_masked, unlink_records
from pipeline.store.reading import read_record

DEPLOY = ROOT / "deploy" / "clickhouse"
ROLES = ("archive", "abuse_desk", "billing", "officer", "auditor", "admin")
CONTENT, OPERATIONAL = (make_table(SINKS[name], SCHEMAS[SINKS[name].schema]) for name in ("content", "operational"))
BODY, ACCOUNT, ASKED = "zqlogbody0123456789", "e1:zqlogaccount0123456789", "zqlogasked0123456789"
# Without end, or large, and made of constants of the engine's own; `tables` has definitions, and is looked at below.
CONSTANT = {"unicode", "symbols", "stack_trace", "documentation", "functions", "zeros", "zeros_mt", "primes"}


@pytest.fixture
def store(folder: Path) -> Iterator[Store]:
    """Return a database in which everything was done once that has a value in it: write, read, erase."""
    with open_store(f"chdb:{folder}", now_ms=NOW_MS, database="logs") as opened:
        events = [
            make_event(n, operational={"account": ACCOUNT if n < 5 else "e1:" + "a" * 32}, body=BODY.encode())
            for n in range(1, 9)
        ]
        StoreSink(opened, SCHEMAS, SINKS, lambda: NOW_MS).write(events)
        assert read_record(opened, CONTENT, ASKED) is None
        ids = find_requests(opened, OPERATIONAL, "account", [ACCOUNT], NOW_MS)
        assert len(ids) == mask_records(opened, CONTENT, ids) == 4
        unlink_records(opened, OPERATIONAL, ("account",), ids)
        purge_masked(opened, CONTENT)
        yield opened
        opened.command("DROP DATABASE logs SYNC")


def holding(store: Store, values: tuple[str, ...]) -> set[str]:
    """Return the tables of the system that have one of some values now, in any column of any row."""
    sql = "SELECT name FROM system.tables WHERE database = 'system' AND NOT engine LIKE '%Numbers%'"
    names = [name for (name,) in store.query(sql).rows if name not in CONSTANT]
    assert {"errors", "mutations", "processes", "query_cache", "user_query_log"} <= {*names}
    found = set()
    for name in names:
        for value in values:
            # In halves, or the statement that looks would find itself in the list of what is running.
            look = (
                f"SELECT count() FROM (SELECT * FROM system.`{name}` LIMIT 100000) "  # noqa: S608 - the engine's own name
                "WHERE position(formatRow('JSONEachRow', *), concat({start:String}, {end:String})) > 0"
            )
            try:
                if store.query(look, {"start": value[:9], "end": value[9:]}).rows[0][0]:
                    found.add(name)
            except SinkUnavailable:  # a few need what an embedded engine does not have: users, a keeper
                continue
    return found


def test_no_table_of_the_system_and_no_file_beside_the_data_has_a_value(store: Store, folder: Path) -> None:
    """After records were written, looked for, erased and unlinked, only parts of tables hold any; and the look works.

    A statement that is refused does stay, values and all, in the engine's list of errors until it ends: so it is shown
    here that this look finds what is there, and docs/security.md tells of it.
    """
    assert holding(store, (BODY, ACCOUNT, ASKED)) == set()
    holders = [
        path.relative_to(folder).parts
        for path in folder.rglob("*")
        if path.is_file() and any(value.encode() in path.read_bytes() for value in (BODY, ACCOUNT, ASKED))
    ]
    part = re.compile(r"\d{6,8}(_\d+){3,4}")
    assert holders
    assert [parts for parts in holders if parts[0] != "store" or not part.fullmatch(parts[3])] == []
    assert [parts for parts in holders if not parts[-1].endswith((".bin", ".idx", ".cidx"))] == []
    with pytest.raises(SinkUnavailable):
        store.query("SELECT nothing FROM content WHERE body = {value:String}", {"value": ASKED})
    assert holding(store, (ASKED,)) == {"errors"}


def test_the_roles_are_statements_that_clickhouse_reads(store: Store) -> None:
    """Each is parsed by the engine, which has no users and refuses to run them; each role is made and granted to."""
    text = re.sub(r"^--.*$", "", (DEPLOY / "roles.sql").read_text("utf-8"), flags=re.MULTILINE)
    statements = [" ".join(part.split()) for part in text.split(";") if part.strip()]
    kinds = {store.query(f"EXPLAIN AST {statement}").rows[0][0].split()[0] for statement in statements}
    assert kinds == {"CreateSettingsProfileQuery", "CreateRoleQuery", "GrantQuery", "CreateUserQuery"}
    with pytest.raises(SinkUnavailable):
        store.query("EXPLAIN AST GRANT NOTHING ON lethe.content TO lethe_admin")
    for role in ROLES:
        assert any(re.search(rf"CREATE ROLE IF NOT EXISTS lethe_{role} ", one) for one in statements)
        assert any(one.startswith("GRANT") and one.endswith(f" TO lethe_{role}") for one in statements)


def granted() -> dict[tuple[str, str], set[str]]:
    """Return what each role may do to each table, view or pattern of them."""
    found: dict[tuple[str, str], set[str]] = {}
    text = (DEPLOY / "roles.sql").read_text("utf-8")
    for rights, name, role in re.findall(r"^GRANT ([^;]*?)\s+ON ([\w.*]+) TO lethe_(\w+);", text, re.MULTILINE):
        found.setdefault((role, name), set()).update(right.strip() for right in rights.split(","))
    return found


def test_every_table_of_the_policy_is_granted_and_no_other(policy: Policy) -> None:
    """Views and tables as they are declared; the auditor reads all, and nobody but who must reads content."""
    stored = {name for name in ("content", "operational", "rejected") if name in policy.sinks}
    tables = {*stored, *(name for one in declared_tables() for name in one["tables"] if "*" not in name)}
    rights = granted()
    named = {name.removeprefix("lethe.") for _, name in rights if name.startswith("lethe.") and "*" not in name}
    assert named == tables
    reading = {
        role: {name for (who, name), what in rights.items() if who == role and "SELECT" in what} for role in ROLES
    }
    assert reading["auditor"] >= {f"lethe.{name}" for name in tables}
    assert {role for role, names in reading.items() if names & {"lethe.content", "lethe.content_rows"}} == {
        "archive", "abuse_desk", "auditor",
    }  # fmt: skip
    assert not reading["abuse_desk"] & {"lethe.operational", "lethe.operational_rows"}
    for role in ("abuse_desk", "billing", "auditor"):
        assert {right for (who, _), what in rights.items() if who == role for right in what} <= {
            "SELECT", "SYSTEM WAIT LOADING PARTS",
        }  # fmt: skip
    assert "lethe.*" not in {name for (_, name), what in rights.items() if what & {"SELECT", "INSERT", "DROP TABLE"}}


def test_a_servers_configuration_masks_and_forgets() -> None:
    """It is well-formed; its rules match ids and pseudonyms as lethe makes them; logs end after a day; no core dump."""
    root = ET.parse(DEPLOY / "config.d" / "lethe.xml").getroot()  # noqa: S314 - our own file
    rules = [rule.findtext("regexp", "") for rule in root.iter("rule")]
    for value in (
        "req_0192f0c1a2b37c4d8e5f60718293a4b5",
        "req_01JD8X5T2Q9V0M3N4P5R6S7T8V",
        "req_0192f0c1-a2b3-7c4d-8e5f-60718293a4b5",
        KEYS.pseudonym("account", "acct_1", RECEIVED_AT_MS),
        KEYS.day_pseudonym("client_ip", "203.0.113.7", RECEIVED_AT_MS) or "",
        KEYS.suppression("account", "acct_1"),
    ):
        assert any(re.fullmatch(rule, value) for rule in rules), value
    logs = {one.tag: one for one in root if one.tag.endswith("_log")}
    assert {"text_log", "query_log", "query_thread_log", "query_views_log", "part_log"} <= logs.keys()
    forgets = [
        one.get("remove") == "1" or one.findtext("ttl") == "event_date + INTERVAL 1 DAY DELETE" for one in logs.values()
    ]
    assert all(forgets)
    assert root.findtext("logger/level") == root.findtext("text_log/level") == "information"
    assert (root.findtext("core_dump/size_limit"), root.findtext("send_crash_reports/enabled")) == ("0", "false")
