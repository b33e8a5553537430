"""Erasure in an embedded store: what is named goes, bytes included, the rest stays, and it does not come back."""

import re
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from store_fixtures import DAY_MS, NOW_MS, SCHEMAS, SINKS, make_event

from pipeline.sinks.base import WriteReport
from pipeline.store import Store, StoreSink, open_store
from pipeline.store.ddl import Table, make_table
from pipeline.store.erasure import (
    add_tombstones,
    count_lingering,
    delete_records,
    ensure_tombstones,
    find_requests,
    find_tombstones,
    has_tombstones,
    mask_records,
    purge_masked,
    unlink_records,
)
from pipeline.store.holdings import Part
from pipeline.store.sweep import sweep

GONE = "e1:" + "c" * 32
KEY = "e1:MARKERUNLINKED0123456789"
MARKER = b"MARKERERASED0123456789"
STAYS = "e1:" + "a" * 32
REFERRING = ("account", "api_key", "client_network", "client_ip")
CONTENT, OPERATIONAL = (make_table(SINKS[name], SCHEMAS[SINKS[name].schema]) for name in ("content", "operational"))


@pytest.fixture
def store(folder: Path, request: pytest.FixtureRequest) -> Iterator[Store]:
    """Return a database of the test's own: events 1 to 40, of which every fourth is the account's that goes."""
    database = re.sub(r"\W", "_", request.node.name)[:60]
    with open_store(f"chdb:{folder}", now_ms=NOW_MS, database=database) as opened:
        _write(opened)
        yield opened
        opened.command(f"DROP DATABASE {database} SYNC")  # its files hold the markers of the next test


def _events() -> list[object]:
    return [
        make_event(
            number,
            NOW_MS - number % 3 * DAY_MS,
            operational={
                "account": STAYS if number % 4 else GONE,
                "api_key": KEY if number == 8 else f"e1:{number:032x}",
            },
            body=b'{"prompt":"hello"}' if number % 4 else MARKER,
        )
        for number in range(1, 41)
    ]


def _write(store: Store) -> WriteReport:
    return StoreSink(store, SCHEMAS, SINKS, lambda: NOW_MS).write(_events())  # type: ignore[arg-type] # of events


def _holding(folder: Path, needle: bytes) -> list[str]:
    return [path.name for path in folder.rglob("*") if path.is_file() and needle in path.read_bytes()]


def _wait_until_gone(store: Store, table: Table) -> None:
    until_s = time.monotonic() + 30
    while count_lingering(store, table):
        assert time.monotonic() < until_s
        time.sleep(0.1)


def test_content_of_an_account_goes_with_its_bytes_and_the_rest_stays(store: Store, folder: Path) -> None:
    """Masked rows are read by nobody; after the parts are rewritten no file has their text."""
    ids = find_requests(store, OPERATIONAL, "account", [GONE, "e2:" + "f" * 32], NOW_MS)
    assert len(ids) == 10
    before = store.query("SELECT * FROM content WHERE request_id NOT IN {ids:Array(String)} ORDER BY ALL", {"ids": ids})
    assert mask_records(store, CONTENT, ids) == 10
    assert mask_records(store, CONTENT, ids) == 0
    assert store.query("SELECT * FROM content ORDER BY ALL").rows == before.rows
    assert count_lingering(store, CONTENT) > 0
    assert _holding(folder, MARKER) != []
    assert purge_masked(store, CONTENT) == 3
    assert purge_masked(store, CONTENT) == 0
    _wait_until_gone(store, CONTENT)
    assert _holding(folder, MARKER) == []
    assert store.query("SELECT * FROM content ORDER BY ALL").rows == before.rows


def test_parts_of_later_merges_are_not_waited_for(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """While others insert there are always outdated parts; those that were there at first must go, and are counted."""
    monkeypatch.setattr("pipeline.store.erasure._SETTLE_S", 0.5)
    rounds = iter((["a"], ["a", "b"], ["b", "c"], ["c", "d"]))
    monkeypatch.setattr("pipeline.store.erasure.outdated_parts", lambda *_: _parts(next(rounds)))
    assert count_lingering(store, CONTENT) == 0
    monkeypatch.setattr("pipeline.store.erasure.outdated_parts", lambda *_: _parts(["a", "b"]))
    assert count_lingering(store, CONTENT) == 2


def _parts(names: list[str]) -> list[Part]:
    return [Part(name, None, None, 1) for name in names]


def test_unlinked_records_keep_what_billing_needs_and_never_get_their_account_back(store: Store, folder: Path) -> None:
    """The pseudonym is in no file any more, and the same event again, linked or not, changes nothing."""
    ids = find_requests(store, OPERATIONAL, "account", [GONE], NOW_MS)
    assert _holding(folder, KEY.encode()) != []
    assert unlink_records(store, OPERATIONAL, REFERRING, ids) == 10
    _wait_until_gone(store, OPERATIONAL)
    assert _holding(folder, KEY.encode()) == []
    assert find_requests(store, OPERATIONAL, "account", [GONE], NOW_MS) == []
    rows = store.query(
        "SELECT account, api_key, client_ip, status, latency_ms FROM operational "
        "WHERE request_id IN {ids:Array(String)}",
        {"ids": ids},
    ).rows
    assert rows == [(None, None, None, 200, 12.5)] * 10
    assert _write(store) == WriteReport(repeated=70, erased=10), "content of a request without an account is refused"
    unlinked = make_event(4, operational=dict.fromkeys(REFERRING), body=None)
    assert StoreSink(store, SCHEMAS, SINKS, lambda: NOW_MS).write([unlinked]) == WriteReport(repeated=1)
    newer = make_event(4, operational={"account": GONE, "policy_version": 2}, body=None)
    assert StoreSink(store, SCHEMAS, SINKS, lambda: NOW_MS).write([newer]) == WriteReport(repeated=1)
    assert find_requests(store, OPERATIONAL, "account", [GONE], NOW_MS) == []
    assert len(find_requests(store, OPERATIONAL, "account", [STAYS], NOW_MS)) == 30


def test_rows_are_deleted_whole_where_the_policy_says_so(store: Store) -> None:
    """Operational rows can go too; those of other requests stay."""
    ids = find_requests(store, OPERATIONAL, "account", [GONE], NOW_MS)
    assert delete_records(store, OPERATIONAL, ids) == 10
    assert store.query("SELECT count() FROM operational").rows == [(30,)]
    assert delete_records(store, OPERATIONAL, []) == 0


def test_requests_are_found_up_to_a_time_and_by_one_column(store: Store) -> None:
    """An erasure is of what was received up to it; a key or a request can be named too."""
    assert len(find_requests(store, OPERATIONAL, "account", [GONE], NOW_MS - DAY_MS)) < 10
    assert find_requests(store, OPERATIONAL, "api_key", [f"e1:{7:032x}"], NOW_MS) == [f"req_{7:032x}"]
    assert find_requests(store, OPERATIONAL, "request_id", [f"req_{8:032x}"], NOW_MS) == [f"req_{8:032x}"]
    with pytest.raises(KeyError):
        find_requests(store, OPERATIONAL, "account` = '' OR `account", [GONE], NOW_MS)


def test_tombstones_are_found_and_end(store: Store) -> None:
    """They outlive whatever could bring content back, and the sweep ends them then."""
    ensure_tombstones(store, 30 * DAY_MS)
    ensure_tombstones(store, 30 * DAY_MS)
    assert not has_tombstones(store)
    assert find_tombstones(store, ["s1:" + "0" * 32]) == {}
    made = [f"s1:{number:032x}" for number in range(5000)]
    add_tombstones(store, made, NOW_MS, is_whole=False)
    add_tombstones(store, made[:3], NOW_MS, is_whole=True)
    add_tombstones(store, made[:2], NOW_MS, is_whole=False)
    add_tombstones(store, [], NOW_MS, is_whole=True)
    assert has_tombstones(store)
    found = find_tombstones(store, [*made[:4500], "s1:" + "f" * 32])
    assert found == {**dict.fromkeys(made[:4500], False), **dict.fromkeys(made[:3], True)}
    sweep(store, NOW_MS + 30 * DAY_MS)
    assert set(find_tombstones(store, made)) == set(made)
    sweep(store, NOW_MS + 33 * DAY_MS)
    assert store.query("SELECT count() FROM tombstone_rows").rows == [(0,)]
