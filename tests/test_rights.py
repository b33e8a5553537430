"""Rights in an embedded store: erasing an account, a key or a request over key epochs, again, and exporting it."""

import time
from collections import Counter
from collections.abc import Iterator
from functools import partial
from hashlib import sha256
from itertools import count
from pathlib import Path
from typing import Any

import orjson
import pytest
from conftest import NoDetector

from pipeline.anonymize import Admission, Core, make_core, process
from pipeline.errors import ConfigError
from pipeline.keys.keyring import KeyEpoch, Keyring
from pipeline.policy.load import Policy
from pipeline.records import Anonymized, Fate, Source
from pipeline.rights.erase import Erased, Named, Operational, StoreEraser
from pipeline.rights.export import Exporter
from pipeline.seal import PlainSealer
from pipeline.sinks.base import WriteReport
from pipeline.store import Store, StoreSink, open_store
from pipeline.store.entries import add_entry, ensure_entries, read_entries
from pipeline.store.intake import schemas_of
from pipeline.suppress import Action, ControlRecord, Subject, Suppressions, decode_entry, encode_entry
from pipeline.synth import generate_events
from pipeline.wire import content_bytes

NOW_MS = int(time.time()) * 1000
START_MS = NOW_MS - 3_600_000
KEYS = Keyring(
    (KeyEpoch("e1", 0, b"1" * 32), KeyEpoch("e2", START_MS + 3_000, b"2" * 32)), {}, b"s" * 32
)  # the second epoch begins in the middle of the events
DATABASES = count()


@pytest.fixture(scope="module")
def events() -> list[dict[str, Any]]:
    """Return events of few accounts, so that each has several in each key epoch."""
    made = [one.event for one in generate_events(seed=5, count=400, start_ms=START_MS, rate_per_s=50)]
    accounts = sorted({event["account"]["id"] for event in made})[:8]
    for number, event in enumerate(made):
        event["account"]["id"] = accounts[number % len(accounts)]
        event["api_key_id"] = f"key_{number % 16:016x}"
    return made


@pytest.fixture(scope="module")
def core(policy: Policy) -> Core:
    """Return a core that knows both epochs."""
    return make_core(policy, NoDetector(), KEYS)


@pytest.fixture
def store(folder: Path, policy: Policy, core: Core, events: list[dict[str, Any]]) -> Iterator[Store]:
    """Return a store that has all events."""
    with open_store(f"chdb:{folder}", now_ms=NOW_MS, database=f"test_{next(DATABASES)}") as opened:
        assert _write(opened, policy, _fates(core, events)).operational == len(events)
        yield opened


def _fates(core: Core, events: list[dict[str, Any]], suppressions: Suppressions | None = None) -> list[Fate]:
    admission = Admission(latest_ms=NOW_MS, suppressions=suppressions)
    raws = [orjson.dumps(event) for event in events]
    return [process(raw, Source("test", 0, number, len(raw)), core, admission) for number, raw in enumerate(raws)]


def _write(store: Store, policy: Policy, fates: list[Fate], keys: Keyring | None = KEYS) -> WriteReport:
    pseudonym_of = None if keys is None else partial(keys.suppression, Subject.REQUEST)
    return StoreSink(store, schemas_of(policy), policy.sinks, lambda: NOW_MS, pseudonym_of).write(fates)


def _rows(store: Store, view: str, ids: set[str], *, inside: bool) -> list[tuple[Any, ...]]:
    names = "request_id, account, api_key, status, total_tokens" if view == "operational" else "request_id, body"
    rows = store.query(f"SELECT {names} FROM {view} ORDER BY request_id", binary=("body",) * (view == "content")).rows  # noqa: S608
    return [row for row in rows if (row[0] in ids) is inside]


def _finish(eraser: StoreEraser, operational: Operational) -> None:
    until_s = time.monotonic() + 30
    while not eraser.finish(operational):
        assert time.monotonic() < until_s
        time.sleep(0.1)


@pytest.mark.parametrize("operational", Operational)
def test_an_account_is_erased_over_all_key_epochs_and_others_are_untouched(
    store: Store, policy: Policy, events: list[dict[str, Any]], operational: Operational
) -> None:
    """Its content goes; its operational records become what was asked for; all else is the same, row for row."""
    account = events[3]["account"]["id"]
    ids = {event["request_id"] for event in events if event["account"]["id"] == account}
    epochs = Counter(row[1].partition(":")[0] for row in _rows(store, "operational", ids, inside=True))
    assert set(epochs) == {"e1", "e2"}
    others = [_rows(store, view, ids, inside=False) for view in ("content", "operational")]
    kept = _rows(store, "operational", ids, inside=True)
    content = len(_rows(store, "content", ids, inside=True))
    eraser = StoreEraser(store, policy, KEYS)
    changed = 0 if operational is Operational.KEEP else len(ids)
    named = Named(Subject.ACCOUNT, account)
    assert eraser.erase(named, NOW_MS, NOW_MS, operational) == Erased(len(ids), content, changed)
    _finish(eraser, operational)
    assert _rows(store, "content", ids, inside=True) == []
    expected = {
        Operational.UNLINK: [(key, None, None, *rest) for key, _, _, *rest in kept],
        Operational.DELETE: [],
        Operational.KEEP: kept,
    }
    assert _rows(store, "operational", ids, inside=True) == expected[operational]
    assert [_rows(store, view, ids, inside=False) for view in ("content", "operational")] == others
    again = eraser.erase(named, NOW_MS, NOW_MS, operational)
    assert again == Erased(len(ids) if operational is Operational.KEEP else 0, 0, 0)


def test_what_was_received_later_stays(store: Store, policy: Policy, events: list[dict[str, Any]]) -> None:
    """An erasure is of what had been received up to it."""
    eraser = StoreEraser(store, policy, KEYS)
    account = events[0]["account"]["id"]
    early = eraser.requests_of(Named(Subject.ACCOUNT, account), START_MS + 4_000)
    assert 0 < len(early) < len(eraser.requests_of(Named(Subject.ACCOUNT, account), NOW_MS))


def test_a_key_and_a_request_can_be_erased(store: Store, policy: Policy, events: list[dict[str, Any]]) -> None:
    """Other keys of the account, and other requests, keep what they have."""
    eraser = StoreEraser(store, policy, KEYS)
    key = events[5]["api_key_id"]
    of_key = {event["request_id"] for event in events if event["api_key_id"] == key}
    assert eraser.erase(Named(Subject.API_KEY, key), NOW_MS, NOW_MS, Operational.UNLINK).requests == len(of_key)
    assert {row[0] for row in _rows(store, "content", of_key, inside=True)} == set()
    request = events[6]["request_id"]
    assert eraser.erase(Named(Subject.REQUEST, request), NOW_MS, NOW_MS, Operational.DELETE).operational == 1
    assert len(_rows(store, "operational", {request, *of_key}, inside=False)) == len(events) - 1 - len(of_key)


def test_events_that_come_again_do_not_bring_an_account_back(
    store: Store, policy: Policy, core: Core, events: list[dict[str, Any]]
) -> None:
    """The suppression is kept in the store: the same input again adds no content, no account, and is no conflict."""
    account = events[3]["account"]["id"]
    ids = {event["request_id"] for event in events if event["account"]["id"] == account}
    entry = ControlRecord(
        "0192f0c1-a2b3-7c4d-8e5f-60718293a4b5",
        Action.ERASE,
        Subject.ACCOUNT,
        KEYS.suppression("account", account),
        NOW_MS,
        NOW_MS,
    )
    ensure_entries(store, policy.sinks["control"].retention_ms)
    assert read_entries(store) == []
    for _ in range(2):
        add_entry(store, entry.entry_id, entry.issued_at_ms, encode_entry(entry, policy.control))
    suppressions = Suppressions()
    for raw in read_entries(store):
        suppressions.apply(decode_entry(raw, policy.control))
    eraser = StoreEraser(store, policy, KEYS)
    eraser.erase(Named(Subject.ACCOUNT, account), NOW_MS, NOW_MS, Operational.UNLINK)
    report = _write(store, policy, _fates(core, events, suppressions))
    assert (report.content, report.operational, report.conflicts) == (0, 0, 0)
    assert _rows(store, "content", ids, inside=True) == []
    assert {row[1] for row in _rows(store, "operational", ids, inside=True)} == {None}


@pytest.mark.parametrize("operational", Operational)
def test_records_that_come_again_from_a_topic_are_refused(
    store: Store, policy: Policy, core: Core, events: list[dict[str, Any]], operational: Operational
) -> None:
    """What workers wrote before the erasure is in topics still: tombstones keep it out, and without keys all stops."""
    fates = _fates(core, events)
    assert _write(store, policy, fates, keys=None).erased == 0
    account = events[3]["account"]["id"]
    ids = {event["request_id"] for event in events if event["account"]["id"] == account}
    content = len(_rows(store, "content", ids, inside=True))
    StoreEraser(store, policy, KEYS).erase(Named(Subject.ACCOUNT, account), NOW_MS, NOW_MS, operational)
    report = _write(store, policy, fates)
    whole = len(ids) if operational is Operational.DELETE else 0
    assert (report.erased, report.content, report.operational, report.conflicts) == (content + whole, 0, 0, 0)
    assert _rows(store, "content", ids, inside=True) == []
    with pytest.raises(ConfigError, match="LETHE_KEYS"):
        _write(store, policy, fates, keys=None)


def test_no_name_is_shown() -> None:
    """A subject's real name is in no message."""
    assert "acct_5f0c77de21b94a08" not in repr(Named(Subject.ACCOUNT, "acct_5f0c77de21b94a08"))


def test_an_export_is_what_was_sent_anonymized(
    store: Store, policy: Policy, core: Core, events: list[dict[str, Any]], tmp_path: Path
) -> None:
    """Every record of the account over both epochs, nobody else's, as it came out of the core; files are private."""
    account = events[3]["account"]["id"]
    fates = [fate for fate in _fates(core, events) if isinstance(fate, Anonymized)]
    ids = {event["request_id"] for event in events if event["account"]["id"] == account}
    folder = tmp_path / "export"
    exporter = Exporter(store, policy, StoreEraser(store, policy, KEYS))
    counts = exporter.export(Named(Subject.ACCOUNT, account), folder, NOW_MS, PlainSealer())
    mine = {fate.operational.request_id: fate for fate in fates if fate.operational.request_id in ids}
    found = [orjson.loads(line) for line in (folder / "operational.jsonl").read_bytes().splitlines()]
    assert found == [dict(mine[one].operational.fields) for one in sorted(mine)]
    content = [fate.content for _, fate in sorted(mine.items()) if fate.content is not None]
    found = [orjson.loads(line) for line in (folder / "content.jsonl").read_bytes().splitlines()]
    assert found == [orjson.loads(content_bytes(record)) for record in content]
    assert counts == {"operational.jsonl": len(mine), "content.jsonl": len(content)}
    manifest = orjson.loads((folder / "manifest.json").read_bytes())
    for name, facts in manifest["files"].items():
        assert facts["sha256"] == sha256((folder / name).read_bytes()).hexdigest()
    assert account not in (folder / "manifest.json").read_text()
    assert {oct(path.stat().st_mode & 0o777) for path in folder.iterdir()} == {"0o600"}
    assert oct(folder.stat().st_mode & 0o777) == "0o700"


def test_content_is_exported_only_when_asked_for_and_into_an_empty_folder(
    store: Store, policy: Policy, events: list[dict[str, Any]], tmp_path: Path
) -> None:
    """Without an opener there is no content; a folder that has something is refused, and left as it is."""
    exporter = Exporter(store, policy, StoreEraser(store, policy, KEYS))
    named = Named(Subject.API_KEY, events[0]["api_key_id"])
    assert set(exporter.export(named, tmp_path / "one", NOW_MS)) == {"operational.jsonl"}
    assert sorted(path.name for path in (tmp_path / "one").iterdir()) == ["manifest.json", "operational.jsonl"]
    with pytest.raises(ConfigError, match="empty"):
        exporter.export(named, tmp_path / "one", NOW_MS)
    assert exporter.export(Named(Subject.ACCOUNT, "acct_nobody"), tmp_path / "two", NOW_MS) == {"operational.jsonl": 0}
