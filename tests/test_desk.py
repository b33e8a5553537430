"""The desk's look-ups, as its people call them: find, resolve and pseudonym, on record and not without end."""

import json
import re
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cli_fixtures import Lethe, make_event, make_lethe, write_lines
from store_fixtures import holds

from pipeline.audit.entry import Action
from pipeline.detect.spans import Span
from pipeline.errors import SinkUnavailable
from pipeline.keys.keyfile import load_keyring
from pipeline.policy.files import default_schemas_dir
from pipeline.store import erasure

GONE, STAYS = "acct_5f0c77de21b94a08", "acct_77aa21b94a0801cd"
REQUEST = f"req_{3:032x}"
WHY = ("--why", "abuse_report", "--ticket", "ABUSE-17")
STORE = ("--store", "chdb:store")


@pytest.fixture
def lethe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Lethe:
    """Return the command, without its detector, in a folder with keys and a store of twelve events of two accounts."""
    monkeypatch.setattr("pipeline.cli.edge.detector_of", lambda *_: _Nothing())
    command = make_lethe(tmp_path, monkeypatch, capfd)
    events = [make_event(number) for number in range(12)]
    for number, event in enumerate(events):
        event["account"] = event["account"] | {"id": STAYS if number % 3 else GONE}
    write_lines(tmp_path / "events.jsonl", events)
    assert command("receipt", "key").code == 0
    assert command("run", "events.jsonl", "--to", "chdb:store").code == 0
    return command


class _Nothing:
    def find_spans(self, texts: Any, _own: object = ()) -> list[Any]:
        return [()] * len(texts)


def _log() -> list[dict[str, Any]]:
    return [json.loads(line) for path in Path.cwd().rglob("audit-*.jsonl") for line in path.read_text().splitlines()]


def _find(lethe: Lethe, option: str, value: str) -> dict[str, Any]:
    done = lethe("find", option, "-", *STORE, *WHY, stdin=f"{value}\n".encode())
    assert done.code == 0, done.err
    assert value not in done.out + done.err
    found: dict[str, Any] = json.loads(done.out)
    return found


def test_what_there_is_about_a_subject_is_counted_before_and_after_its_erasure(lethe: Lethe) -> None:
    """Records by sink and key epoch; tombstones, erasure, restriction and hold; never what a record says."""
    found = _find(lethe, "--account", GONE)
    assert (found["operational"], found["content"], found["key_epochs"]) == (4, 4, {"e1": 4})
    assert found["content_from"] <= found["content_to"]
    assert (found["tombstones"], found["erased_until"], found["held_until"], found["restricted"]) == (
        0,
        None,
        None,
        False,
    )
    assert _find(lethe, "--request", REQUEST)["key_epochs"] == {"e1": 1}
    assert _find(lethe, "--account", "acct_nobody")["operational"] == 0
    erase = ("erase", "--account", "-", "--receipt", "r.json", "--store-only", *STORE, *WHY)
    assert lethe(*erase, stdin=f"{GONE}\n".encode()).code == 0
    assert lethe("restrict", "--account", "-", "--store-only", *STORE, *WHY, stdin=f"{GONE}\n".encode()).code == 0
    after = _find(lethe, "--account", GONE)
    assert (after["operational"], after["content"], after["restricted"]) == (0, 0, True)
    assert after["erased_until"] is not None
    assert after["held_until"] is None
    request = _find(lethe, "--request", REQUEST)
    assert (request["operational"], request["content"], request["tombstones"]) == (1, 0, 1)
    assert request["key_epochs"] == {"none": 1}
    assert _find(lethe, "--account", STAYS)["content"] == 8


def test_a_request_is_resolved_over_key_epochs_among_the_accounts_that_are_given(lethe: Lethe) -> None:
    """Its account is named, nobody else's; without a match, a record or a link it says so and ends with 1."""
    assert lethe("keys", "rotate", "--valid-from", "2099-01-01T00:00:00Z").code == 0
    accounts = [*(f"acct_{number:016x}" for number in range(500)), "", GONE, STAYS]
    stdin = "\n".join([REQUEST, *accounts]).encode()
    done = lethe("resolve", "--request", "-", *STORE, *WHY, stdin=stdin)
    assert (done.code, done.out) == (0, f"{GONE}\n"), done.err
    Path("accounts.txt").write_text("\n".join(accounts[:-2]))
    missed = lethe("resolve", "--request", "-", "--accounts", "accounts.txt", *STORE, *WHY, stdin=REQUEST.encode())
    assert (missed.code, missed.out, "none of 500 accounts" in missed.err) == (1, "", True)
    nobody = lethe("resolve", "--request", "-", *STORE, *WHY, stdin=f"req_{99:032x}\n{GONE}\n".encode())
    assert (nobody.code, "no operational record" in nobody.err) == (1, True)
    ends = [entry for entry in _log() if entry["action"] == "resolve" and entry["outcome"] == "done"]
    assert [entry["counts"] for entry in ends] == [
        {"scanned": 501, "found": 1},
        {"scanned": 500, "found": 0},
        {"scanned": 0, "found": 0},
    ]


def test_pseudonyms_are_those_of_the_records_and_ids_are_rationed(
    lethe: Lethe, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One a key epoch, by the number of the line; beyond the day's ids none is given, and that is on record."""
    assert lethe("keys", "rotate", "--valid-from", "2099-01-01T00:00:00Z").code == 0
    done = lethe("pseudonym", "-", *WHY, stdin=f"{GONE}\n\n{STAYS}\n".encode())
    keys = load_keyring(Path("lethe.keys.json"))
    assert [json.loads(line) for line in done.out.splitlines()] == [
        {"line": 1, "pseudonyms": keys.pseudonyms("account", GONE)},
        {"line": 3, "pseudonyms": keys.pseudonyms("account", STAYS)},
    ]
    of_key = json.loads(lethe("pseudonym", "-", "--api-key", *WHY, stdin=b"key_1\n").out)
    assert of_key["pseudonyms"] == keys.pseudonyms("api_key", "key_1")
    monkeypatch.setenv("LETHE_DESK_IDS_DAY_MAX", "5")
    refused = lethe("pseudonym", "-", *WHY, stdin=b"a\nb\nc\n")
    assert (refused.code, refused.out, "LETHE_DESK_IDS_DAY_MAX" in refused.err) == (2, "", True)
    assert lethe("pseudonym", "-", *WHY, stdin=b"a\nb\n").code == 0
    monkeypatch.setenv("LETHE_ACTOR", "somebody-else")
    assert lethe("pseudonym", "-", *WHY, stdin=b"a\n").code == 2
    assert [entry["outcome"] for entry in _log()[-2:]] == ["started", "refused"]


def test_an_operator_looks_up_so_much_within_an_hour_and_a_day(lethe: Lethe, monkeypatch: pytest.MonkeyPatch) -> None:
    """The log counts, so a new process or another name begins no new budget; refusals do not count, old ones pass."""
    monkeypatch.setenv("LETHE_DESK_HOUR_MAX", "3")
    call = ("pseudonym", "-", *WHY)
    assert [lethe(*call).code for _ in range(5)] == [0, 0, 0, 2, 2]
    refused = lethe("find", "--account", "-", *STORE, *WHY, stdin=GONE.encode())
    assert (refused.code, refused.out, "LETHE_DESK_HOUR_MAX" in refused.err) == (2, "", True)
    monkeypatch.setattr("pipeline.cli.edge.now_ms", _later(3_700_000))
    assert lethe(*call).code == 0
    monkeypatch.setenv("LETHE_DESK_DAY_MAX", "5")
    assert [lethe(*call).code for _ in range(2)] == [0, 2]
    assert "LETHE_DESK_DAY_MAX" in lethe(*call).err
    monkeypatch.setattr("pipeline.cli.edge.now_ms", _later(2 * 86_400_000))
    assert lethe("pseudonym", "-", *WHY, stdin=b"a\n").code == 0
    assert lethe("audit-log", "verify").code == 0


def _later(by_ms: int) -> Callable[[], int]:
    return lambda: time.time_ns() // 1_000_000 + by_ms


def test_nothing_of_whom_it_is_about_is_in_the_log(lethe: Lethe) -> None:
    """Ids are in the log as pseudonyms under the suppression key, and no message repeats one."""
    calls = [
        lethe("find", "--account", "-", *STORE, *WHY, stdin=GONE.encode()),
        lethe("find", "--request", "-", *STORE, *WHY, stdin=REQUEST.encode()),
        lethe("find", "--request", "-", "--store", "chdb:nowhere", *WHY, stdin=REQUEST.encode()),
        lethe("pseudonym", GONE, *WHY),
        lethe("pseudonym", "-", *WHY, stdin=GONE.encode()),
        lethe("find", "--account", "-", *STORE, "--why", GONE, stdin=GONE.encode()),
    ]
    assert [done.code for done in calls] == [0, 0, 2, 2, 0, 2]
    assert not Path("nowhere").exists()
    text = "".join(path.read_text() for path in Path.cwd().rglob("audit-*.jsonl"))
    for secret in (GONE, REQUEST):
        assert secret not in text + "".join(done.out + done.err for done in calls)
    subjects = {(entry["action"], entry["subject"], entry["outcome"]) for entry in _log()[1:]}
    assert ("find", "request", "failed") in subjects
    assert {action for action, _, _ in subjects} == {Action.FIND, Action.PSEUDONYM}


def _search(lethe: Lethe, term: str, *options: str) -> list[dict[str, Any]]:
    done = lethe("search", "-", *options, *STORE, *WHY, stdin=f"{term}\n".encode())
    assert done.code == (0 if done.out else 1), done.err
    assert "Question" not in done.err
    return [json.loads(line) for line in done.out.splitlines()]


def test_living_content_is_searched_and_the_term_is_kept_nowhere(lethe: Lethe, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pieces of text and regular expressions, by time, model and number; snippets only when asked for."""
    with monkeypatch.context() as small:
        small.setattr("pipeline.store.reading.PAGE_IDS", 5)
        small.setattr("pipeline.store.reading._CHUNK_IDS", 2)
        hits = _search(lethe, "weather in")
    assert sorted(hit["request_id"] for hit in hits) == [f"req_{number:032x}" for number in range(12)]
    assert {*hits[0]} == {"request_id", "received_at"}
    assert len(_search(lethe, "WEATHER", "--ignore-case", "--limit", "5")) == 5
    (hit,) = _search(lethe, r"Question (3|99)\b.*spring", "--regex", "--snippets")
    assert (hit["request_id"], hit["snippet"]) == (REQUEST, "Question 3 about the weather in spring")
    assert _search(lethe, "WEATHER") == []
    assert _search(lethe, "weather", "--model", "other") == []
    assert _search(lethe, "weather", "--until", "2h") == []
    assert len(_search(lethe, "weather", "--since", "1d", "--endpoint", "/v1/chat/completions")) == 12
    term = "(?=Question)CANARYTERM"
    refused = lethe("search", "-", "--regex", *STORE, *WHY, stdin=term.encode())
    wrong = lethe("search", term, *STORE, *WHY)
    none = lethe("search", "-", "--model", term, *STORE, *WHY, stdin=term.encode())
    assert [done.code for done in (refused, wrong, none)] == [2, 2, 2]
    ends = [entry["counts"] for entry in _log() if (entry["action"], entry["outcome"]) == ("search", "done")]
    assert ends[0] == {"scanned": 12, "found": 12, "content": 0}
    assert ends[2] == {"scanned": 12, "found": 1, "content": 1}
    text = json.dumps(_log()) + "".join(done.out + done.err for done in (refused, wrong, none))
    assert not [word for word in ("CANARYTERM", "weather", "spring") if word in text]


def test_the_content_of_one_request_is_opened(lethe: Lethe) -> None:
    """As it is stored; into a new file that its owner alone can read; what is not there ends with 1."""
    shown = lethe("open", "--request", "-", *STORE, *WHY, stdin=REQUEST.encode())
    record = json.loads(shown.out)
    assert record["body"]["request"]["messages"][0]["content"] == "Question 3 about the weather in spring"
    assert lethe("open", "--request", "-", "--out", "one.json", *STORE, *WHY, stdin=REQUEST.encode()).out == ""
    assert (json.loads(Path("one.json").read_text()), Path("one.json").stat().st_mode & 0o777) == (record, 0o600)
    assert lethe("open", "--request", "-", "--out", "one.json", *STORE, *WHY, stdin=REQUEST.encode()).code == 2
    missing = lethe("open", "--request", "-", *STORE, *WHY, stdin=f"req_{99:032x}".encode())
    assert (missing.code, missing.out) == (1, "")
    ends = [entry for entry in _log() if (entry["action"], entry["outcome"]) == ("open", "done")]
    assert [(entry["subject"], entry["counts"]["content"]) for entry in ends] == [
        ("request", 1),
        ("request", 1),
        ("request", 0),
    ]


def _bodies(lethe: Lethe) -> dict[str, str]:
    """Return what living content says, by request."""
    return {hit["request_id"]: hit["snippet"] for hit in _search(lethe, "about", "--snippets")}


class _Weather(_Nothing):
    def find_spans(self, texts: Any, _own: object = ()) -> list[Any]:
        return [[Span(m.start(), m.end(), "PERSON", 1.0, "test") for m in re.finditer("weather", t)] for t in texts]


def test_a_gap_in_detection_is_closed_by_a_policy_of_a_higher_version(
    lethe: Lethe, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A dry run changes nothing; then what was missed is redacted, on record; a second run has nothing to do."""
    monkeypatch.setattr("pipeline.cli.edge.detector_of", lambda *_: _Weather())
    same = lethe("rescrub", *STORE, *WHY)
    assert (same.code, json.loads(same.out)["scanned"]) == (0, 0)
    schemas = shutil.copytree(default_schemas_dir(), Path("schemas"))
    main = json.loads((schemas / "policy.json").read_text())
    (schemas / "policy.json").write_text(json.dumps(main | {"version": main["version"] + 1}))
    monkeypatch.setenv("LETHE_SCHEMAS", "schemas")
    before = _bodies(lethe)
    dry = lethe("rescrub", "--since", "1d", "--dry-run", *STORE, *WHY)
    counts = {"scanned": 12, "found": 12, "redactions": {"PERSON": 12}}
    assert json.loads(dry.out) == counts | {"status": "dry run", "replaced": 0}
    assert _bodies(lethe) == before
    done = lethe("rescrub", "--since", "1d", *STORE, *WHY)
    assert (done.code, json.loads(done.out)) == (0, counts | {"status": "complete", "replaced": 12}), done.err
    assert {text.partition(" about ")[2] for text in _bodies(lethe).values()} == {"the <PERSON_1> in spring"}
    assert json.loads(lethe("rescrub", *STORE, *WHY).out)["scanned"] == 0
    assert not holds(Path("store"), b"weather")
    ends = [entry["counts"] for entry in _log() if (entry["action"], entry["outcome"]) == ("rescrub", "done")]
    assert ends[1:3] == [{"scanned": 12, "found": 12, "content": 0}, {"scanned": 12, "found": 12, "content": 12}]


def test_a_purge_that_is_killed_midway_counts_what_it_had_deleted(
    lethe: Lethe, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed between two pages and before the end: gone on with, receipt and audit log say all, each record once."""
    kills, mask = [2, 1], erasure.mask_records

    def mask_and_end(*arguments: Any) -> int:
        masked = mask(*arguments)
        if kills:
            kills[0] -= 1
            if not kills[0]:
                kills.pop(0)
                raise SinkUnavailable("the process ends here")
        return masked

    monkeypatch.setattr("pipeline.store.reading.PAGE_IDS", 5)
    monkeypatch.setattr("pipeline.rights.purge.mask_records", mask_and_end)
    purge = ("purge", "--since", "1d", "--yes", "--receipt", "p.json", *STORE, *WHY)
    left = []
    for status, counts in (("pending", {"begun": 12}), ("pending", {"begun": 12}), ("complete", {"deleted": 12})):
        assert lethe(*purge).code == (2 if status == "pending" else 0)
        receipt = json.loads(lethe("receipt", "verify", "p.json", "--json").out)
        assert (receipt["status"], receipt["places"][0]["counts"]) == (status, counts)
        left.append(len(_bodies(lethe)))
    assert left == [2, 0, 0]
    ends = [entry for entry in _log() if entry["action"] == "purge" and entry["outcome"] != "started"]
    assert [(entry["outcome"], entry["counts"]) for entry in ends] == [
        ("failed", {}),
        ("failed", {}),
        ("done", {"content": 12}),
    ]


def test_content_is_purged_by_type_or_time_with_a_receipt_and_does_not_come_back(
    lethe: Lethe, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without --yes it counts; with it what is named goes, bytes included; the rest stays, and so do the records."""
    marked = [make_event(number + 100) for number in range(3)]
    for event in marked:
        event["request"]["messages"][0]["content"] = f"MARKEDFORPURGE by {event['account']['email']} about nothing"
    write_lines(Path("marked.jsonl"), marked)
    assert lethe("run", "marked.jsonl", "--to", "chdb:store").code == 0
    before = _bodies(lethe)
    purge = ("purge", "--entity-type", "EMAIL_ADDRESS", *STORE, *WHY)
    dry = lethe(*purge)
    assert (dry.code, json.loads(dry.out)["records"], "--yes" in dry.err) == (0, 3, True)
    assert _bodies(lethe) == before
    done = lethe(*purge, "--yes", "--receipt", "p.json")
    assert (done.code, done.out) == (0, "complete: p.json\n"), done.err
    receipt = json.loads(lethe("receipt", "verify", "p.json", "--json").out)
    (place,) = receipt["places"]
    assert (place["name"], place["counts"]) == ("store:content:email_address", {"deleted": 3})
    assert lethe(*purge, "--yes", "--receipt", "p.json").out == done.out
    other = lethe("purge", "--since", "1d", "--yes", "--receipt", "p.json", *STORE, *WHY)
    assert (other.code, "something else" in other.err) == (2, True)
    assert lethe("run", "marked.jsonl", "--to", "chdb:store").code == 0
    assert _bodies(lethe) == {one: text for one, text in before.items() if "MARKED" not in text}
    assert not holds(Path("store"), b"MARKEDFORPURGE")
    assert _find(lethe, "--account", marked[0]["account"]["id"])["operational"] == 4 + 3
    assert [lethe("purge", *option, *STORE, *WHY).code for option in ((), ("--entity-type", "NONE"))] == [2, 2]
    rest = ("purge", "--since", "1d", "--yes", "--receipt", "all.json", *STORE, *WHY)
    with monkeypatch.context() as waiting:
        waiting.setattr("pipeline.rights.purge.Purger.finish", lambda _: False)
        assert lethe(*rest, "--wait-s", "0").code == 3
    assert _bodies(lethe) == {}
    assert lethe(*rest).out == "complete: all.json\n"  # "1d" is the time that it was when the receipt was begun
    (place,) = json.loads(lethe("receipt", "verify", "all.json", "--json").out)["places"]
    assert place["counts"] == {"deleted": 12}
