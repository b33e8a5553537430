"""What an erasure must take out although it cannot find it by the account, or although it comes in between."""

import time
from collections.abc import Callable, Iterator
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

import orjson
import pytest
from conftest import KEYS, base_event

from pipeline.anonymize import Admission, Core, process
from pipeline.archive.target import StoreTarget
from pipeline.coarsen import format_timestamp
from pipeline.errors import ConfigError
from pipeline.policy.load import Policy
from pipeline.records import Anonymized, Source
from pipeline.rights.erase import Named, Operational, StoreEraser
from pipeline.store import Store, open_store
from pipeline.store.erasure import add_tombstones, ensure_tombstones, find_tombstones, last_tombstone
from pipeline.store.intake import Records
from pipeline.suppress import Action, ControlRecord, Subject, Suppressions

NOW_MS = int(time.time()) * 1000
GONE, STAYS = "acct_5f0c77de21b94a08", "acct_77aa21b94a0801cd"
DATABASES = count()


@pytest.fixture
def store(folder: Path) -> Iterator[Store]:
    """Return an empty store."""
    with open_store(f"chdb:{folder}", now_ms=NOW_MS, database=f"test_{next(DATABASES)}") as opened:
        yield opened


@pytest.fixture
def target(store: Store, policy: Policy) -> StoreTarget:
    """Return it as the archive writes it."""
    return StoreTarget(store, policy, lambda: NOW_MS, partial(KEYS.suppression, Subject.REQUEST))


@pytest.fixture
def made(bare_core: Core) -> Callable[..., Records]:
    """Return what makes the records of three events, one of them of the account that stays."""

    def make(suppressions: Suppressions | None = None) -> Records:
        fates = []
        for number, account in enumerate((GONE, STAYS, GONE)):
            event = base_event() | {
                "request_id": f"req_{number:032x}",
                "received_at": format_timestamp(NOW_MS - 3_600_000),
                "account": {"id": account},
            }
            raw = orjson.dumps(event)
            admission = Admission(latest_ms=NOW_MS, suppressions=suppressions)
            fates.append(process(raw, Source("raw", 0, number, len(raw)), bare_core, admission))
        good = [fate for fate in fates if isinstance(fate, Anonymized)]
        assert len(good) == 3
        contents = [fate.content for fate in good if fate.content is not None]
        return Records(content=contents, operational=[fate.operational for fate in good])

    return make


@pytest.fixture
def erased() -> Suppressions:
    """Return what workers go by once the account is erased."""
    suppressions = Suppressions()
    pseudonym = KEYS.suppression(Subject.ACCOUNT, GONE)
    suppressions.apply(ControlRecord("e", Action.ERASE, Subject.ACCOUNT, pseudonym, NOW_MS, NOW_MS))
    return suppressions


def erase(store: Store, policy: Policy, operational: Operational = Operational.UNLINK) -> int:
    """Erase the account, and return how many requests were found."""
    eraser = StoreEraser(store, policy, KEYS)
    return eraser.erase(Named(Subject.ACCOUNT, GONE), NOW_MS, NOW_MS, operational).requests


def shown(store: Store) -> tuple[list[Any], list[Any]]:
    """Return the numbers of requests that have content, and operational records that have an account."""
    sql = "SELECT toUInt8(substring(request_id, -1)) FROM {} ORDER BY 1"
    views = ("content", "operational WHERE account IS NOT NULL")
    found = [[number for (number,) in store.query(sql.format(view)).rows] for view in views]
    return found[0], found[1]


@pytest.mark.parametrize("order", ["content first", "operational first", "at once"])
def test_content_that_a_killed_worker_had_sent_half_of_goes(
    store: Store, policy: Policy, target: StoreTarget, made: Callable[..., Records], erased: Suppressions, order: str
) -> None:
    """Killed between an event's two records, its next owner makes it anew as erased: nothing else names its content.

    The account's name is in no record of that event, so the erasure cannot find it: its operational record says it.
    """
    before, again = made(), made(erased)
    assert [len(records.content) for records in (before, again)] == [3, 1]
    halves = [Records(content=before.content), Records(operational=again.operational)]
    if order == "at once":
        halves = [Records(content=before.content, operational=again.operational)]
    for half in halves if order == "content first" else halves[::-1]:
        target.write(half)
    assert erase(store, policy) == 0
    assert shown(store) == ([1], [1])
    masked = "SELECT count() FROM system.parts WHERE table = 'content_rows' AND database = {d:String} AND active"
    assert store.query(masked + " AND has_lightweight_delete", {"d": store.database}).rows == [(0,)], "bytes are there"
    tombstones = {"content first": 2}.get(order, 0)
    assert (
        len(find_tombstones(store, [KEYS.suppression(Subject.REQUEST, f"req_{n:032x}") for n in range(3)]))
        == tombstones
    )
    report = target.write(before)
    assert (report["content"].erased, report["operational"].conflicts) == (2, [])
    assert shown(store) == ([1], [1])


def test_a_run_that_was_killed_leaves_no_content_that_nothing_names(
    store: Store, policy: Policy, target: StoreTarget, made: Callable[..., Records], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed between its two inserts, a writer has left what an erasure finds; doing it again brings nothing back."""
    insert = store.insert
    tables: list[str] = []

    def killed(table: str, *arguments: Any) -> None:
        tables.append(table)
        if len(tables) == 2:
            raise KeyboardInterrupt
        insert(table, *arguments)

    with monkeypatch.context() as patched:
        patched.setattr(store, "insert", killed)
        with pytest.raises(KeyboardInterrupt):
            target.write(made())
    assert erase(store, policy) == 2
    target.write(made())
    assert shown(store) == ([1], [1])


@pytest.mark.parametrize("is_first", [True, False])
def test_what_is_taken_out_between_two_look_ups_is_not_inserted(
    store: Store,
    policy: Policy,
    target: StoreTarget,
    made: Callable[..., Records],
    monkeypatch: pytest.MonkeyPatch,
    *,
    is_first: bool,
) -> None:
    """A record that is there comes again, and an erasure passes after the writer has looked up what is stored.

    Then its tombstones are looked up, where the store had some: had they been first, then neither they nor the row
    would have been seen. Before the first erasure of a store there are none to look up, and the record is a repeat.
    """
    target.write(made())
    if not is_first:
        ensure_tombstones(store, policy.sinks["content"].retention_ms)
        add_tombstones(store, ["somebody's"], NOW_MS, is_whole=True)
    looked: list[str] = []

    def between(name: str, look: Callable[..., Any]) -> Callable[..., Any]:
        def look_up(*arguments: Any) -> Any:
            found = look(*arguments)
            looked.append(name)
            if len(looked) == 1:
                erase(store, policy)
            return found

        return look_up

    for name in ("find_records", "find_tombstones"):
        module = f"pipeline.store.intake.{name}"
        monkeypatch.setattr(module, between(name, getattr(__import__("pipeline.store.intake", fromlist=[""]), name)))
    report = target.write(made())
    assert looked == ["find_records", "find_tombstones"][: 1 if is_first else 2]
    assert (report["content"].inserted, report["content"].erased) == (0, 0 if is_first else 2)
    assert shown(store) == ([1], [1])


@pytest.mark.parametrize("operational", Operational)
def test_what_is_inserted_after_an_erasure_has_passed_is_taken_back(
    store: Store,
    policy: Policy,
    target: StoreTarget,
    made: Callable[..., Records],
    monkeypatch: pytest.MonkeyPatch,
    operational: Operational,
) -> None:
    """A writer that has no turn, at a server, looked up before the erasure and inserts after it; another one was first.

    That is a second archive, or one that was stopped, while the first has committed and the barrier is passed.
    """
    insert = store.insert
    passed: list[bool] = []

    def late(*arguments: Any) -> None:
        if not passed:
            passed.append(True)
            with monkeypatch.context() as meanwhile:
                meanwhile.setattr(store, "insert", insert)
                target._writer.write(made())  # the first archive
                assert erase(store, policy, operational) == 2
        insert(*arguments)

    monkeypatch.setattr(store, "insert", late)
    target._writer.write(made())
    linked = [0, 1, 2] if operational is Operational.KEEP else [1]
    assert shown(store) == ([1], linked)
    rows = store.query("SELECT uniqExact(request_id) FROM operational").rows
    assert rows == [(1 if operational is Operational.DELETE else 3,)]


def test_without_keys_nothing_of_a_batch_stays_that_an_erasure_passed(
    store: Store, policy: Policy, target: StoreTarget, made: Callable[..., Records], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who cannot tell what was erased stops, and no content stays; with keys the same batch adds what may be there."""
    blind = StoreTarget(store, policy, lambda: NOW_MS)
    insert = store.insert

    def late(table: str, *arguments: Any) -> None:
        if table == "content_rows":
            monkeypatch.setattr(store, "insert", insert)
            erase(store, policy)
        insert(table, *arguments)

    monkeypatch.setattr(store, "insert", late)
    with pytest.raises(ConfigError, match="LETHE_KEYS"):
        blind.write(made())
    assert shown(store) == ([], [1])
    target.write(made())
    assert shown(store) == ([1], [1])


def test_tombstones_are_seen_to_come(store: Store, policy: Policy, target: StoreTarget, made: Any) -> None:
    """Each write of some raises the number; merging them does not."""
    target.write(made())
    assert last_tombstone(store) == 0
    erase(store, policy)
    first = last_tombstone(store)
    erase(store, policy, Operational.KEEP)
    StoreEraser(store, policy, KEYS).erase(Named(Subject.REQUEST, "req_x"), NOW_MS, NOW_MS, Operational.KEEP)
    second = last_tombstone(store)
    store.command("OPTIMIZE TABLE tombstone_rows FINAL")
    assert 0 < first < second == last_tombstone(store)
