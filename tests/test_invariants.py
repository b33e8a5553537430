"""Properties of the core: one fate for any bytes, pure, the same bytes always, and nothing where it does not belong."""

import copy
import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

import pytest
from conftest import KEYS, OPEN_DOOR, RECEIVED_AT_MS, NoDetector, base_event
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from strategies import (
    ANY_TEXT,
    FOREIGN,
    PLANTS,
    SPEND_LOG,
    accepted,
    assert_sound,
    corruptions,
    damaged,
    fate_of,
    json_values,
    objects,
    outputs,
    planted_event,
    put,
    spend_log_events,
    to_json,
    to_odd_json,
    v1_events,
    with_value,
)

from pipeline.anonymize import Admission, Core, anonymize, make_core
from pipeline.codec import Decoded, decode
from pipeline.detect.spans import Detector, Span
from pipeline.errors import Reason
from pipeline.inputs import RawEvent
from pipeline.metrics import Metrics
from pipeline.policy.load import Limits, Policy, load_policy
from pipeline.policy.model import FieldType, Treatment
from pipeline.records import Anonymized, Rejection, Source
from pipeline.run import run
from pipeline.sinks.memory import MemorySink
from pipeline.synth import generate_events
from pipeline.wire import content_bytes, operational_bytes

BARE = {
    "v1": make_core(load_policy(), NoDetector(), KEYS),
    "spend_log": make_core(load_policy(event=SPEND_LOG), NoDetector(), KEYS),
}
EVENTS = {"v1": v1_events, "spend_log": spend_log_events}
SHAPES = sorted(BARE)
MANY = settings(
    max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)
FEW = settings(MANY, max_examples=25)
PROGRAM = """
import hashlib, sys
sys.path.insert(0, "tests")
from conftest import CACHE_DIR, KEYS
from strategies import fate_of, outputs, to_json
from pipeline.anonymize import make_core
from pipeline.detect.detector import make_detector
from pipeline.policy.load import load_policy
from pipeline.synth import generate_events
from pipeline.wire import content_bytes, operational_bytes
policy = load_policy()
core = make_core(policy, make_detector(policy, CACHE_DIR), KEYS)
made = list(generate_events(seed=5, count=40, start_ms=1_795_428_000_000, identifier_share=1))
written = sorted(repr(outputs(fate_of(to_json(each.event), core))) for each in reversed(made))
print(hashlib.sha256("".join(written).encode()).hexdigest())
"""


class Faulty:
    """Fails on every text that has its word, the way it is told to."""

    def __init__(self, error: Exception | None = None) -> None:
        self._error = error

    def find_spans(self, texts: Sequence[str], _own: object = ()) -> list[Sequence[Span] | None]:
        """Return None for a text with the word, or raise."""
        if self._error is not None and any("trouble" in text for text in texts):
            raise self._error
        return [None if "trouble" in text else () for text in texts]


class Short:
    """Answers for one text fewer than it was asked about."""

    def find_spans(self, texts: Sequence[str], _own: object = ()) -> list[Sequence[Span] | None]:
        """Return no spans, for all texts but the last."""
        return [()] * (len(texts) - 1)


@given(raw=st.binary(max_size=200) | json_values().map(to_json) | objects().map(to_json))
@MANY
def test_any_bytes_have_one_fate(raw: bytes) -> None:
    """Whatever the bytes, there is a sound fate; what is no event is a rejection."""
    for core in BARE.values():
        fate = fate_of(raw, core)
        assert isinstance(fate, Rejection)
        assert_sound(fate, core)


@pytest.mark.parametrize("shape", SHAPES)
@given(data=st.data())
@MANY
def test_damaged_events_have_one_fate(shape: str, data: st.DataObject) -> None:
    """An event that was cut, spliced or flipped has a sound fate, and that of its first reading stays."""
    raw = data.draw(damaged(EVENTS[shape]()))
    fate = fate_of(raw, BARE[shape])
    assert isinstance(fate, Anonymized | Rejection)
    assert_sound(fate, BARE[shape])
    assert outputs(fate_of(raw, BARE[shape])) == outputs(fate)


@pytest.mark.parametrize("shape", SHAPES)
@given(data=st.data())
@MANY
def test_valid_events_are_accepted_however_they_are_spelled(shape: str, data: st.DataObject) -> None:
    """A valid event is never refused for an oddity, and its spelling changes no byte; repeated keys are counted."""
    event = data.draw(EVENTS[shape]())
    plain = accepted(fate_of(to_json(event), BARE[shape]))
    raw, repeated = to_odd_json(event, Random(data.draw(st.integers())))
    odd = accepted(fate_of(raw, BARE[shape]))
    assert_sound(plain, BARE[shape])
    assert outputs(odd) == outputs(plain)
    assert odd.facts == replace(plain.facts, duplicate_keys=repeated)


@pytest.mark.parametrize("shape", SHAPES)
@given(data=st.data())
@MANY
def test_an_event_is_not_changed(shape: str, data: st.DataObject) -> None:
    """Anonymizing leaves the decoded event as it was, down to its lists, and gives the same bytes again."""
    raw = to_json(data.draw(EVENTS[shape]()))
    event = decode(raw, size_max=1 << 20, depth_max=64).event
    before = copy.deepcopy(event)
    first = anonymize(Decoded(event, 0), BARE[shape], OPEN_DOOR)
    assert before == event
    assert repr(before) == repr(event)  # 1 and 1.0 and True are equal, the order of keys is not compared
    assert outputs(anonymize(Decoded(event, 0), BARE[shape], OPEN_DOOR)) == outputs(first)


@pytest.mark.parametrize("shape", SHAPES)
def test_whole_figures_are_integers(shape: str) -> None:
    """JSON says that 200.0 is an integer: as a record's integer it is 200, so that a column takes it."""
    event = planted_event(shape)
    integers = [field.name for field in BARE[shape].policy.operational.fields if field.type is FieldType.INTEGER]
    for rule in BARE[shape].policy.shape.rules.values():
        if any(target.how == "value" and target.field in integers for target in rule.targets):
            put(event, rule.pointer, float(PLANTS[shape][rule.name].value))
    written = accepted(fate_of(to_json(event), BARE[shape])).operational.fields
    assert [name for name in integers if not isinstance(written[name], int | None)] == []
    assert outputs(fate_of(to_json(event), BARE[shape])) == outputs(fate_of(to_json(planted_event(shape)), BARE[shape]))


@given(events=st.lists(v1_events(), min_size=2, max_size=6, unique_by=lambda e: e["request_id"]), seed=st.integers())
@FEW
def test_order_and_batches_change_no_byte(events: list[dict[str, Any]], seed: int) -> None:
    """The records of an event are the same whatever came before it, and in whatever batch it was."""
    raws = [to_json(event) for event in events]
    expected = _stored(raws)
    Random(seed).shuffle(raws)
    assert _stored(raws, batch_max=1 + seed % 3) == expected


def test_placeholders_are_numbered_anew_in_each_event(core: Core) -> None:
    """What an event before it called a value decides nothing: numbers follow the event's own order."""
    people = ["ines.duarte@example.org", "tomas.weber@example.net"]
    for first, second in (people, people[::-1], people):
        raw = to_json(base_event() | {"request": {"prompt": f"From {first} to {second}"}})
        assert b'{"prompt":"From <EMAIL_1> to <EMAIL_2>"}' in outputs(fate_of(raw, core))["content"]


def test_order_changes_no_byte_of_ordinary_traffic(core: Core) -> None:
    """With the real detector and identifiers that come again in other events, no event leaves a trace in the next."""
    raws = [
        to_json(made.event) for made in generate_events(seed=9, count=80, start_ms=RECEIVED_AT_MS, identifier_share=1)
    ]
    expected = _stored(raws, core=core)
    assert any(b"_1>" in content for content, _ in expected.values())
    Random(9).shuffle(raws)
    assert _stored(raws, batch_max=7, core=core) == expected


def _stored(raws: Sequence[bytes], *, batch_max: int = 100, core: Core = BARE["v1"]) -> dict[str, tuple[bytes, bytes]]:
    lines = [RawEvent(raw, Source("requests.raw", 0, at, len(raw))) for at, raw in enumerate(raws)]
    sink = MemorySink()
    run(lines, core, sink, lambda: OPEN_DOOR, batch_max=batch_max, metrics=Metrics())
    assert set(sink.content) == set(sink.operational)
    return {
        name: (content_bytes(sink.content[name]), operational_bytes(sink.operational[name])) for name in sink.content
    }


def test_another_process_gives_the_same_bytes(core: Core) -> None:
    """The bytes depend on no hash seed and no event before: a process makes the same in reverse order."""
    made = generate_events(seed=5, count=40, start_ms=RECEIVED_AT_MS - 123, identifier_share=1)
    written = sorted(repr(outputs(fate_of(to_json(each.event), core))) for each in made)
    done = subprocess.run(  # noqa: S603 - our own program
        [sys.executable, "-c", PROGRAM],
        env={**os.environ, "PYTHONHASHSEED": "4242"},
        cwd=Path(__file__).parents[1],
        capture_output=True,
        check=True,
    )
    assert done.stdout.decode().strip() == hashlib.sha256("".join(written).encode()).hexdigest()


@given(event=v1_events(), seed=st.integers())
@FEW
def test_the_core_as_it_runs_keeps_the_same_promises(core: Core, event: dict[str, Any], seed: int) -> None:
    """With the real detector too: accepted, sound, the same bytes from another spelling, nothing changed."""
    raw = to_json(event)
    fate = accepted(fate_of(raw, core))
    assert_sound(fate, core)
    assert outputs(fate_of(to_odd_json(event, Random(seed))[0], core)) == outputs(fate)
    assert to_json(event) == raw


@given(
    event=v1_events(),
    bodies=st.fixed_dictionaries({"request": objects(), "response": objects()}),
    texts=st.tuples(ANY_TEXT, ANY_TEXT),
)
@MANY
def test_operational_bytes_do_not_depend_on_content(
    event: dict[str, Any], bodies: dict[str, Any], texts: tuple[str, str]
) -> None:
    """Whatever request, response, message and trace say, the operational record is the same."""
    error = {**(event.get("error") or {}), "message": texts[0], "trace": texts[1]}
    one, other = fate_of(to_json(event), BARE["v1"]), fate_of(to_json({**event, **bodies, "error": error}), BARE["v1"])
    assert outputs(one)["operational"] == outputs(other)["operational"]


OPERATIONAL_ONLY = (
    *("stream", "status", "latency_ms", "time_to_first_token_ms", "queue_ms", "usage", "region", "node"),
    "undeclared",
)


@given(event=v1_events(), other=v1_events(), code=ANY_TEXT)
@MANY
def test_content_bytes_do_not_depend_on_operational_fields(
    event: dict[str, Any], other: dict[str, Any], code: str
) -> None:
    """Whatever figures, place and kind of error an event has, its content record is the same."""
    changed = {**event, **{name: other[name] for name in OPERATIONAL_ONLY if name in other}}
    if event.get("error"):
        changed["error"] = {**event["error"], "code": code, "type": code}
    one, two = (outputs(fate_of(to_json(each), BARE["v1"])) for each in (event, changed))
    assert one["content"] == two["content"]


@pytest.mark.parametrize("shape", SHAPES)
@given(data=st.data())
@MANY
def test_free_text_is_in_no_operational_record(shape: str, data: st.DataObject) -> None:
    """Where all free text has characters of its own, an operational record has none of them, escaped or not."""
    fate = accepted(fate_of(to_json(data.draw(EVENTS[shape](FOREIGN))), BARE[shape]))
    written = outputs(fate)["operational"]
    assert written.isascii()
    assert b"\\" not in written


@pytest.mark.parametrize(("shape", "name"), [(shape, name) for shape in SHAPES for name in PLANTS[shape]])
def test_a_planted_value_is_only_where_its_treatment_says(shape: str, name: str) -> None:
    """What a leaf holds goes to the sinks that its annotation names, or nowhere."""
    written = outputs(fate_of(to_json(planted_event(shape)), BARE[shape]))
    plant = PLANTS[shape][name]
    assert plant.sinks == {sink for sink, data in written.items() if plant.needle in data.decode()}


@pytest.mark.parametrize("shape", SHAPES)
def test_every_leaf_is_planted_as_its_treatment_says(shape: str) -> None:
    """No leaf is left out, and only content goes to the content record alone."""
    rules = BARE[shape].policy.shape.rules
    assert set(rules) == set(PLANTS[shape])
    for name, plant in PLANTS[shape].items():
        if plant.sinks == {"content"} or rules[name].treatment is Treatment.CONTENT:
            assert (rules[name].treatment, set(plant.sinks)) == (Treatment.CONTENT, {"content"})
        if rules[name].treatment is not Treatment.OPERATIONAL:
            assert "operational" not in plant.sinks


@pytest.mark.parametrize("shape", SHAPES)
def test_undeclared_fields_are_nowhere(shape: str) -> None:
    """Neither the name nor the value of an undeclared field leaves, wherever it stands; each is counted."""
    event = planted_event(shape)
    plain = accepted(fate_of(to_json(event), BARE[shape]))
    owners = [
        event,
        *(event[name] for name in ("account", "client", "usage", "error") if isinstance(event.get(name), dict)),
    ]
    for owner in owners:
        owner["zqstrangename"] = {"zqstrangekey": ["zqstrangevalue"]}
        owner["zqstrange@example.org"] = None
    fate = accepted(fate_of(to_json(event), BARE[shape]))
    assert outputs(fate) == outputs(plain)
    assert fate.facts.unknown_fields == 2 * len(owners)


@pytest.mark.parametrize(
    ("shape", "pointer", "bad"), [(shape, *case) for shape in SHAPES for case in corruptions(shape)]
)
def test_a_rejection_holds_nothing_of_the_event(shape: str, pointer: str, bad: Any) -> None:
    """Whichever leaf is bad, the rejection points at it and holds no value, not even the request id."""
    fate = fate_of(to_json(with_value(planted_event(shape), pointer, bad)), BARE[shape])
    assert isinstance(fate, Rejection)
    assert fate.pointer == pointer
    written = outputs(fate)["rejected"].decode()
    assert [name for name, plant in PLANTS[shape].items() if plant.needle in written] == []
    assert "zq" not in written + repr(fate)


@pytest.mark.parametrize(
    ("admission", "expected"),
    [
        (Admission(RECEIVED_AT_MS, RECEIVED_AT_MS, RECEIVED_AT_MS), "stored"),
        (Admission(RECEIVED_AT_MS - 1), Reason.IN_FUTURE),
        (Admission(RECEIVED_AT_MS, content_from_ms=RECEIVED_AT_MS + 1), "expired"),
        (Admission(RECEIVED_AT_MS, content_from_ms=RECEIVED_AT_MS + 1, operational_from_ms=RECEIVED_AT_MS), "expired"),
        (Admission(RECEIVED_AT_MS, operational_from_ms=RECEIVED_AT_MS + 1), Reason.EXPIRED),
        (Admission(RECEIVED_AT_MS, RECEIVED_AT_MS + 1, RECEIVED_AT_MS + 1), Reason.EXPIRED),
        (Admission(RECEIVED_AT_MS - 1, RECEIVED_AT_MS + 1, RECEIVED_AT_MS + 1), Reason.IN_FUTURE),
    ],
)
def test_admission_decides_to_the_millisecond(admission: Admission, expected: str) -> None:
    """What is too old for content keeps its operational record unchanged; too old for both, or too new, is rejected."""
    raw = to_json(base_event())
    fate = fate_of(raw, BARE["v1"], admission)
    assert_sound(fate, BARE["v1"])
    if isinstance(fate, Rejection):
        assert (fate.reason, fate.pointer) == (expected, "/received_at")
        return
    assert fate.facts.content_outcome == expected
    assert (fate.content is None) == (expected == "expired")
    assert outputs(fate)["operational"] == outputs(fate_of(raw, BARE["v1"]))["operational"]


def test_a_body_that_grew_over_the_limit_is_redacted_whole() -> None:
    """Where escaping makes a body larger than an event may be, its bodies are redacted, and the rest is untouched."""
    core = make_core(load_policy(limits=Limits(event_bytes_max=8192)), NoDetector(), KEYS)
    event = base_event() | {"request": {"prompt": "<A_1>" * 1400}, "error": {"message": "secret", "type": "api_error"}}
    fate = accepted(fate_of(to_json(event), core))
    assert_sound(fate, core)
    assert fate.content is not None
    assert json.loads(fate.content.body.data) == {"request": "<REDACTED>", "response": "<REDACTED>"}
    assert fate.facts.content_outcome == "oversize"
    roomy = accepted(fate_of(to_json(event), BARE["v1"]))
    differing = {name for name, value in roomy.operational.fields.items() if fate.operational.fields[name] != value}
    assert differing == {"policy_digest"}  # limits are part of it


def test_a_detector_that_fails_on_a_text_has_it_redacted_whole(policy: Policy) -> None:
    """Where a detector answers None, the text is replaced whole and counted; every other text stays."""
    core = make_core(policy, Faulty(), KEYS)
    event = base_event() | {"request": {"a": "trouble here", "b": "fine"}, "error": {"message": "trouble"}}
    fate = accepted(fate_of(to_json(event), core))
    assert fate.content is not None
    body = json.loads(fate.content.body.data)
    assert (body["request"], body["error"]) == ({"a": "<REDACTED>", "b": "fine"}, {"message": "<REDACTED>"})
    assert fate.facts.redactions == {"REDACTED": 2}


@pytest.mark.parametrize("detector", [Faulty(LookupError("trouble")), Short()])
def test_a_detector_that_breaks_its_promise_has_seen_nothing(policy: Policy, detector: Detector) -> None:
    """Where a detector raises, or answers for fewer texts than it was given, all texts of that event are redacted."""
    core = make_core(policy, detector, KEYS)
    event = base_event() | {"request": {"content": ["trouble", "fine"]}, "response": None}
    fate = accepted(fate_of(to_json(event), core))
    assert fate.content is not None
    assert json.loads(fate.content.body.data) == {"request": {"content": ["<REDACTED>", "<REDACTED>"]}}
    assert "trouble" not in repr(fate)
    fine = accepted(fate_of(to_json(base_event() | {"request": {"content": "fine"}, "response": None}), core))
    assert fine.content is not None
    assert (b'"fine"' in fine.content.body.data) == isinstance(detector, Faulty)  # the next event has its own chance
