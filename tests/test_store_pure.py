"""The store without an engine: bounds, URLs, statements, and what is said when a store cannot be opened."""

import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, HTTPServer
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from store_fixtures import CONTENT, DAY_MS, OPERATIONAL, REJECTION, SCHEMAS, SINKS, make_sink

from pipeline.errors import ConfigError, PolicyError, SinkUnavailable
from pipeline.policy.model import FieldType, RecordField, RecordSchema
from pipeline.store import Store, open_store
from pipeline.store.bounds import SLACK_MS, due_before_ms, hold_ms, partition_range_ms
from pipeline.store.ddl import TABLE_SETTINGS, alter_bounds, bounds_comment, create_table, create_view, make_table
from pipeline.store.rows import Stamp, Verdict, judge
from pipeline.store.tables import ensure_tables
from pipeline.store.url import EmbeddedTarget, ServerTarget, parse_store_url

_times = st.integers(min_value=0, max_value=4_000_000_000_000)
_bounds = st.integers(min_value=2 * DAY_MS + 1, max_value=500 * DAY_MS)


@given(now_ms=_times, bound_ms=_bounds, share=st.floats(0, 1))
def test_what_is_admitted_is_not_due_and_what_nears_its_bound_is(now_ms: int, bound_ms: int, share: float) -> None:
    """No age up to the hold is due at once; every age from the bound less the slack is due, whatever the hour."""
    due_before = due_before_ms(bound_ms, now_ms)
    assert due_before % DAY_MS == 0
    assert now_ms - int(hold_ms(bound_ms) * share) >= due_before
    assert now_ms - (bound_ms - SLACK_MS) < due_before


@given(at_ms=_times)
def test_a_partition_covers_its_days(at_ms: int) -> None:
    """Daily and monthly partition ids are read as the range of moments that ClickHouse puts into them."""
    moment = datetime.fromtimestamp(at_ms / 1000, UTC)
    for form, longest in (("%Y%m%d", DAY_MS), ("%Y%m", 31 * DAY_MS)):
        found = partition_range_ms(moment.strftime(form))
        assert found is not None
        begin, end = found
        assert begin <= at_ms < end
        assert end - begin <= longest


@pytest.mark.parametrize("partition_id", ["", "all", "2026", "202613", "20261123x", "tuple()"])
def test_another_partition_id_has_no_range(partition_id: str) -> None:
    """An id that is neither daily nor monthly is not guessed at."""
    assert partition_range_ms(partition_id) is None


_OLD = Stamp(1, 1, ("a", None))


@pytest.mark.parametrize(
    ("stored", "coming", "verdict"),
    [
        (None, _OLD, Verdict.NEW),
        (_OLD, _OLD, Verdict.REPEATED),
        (_OLD, Stamp(2, 1, ("a", None)), Verdict.CONFLICT),
        (_OLD, Stamp(2, 2, ("a", None)), Verdict.REPLACES),
        (Stamp(2, 2, ("a", None)), _OLD, Verdict.REPEATED),
        (_OLD, Stamp(1, 1, (None, "b")), Verdict.REPEATED),
        (_OLD, Stamp(1, 1, ("c", None)), Verdict.CONFLICT),
        (_OLD, Stamp(2, 1, (None, None)), Verdict.CONFLICT),
    ],
)
def test_the_rule_of_conflicts(stored: Stamp | None, coming: Stamp, verdict: Verdict) -> None:
    """Design §5: other bytes under an id conflict, but for a higher policy version or a lapsed field."""
    assert verdict == judge(stored, coming)


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("clickhouse://localhost", ServerTarget("localhost", 8123, "", "", "lethe", secure=False)),
        ("clickhouse://127.0.0.1:9/db", ServerTarget("127.0.0.1", 9, "", "", "db", secure=False)),
        ("clickhouse://[::1]:9", ServerTarget("::1", 9, "", "", "lethe", secure=False)),
        ("clickhouse://store.example.com", ServerTarget("store.example.com", 8443, "", "", "lethe", secure=True)),
        (
            "clickhouse://u:p%40ss@store.example.com:9000/db?secure=false",
            ServerTarget("store.example.com", 9000, "u", "p@ss", "db", secure=False),
        ),
        (
            "clickhouses://localhost?ca_cert=ca.pem",
            ServerTarget("localhost", 8443, "", "", "lethe", secure=True, ca_cert="ca.pem"),
        ),
    ],
)
def test_a_server_url_is_read(url: str, expected: ServerTarget) -> None:
    """TLS is the default but for this machine; user, password and database are percent-decoded."""
    assert expected == parse_store_url(url, database="lethe")


def test_a_folder_url_is_read() -> None:
    """A chdb URL names a folder, absolute or relative."""
    targets = [parse_store_url(url, database="d") for url in ("chdb:./lethe-data", "chdb:/srv/lethe")]
    assert [str(one.folder) for one in targets if isinstance(one, EmbeddedTarget)] == ["lethe-data", "/srv/lethe"]


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("", "expected chdb:DIR"),
        ("chdb:", "needs a folder"),
        ("chdb:a?b=hunter2", "without the characters"),
        ("mysql://u:hunter2@host", "expected chdb:DIR"),
        ("clickhouse:hunter2@host", "expected chdb:DIR"),
        ("clickhouse://u:hunter2@", "no host"),
        ("clickhouse://u:hunter2@host:port", "host or port cannot be read"),
        ("clickhouse://u:hunter2@host:99999", "host or port cannot be read"),
        ("clickhouse://u:hunter2@[host", "host or port cannot be read"),
        ("clickhouse://u:hunter2@host/data-base", "database name"),
        ("clickhouse://u:hunter2@host/db?password=hunter2", "1 unknown option"),
        ("clickhouse://u:hunter2@host?secure=hunter2", "secure is true or false"),
        ("clickhouses://u:hunter2@host?secure=false", "always secure"),
    ],
)
def test_a_bad_url_is_refused_without_repeating_it(url: str, says: str) -> None:
    """The error says what is expected, and never what was given: that may hold a password."""
    with pytest.raises(ConfigError, match=says) as caught:
        parse_store_url(url, database="lethe")
    assert "hunter2" not in f"{caught.value!r}{caught.value.__context__!r}"


def test_a_password_is_in_no_repr() -> None:
    """Neither the target, nor its label, nor an open store shows user or password."""
    target = parse_store_url("clickhouse://ursula:hunter2@store.example.com/db", database="lethe")
    assert isinstance(target, ServerTarget)
    store = Store(SimpleNamespace(), label=target.label, database="db")
    shown = f"{target!r} {target.label} {store!r}"
    assert "hunter2" not in shown
    assert "ursula" not in shown
    assert "clickhouses://store.example.com:8443/db" in shown


class _Refuse(BaseHTTPRequestHandler):
    """A server that refuses every login, as ClickHouse does."""

    def do_POST(self) -> None:
        """Answer with the error that wrong passwords get."""
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.send_response(403)
        self.send_header("X-ClickHouse-Exception-Code", "516")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class's name
        """Say nothing."""


@pytest.fixture
def port() -> Iterator[int]:
    """Return the port of a server that refuses every login."""
    server = HTTPServer(("127.0.0.1", 0), _Refuse)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server.server_port
    server.shutdown()
    server.server_close()
    thread.join()


def test_a_refused_login_is_a_setting_to_fix(port: int, caplog: pytest.LogCaptureFixture) -> None:
    """A wrong password is reported as such, with the server's address and without the password."""
    caplog.set_level("DEBUG")
    with pytest.raises(ConfigError, match=rf"127\.0\.0\.1:{port}/lethe.*login is refused") as caught:
        open_store(f"clickhouse://ursula:hunter2@127.0.0.1:{port}", now_ms=0)
    assert "hunter2" not in f"{caught.value!r}{caught.value.__context__!r}{caplog.text}"


def test_a_server_that_is_not_there_is_unavailable(caplog: pytest.LogCaptureFixture) -> None:
    """A refused connection says where and how it was tried, and holds no password, in error or log."""
    caplog.set_level("DEBUG")
    with pytest.raises(SinkUnavailable, match=r"127\.0\.0\.1:9/lethe, without TLS") as caught:
        open_store("clickhouse://ursula:hunter2@127.0.0.1:9", now_ms=0)
    assert caught.value.__context__ is None
    assert "hunter2" not in f"{caught.value!r}{caplog.text}"


def test_a_missing_extra_says_what_to_install(tmp_path: Any) -> None:
    """Without chdb the error names the extra."""
    code = (
        "import sys; sys.modules['chdb'] = None\n"
        "from pipeline.store import open_store; from pipeline.errors import ConfigError\n"
        "try: open_store(sys.argv[1], now_ms=0)\nexcept ConfigError as error: print(error, error.__context__)"
    )
    command = [sys.executable, "-c", code, f"chdb:{tmp_path}"]
    found = subprocess.run(command, capture_output=True, text=True, check=True)  # noqa: S603 - our own interpreter
    assert found.stdout.partition("package: ")[2] == "pip install 'lethe[embedded]' None\n"


def test_a_table_follows_its_schema() -> None:
    """Types, keys, partitions and bounds come from the record schema and the sink, not from code."""
    content, operational, rejected = (
        create_table(make_table(SINKS[name], SCHEMAS[SINKS[name].schema]), TABLE_SETTINGS)
        for name in ("content", "operational", "rejected")
    )
    for expected, statement in (
        ("`received_at` DateTime64(3, 'UTC'),", content),
        ("`endpoint` LowCardinality(String),", content),
        ("`redactions` Map(LowCardinality(String), UInt32),", content),
        ("`body` String CODEC(ZSTD(1)),\n  `body_encoding` LowCardinality(String),", content),
        ("ENGINE = ReplacingMergeTree(policy_version)\nPARTITION BY toDate(received_at)", content),
        (f"TTL toStartOfDay(toDateTime(`received_at`, 'UTC')) + toIntervalSecond({29 * 86_400})\n", content),
        ("ttl_only_drop_parts = 1", content),
        ("`client_ip` Nullable(String) TTL toStartOfDay(toDateTime(`received_at`, 'UTC')) + ", operational),
        ("`error_type` LowCardinality(Nullable(String)),", operational),
        ("`stream` Nullable(Bool),", operational),
        ("PARTITION BY toYYYYMM(received_at)\nORDER BY (`request_id`)", operational),
        ("ORDER BY (`topic`, `partition`, `offset`)\nTTL toStartOfDay(toDateTime(`inserted_at`,", rejected),
    ):
        assert expected in statement
    assert "ttl_only_drop_parts" not in operational


def test_a_setting_that_a_server_lacks_is_left_out() -> None:
    """Older servers have no automatic statistics, and are not told to make none."""
    table = make_table(SINKS["content"], CONTENT)
    assert "auto_statistics_types" in create_table(table, TABLE_SETTINGS)
    assert "auto_statistics_types" not in create_table(table, TABLE_SETTINGS.keys() - {"auto_statistics_types"})


def _with_field(field: RecordField) -> RecordSchema:
    return replace(OPERATIONAL, fields=(*OPERATIONAL.fields, field))


@pytest.mark.parametrize(
    ("schema", "days", "says"),
    [
        (CONTENT, 2, "too short"),
        (replace(CONTENT, fields=CONTENT.fields[1:]), 30, "has request_id"),
        (_with_field(RecordField("a b", FieldType.STRING, nullable=False)), 30, "name that a column cannot have"),
        (_with_field(RecordField("record_digest", FieldType.STRING, nullable=False)), 30, "name that a column cannot"),
        (_with_field(RecordField("x", FieldType.BODY, nullable=True)), 30, "cannot be nullable"),
        (
            _with_field(RecordField("x", FieldType.STRING, nullable=False, null_after_ms=9 * DAY_MS)),
            30,
            "must be a nulla",
        ),
        (_with_field(RecordField("x", FieldType.STRING, nullable=True, null_after_ms=DAY_MS)), 30, "x: a bound of"),
    ],
)
def test_a_schema_that_cannot_be_a_table_is_refused(schema: RecordSchema, days: int, says: str) -> None:
    """What a store cannot hold, or cannot remove in time, is an error of the policy."""
    with pytest.raises(PolicyError, match=says):
        make_table(make_sink("content", schema.name, days), schema)


class _Server:
    """Stands in for a driver's connection: answers what a server would, and keeps the commands."""

    def __init__(self, comments: dict[str, str]) -> None:
        self.comments = comments
        self.commands: list[str] = []

    def query(self, sql: str, **_: Any) -> SimpleNamespace:
        """Answer the questions that making tables asks."""
        rows: list[tuple[Any, ...]] = []
        if "merge_tree_settings" in sql:
            rows = [(name,) for name in TABLE_SETTINGS]
        elif "system.tables" in sql:
            rows = list(self.comments.items())
        return SimpleNamespace(column_names=(), result_rows=rows)

    def command(self, sql: str, **_: Any) -> None:
        """Keep a command."""
        self.commands.append(sql)


def test_a_server_gets_the_statements_of_an_embedded_store() -> None:
    """One set of statements makes tables and views, wherever they are."""
    tables = [make_table(SINKS["content"], CONTENT), make_table(SINKS["rejected"], REJECTION)]
    server = _Server({})
    ensure_tables(Store(server, label="clickhouses://store.example.com:8443/lethe", database="lethe"), tables)
    expected = [
        statement for table in tables for statement in (create_table(table, TABLE_SETTINGS), create_view(table))
    ]
    assert expected == server.commands


def test_changed_bounds_end_with_the_receipt() -> None:
    """The comment, by which sweeps go and changes are noticed, is altered after everything it speaks of."""
    statements = alter_bounds(make_table(SINKS["operational"], OPERATIONAL))
    assert len(statements) == 4
    comment = bounds_comment(make_table(SINKS["operational"], OPERATIONAL))
    assert f"ALTER TABLE operational_rows MODIFY COMMENT '{comment}'" == statements[-1]
