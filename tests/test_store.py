"""The embedded store, end to end: identity, bounds, sweeps, and a process killed while it writes."""

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from store_fixtures import CONTENT, DAY_MS, NOW_MS, SCHEMAS, SINKS, make_event, make_rejection, make_sink, to_iso

from pipeline.errors import ConfigError, PipelineError, Reason, SinkUnavailable
from pipeline.sinks.base import WriteReport
from pipeline.store import Store, StoreSink, SweepReport, open_store, sweep
from pipeline.store.bounds import due_before_ms, hold_ms

Opener = Callable[..., Store]


@pytest.fixture
def opened(folder: Path, request: pytest.FixtureRequest) -> Iterator[Opener]:
    """Open the module's folder, on a database of the test's own."""
    database = re.sub(r"\W", "_", request.node.name)[:60]
    stores = []

    def open_it(now_ms: int = NOW_MS) -> Store:
        stores.append(open_store(f"chdb:{folder}", now_ms=now_ms, database=database))
        return stores[-1]

    yield open_it
    for store in stores:
        store.close()


def _sink(store: Store, now_ms: int = NOW_MS, **changes: Any) -> StoreSink:
    return StoreSink(store, SCHEMAS, SINKS | changes, lambda: now_ms)


def _ids(store: Store, view: str) -> list[str]:
    return [row[0] for row in store.query(f"SELECT request_id FROM {view} ORDER BY request_id").rows]  # noqa: S608


def _one(store: Store, sql: str) -> Any:
    return store.query(sql).rows[0][0]


def _part_folders(folder: Path, partition: str) -> list[str]:
    return [path.name for path in folder.glob(f"store/*/*/**/*{partition}_*") if path.is_dir()]


def _files_holding(folder: Path, needle: bytes) -> list[str]:
    return [path.name for path in folder.rglob("*") if path.is_file() and needle in path.read_bytes()]


def test_a_record_reads_back_as_it_was_written(opened: Opener) -> None:
    """Every type of field survives the store: nulls, booleans, counts, moments, and bodies that are no text."""
    store = opened()
    body = b"\xff\x00sealed"
    assert WriteReport(content=1, operational=1) == _sink(store).write([make_event(7, body=body)])
    columns, rows = store.query("SELECT * FROM content", binary=("body",))
    content = dict(zip(columns, rows[0], strict=True))
    assert (body, "json", {"EMAIL": 2}) == (content["body"], content["body_encoding"], content["redactions"])
    assert "record_digest" not in content
    columns, rows = store.query("SELECT * FROM operational")
    operational = dict(zip(columns, rows[0], strict=True))
    assert round(operational["received_at"].timestamp() * 1000) == NOW_MS
    assert tuple(operational[name] for name in ("stream", "latency_ms", "prompt_tokens", "error_type")) == (
        False,
        12.5,
        7,
        None,
    )


def test_an_unlinked_record_is_stored_without_its_account(opened: Opener) -> None:
    """What refers to the account is null for an erased one, and a column takes that."""
    store = opened()
    gone = ("account", "api_key", "client_network", "client_ip")
    event = make_event(1, operational=dict.fromkeys(gone), body=None)
    assert WriteReport(operational=1) == _sink(store).write([event])
    rows = store.query("SELECT account, api_key, client_network, client_ip, status FROM operational").rows
    assert rows == [(*[None] * 4, 200)]


def test_a_rejection_is_stored_once(opened: Opener) -> None:
    """A rejection is known by topic, partition and offset; the first reason given for one stays."""
    store = opened()
    sink = _sink(store)
    assert WriteReport(rejected=2) == sink.write([make_rejection(1), make_rejection(2)])
    again = [make_rejection(1), make_rejection(2, reason=Reason.TOO_DEEP), make_rejection(1, topic="file:01ff")]
    assert WriteReport(rejected=1, repeated=1, conflicts=1) == sink.write(again)
    expected = [("file:00ff", 1, "not_json"), ("file:00ff", 2, "not_json"), ("file:01ff", 1, "not_json")]
    assert expected == store.query("SELECT topic, offset, reason FROM rejected ORDER BY topic, offset").rows


def test_the_same_events_in_other_batches_show_once(opened: Opener) -> None:
    """A second run, cut into other batches and with repeats inside one, adds nothing."""
    store = opened()
    events = [make_event(number, NOW_MS - number * 3_600_000) for number in range(100)]
    sink = _sink(store)
    for begin in range(0, 100, 30):
        sink.write(events[begin : begin + 30])
    report = WriteReport()
    for begin in range(0, 100, 70):
        report.add(sink.write([*events[begin : begin + 70], *events[begin : begin + 5]]))
    assert WriteReport(repeated=220) == report
    expected = [event.operational.request_id for event in events]
    assert (expected, expected) == (_ids(store, "content"), _ids(store, "operational"))


def test_ids_far_apart_are_found_among_many(opened: Opener) -> None:
    """Of a few ids with thousands of rows between them each is asked for; odd ones, as any text may be, are too."""
    store = opened()
    sink = _sink(store)
    odd = ["it's", "a,b", "tab\t", "back\\slash", "é"]
    sink.write([make_event(number) for number in range(2000)])
    sink.write([make_event(1, operational={"request_id": one}, content={"request_id": one}) for one in odd])
    again = [make_event(number) for number in (0, 1000, 1999)]
    again += [make_event(1, operational={"request_id": one}, content={"request_id": one}) for one in odd]
    assert WriteReport(repeated=16) == sink.write(again)
    assert WriteReport(content=1, operational=1, repeated=2) == sink.write([make_event(5), make_event(2000)])


def test_other_bytes_under_the_same_id_are_a_conflict_and_the_first_stays(opened: Opener) -> None:
    """Stored or earlier in the same batch, the first record stays; content and operational are judged apart."""
    store = opened()
    sink = _sink(store)
    sink.write([make_event(1, body=b"first")])
    changed = make_event(1, operational={"status": 500}, body=b"other")
    assert WriteReport(conflicts=2) == sink.write([changed])
    same_batch = [make_event(2, body=b"first"), make_event(2, body=b"other")]
    assert WriteReport(content=1, operational=1, repeated=1, conflicts=1) == sink.write(same_batch)
    assert store.query("SELECT body FROM content ORDER BY request_id").rows == [("first",), ("first",)]
    assert _one(store, "SELECT status FROM operational WHERE request_id LIKE '%1'") == 200


def test_one_id_in_two_partitions_is_one_row(opened: Opener) -> None:
    """A record that came again under another time shows once, although partitions derive from the time."""
    store = opened()
    _sink(store).write([make_event(1)])
    store.command(
        "INSERT INTO operational_rows SELECT * REPLACE (received_at - INTERVAL 40 DAY AS received_at) FROM "
        "operational_rows"
    )
    assert (
        _one(store, "SELECT count() FROM operational_rows"),
        _one(store, "SELECT count() FROM operational"),
    ) == (2, 1)


def test_a_higher_policy_version_replaces_and_a_lower_one_does_not(opened: Opener) -> None:
    """After an upgrade a replay replaces what the old policy made; a worker left behind changes nothing."""
    store = opened()
    sink = _sink(store)
    old = make_event(1, body=b"old")
    new = make_event(1, operational={"policy_version": 2}, content={"policy_version": 2}, body=b"new")
    sink.write([old])
    assert WriteReport(content=1, operational=1) == sink.write([new])
    assert WriteReport(repeated=2) == sink.write([old])
    assert store.query("SELECT body, policy_version FROM content").rows == [("new", 2)]
    assert WriteReport(content=1, operational=1, repeated=2) == sink.write([make_event(2), make_event(2)])


def test_a_field_whose_day_key_is_gone_is_no_conflict(opened: Opener) -> None:
    """A client IP that is null on either side differs from nothing; two different ones do."""
    store = opened()
    sink = _sink(store)
    sink.write([make_event(1), make_event(2, operational={"client_ip": None})])
    gone = [make_event(1, operational={"client_ip": None}), make_event(2)]
    assert WriteReport(repeated=4) == sink.write(gone)
    assert WriteReport(repeated=1, conflicts=1) == sink.write([make_event(1, operational={"client_ip": "d1:other"})])


def test_the_digest_does_not_confirm_a_guessed_address(opened: Opener) -> None:
    """Records that differ only in a field that becomes null have the same digest, which outlives that field."""
    store = opened()
    networks = ["203.0.113.0/24", "198.51.100.0/24"]
    digests = []
    for network in networks:
        _sink(store).write([make_event(1, operational={"client_network": network})])
        digests.append(_one(store, "SELECT record_digest FROM operational_rows"))
        store.command("TRUNCATE TABLE operational_rows")
    assert digests[0] == digests[1]


def test_a_due_day_is_dropped_with_its_bytes(opened: Opener, folder: Path) -> None:
    """Content goes by whole days, a slack before its bound; after the sweep no file of the day is left."""
    store = opened()
    day = NOW_MS - NOW_MS % DAY_MS
    no_address = {"client_ip": None, "client_network": None}
    ages = {1: 20, 2: 19}
    _sink(store).write([make_event(n, day - age * DAY_MS, operational=no_address) for n, age in ages.items()])
    due_at = day - 20 * DAY_MS + 29 * DAY_MS
    assert SweepReport() == sweep(store, due_at - 1)
    name = to_iso(day - 20 * DAY_MS)[:10].replace("-", "")
    assert _part_folders(folder, name) != []
    assert SweepReport(partitions=1) == sweep(store, due_at)
    assert _part_folders(folder, name) == []
    assert _ids(store, "content") == ["req_" + "0" * 31 + "2"]
    assert _one(store, "SELECT count() FROM operational") == 2


def test_lapsed_fields_become_null_with_their_bytes(opened: Opener, folder: Path) -> None:
    """After 30 days the address fields of a record are null, and no file holds their bytes; the rest stays."""
    store = opened()
    marker = b"d7:MARKERLAPSED0123456789"
    event = make_event(1, operational={"client_ip": marker.decode()})
    _sink(store).write([event, make_event(2, NOW_MS - 350 * DAY_MS, body=None)])
    assert _files_holding(folder, marker) != []
    due_at = NOW_MS - NOW_MS % DAY_MS + 29 * DAY_MS
    sweep(store, due_at - 1)
    assert _files_holding(folder, marker) != []
    report = sweep(store, due_at)
    assert (report.nulled, report.waiting) == (1, 0)
    assert _files_holding(folder, marker) == []
    lapsed = store.query("SELECT client_ip, client_network, account FROM operational ORDER BY request_id").rows
    assert lapsed == [(None, None, "e1:" + "a" * 32)] * 2
    assert SweepReport() == sweep(store, due_at)


def test_a_field_that_is_due_is_null_from_the_start(opened: Opener) -> None:
    """An old event may still be stored as metadata; its address fields are not stored even for an hour."""
    store = opened()
    event = make_event(1, NOW_MS - 31 * DAY_MS, body=None)
    assert WriteReport(operational=1) == _sink(store).write([event])
    assert store.query("SELECT client_ip, client_network FROM operational_rows").rows == [(None, None)]
    assert WriteReport(repeated=1) == _sink(store).write([event])


def test_a_month_that_is_partly_due_loses_only_what_is_due(opened: Opener, folder: Path) -> None:
    """Operational rows go day by day: the due ones with their bytes, the others of the month stay."""
    store = opened()
    marker = b"e7:MARKERDELETED0123456789"
    day = NOW_MS - NOW_MS % DAY_MS
    middle = day - 60 * DAY_MS
    while not 10 <= int(to_iso(middle)[8:10]) <= 20:
        middle += DAY_MS
    due = make_event(1, middle, operational={"account": marker.decode()}, body=None)
    _sink(store).write([due, make_event(2, middle + DAY_MS, body=None)])
    report = sweep(store, middle + 399 * DAY_MS)
    assert (report.partitions, report.deleted, report.waiting) == (0, 1, 0)
    assert _ids(store, "operational") == ["req_" + "0" * 31 + "2"]
    assert _files_holding(folder, marker) == []
    report = sweep(store, middle + 440 * DAY_MS)
    assert (report.partitions, report.deleted, report.waiting) == (1, 0, 0)


def test_a_detached_part_is_dropped_when_due(opened: Opener) -> None:
    """Parts that the engine or an operator set aside still hold bytes, and expire like all others."""
    store = opened()
    _sink(store).write([make_event(1)])
    name = to_iso(NOW_MS)[:10].replace("-", "")
    store.command(f"ALTER TABLE content_rows DETACH PARTITION ID '{name}'")
    assert SweepReport() == sweep(store, NOW_MS)
    report = sweep(store, NOW_MS + 30 * DAY_MS)
    assert (report.partitions, report.waiting) == (1, 0)
    assert _one(store, "SELECT count() FROM system.detached_parts") == 0


def test_opening_sweeps_before_anything_is_read(opened: Opener) -> None:
    """What is due when an embedded store is opened is gone before its first answer."""
    _sink(opened()).write([make_event(1)])
    later = opened(now_ms=NOW_MS + 30 * DAY_MS)
    assert _ids(later, "content") == []


def test_a_shorter_bound_holds_for_tables_that_exist(opened: Opener) -> None:
    """A policy that was made stricter applies to what is stored already."""
    store = opened()
    _sink(store).write([make_event(1, NOW_MS - 10 * DAY_MS), make_event(2)])
    assert SweepReport() == sweep(store, NOW_MS)
    _sink(store, content=make_sink("content", "content", 10))
    assert sweep(store, NOW_MS).partitions == 1
    assert _ids(store, "content") == ["req_" + "0" * 31 + "2"]
    created = _one(
        store,
        "SELECT create_table_query FROM system.tables WHERE name = 'content_rows' AND database = currentDatabase()",
    )
    assert f"toIntervalSecond({9 * 86_400})" in created


def test_what_a_store_admits_is_not_due(opened: Opener) -> None:
    """A record as old as the hold stays through the next sweep."""
    store = opened()
    hold = hold_ms(SINKS["content"].retention_ms)
    _sink(store).write([make_event(1, NOW_MS - hold)])
    assert SweepReport() == sweep(store, NOW_MS)
    assert _one(store, "SELECT count() FROM content") == 1
    assert due_before_ms(SINKS["content"].retention_ms, NOW_MS) <= NOW_MS - hold


def test_a_table_of_another_schema_is_refused(opened: Opener) -> None:
    """Records are never squeezed into columns that mean something else."""
    store = opened()
    _sink(store)
    other = SCHEMAS | {"content": replace(CONTENT, version=2, fields=CONTENT.fields[:4] + CONTENT.fields[5:])}
    with pytest.raises(ConfigError, match=r"content_rows was made by another version .*now 2"):
        StoreSink(store, other, SINKS, lambda: NOW_MS)


def test_errors_hold_no_value(
    opened: Opener, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    """A failing statement or batch leaves no value in the error, what it came from, a log, or standard error."""
    caplog.set_level("DEBUG")
    store = opened()
    sink = _sink(store)
    kinds, texts = [], []
    for action in (
        lambda: store.query("SELECT toInt32({text:String})", {"text": "canary-7f3a"}),
        lambda: sink.write([make_event(1, operational={"latency_ms": "canary-7f3a"})]),
        lambda: sink.write([make_event(1, operational={"received_at": "canary-7f3a"})]),
    ):
        with pytest.raises(PipelineError) as caught:
            action()
        kinds.append(type(caught.value))
        texts.append(f"{caught.value!r} {caught.value.__context__!r} {caught.value.__cause__!r}")
    assert [SinkUnavailable, SinkUnavailable, PipelineError] == kinds
    output = capfd.readouterr()
    assert "canary-7f3a" not in " ".join([*texts, caplog.text, output.out, output.err])


def test_the_engine_keeps_no_log_of_statements(opened: Opener, folder: Path) -> None:
    """No table and no file of the engine keeps the statements it ran, nor the values looked up."""
    store = opened()
    store.query("SELECT length({text:String})", {"text": "LOOKEDUPMARKER01234"})
    assert _one(store, "SELECT count() FROM system.user_query_log") == 0
    logs = store.query("SELECT name FROM system.tables WHERE database = 'system' AND name LIKE '%\\_log'").rows
    assert logs == [("user_query_log",)]
    assert _files_holding(folder, b"LOOKEDUPMARKER") == []
    settings = store.query("SELECT name, value FROM system.settings WHERE name IN ('async_insert', 'log_queries')").rows
    assert sorted(settings) == [("async_insert", "0"), ("log_queries", "0")]


def test_one_process_has_one_embedded_store(folder: Path, tmp_path: Path) -> None:
    """A second folder in this process, and this folder in another process, are refused with what to do."""
    with pytest.raises(ConfigError, match="one folder a process: close that first"):
        open_store(f"chdb:{tmp_path / 'second'}", now_ms=NOW_MS)
    code = (
        "import sys; from pipeline.store import open_store; from pipeline.errors import ConfigError\n"
        "try: open_store(sys.argv[1], now_ms=0)\nexcept ConfigError as error: print(error, error.__context__)"
    )
    command = [sys.executable, "-c", code, f"chdb:{folder}"]
    found = subprocess.run(command, capture_output=True, text=True, check=True)  # noqa: S603 - our own interpreter
    assert f"process {os.getpid()} has this folder open" in found.stdout
    assert found.stdout.endswith("use a server None\n")


def test_a_folder_that_is_a_file_is_refused(tmp_path: Path) -> None:
    """A path that is no folder is a clear error, not the engine's."""
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match="cannot be made or used: File exists"):
        open_store(f"chdb:{tmp_path / 'file'}", now_ms=NOW_MS)


_WRITER = """
import json, os, signal, sys
sys.path.insert(0, sys.argv[1])
from store_fixtures import NOW_MS, SCHEMAS, SINKS, make_event
from pipeline.store import StoreSink, open_store
_, _, url, batch, kill_at = sys.argv
batch, kill_at = int(batch), int(kill_at)
store = open_store(url, now_ms=NOW_MS)
sink = StoreSink(store, SCHEMAS, SINKS, lambda: NOW_MS)
insert = store.insert
def insert_or_die(table, columns, types):
    if table == "content_rows" and len(done) == kill_at:
        os.kill(os.getpid(), signal.SIGKILL)
    insert(table, columns, types)
store.insert = insert_or_die
done = []
for begin in range(0, 3000, batch):
    sink.write([make_event(n, NOW_MS - n * 60_000, body=b"x" * 500) for n in range(begin, min(begin + batch, 3000))])
    done.append(begin)
    print("wrote", len(done), flush=True)
sql = "SELECT count(), uniqExact(request_id), max(request_id) FROM "
print(json.dumps([list(store.query(sql + view).rows[0]) for view in ("content", "operational")]))
sink.close(complete=True)
"""


def _writer(url: str, *, batch: int, kill_at: int = -1) -> subprocess.Popen[str]:
    here = str(Path(__file__).parent)
    command = [sys.executable, "-c", _WRITER, here, url, str(batch), str(kill_at)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)  # noqa: S603 - our own interpreter


def test_a_killed_writer_loses_and_repeats_nothing(tmp_path: Path) -> None:
    """Killed between the two inserts, and again at a moment of chance: a third run ends with every event once."""
    folder = tmp_path / "store"
    first = _writer(f"chdb:{folder}", batch=400, kill_at=2)
    first.communicate()
    assert first.returncode == -signal.SIGKILL
    second = _writer(f"chdb:{folder}", batch=70)
    assert second.stdout is not None
    for line in second.stdout:
        if line == "wrote 20\n":
            second.kill()
    second.communicate()
    assert second.returncode == -signal.SIGKILL
    left = folder / "lethe-spool" / "0123456789abcdef"
    left.mkdir()
    (left / "tmp1.native").write_bytes(b"what a process killed in the middle of an insert leaves")
    third = _writer(f"chdb:{folder}", batch=1000)
    output, _ = third.communicate()
    last = f"req_{2999:032x}"
    assert [[3000, 3000, last], [3000, 3000, last]] == json.loads(output.splitlines()[-1])
    assert [path for path in (folder / "lethe-spool").rglob("*") if path.is_file()] == []
    assert list(folder.glob("store/*/*/tmp_*")) == []
    assert folder.stat().st_mode & 0o777 == 0o700
