"""Sealed content from end to end: commands that write it, open it, and find its keys gone."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from cli_fixtures import Done, Lethe, make_event, make_lethe, write_lines
from store_fixtures import NOW_MS
from test_desk import REQUEST, WHY, _Nothing

from pipeline.cli.retention import look_at_keyring
from pipeline.coarsen import DAY_MS, begin_ms, day_of
from pipeline.keys.daykeys import LEAD_MS, held_ms
from pipeline.keys.sealfile import days_of
from pipeline.keys.sealing import SCHEME
from pipeline.retention import Verdict
from pipeline.store import open_store

STORE = ("--store", "chdb:store")
TEXT = "about the weather in spring"
FILES = ("lethe.keys.json", "lethe.keyring.json", "lethe.kek.json")


@pytest.fixture
def lethe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Lethe:
    """Return the command, without its detector, in a folder with keys and events."""
    monkeypatch.setattr("pipeline.cli.edge.detector_of", lambda *_: _Nothing())
    command = make_lethe(tmp_path, monkeypatch, capfd)
    write_lines(tmp_path / "events.jsonl", [make_event(number) for number in range(12)])
    return command


def run(lethe: Lethe, to: str = "chdb:store") -> Done:
    """Run the events into a sink."""
    return lethe("run", "events.jsonl", "--to", to)


def opened(lethe: Lethe) -> Done:
    """Open the content of one request."""
    return lethe("open", "--request", "-", *STORE, *WHY, stdin=REQUEST.encode())


def search(lethe: Lethe, term: str = "weather") -> Done:
    """Search content for a term."""
    return lethe("search", "-", *STORE, *WHY, stdin=term.encode())


def stored() -> list[tuple[str, bytes]]:
    """Return encoding and bytes of every body, as the store has them."""
    with open_store("chdb:store", now_ms=NOW_MS) as store:
        rows = store.query("SELECT body_encoding, body FROM content", binary=("body",)).rows
    return [(encoding, bytes(body)) for encoding, body in rows]


def destroy(day: str) -> None:
    """Take the key of a day out of the keyring."""
    document = json.loads(Path("lethe.keyring.json").read_text())
    del document["days"][day]
    Path("lethe.keyring.json").write_text(json.dumps(document))


def today() -> str:
    """Return the day of the events."""
    return day_of(NOW_MS - 60_000)


def test_content_is_sealed_in_a_store(lethe: Lethe) -> None:
    """Each body under the key of its day; readers with the keyring read it as before."""
    assert run(lethe).code == 0
    bodies = stored()
    assert len(bodies) == 12
    assert {encoding.partition(":")[0] for encoding, _ in bodies} == {SCHEME}
    assert not [body for _, body in bodies if b"weather" in body or b'"request"' in body]
    assert json.loads(opened(lethe).out)["body"]["request"]["messages"][0]["content"].endswith(TEXT)
    assert len(search(lethe).out.splitlines()) == 12


def test_content_is_plain_where_that_is_said(lethe: Lethe, monkeypatch: pytest.MonkeyPatch) -> None:
    """LETHE_SEAL=false leaves encryption to the disks, and needs no keyring."""
    monkeypatch.setenv("LETHE_SEAL", "false")
    Path("lethe.keyring.json").unlink()
    assert run(lethe).code == 0
    assert all(encoding == "json" and TEXT.encode() in body for encoding, body in stored())


def test_an_export_opens_content(lethe: Lethe) -> None:
    """What goes to the person is readable, without our keys."""
    assert run(lethe).code == 0
    account = make_event(0)["account"]["id"]
    done = lethe("export", "out", "--account", "-", "--content", *STORE, *WHY, stdin=account.encode())
    assert done.code == 0, done.err
    lines = [json.loads(line) for line in Path("out/content.jsonl").read_text().splitlines()]
    assert len(lines) == 12
    assert all(line["body"]["request"]["messages"][0]["content"].endswith(TEXT) for line in lines)


def test_a_destroyed_key_ends_its_day(lethe: Lethe) -> None:
    """Content whose key is gone opens for nobody; each command says so, and shows nothing of it."""
    assert run(lethe).code == 0
    for day in {today(), day_of(NOW_MS - 70_000)}:
        destroy(day)
    gone = opened(lethe)
    assert (gone.code, gone.out) == (2, "")
    assert "the key of this content's day is not in the keyring" in gone.err
    found = search(lethe)
    assert (found.code, found.out) == (2, "")
    assert "12 records stayed closed" in found.err
    account = make_event(0)["account"]["id"]
    export = lethe("export", "out", "--account", "-", "--content", *STORE, *WHY, stdin=account.encode())
    assert export.code == 2
    assert not Path("out/manifest.json").exists()


def test_the_audit_says_what_it_could_not_open(lethe: Lethe, monkeypatch: pytest.MonkeyPatch) -> None:
    """An auditor without the keyring is told how many bodies stayed closed, and that this proves nothing."""
    assert run(lethe).code == 0
    monkeypatch.setenv("LETHE_KEYRING", "elsewhere.json")
    done = lethe("audit", "--no-topics", "--json", *STORE)
    checks = {one["name"]: one for one in json.loads(done.out)["checks"]}
    assert done.code == 2
    assert checks["identifiers: content in store"]["verdict"] == "unseen"
    assert "12 bodies could not be opened" in checks["identifiers: content in store"]["note"]


def test_without_keys_nothing_is_written(lethe: Lethe) -> None:
    """No keyring, no plaintext: a store is not even made. Files for inspection and a preview need none."""
    Path("lethe.keyring.json").unlink()
    done = run(lethe)
    assert done.code == 2
    assert "there is no keyring at" in done.err
    assert "lethe keys init" in done.err
    assert not Path("store").exists()
    assert lethe("run", "events.jsonl", "--preview", "1").code == 0
    assert run(lethe, "file:plain").code == 0
    assert TEXT in Path("plain/content.jsonl").read_text()


def test_who_looks_at_no_content_needs_no_keyring(lethe: Lethe) -> None:
    """Billing, an officer and a sweep work beside sealed content without a key to it."""
    assert run(lethe).code == 0
    for name in FILES[1:]:
        Path(name).unlink()
    account = make_event(0)["account"]["id"].encode()
    assert lethe("find", "--account", "-", *STORE, *WHY, stdin=account).code == 0
    assert lethe("export", "out", "--account", "-", *STORE, *WHY, stdin=account).code == 0
    assert lethe("retention", "sweep", *STORE).code == 0
    assert lethe("purge", "--since", "1h", *STORE, *WHY).code == 0
    assert "there is no key-encryption key" in opened(lethe).err


def test_plain_and_sealed_content_stand_beside_each_other(lethe: Lethe, monkeypatch: pytest.MonkeyPatch) -> None:
    """After the switch, what was stored plain is read until it expires; and what is sealed after a switch back."""
    monkeypatch.setenv("LETHE_SEAL", "false")
    assert run(lethe).code == 0
    monkeypatch.setenv("LETHE_SEAL", "true")
    write_lines(Path("events.jsonl"), [make_event(number) for number in range(12, 20)])
    assert run(lethe).code == 0
    assert len(search(lethe).out.splitlines()) == 20
    monkeypatch.setenv("LETHE_SEAL", "false")
    assert len(search(lethe).out.splitlines()) == 20


def test_another_wrapping_key_takes_over(lethe: Lethe, monkeypatch: pytest.MonkeyPatch) -> None:
    """After `lethe keys rewrap` the new key opens what there is, and the old one nothing."""
    assert run(lethe).code == 0
    done = lethe("keys", "rewrap", "--to", "file:new.kek.json")
    assert done.code == 0, done.err
    old = opened(lethe)
    assert (old.code, old.out) == (2, "")
    monkeypatch.setenv("LETHE_KEK", "file:new.kek.json")
    assert opened(lethe).code == 0


def test_keys_init_makes_what_is_missing(lethe: Lethe) -> None:
    """Three files; where the key file is from before content was sealed, the other two; then none, and it says so."""
    keys = Path(FILES[0]).read_bytes()
    assert "is not overwritten" in lethe("keys", "init").err
    for name in FILES[1:]:
        Path(name).unlink()
    done = lethe("keys", "init")
    assert done.code == 0, done.err
    assert Path(FILES[0]).read_bytes() == keys
    assert [Path(name).stat().st_mode & 0o777 for name in FILES] == [0o600] * 3
    Path(FILES[0]).unlink()
    assert lethe("keys", "init").code == 0
    assert Path(FILES[0]).read_bytes() != keys


def test_rolling_makes_and_destroys(lethe: Lethe, monkeypatch: pytest.MonkeyPatch) -> None:
    """`lethe keys roll` does both files; what it destroys is in neither its output nor the file."""
    before = days_of(Path(FILES[1]))
    monkeypatch.setattr("pipeline.cli.edge.now_ms", lambda: NOW_MS + 2 * DAY_MS)
    done = lethe("keys", "roll")
    assert done.code == 0, done.err
    after = days_of(Path(FILES[1]))
    removed, made = sorted(set(before) - set(after)), sorted(set(after) - set(before))
    assert len(removed) == len(made) == 2
    assert f"made sealing keys: {', '.join(made)}\nremoved sealing keys: {', '.join(removed)}\n" in done.out
    assert "seal\t" + made[-1] in lethe("keys", "show").out


def _keys(lethe: Lethe) -> tuple[int, dict[str, Any]]:
    done = lethe("retention", "verify", "--no-topics", "--json", *STORE)
    (row,) = (one for one in json.loads(done.out)["holdings"] if one["kind"] == "keys")
    return done.code, row


def test_the_keyring_is_held_against_its_bound(lethe: Lethe, monkeypatch: pytest.MonkeyPatch) -> None:
    """`lethe retention verify` judges the oldest key: late an hour before thirty days, broken after, unseen if gone."""
    assert run(lethe).code == 0
    code, row = _keys(lethe)
    assert (code, row["verdict"], row["count"]) == (0, "holds", len(days_of(Path(FILES[1]))))
    oldest_ms = NOW_MS - NOW_MS % DAY_MS - row["count"] * DAY_MS + 3 * DAY_MS
    for after_ms, verdict in ((30 * DAY_MS - 1800_000, "late"), (30 * DAY_MS + 1, "broken")):
        monkeypatch.setattr("pipeline.cli.edge.now_ms", lambda after_ms=after_ms: oldest_ms + after_ms)
        assert _keys(lethe)[1]["verdict"] == verdict
    Path(FILES[1]).unlink()
    code, row = _keys(lethe)
    assert row["verdict"] == "unseen"
    assert code
    elsewhere = lethe("retention", "verify", "--no-topics", "--no-keys", "--json", *STORE)
    assert "keys" not in {one["kind"] for one in json.loads(elsewhere.out)["holdings"]}


def test_the_key_of_a_short_bound_is_not_late_before_it_is_due(lethe: Lethe, monkeypatch: pytest.MonkeyPatch) -> None:
    """A key whose bound is below two days lives a day longer, and the hourly timer has as long for it as for others."""
    assert run(lethe).code == 0
    oldest_ms = begin_ms(days_of(Path(FILES[1]))[0])
    assert oldest_ms is not None
    sinks = {"content": SimpleNamespace(retention_ms=DAY_MS)}
    monkeypatch.setattr("pipeline.cli.edge.policy_of", lambda _: SimpleNamespace(sinks=sinks))
    verdicts = []
    for after_ms in (held_ms(DAY_MS) + LEAD_MS // 4, held_ms(DAY_MS) + LEAD_MS - 1, held_ms(DAY_MS) + LEAD_MS + 1):
        monkeypatch.setattr("pipeline.cli.edge.now_ms", lambda after_ms=after_ms: oldest_ms + after_ms)
        verdicts.append(look_at_keyring(SimpleNamespace(keyring=FILES[1])).verdict)  # type: ignore[arg-type]
    assert verdicts == [Verdict.HOLDS, Verdict.LATE, Verdict.BROKEN]
