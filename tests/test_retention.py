"""The retention proof and the sweep: what is on the disk beyond its bound is seen, wherever it lies, and swept."""

import asyncio
import json
import os
import re
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families
from store_fixtures import DAY_MS, NOW_MS, SCHEMAS, SINKS, holds, make_event, make_rejection, to_iso
from test_docs import first_cells, section
from test_topics_derive import make_basis
from test_topics_plan import all_live
from typer.testing import CliRunner

from pipeline.archive.metrics import ArchiveMetrics
from pipeline.archive.patience import Patience
from pipeline.archive.upkeep import Upkeep
from pipeline.cli import retention
from pipeline.coarsen import MINUTE_MS
from pipeline.errors import PipelineError, SinkUnavailable
from pipeline.retention import Holding, Kind, Verdict, judge, unseen, worst
from pipeline.retention_metrics import RetentionMetrics
from pipeline.store import Store, StoreSink, open_store, sweep
from pipeline.store.files import look_into
from pipeline.store.folder import SPOOL
from pipeline.store.opening import open_unswept
from pipeline.store.sweep import SweepReport
from pipeline.store.verify import GRACE_MS, verify_store
from pipeline.topics.held import hold_topics
from pipeline.worker.vitals import Vitals

ROOT = Path(__file__).resolve().parent.parent
TODAY_MS = NOW_MS - NOW_MS % DAY_MS
GAUGES = "lethe_retention_"
# Not by its account: the engine keeps the text of a mutation, values included, in a file.
_MASK_THE_FIRST = "DELETE FROM operational_rows WHERE endsWith(request_id, '1')"


@pytest.fixture
def store(folder: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Store]:
    """Return a store on a database of the test's own, where nobody waits long for what will not come."""
    monkeypatch.setattr("pipeline.store.verify._SETTLE_S", 0.0)
    monkeypatch.setattr(sys.modules[sweep.__module__], "_WAIT_S", 2.0)
    database = re.sub(r"\W", "_", request.node.name)[:60]
    with open_store(f"chdb:{folder}", now_ms=NOW_MS, database=database) as opened:
        yield opened


def _sink(store: Store) -> StoreSink:
    return StoreSink(store, SCHEMAS, SINKS, lambda: NOW_MS)


def _found(store: Store, now_ms: int, kind: Kind, sink: str = "content", field: str = "") -> Holding:
    (holding,) = (one for one in verify_store(store, now_ms) if (one.sink, one.kind, one.field) == (sink, kind, field))
    return holding


def _samples(page: bytes) -> dict[tuple[str, ...], float]:
    """Return the gauges of a look, by name and labels."""
    return {
        (sample.name.removeprefix(GAUGES), *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(page.decode())
        for sample in family.samples
    }


def _middle_of_a_month() -> int:
    middle = TODAY_MS - 60 * DAY_MS
    while not 10 <= int(to_iso(middle)[8:10]) <= 20:
        middle += DAY_MS
    return middle


def test_the_oldest_decides() -> None:
    """Up to the bound it holds, from some time before it is late; what has no age, and what nobody saw, never holds."""
    ages = {None: Verdict.HOLDS, 5: Verdict.HOLDS, 6: Verdict.LATE, 10: Verdict.LATE, 11: Verdict.BROKEN}
    found = [judge("content", Kind.ROWS, age_ms=age, late_ms=5, bound_ms=10) for age in ages]
    assert [one.verdict for one in found] == list(ages.values())
    assert judge("", Kind.DETACHED, age_ms=1, late_ms=5, bound_ms=10, undated=1).verdict is Verdict.BROKEN
    missing = unseen("content", Kind.TOPIC, "no answer")
    assert [worst(found[:1]), worst([found[2], missing]), worst([missing, found[4]]), worst([])] == [
        *(Verdict.HOLDS, Verdict.UNSEEN, Verdict.BROKEN, Verdict.UNSEEN)
    ]


def test_content_past_its_bound_is_seen_until_it_is_swept(store: Store, folder: Path) -> None:
    """The verdict and the bytes on the disk say the same: at each moment before the sweep, and after it."""
    canary = b"CANARYCONTENT7f3a90"
    _sink(store).write([make_event(1, TODAY_MS, body=canary)])
    due_ms = TODAY_MS + 29 * DAY_MS
    moments = {due_ms + GRACE_MS: "holds", due_ms + GRACE_MS + 1: "late", due_ms + DAY_MS: "late"}
    moments[due_ms + DAY_MS + 1] = "broken"
    assert moments == {moment: _found(store, moment, Kind.ROWS).verdict for moment in moments}
    assert holds(folder, canary)
    assert (sweep(store, due_ms + DAY_MS + 1).partitions, holds(folder, canary)) == (1, False)
    last = max(moments)
    assert [
        one for one in verify_store(store, last) if one.verdict is not Verdict.HOLDS and one.sink == "content"
    ] == []


def test_an_address_past_its_bound_is_seen_until_it_is_swept(store: Store, folder: Path) -> None:
    """The row may stay for 400 days, its address for 30: the field is judged by itself, and so are outdated parts."""
    canary = b"d7:CANARYADDRESS41b2c3"
    _sink(store).write([make_event(1, TODAY_MS, operational={"client_ip": canary.decode()}, body=None)])
    late_ms = TODAY_MS + 30 * DAY_MS + 1
    assert _found(store, late_ms - 1, Kind.FIELD, "operational", "client_ip").verdict is Verdict.LATE
    assert _found(store, late_ms, Kind.FIELD, "operational", "client_ip").verdict is Verdict.BROKEN
    assert (_found(store, late_ms, Kind.ROWS, "operational").verdict, holds(folder, canary)) == ("holds", True)
    assert (sweep(store, late_ms).nulled, holds(folder, canary)) == (1, False)
    assert _found(store, late_ms, Kind.FIELD, "operational", "client_ip").count == 0
    assert worst(verify_store(store, late_ms)) is Verdict.HOLDS


def test_a_row_under_a_mask_is_still_there(store: Store, folder: Path) -> None:
    """A lightweight delete leaves the bytes. No query counts such a row, but the proof does, and the sweep takes it."""
    canary, middle = b"e7:CANARYMASKED5d6e7f", _middle_of_a_month()
    account = {"account": canary.decode(), "client_ip": None, "client_network": None}
    for event in (make_event(1, middle, operational=account, body=None), make_event(2, middle + DAY_MS, body=None)):
        _sink(store).write([event])
    store.command(_MASK_THE_FIRST)
    assert store.query("SELECT count() FROM operational").rows == [(1,)]
    late_ms = middle + 400 * DAY_MS + 1
    assert (_found(store, late_ms, Kind.ROWS, "operational").verdict, holds(folder, canary)) == ("broken", True)
    assert sweep(store, middle + 399 * DAY_MS).deleted == 0
    assert not holds(folder, canary)
    assert _found(store, late_ms, Kind.ROWS, "operational").age_ms == 399 * DAY_MS + 1


def test_a_detached_part_is_seen_and_swept_with_its_bytes(store: Store, folder: Path) -> None:
    """No query reads a detached part; one of a day goes when the day is due."""
    canary = b"CANARYDETACHED1d2e3f"
    _sink(store).write([make_event(1, TODAY_MS, body=canary)])
    name = to_iso(TODAY_MS)[:10].replace("-", "")
    store.command(f"ALTER TABLE content_rows DETACH PARTITION ID '{name}'")
    late_ms = TODAY_MS + 30 * DAY_MS + 1
    assert _found(store, late_ms, Kind.ROWS).count == 0
    assert (_found(store, late_ms, Kind.DETACHED).verdict, holds(folder, canary)) == ("broken", True)
    sweep(store, late_ms)
    assert (_found(store, late_ms, Kind.DETACHED).count, holds(folder, canary)) == (0, False)


def test_a_detached_month_that_is_partly_due_waits_and_is_said(store: Store) -> None:
    """Its addresses are due, its rows are not: no statement can tell them apart there, so a person must."""
    _sink(store).write([make_event(1, TODAY_MS, body=None)])
    store.command(f"ALTER TABLE operational_rows DETACH PARTITION ID '{to_iso(TODAY_MS)[:7].replace('-', '')}'")
    late_ms = TODAY_MS + 31 * DAY_MS
    started = time.monotonic()
    assert sweep(store, late_ms).waiting == 1
    assert time.monotonic() - started < 2.5  # nothing is waited for that does not pass by itself
    assert _found(store, late_ms, Kind.DETACHED, "operational").verdict is Verdict.BROKEN


def test_an_outdated_part_is_seen_until_its_bytes_are_gone(store: Store, folder: Path) -> None:
    """A part that a mutation replaced keeps what was removed from it for as long as the engine leaves it there."""
    canary = b"d7:CANARYOUTDATED6c7d8e"
    _sink(store).write([make_event(1, TODAY_MS, operational={"client_ip": canary.decode()}, body=None)])
    store.command("ALTER TABLE operational_rows MODIFY SETTING old_parts_lifetime = 3600")
    late_ms = TODAY_MS + 30 * DAY_MS + 1
    report = sweep(store, late_ms)
    assert (report.nulled, report.waiting) == (1, 1)
    assert _found(store, late_ms, Kind.FIELD, "operational", "client_ip").count == 0
    assert (_found(store, late_ms, Kind.OUTDATED, "operational").verdict, holds(folder, canary)) == ("broken", True)
    store.command("ALTER TABLE operational_rows MODIFY SETTING old_parts_lifetime = 1")
    assert (sweep(store, late_ms).waiting, holds(folder, canary)) == (0, False)
    assert _found(store, late_ms, Kind.OUTDATED, "operational").verdict is Verdict.HOLDS


def test_an_unfinished_mutation_is_seen(store: Store) -> None:
    """What a mutation has yet to remove is still there, however young; it has a day for it."""
    _sink(store).write([make_event(1, body=None)])
    store.command("SYSTEM STOP MERGES operational_rows")
    try:
        store.command("ALTER TABLE operational_rows DELETE WHERE status = 200 SETTINGS mutations_sync = 0")
        ordered_ms = int(time.time()) * 1000
        ages = {0: "holds", 3 * 3_600_000: "late", DAY_MS + 60_000: "broken"}
        found = {age: _found(store, ordered_ms + age, Kind.MUTATIONS, "operational").verdict for age in ages}
    finally:
        store.command("SYSTEM START MERGES operational_rows")
    assert found == ages


def test_the_files_are_read_without_the_engine(store: Store, folder: Path) -> None:
    """Parts on the disk are dated by their own files, outdated and detached ones too; one without a date is said."""
    middle = _middle_of_a_month()
    _sink(store).write([make_event(1, middle, body=None), make_event(2, middle + DAY_MS, body=None), make_rejection(1)])
    found = look_into(folder, store.database)
    assert (found.tables["operational_rows"].oldest_ms, found.tables["operational_rows"].parts > 0) == (middle, True)
    assert TODAY_MS - DAY_MS < (found.tables["rejected_rows"].oldest_ms or 0) <= NOW_MS
    assert found.tables["content_rows"].oldest_ms is None
    stray = folder / "data" / store.database / "content_rows" / "detached" / "broken_of_nobody_knows_when"
    stray.mkdir()
    (stray / "data.bin").write_bytes(b"?")
    judged = verify_store(store, NOW_MS, look_into(folder, store.database))
    lost = next(one for one in judged if (one.sink, one.kind) == ("content", Kind.FILES))
    assert (lost.note, lost.verdict) == ("1 whose age cannot be read", "broken")
    sweep(store, NOW_MS)
    assert look_into(folder, store.database).tables["content_rows"].parts == 0
    assert look_into(folder / "nothing", "lethe") == look_into(folder, "nothing_here_either")


@pytest.fixture
def lethe(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[int, str]]:
    """Return ``lethe retention`` on the module's store, at a time that the test chooses."""
    for name in os.environ:
        if name.startswith("LETHE_") and name != "LETHE_CACHE":
            monkeypatch.delenv(name)
    monkeypatch.setenv("LETHE_STORE", f"chdb:{folder}")
    monkeypatch.setenv("LETHE_SEAL", "false")  # no keyring is here; tests/test_sealed_store.py has the keys' bound

    def run(*arguments: str, now_ms: int = NOW_MS) -> tuple[int, str]:
        monkeypatch.setattr("pipeline.cli.edge.now_ms", lambda: now_ms)
        done = CliRunner().invoke(retention.app, list(arguments))
        if isinstance(done.exception, PipelineError):
            return 2, str(done.exception)
        assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
        return done.exit_code, done.output

    return run


def test_verify_changes_nothing_and_sweep_removes_it(
    lethe: Callable[..., tuple[int, str]], folder: Path, tmp_path: Path
) -> None:
    """The commands end to end: exit codes, table, JSON and gauges; the proof leaves even the spool as it is."""
    assert "no database lethe" in lethe("verify", "--no-topics")[1]  # and none was made:
    assert not (folder / "data" / "lethe").exists()
    with open_store(f"chdb:{folder}", now_ms=NOW_MS) as store:
        _sink(store).write([make_event(1, TODAY_MS)])
    assert lethe("verify", "--no-topics")[0] == 0
    left = folder / SPOOL / "0123456789abcdef" / "tmp1.native"
    left.parent.mkdir()
    left.write_bytes(b"CANARYSPOOL of a process that was killed")
    os.utime(left, (time.time() - 90_000,) * 2)
    late_ms, gauges = TODAY_MS + 31 * DAY_MS, tmp_path / "lethe.prom"
    code, out = lethe("verify", "--no-topics", "--json", "--textfile", str(gauges), now_ms=late_ms)
    broken = [
        (one["sink"], one["kind"], one["field"]) for one in json.loads(out)["holdings"] if one["verdict"] == "broken"
    ]
    expected = [
        ("content", "rows"),
        ("operational", "field"),
        ("operational", "field"),
        ("content", "files"),
        ("", "spool"),
    ]
    assert (code, [one[:2] for one in broken], left.exists()) == (1, expected, True)
    samples = _samples(gauges.read_bytes())
    assert [key[1:] for key, value in samples.items() if key[0] == "verdict" and value == 3] == [
        (field, kind, sink) for sink, kind, field in broken
    ]
    age_s = samples["oldest_age_seconds", "", "rows", "content"]
    assert (age_s, samples["limit_seconds", "", "rows", "content"]) == (31 * 86_400, 30 * 86_400)
    assert list(tmp_path.iterdir()) == [gauges]
    assert "rows" in lethe("verify", "--no-topics", now_ms=late_ms)[1]
    assert [lethe("sweep", "--json", now_ms=late_ms)[0], left.exists(), holds(folder, b"CANARYSPOOL")] == [
        0,
        False,
        False,
    ]
    assert json.loads(lethe("sweep", "--json", now_ms=late_ms)[1]) == dict.fromkeys(
        ("partitions", "deleted", "nulled", "waiting"), 0
    )
    assert lethe("verify", "--no-topics", now_ms=late_ms)[0] == 0


def test_what_cannot_be_looked_at_does_not_hold(lethe: Callable[..., tuple[int, str]], tmp_path: Path) -> None:
    """No broker, no store, and nothing to look at at all: exit code 2, with the reason; nothing is made there."""
    code, out = lethe("verify", "--store", f"chdb:{tmp_path / 'none'}", "--no-topics")
    assert (code, "there is no store" in out, list(tmp_path.iterdir())) == (2, True, [])
    assert lethe("sweep", "--store", f"chdb:{tmp_path / 'none'}") == (2, f"chdb:{tmp_path / 'none'}: there is no store")
    assert lethe("verify", "--no-topics", "--no-store")[0] == 2
    assert lethe("verify", "--no-topics", "--no-store", "--textfile", str(tmp_path / "no" / "x"))[0] == 2


class _Kept:
    """A store whose sweep or look may be broken, at a time that the test chooses."""

    def __init__(self, store: Store) -> None:
        self.store, self.now_ms, self.broken = store, NOW_MS, ""
        self.sweeps = self.looks = 0

    def sweep(self) -> SweepReport:
        """Remove what is due, or nothing."""
        self.sweeps += 1
        return SweepReport(waiting=1) if self.broken == "sweep" else sweep(self.store, self.now_ms)

    def look(self) -> list[Holding]:
        """Look, or fail."""
        self.looks += 1
        if self.broken == "look":
            raise SinkUnavailable("chdb:there: the store refused a statement (ClickHouse error 241)")
        return verify_store(self.store, self.now_ms)


def test_an_archive_shows_what_it_found_and_no_more_than_that(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """After each sweep it looks; of a look that failed no old age is left, and it looks again before the next sweep."""
    monkeypatch.setattr("pipeline.archive.upkeep.SWEEP_EVERY_S", 0.0)
    _sink(store).write([make_event(1, TODAY_MS, operational={"client_ip": None, "client_network": None})])
    kept, shown, lines = _Kept(store), RetentionMetrics(), list[str]()
    with ThreadPoolExecutor(1) as aside:
        patience = Patience(aside, 0.0, lines.append, lambda: None)
        upkeep = Upkeep(
            kept, patience, ArchiveMetrics(), shown, Vitals(time.monotonic), lambda: kept.now_ms, lines.append
        )

        def after(days: int, broken: str = "") -> tuple[set[str], float]:
            """Return the verdicts that do not hold, and when all was seen last."""
            kept.now_ms, kept.broken = TODAY_MS + days * DAY_MS, broken
            asyncio.run(upkeep.run_when_due())
            found = _samples(shown.render())
            bad = {f"{key[3]} {key[2]} {value:g}" for key, value in found.items() if key[0] == "verdict" and value}
            assert ("age_seconds" in str(found)) is (broken != "look")
            return bad, (found["looked_timestamp_seconds",] * 1000 - TODAY_MS) / DAY_MS

        assert after(28) == (set(), 28)
        assert after(31, "sweep") == ({"content rows 3"}, 31)
        assert after(32, "look") == ({" store 2"}, 31)
        monkeypatch.setattr("pipeline.archive.upkeep.SWEEP_EVERY_S", 3600.0)
        assert after(33) == after(34) == (set(), 33)  # nothing is due
        assert (kept.sweeps, kept.looks) == (4, 4)
        monkeypatch.setattr("pipeline.archive.upkeep.LOOK_AGAIN_S", 0.0)
        upkeep._sweep_due_s = 0.0
        assert after(33, "look") == ({" store 2"}, 33)
        assert after(34) == (set(), 34)
        assert (kept.sweeps, kept.looks) == (5, 6)
    refused = "store (chdb:there: the store refused a statement (ClickHouse error 241))"
    assert lines == [
        "sweep: 1 parts with due bytes are still there; the next sweep tries again",
        "retention: broken: content rows; lethe retention verify says more",
        *[f"retention: unseen: {refused}; lethe retention verify says more"] * 2,
    ]


def test_an_unswept_opening_leaves_what_is_due(store: Store, folder: Path) -> None:
    """The proof would prove nothing if its own opening swept first; and what is not there is not made."""
    _sink(store).write([make_event(1, TODAY_MS)])
    url, late_ms = f"chdb:{folder}", TODAY_MS + 40 * DAY_MS
    with open_unswept(url, database=store.database) as unswept:
        assert _found(unswept, late_ms, Kind.ROWS).count == 1
    with open_store(url, now_ms=late_ms, database=store.database) as swept:
        assert _found(swept, late_ms, Kind.ROWS).count == 0


def test_topics_are_judged_by_age_and_by_settings() -> None:
    """A topic whose settings do not bound it is broken while its records are young; a missing one is unseen."""
    basis = make_basis()
    live = all_live(basis)
    assert {one.verdict for one in hold_topics(basis, live, NOW_MS)} == {Verdict.HOLDS}
    content = live["requests.content"]
    (first, *others) = content.partitions

    def judged(**changes: int) -> Holding:
        old = replace(content, partitions=(replace(first, oldest_ms=NOW_MS - changes["age_ms"]), *others))
        holdings = hold_topics(basis, live | {content.name: old}, NOW_MS)
        return next(one for one in holdings if one.sink == "content")

    assert (judged(age_ms=MINUTE_MS).verdict, judged(age_ms=3 * DAY_MS).verdict) == ("holds", "late")
    assert (judged(age_ms=30 * DAY_MS).verdict, judged(age_ms=MINUTE_MS).count) == ("broken", 1)
    loose = replace(content, settings={**content.settings, "retention.ms": "-1"})
    found = hold_topics(basis, live | {content.name: loose}, NOW_MS)
    assert [(one.sink, one.verdict) for one in found if one.verdict is not Verdict.HOLDS] == [("content", "broken")]
    del live[content.name]
    assert [one.note for one in hold_topics(basis, live, NOW_MS) if one.verdict is Verdict.UNSEEN] == [
        "no topic requests.content: lethe topics apply makes it"
    ]


def test_every_gauge_has_its_row() -> None:
    """docs/retention.md explains each gauge, and no other."""
    lines = RetentionMetrics().render().decode().splitlines()
    known = [line.split()[2] for line in lines if line.startswith("# TYPE")]
    assert first_cells(section(ROOT / "docs" / "retention.md", "Gauges")) == known
