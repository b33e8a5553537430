"""The last look: a record that does not hold to its own schema does not leave, whatever made it."""

import json
import re
import traceback
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
from conftest import KEYS, NoDetector, base_event
from hypothesis import given
from hypothesis import strategies as st
from strategies import PLANTS, accepted, fate_of, outputs, planted_event, to_json

from pipeline.anonymize import Core, make_core
from pipeline.egress import check_record, is_oversize
from pipeline.errors import InvalidEvent, Reason
from pipeline.plan import Copy
from pipeline.policy.load import load_policy
from pipeline.policy.model import FieldType, RecordSchema
from pipeline.records import Rejection, Source
from pipeline.rejects import make_rejection

SPEND_LOG = "spend_log/v1/event.schema.json"
CORES = {
    "v1": make_core(load_policy(), NoDetector(), KEYS),
    "spend_log": make_core(load_policy(event=SPEND_LOG), NoDetector(), KEYS),
}
SOURCE = Source("requests.raw", 0, 7, 100)


def _records() -> dict[str, tuple[RecordSchema, dict[str, Any]]]:
    """Return a valid record of every schema, each field filled, as it leaves."""
    policy = CORES["v1"].policy
    rejection = make_rejection(SOURCE, Reason.WRONG_TYPE, "/model", policy).fields
    full = base_event() | {"error": {"type": "api_error", "code": "model_not_found", "message": "no"}}
    written = outputs(fate_of(to_json(full), CORES["v1"]))
    spent = planted_event("spend_log") | {"call_type": "chat", "requester_ip": "203.0.113.7"}
    return {
        "content": (policy.content, json.loads(written["content"])),
        "operational": (policy.operational, json.loads(written["operational"])),
        "rejection": (policy.rejection, dict(rejection)),
        "spend_log": (
            CORES["spend_log"].policy.operational,
            json.loads(outputs(fate_of(to_json(spent), CORES["spend_log"]))["operational"]),
        ),
    }


RECORDS = _records()
STRINGS = [
    (record, field.name)
    for record, (schema, _) in RECORDS.items()
    for field in schema.fields
    if field.type in {FieldType.STRING, FieldType.TIMESTAMP}
]
FIGURES = [
    (record, field.name)
    for record, (schema, _) in RECORDS.items()
    for field in schema.fields
    if field.type in {FieldType.INTEGER, FieldType.NUMBER, FieldType.BOOLEAN}
]
FIELDS = [(record, field.name) for record, (schema, _) in RECORDS.items() for field in schema.fields]
UNFILLED = {
    "spend_log": ["stream", "time_to_first_token_ms", "total_tokens", "error_type", "error_code", "region", "node"],
    "rejection": ["last_offset"],
}
"""What a spend log does not know, and what only a range of offsets has."""
FREE_TEXTS = (
    *("", " ", "x", "zq" * 40, "Marit Solberg", "marit.solberg@mail.example.com", "acct_5f0c77de21b94a08"),
    *(
        "ft:llama:acme:alice",
        "203.0.113.7",
        "2001:db8:7:1::77",
        "Other",
        "漢字",
        "e1:vera",
        "req_marit.solberg@mail.example.com",
    ),
)


def refused(record: Mapping[str, Any], schema: RecordSchema) -> bool:
    """Tell whether a record is refused."""
    try:
        check_record(dict(record), schema)
    except InvalidEvent:
        return True
    return False


@pytest.mark.parametrize("name", RECORDS)
def test_a_record_that_holds_leaves(name: str) -> None:
    """The records that the other cases break are good ones, with every field filled that their event knows."""
    schema, record = RECORDS[name]
    assert not refused(record, schema)
    assert list(record) == [field.name for field in schema.fields]
    assert [field for field, value in record.items() if value is None] == UNFILLED.get(name, [])


@pytest.mark.parametrize(("name", "field"), STRINGS)
def test_free_text_does_not_leave(name: str, field: str) -> None:
    """No string field of any record takes free text, nor a good value with something before or after it."""
    schema, record = RECORDS[name]
    good = record[field]
    texts = [
        *FREE_TEXTS,
        f"{good}\n",
        f"\n{good}",
        f" {good}",
        f"{good} alice",
        f"{good}\0",
        f"{good}é",
    ]
    assert [text for text in texts if not refused({**record, field: text}, schema)] == ALLOWED.get(field, [])


@given(text=st.text(max_size=40) | st.text("abcdefghijklmnopqrstuvwxyz0123456789-./:", max_size=40))
def test_no_text_is_operational_by_chance(text: str) -> None:
    """Whatever the text, no operational string takes it that is not of a catalogue."""
    schema, record = RECORDS["operational"]
    known = {value for each in CORES["v1"].policy.catalogues.values() for value in (*each.mapping.values(), each.other)}
    taken = [field for name, field in STRINGS if name == "operational" and not refused({**record, field: text}, schema)]
    assert taken == [] or text in known or re.fullmatch("[0-9a-f]{8,128}", text)


def test_a_content_record_has_no_field_of_the_account() -> None:
    """Neither the account's fields, nor its key's, nor its client's, are in the content schema (policy §5)."""
    shared = {field.name for field in RECORDS["content"][0].fields} & set(RECORDS["operational"][1])
    assert shared == set(RECORDS["content"][0].links)
    assert {name for name in shared if re.search("account|key|client|agent", name)} == set()


def test_a_refusal_says_nothing_of_the_record() -> None:
    """The error has a reason and points at the whole; neither it nor one before it holds the value."""
    schema, record = RECORDS["operational"]
    name = base_event()["account"]["name"]
    with pytest.raises(InvalidEvent) as caught:
        check_record({**record, "node": name}, schema)
    fault = caught.value
    assert (fault.reason, fault.pointer, fault.__context__, fault.__cause__) == (Reason.EGRESS, "", None, None)
    assert name not in "".join(traceback.format_exception(fault)) + repr(vars(fault))


ALLOWED = {
    "pointer": [""],
    "topic": ["x", "zq" * 40, "acct_5f0c77de21b94a08", "203.0.113.7", "Other"],
}
"""What is of a strict format all the same: names of topics, and the pointer to a whole event."""


@pytest.mark.parametrize(("name", "field"), FIGURES)
def test_a_figure_is_no_text(name: str, field: str) -> None:
    """A field of numbers or booleans takes no string, list or object, and no number outside its range."""
    schema, record = RECORDS[name]
    for bad in ("Marit Solberg", str(record[field]), [record[field]], {"Marit Solberg": 1}, -1, 10**30, -(10**30)):
        assert refused({**record, field: bad}, schema) == (not _is_unbounded(field, bad))


def _is_unbounded(field: str, value: object) -> bool:
    """Tell whether a figure has no upper bound: places in a topic, and versions."""
    unbounded = {"partition", "offset", "last_offset", "size_bytes", "schema_version", "policy_version"}
    return value == 10**30 and field in unbounded


@pytest.mark.parametrize(("name", "field"), FIELDS)
def test_a_record_has_exactly_its_fields(name: str, field: str) -> None:
    """A record without one of its fields, or with one more, does not leave."""
    schema, record = RECORDS[name]
    assert refused({key: value for key, value in record.items() if key != field}, schema)
    assert refused({**record, f"{field}_": record[field]}, schema)
    assert refused({**record, "marit.solberg@mail.example.com": 1}, schema)


@pytest.mark.parametrize(
    "change",
    [
        {"redactions": {"Marit Solberg": 1}},
        {"redactions": {"EMAIL_ADDRESS": 0}},
        {"redactions": {"EMAIL_ADDRESS": "Marit Solberg"}},
        {"redactions": ["EMAIL_ADDRESS"]},
        {"body": {"account": {}}},
        {"body": {"request": []}},
        {"body": {"error": {"type": "Marit Solberg"}}},
        {"body": {"error": "Marit Solberg"}},
        {"body": "Marit Solberg"},
        {"account": RECORDS["operational"][1]["account"]},
    ],
)
def test_a_content_record_has_counts_and_a_body_and_no_account(change: dict[str, Any]) -> None:
    """Counts have names of the closed list, a body has its three parts, and there is no place for an account."""
    schema, record = RECORDS["content"]
    assert not refused({**record, "redactions": {"EMAIL_ADDRESS": 1}}, schema)
    assert refused({**record, **change}, schema)


@pytest.mark.parametrize("leaf", ["account.email", "account.name", "client.ip", "error.trace", "request"])
@pytest.mark.parametrize(
    "field", ["node", "region", "client_network", "account", "error_type", "api_key", "latency_ms"]
)
def test_a_fault_upstream_lets_nothing_out(leaf: str, field: str) -> None:
    """Where the core itself would copy a raw leaf into an operational field, the event is rejected, without a value."""
    core = _with_fault(CORES["v1"], Copy(leaf, field))
    fate = fate_of(to_json(planted_event("v1")), core)
    assert isinstance(fate, Rejection)
    assert (fate.reason, fate.pointer) == (Reason.EGRESS, "")
    written = outputs(fate)["rejected"].decode()
    assert [name for name, plant in PLANTS["v1"].items() if plant.needle in written] == []


def _with_fault(core: Core, copy: Copy) -> Core:
    plan = core.plan.operational
    steps = tuple(step for step in plan.steps if step.field != copy.field)  # or it would be set right again
    return replace(core, plan=replace(core.plan, operational=replace(plan, copies=(*plan.copies, copy), steps=steps)))


@pytest.mark.parametrize("shape", CORES)
def test_a_rejection_names_what_the_schema_declares(shape: str) -> None:
    """Every declared pointer, and that of every object in between, is shown as it is."""
    policy = CORES[shape].policy
    for pointer in policy.shape.pointers:
        assert make_rejection(SOURCE, Reason.WRONG_TYPE, pointer, policy).fields["pointer"] == pointer


@pytest.mark.parametrize(
    "pointer",
    [
        *(
            "/marit.solberg@mail.example.com",
            "/account/phone",
            "/account/id/Marit Solberg",
            "account",
            "/Account",
            "//",
        ),
        *("/request/messages/0", "/*/*", "/account/", "/labels/[owner_email]", "/~0"),
    ],
)
def test_an_undeclared_pointer_is_a_star(pointer: str) -> None:
    """A pointer that the schema does not declare can hold an identifier: none of it is shown."""
    rejection = make_rejection(SOURCE, Reason.TOO_DEEP, pointer, CORES["v1"].policy)
    assert (rejection.pointer, rejection.fields["pointer"]) == ("/*", "/*")
    assert pointer == "/*/*" or pointer not in repr(rejection).replace("/*", "")


@pytest.mark.parametrize(
    "topic",
    ["", "logs/marit.solberg.jsonl", "marit@example.org", "file:/home/marit", "file:0123456789ABCDEF", "x" * 250],
)
def test_a_source_that_is_no_topic_is_refused(topic: str) -> None:
    """A path or address in place of a topic's name makes no rejection at all."""
    with pytest.raises(InvalidEvent) as caught:
        make_rejection(Source(topic, 0, 1, 1), Reason.EMPTY, "", CORES["v1"].policy)
    assert caught.value.reason is Reason.EGRESS
    assert topic == "" or topic not in str(caught.value)


def test_what_is_as_large_as_a_sink_takes_is_not_oversize() -> None:
    """The limit itself passes, one byte more does not."""
    assert not is_oversize(10, 10)
    assert is_oversize(11, 10)


def test_good_events_are_not_refused() -> None:
    """The same look lets an ordinary event and one full of free text pass: over-rejection is a defect too."""
    for event in (base_event(), planted_event("v1")):
        accepted(fate_of(to_json(event), CORES["v1"]))
