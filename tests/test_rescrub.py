"""Scrubbing again: what the core made stays to the byte, what it missed goes, and so do the bytes of what it was."""

import re
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import orjson
import pytest
from conftest import KEYS, OPEN_DOOR, RECEIVED_AT_MS, NoDetector
from store_fixtures import holds
from test_golden import CASES, load, run

from pipeline.anonymize import Admission, Core, make_core, process
from pipeline.codec import decode
from pipeline.content.again import scrub_again
from pipeline.content.scrub import Scrubbed
from pipeline.detect.entities import EntityTable
from pipeline.detect.spans import Detector, Span
from pipeline.policy.load import Policy
from pipeline.records import Anonymized, Fate, Source
from pipeline.redact import Placeholders, highest_numbers, is_placeholder, redact_again
from pipeline.rights.erase import StoreEraser
from pipeline.rights.rescrub import Rescrubbed, Rescrubber
from pipeline.seal import PlainSealer
from pipeline.sinks.base import WriteReport
from pipeline.store import Store, StoreSink, open_store
from pipeline.store.erasure import add_tombstones, ensure_tombstones, find_tombstones
from pipeline.store.intake import schemas_of
from pipeline.store.replacing import finish_replacing
from pipeline.suppress import Subject
from pipeline.synth import generate_events

NOW_MS = int(time.time()) * 1000
MISSED = "late.finding@mail.example.org"


class _Finds:
    """Finds one pattern, as an e-mail address."""

    def __init__(self, pattern: str) -> None:
        self._pattern = re.compile(pattern)

    def find_spans(self, texts: Sequence[str], _own: object = ()) -> list[Sequence[Span] | None]:
        """Return the spans of each text."""
        return [[Span(*m.span(), "EMAIL_ADDRESS", 1.0, "test") for m in self._pattern.finditer(t)] for t in texts]


def _again(fate: Fate, core: Core) -> tuple[dict[str, Any], Scrubbed] | None:
    if not isinstance(fate, Anonymized) or fate.content is None:
        return None
    body = decode(fate.content.body.data, size_max=1 << 30, depth_max=128).event
    return body, scrub_again(body, core.policy, core.table, core.detector)


@pytest.mark.parametrize("path", [path for path in CASES if "shape" not in load(path)], ids=lambda p: p.stem)
def test_what_the_core_made_of_a_golden_case_stays(path: Path, core: Core, detector: Detector) -> None:
    """Placeholders are no text, escapes stay, codings are not counted again: nothing changes."""
    found = _again(run(load(path), core, detector), core)
    if found is not None:
        body, scrubbed = found
        assert (scrubbed.body, scrubbed.redactions, scrubbed.dropped) == (body, {}, 0)


def test_what_the_core_made_of_traffic_stays(core: Core) -> None:
    """The same of generated events of every kind."""
    for number, one in enumerate(generate_events(seed=8, count=300, start_ms=RECEIVED_AT_MS - 60_000, rate_per_s=50)):
        raw = orjson.dumps(one.event)
        found = _again(process(raw, Source("test", 0, number, len(raw)), core, OPEN_DOOR), core)
        assert found is not None
        assert (found[1].body, found[1].redactions) == (found[0], {})


def test_what_was_missed_goes_and_numbers_go_on(policy: Policy) -> None:
    """New placeholders are numbered after those there, in keys, calls and strings of JSON too; the new are counted."""
    table = EntityTable.from_json(policy.entities)
    body = {
        "request": {
            "messages": [
                {"role": "user", "content": f"<EMAIL_1> and <\\EMAIL_7> wrote to {MISSED}, <EMAIL_4> did not"},
                {
                    "role": "assistant",
                    "tool_calls": [{"id": "<CALL_2>", "type": "function"}, {"id": "call_new", "type": "function"}],
                },
                {"role": "tool", "content": f'{{"to": "{MISSED}", "cc": "<EMAIL_1>"}}', "password": "<SECRET_3>"},
            ],
            "notes": {MISSED: "<OPAQUE>", "api_key": "hunter2"},
        }
    }
    scrubbed = scrub_again(body, policy, table, _Finds(r"[\w.]+@[\w.]+"))
    assert scrubbed.body["request"] == {
        "messages": [
            {"role": "user", "content": "<EMAIL_1> and <\\EMAIL_7> wrote to <EMAIL_5>, <EMAIL_4> did not"},
            {
                "role": "assistant",
                "tool_calls": [{"id": "<CALL_2>", "type": "function"}, {"id": "<CALL_3>", "type": "function"}],
            },
            {"role": "tool", "content": '{"to":"<EMAIL_5>","cc":"<EMAIL_1>"}', "password": "<SECRET_3>"},
        ],
        "notes": {"<EMAIL_5>": "<OPAQUE>", "api_key": "<SECRET_4>"},
    }
    assert scrubbed.redactions == {"CALL": 1, "EMAIL_ADDRESS": 3, "SECRET": 1}
    assert scrub_again(scrubbed.body, policy, table, _Finds(r"[\w.]+@[\w.]+")).body == scrubbed.body
    assert MISSED in body["request"]["messages"][0]["content"]  # type: ignore[index] # the argument is not changed


def test_a_detector_that_fails_redacts_more(policy: Policy) -> None:
    """A text that nobody could read again goes whole; what is a placeholder stays one."""

    class _Fails(NoDetector):
        def find_spans(self, texts: Sequence[str], _own: object = ()) -> list[Sequence[Span] | None]:
            return [None] * len(texts)

    table = EntityTable.from_json(policy.entities)
    scrubbed = scrub_again({"request": {"input": ["<EMAIL_1>", "left"]}}, policy, table, _Fails())
    assert (scrubbed.body, scrubbed.redactions) == (
        {"request": {"input": ["<EMAIL_1>", "<REDACTED>"]}},
        {"REDACTED": 1},
    )


@pytest.mark.parametrize(
    ("text", "span", "expected"),
    [
        ("to <EMAIL_1> now", (3, 12), "to <EMAIL_1> now"),
        ("to <EMAIL_1> now", (5, 9), "to <EMAIL_1> now"),
        ("Ann <PERSON_1> Bo", (0, 17), "<EMAIL_5> <PERSON_1> <EMAIL_6>"),
        ("Ann, <PERSON_1>!", (0, 16), "<EMAIL_5> <PERSON_1>!"),
        ("<MEDIA image/png 48000 bytes>x", (0, 30), "<MEDIA image/png 48000 bytes><EMAIL_5>"),
        ("<EMAIL_1", (0, 8), "<EMAIL_5>"),
        ("<\\EMAIL_1> a", (0, 12), "<EMAIL_5>"),
    ],
)
def test_spans_end_at_placeholders(policy: Policy, text: str, span: tuple[int, int], expected: str) -> None:
    """What of a finding is a placeholder stays one; the rest goes, unless it is only punctuation."""
    placeholders = Placeholders(EntityTable.from_json(policy.entities), {"EMAIL": 4})
    assert redact_again(text, [Span(*span, "EMAIL_ADDRESS", 1.0, "test")], placeholders) == expected


def test_placeholders_are_told_and_counted() -> None:
    """Literal look-alikes are none."""
    assert is_placeholder("<EMAIL_1>")
    assert not is_placeholder("<\\EMAIL_1>")
    assert not is_placeholder("<EMAIL_1> ")
    assert highest_numbers(r"<EMAIL_2> <EMAIL_10> <\EMAIL_11> <DATE_OF_BIRTH_3> <OPAQUE>") == {
        "EMAIL": 10,
        "DATE_OF_BIRTH": 3,
    }


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return where the store is."""
    return tmp_path / "store"


@pytest.fixture
def store(folder: Path, policy: Policy) -> Iterator[Store]:
    """Return a store of 40 events in which an address was missed in every fourth."""
    with open_store(f"chdb:{folder}", now_ms=NOW_MS) as opened:
        assert _write(opened, make_core(policy, NoDetector(), KEYS)).content == 40
        yield opened


def _events() -> list[dict[str, Any]]:
    made = [one.event for one in generate_events(seed=5, count=60, start_ms=NOW_MS - 3_600_000, rate_per_s=50)][:40]
    for number, event in enumerate(made):
        event["request_id"] = f"req_{number:032x}"
        if number % 4 == 0:
            event["request"] = {"messages": [{"role": "user", "content": f"write to {MISSED}"}]}
    return made


def _write(store: Store, core: Core) -> WriteReport:
    raws = [orjson.dumps(event) for event in _events()]
    admission = Admission(latest_ms=NOW_MS)
    fates = [process(raw, Source("test", 0, number, len(raw)), core, admission) for number, raw in enumerate(raws)]
    pseudonym_of = partial(KEYS.suppression, Subject.REQUEST)
    return StoreSink(store, schemas_of(core.policy), core.policy.sinks, lambda: NOW_MS, pseudonym_of).write(fates)


def _rescrub(store: Store, policy: Policy, *, dry_run: bool = False) -> Rescrubbed:
    core = make_core(policy, _Finds(re.escape(MISSED)), KEYS)
    table = StoreEraser(store, policy, KEYS).table("content")
    report = Rescrubbed()
    Rescrubber(store, table, core, PlainSealer(), lambda: NOW_MS).run(None, None, dry_run=dry_run, report=report)
    if not dry_run:
        until_s = time.monotonic() + 30
        while not finish_replacing(store, table):
            assert time.monotonic() < until_s
            time.sleep(0.1)
    return report


def _rows(store: Store) -> dict[str, tuple[Any, ...]]:
    sql = "SELECT request_id, policy_version, redactions, body FROM content ORDER BY request_id"
    return {row[0]: row[1:] for row in store.query(sql, binary=("body",)).rows}


def test_a_gap_in_living_content_is_closed_bytes_included(store: Store, folder: Path, policy: Policy) -> None:
    """A dry run counts; a run replaces what changes; a second one and the old record again change nothing."""
    newer = replace(policy, version=policy.version + 1, digest="f" * 16)
    before = _rows(store)
    expected = Rescrubbed(40, 10, 0, _rescrub(store, newer, dry_run=True).redactions)
    assert expected.redactions["EMAIL_ADDRESS"] == 10
    assert _rows(store) == before
    assert _rescrub(store, newer) == replace(expected, replaced=10)
    after = _rows(store)
    for number, (request_id, row) in enumerate(after.items()):
        if number % 4:
            assert row == before[request_id]
        else:
            version, redactions, body = row
            assert (version, redactions["EMAIL_ADDRESS"]) == (newer.version, 1)
            assert orjson.loads(body)["request"]["messages"][0]["content"] == "write to <EMAIL_1>"
    assert not holds(folder, MISSED.encode())
    assert _rescrub(store, newer) == Rescrubbed(30)
    again = _write(store, make_core(policy, NoDetector(), KEYS))
    assert (again.content, again.conflicts, again.repeated) == (0, 0, 80)
    assert _rows(store) == after
    assert not holds(folder, MISSED.encode())


def test_a_killed_run_is_done_again(
    store: Store, folder: Path, policy: Policy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Records that are replaced, and whose older bytes are there still, are found; what is off a list is `other`."""
    content = replace(policy.content, is_valid=lambda fields: fields["model"] == "other")
    newer = replace(policy, version=policy.version + 1, digest="f" * 16, content=content)
    with monkeypatch.context() as killed:
        killed.setattr("test_rescrub.finish_replacing", lambda *_: True)
        assert _rescrub(store, newer).replaced == 10
    assert _rescrub(store, newer) == Rescrubbed(30)
    assert not holds(folder, MISSED.encode())
    models = store.query("SELECT DISTINCT model FROM content WHERE policy_version = 2").rows
    assert (models, newer.version) == ([("other",)], 2)


@pytest.mark.parametrize("when", ["before", "meanwhile"])
def test_what_is_erased_does_not_come_back(
    store: Store, policy: Policy, monkeypatch: pytest.MonkeyPatch, when: str
) -> None:
    """A request that is erased after it was read, whether before the insert or at its very moment, stays gone."""
    newer = replace(policy, version=policy.version + 1, digest="f" * 16)
    erased = f"req_{4:032x}"
    calls: list[int] = []

    def erase_and_look_up(*arguments: Any) -> dict[str, bool]:
        calls.append(1)
        if len(calls) == (1 if when == "before" else 2):
            tombstones = [KEYS.suppression(Subject.REQUEST, erased)]
            add_tombstones(store, tombstones, NOW_MS, is_whole=False)
            if when == "before":
                store.command("DELETE FROM content_rows WHERE request_id = {id:String}", {"id": erased})
        return find_tombstones(*arguments)

    ensure_tombstones(store, policy.sinks["content"].retention_ms)
    add_tombstones(store, [KEYS.suppression(Subject.REQUEST, "req_other")], NOW_MS, is_whole=False)
    monkeypatch.setattr("pipeline.store.replacing.find_tombstones", erase_and_look_up)
    assert _rescrub(store, newer).replaced == (9 if when == "before" else 10)
    assert len(calls) == 2
    assert erased not in _rows(store)
    assert len(_rows(store)) == 39
