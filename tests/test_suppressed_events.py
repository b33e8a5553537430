"""Restricted and erased events in the core: what is no longer made of them, and what stays as it was, to the byte."""

from dataclasses import replace
from typing import Any

import pytest
from conftest import KEYS, OPEN_DOOR, RECEIVED_AT_MS, NoDetector, base_event
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from strategies import (
    PLANTS,
    SPEND_LOG,
    accepted,
    assert_sound,
    fate_of,
    outputs,
    planted_event,
    spend_log_events,
    to_json,
    v1_events,
    with_value,
)

from pipeline.anonymize import Admission, Core, make_core
from pipeline.codec import decode, replace_surrogates
from pipeline.keys.keyring import KeyEpoch, Keyring
from pipeline.policy.load import load_policy
from pipeline.records import Anonymized, Rejection
from pipeline.suppress import Action, ControlRecord, Subject, Suppressions

CORES = {
    "v1": make_core(load_policy(), NoDetector(), KEYS),
    "spend_log": make_core(load_policy(event=SPEND_LOG), NoDetector(), KEYS),
}
EVENTS = {"v1": v1_events, "spend_log": spend_log_events}
PLANTED_MS = RECEIVED_AT_MS - 112_469
"""When the planted events of both shapes came in: 09:58:07.654."""
REFERRING = {"account", "api_key", "client_network", "client_ip"}
SHORT_LIVED = {"client_network", "client_ip"}
CASES = pytest.mark.parametrize(
    ("shape", "subject"), [(shape, subject) for shape in CORES for subject in Subject], ids=str
)
MANY = settings(
    max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)


def entry(
    action: Action,
    pseudonym: str,
    until_ms: int | None = None,
    *,
    subject: Subject = Subject.ACCOUNT,
    unlink: bool = True,
) -> ControlRecord:
    """Return an entry about a subject."""
    entry_id = "0192f0c1-a2b3-4c4d-8e5f-00000000000" + str(list(Action).index(action))
    return ControlRecord(entry_id, action, subject, pseudonym, RECEIVED_AT_MS, until_ms, unlink)


def under(*entries: ControlRecord, **bounds: int) -> Admission:
    """Return an admission with these entries in force."""
    suppressions = Suppressions()
    for each in entries:
        suppressions.apply(each)
    return replace(OPEN_DOOR, suppressions=suppressions, **bounds)


def named_in(event: dict[str, Any], shape: str, subject: Subject) -> str:
    """Return what an event calls a subject; a request as its records do."""
    if subject is Subject.REQUEST:
        return f"{event['request_id']}" if shape == "v1" else f"req_{event['call_uuid']}"
    places = {
        ("v1", Subject.ACCOUNT): lambda: event["account"]["id"],
        ("v1", Subject.API_KEY): lambda: event["api_key_id"],
        ("spend_log", Subject.ACCOUNT): lambda: event["team_id"],
        ("spend_log", Subject.API_KEY): lambda: event["api_key_alias"],
    }
    return str(replace_surrogates(places[shape, subject]()))


def pseudonym_in(event: dict[str, Any], shape: str, subject: Subject, keys: Keyring = KEYS) -> str:
    """Return the pseudonym by which an entry names a subject of an event."""
    return keys.suppression(subject, named_in(event, shape, subject))


def plain_fate(shape: str, event: dict[str, Any]) -> Anonymized:
    """Return the fate of an event while nobody is suppressed."""
    return accepted(fate_of(to_json(event), CORES[shape]))


def without(fields: Any, names: set[str]) -> dict[str, Any]:
    """Return a record's fields with some of them null."""
    return {name: None if name in names else value for name, value in fields.items()}


@pytest.mark.parametrize("shape", CORES)
def test_the_examples_fill_what_is_taken_away(shape: str) -> None:
    """Every field that refers to the account has a value in the planted events, so that its end can be seen."""
    fate = plain_fate(shape, planted_event(shape))
    assert fate.facts.received_at_ms == PLANTED_MS
    assert {name for name in REFERRING if fate.operational.fields[name] is None} == set()
    assert set(CORES[shape].plan.unlinked) == REFERRING
    assert set(CORES[shape].plan.short_lived) == SHORT_LIVED


# Restricted


@CASES
def test_of_a_restricted_subject_no_content_is_made(shape: str, subject: Subject) -> None:
    """There is no content, the outcome says why, and the operational record is the same to the byte."""
    event = planted_event(shape)
    admission = under(entry(Action.RESTRICT, pseudonym_in(event, shape, subject), subject=subject))
    fate = accepted(fate_of(to_json(event), CORES[shape], admission))
    assert (fate.content, fate.facts.content_outcome, fate.facts.redactions) == (None, "restricted", {})
    assert outputs(fate) == {"operational": outputs(plain_fate(shape, event))["operational"]}
    assert_sound(fate, CORES[shape])


@CASES
def test_after_the_lift_all_is_as_before(shape: str, subject: Subject) -> None:
    """A restriction leaves no trace in what comes after its end."""
    event = planted_event(shape)
    pseudonym = pseudonym_in(event, shape, subject)
    admission = under(entry(Action.RESTRICT, pseudonym), entry(Action.LIFT, pseudonym))
    fate = accepted(fate_of(to_json(event), CORES[shape], admission))
    assert (outputs(fate), fate.facts) == (outputs(plain_fate(shape, event)), plain_fate(shape, event).facts)


def test_a_restriction_is_named_before_age() -> None:
    """Of a restricted event that is too old as well, the outcome is the restriction."""
    event = base_event()
    admission = under(
        entry(Action.RESTRICT, pseudonym_in(event, "v1", Subject.ACCOUNT)), content_from_ms=RECEIVED_AT_MS + 1
    )
    assert accepted(fate_of(to_json(event), CORES["v1"], admission)).facts.content_outcome == "restricted"


# Erased


@CASES
@pytest.mark.parametrize("later_ms", [0, 1, 86_400_000])
def test_an_erased_subject_is_taken_out(shape: str, subject: Subject, later_ms: int) -> None:
    """Up to the erasure's end there is no content, and nothing in the operational record refers to the account."""
    event = planted_event(shape)
    pseudonym = pseudonym_in(event, shape, subject)
    fate = accepted(fate_of(to_json(event), CORES[shape], under(entry(Action.ERASE, pseudonym, PLANTED_MS + later_ms))))
    assert (fate.content, fate.facts.content_outcome) == (None, "erased")
    before = plain_fate(shape, event).operational.fields
    assert list(fate.operational.fields.items()) == list(without(before, REFERRING).items())
    assert_sound(fate, CORES[shape])


@CASES
def test_a_later_event_of_an_erased_subject_is_untouched(shape: str, subject: Subject) -> None:
    """A millisecond after the erasure's end content and operational record are the same to the byte."""
    event = planted_event(shape)
    admission = under(entry(Action.ERASE, pseudonym_in(event, shape, subject), PLANTED_MS - 1))
    fate = accepted(fate_of(to_json(event), CORES[shape], admission))
    assert outputs(fate) == outputs(plain_fate(shape, event))
    assert fate.facts == plain_fate(shape, event).facts


@CASES
def test_a_legal_hold_keeps_the_operational_record(shape: str, subject: Subject) -> None:
    """An erasure that keeps takes the content only."""
    event = planted_event(shape)
    admission = under(entry(Action.ERASE, pseudonym_in(event, shape, subject), PLANTED_MS, unlink=False))
    fate = accepted(fate_of(to_json(event), CORES[shape], admission))
    assert fate.facts.content_outcome == "erased"
    assert outputs(fate) == {"operational": outputs(plain_fate(shape, event))["operational"]}


@pytest.mark.parametrize("shape", CORES)
@given(data=st.data())
@MANY
def test_whatever_the_event_an_erasure_takes_that_and_no_more(shape: str, data: st.DataObject) -> None:
    """Property: any account, keys and figures; other accounts' events keep every byte of both records."""
    # As it is read: two lone surrogates may have been a pair, which is another text than they are in Python.
    event = decode(to_json(data.draw(EVENTS[shape]())), size_max=1 << 24, depth_max=64).event
    plain = plain_fate(shape, event)
    subject = data.draw(st.sampled_from([Subject.ACCOUNT, Subject.REQUEST]))
    at_ms = plain.facts.received_at_ms
    pseudonym = pseudonym_in(event, shape, subject)
    erased = accepted(fate_of(to_json(event), CORES[shape], under(entry(Action.ERASE, pseudonym, at_ms))))
    assert erased.content is None
    assert erased.operational.fields == without(plain.operational.fields, REFERRING)
    assert_sound(erased, CORES[shape])
    others = under(
        entry(Action.ERASE, KEYS.suppression(Subject.ACCOUNT, "acct_of_nobody"), at_ms),
        entry(Action.RESTRICT, KEYS.suppression(Subject.API_KEY, named_in(event, shape, Subject.ACCOUNT) + "x")),
    )
    assert outputs(fate_of(to_json(event), CORES[shape], others)) == outputs(plain)


@pytest.mark.parametrize("shape", CORES)
def test_one_text_as_another_subject_is_somebody_else(shape: str) -> None:
    """An account whose id reads like an API key's is not erased with that key."""
    event = planted_event(shape)
    account = named_in(event, shape, Subject.ACCOUNT)
    for subject in (Subject.API_KEY, Subject.REQUEST):
        admission = under(entry(Action.ERASE, KEYS.suppression(subject, account), PLANTED_MS, subject=subject))
        assert outputs(fate_of(to_json(event), CORES[shape], admission)) == outputs(plain_fate(shape, event))


def test_a_request_is_named_as_its_records_name_it() -> None:
    """The id that an operator sees is the one to erase: with its prefix, and letter by letter."""
    uuid = "0192F0C1-A2B3-7C4D-8E5F-6071829CA9A7"
    events = {
        "v1": base_event() | {"request_id": f"req_{uuid}"},
        "spend_log": with_value(planted_event("spend_log"), "/call_uuid", uuid),
    }
    for shape, event in events.items():
        written = plain_fate(shape, event).operational.request_id
        assert written == f"req_{uuid}"
        outcomes = {}
        for name in (written, uuid, written.lower()):
            pseudonym = KEYS.suppression(Subject.REQUEST, name)
            fate = accepted(
                fate_of(to_json(event), CORES[shape], under(entry(Action.ERASE, pseudonym, RECEIVED_AT_MS)))
            )
            outcomes[name] = fate.facts.content_outcome
        assert outcomes == {written: "erased", uuid: "stored", written.lower(): "stored"}


@pytest.mark.parametrize("key", [None, "absent", ""])
def test_an_event_without_a_key_is_judged_by_the_rest(key: str | None) -> None:
    """Without an API key nobody's key matches, and its account's erasure still holds."""
    event = base_event()
    del event["api_key_id"]
    if key != "absent":
        event["api_key_id"] = key
    account = pseudonym_in(event, "v1", Subject.ACCOUNT)
    keys = entry(Action.RESTRICT, KEYS.suppression(Subject.API_KEY, "key_91c2aa04e7d35b66"))
    assert accepted(fate_of(to_json(event), CORES["v1"], under(keys))).facts.content_outcome == "stored"
    erased = fate_of(to_json(event), CORES["v1"], under(keys, entry(Action.ERASE, account, RECEIVED_AT_MS)))
    assert accepted(erased).operational.fields["account"] is None


@CASES
def test_a_canary_of_an_erased_event_is_in_no_output(shape: str, subject: Subject) -> None:
    """Of every leaf, only what is operational by its treatment stays: no content, no pseudonym, nothing in a repr."""
    event = planted_event(shape)
    pseudonym = pseudonym_in(event, shape, subject)
    admission = under(entry(Action.ERASE, pseudonym, PLANTED_MS))
    fate = accepted(fate_of(to_json(event), CORES[shape], admission))
    written = outputs(fate)
    assert set(written) == {"operational"}
    text = written["operational"].decode()
    found = {name for name, plant in PLANTS[shape].items() if plant.needle in text}
    assert found == {name for name, plant in PLANTS[shape].items() if "operational" in plant.sinks}
    fields = plain_fate(shape, event).operational.fields
    digests = [str(fields[name]) for name in REFERRING] + [pseudonym, pseudonym.removeprefix("s1:")]
    shown = f"{text}{fate!r}{fate.operational!r}{admission!r}{admission.suppressions!r}{fate.facts!r}"
    assert [digest for digest in digests if digest in shown] == []
    assert "zq" not in shown


def test_a_bad_event_of_an_erased_account_is_a_rejection_like_any_other() -> None:
    """A rejection names nobody, so an erasure changes nothing about it."""
    event = with_value(base_event(), "/status", "zqbadvalue")
    admission = under(entry(Action.ERASE, pseudonym_in(event, "v1", Subject.ACCOUNT), RECEIVED_AT_MS))
    fate = fate_of(to_json(event), CORES["v1"], admission)
    assert isinstance(fate, Rejection)
    assert outputs(fate) == outputs(fate_of(to_json(event), CORES["v1"]))


# Keys


def test_rotation_does_not_end_an_erasure() -> None:
    """With a new epoch in force and other day keys, the entry from before still finds the account's events."""
    event = base_event()
    entries = entry(Action.ERASE, pseudonym_in(event, "v1", Subject.ACCOUNT), RECEIVED_AT_MS)
    rotated = Keyring(
        (*KEYS.epochs, KeyEpoch("e2", RECEIVED_AT_MS - 1, b"2" * 32)),
        {"2026-11-24": b"n" * 32},
        KEYS.suppression_key,
    )
    core = make_core(load_policy(), NoDetector(), rotated)
    fates = [accepted(fate_of(to_json(event), each, under(entries))) for each in (CORES["v1"], core)]
    assert [(fate.facts.key_epoch, fate.facts.content_outcome) for fate in fates] == [
        ("e1", "erased"),
        ("e2", "erased"),
    ]
    assert pseudonym_in(event, "v1", Subject.ACCOUNT, rotated) == pseudonym_in(event, "v1", Subject.ACCOUNT)


def test_facts_name_the_epoch_and_the_time(bare_core: Core) -> None:
    """Both are those of the event itself, whatever is made of it; a worker watches epochs by them."""
    core = make_core(load_policy(), NoDetector(), Keyring((KeyEpoch("e7", 0, b"7" * 32),), {}, b"s" * 32))
    for each, epoch in ((bare_core, "e1"), (core, "e7")):
        facts = accepted(fate_of(to_json(base_event()), each)).facts
        assert (facts.received_at_ms, facts.key_epoch) == (RECEIVED_AT_MS, epoch)


def test_nobody_suppressed_costs_no_pseudonym(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without entries in force, or when all are lifted, no event is hashed for them."""

    def fail(*_: object) -> str:
        raise AssertionError

    event = planted_event("v1")
    pseudonym = pseudonym_in(event, "v1", Subject.ACCOUNT)
    lifted = under(entry(Action.RESTRICT, pseudonym), entry(Action.LIFT, pseudonym))
    monkeypatch.setattr(Keyring, "suppression", fail)
    for admission in (OPEN_DOOR, under(), lifted):
        assert accepted(fate_of(to_json(event), CORES["v1"], admission)).facts.content_outcome == "stored"
    with pytest.raises(AssertionError):
        fate_of(to_json(event), CORES["v1"], under(entry(Action.RESTRICT, pseudonym)))


# Fields that end before their record


@pytest.mark.parametrize("shape", CORES)
def test_short_lived_fields_end_at_their_millisecond(shape: str) -> None:
    """Of a request before the limit they are null, and at the limit both records are the same to the byte."""
    event = planted_event(shape)
    plain = plain_fate(shape, event)
    old, young = (
        accepted(fate_of(to_json(event), CORES[shape], replace(OPEN_DOOR, short_lived_from_ms=PLANTED_MS + later_ms)))
        for later_ms in (1, 0)
    )
    assert outputs(young) == outputs(plain)
    assert list(old.operational.fields.items()) == list(without(plain.operational.fields, SHORT_LIVED).items())
    assert outputs(old)["content"] == outputs(plain)["content"]
    assert_sound(old, CORES[shape])


def test_short_lived_fields_and_an_erasure_go_together() -> None:
    """An old event of an account on hold keeps its account and loses its address; an unlinked one loses both."""
    event = base_event()
    pseudonym = pseudonym_in(event, "v1", Subject.ACCOUNT)
    plain = plain_fate("v1", event).operational.fields
    for unlink, gone in ((False, SHORT_LIVED), (True, REFERRING)):
        admission = under(
            entry(Action.ERASE, pseudonym, RECEIVED_AT_MS, unlink=unlink), short_lived_from_ms=RECEIVED_AT_MS + 1
        )
        fate = accepted(fate_of(to_json(event), CORES["v1"], admission))
        assert fate.operational.fields == without(plain, gone)
