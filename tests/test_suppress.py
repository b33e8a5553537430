"""Suppressions: what an entry of the control topic is, what is none, and what several of them come to."""

import json
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import json_values, to_json

from pipeline.coarsen import TIME_MS_MAX, TIME_MS_MIN, format_timestamp
from pipeline.policy.load import load_policy
from pipeline.suppress import (
    CLEAR,
    Action,
    ControlFault,
    ControlRecord,
    Subject,
    Suppressions,
    Verdict,
    decode_entry,
    encode_entry,
)

SCHEMA = load_policy().control
UNTIL_MS = 1_795_428_000_123
CANARY = "zqcanary@example.org"
ALICE, BORIS = "s1:" + "a" * 64, "s1:" + "b" * 64
TEXTS = {
    *(
        f"is no entry of the control topic ({reason})"
        for reason in ("empty", "too_large", "not_utf8", "not_json", "too_deep", "number_out_of_range")
    ),
    "is no entry of the control topic (not_an_object)",
    "is no entry of the control topic (repeated keys)",
    "is not of schema version 1: this lethe may be older than what wrote it",
    "does not hold to schemas/record/v1/control.schema.json",
    "must have received_until when it is an erasure, and only then",
    "has a time that is none",
}
"""Everything that a fault may say."""


def entry(
    action: Action,
    pseudonym: str = ALICE,
    until_ms: int | None = None,
    *,
    unlink: bool = True,
    number: int = 1,
    subject: Subject = Subject.ACCOUNT,
) -> ControlRecord:
    """Return an entry; its id is made of a number."""
    entry_id = f"0192f0c1-a2b3-4c4d-8e5f-{number:012x}"
    return ControlRecord(entry_id, action, subject, pseudonym, UNTIL_MS, until_ms, unlink)


def erase(until_ms: int = UNTIL_MS, *, unlink: bool = True) -> ControlRecord:
    """Return an erasure of Alice."""
    return entry(Action.ERASE, ALICE, until_ms, unlink=unlink)


def applied(*entries: ControlRecord) -> Suppressions:
    """Return what entries come to, in their order."""
    suppressions = Suppressions()
    for each in entries:
        suppressions.apply(each)
    return suppressions


TIMES = st.integers(TIME_MS_MIN, TIME_MS_MAX)
PSEUDONYMS = st.text("0123456789abcdef", min_size=64, max_size=64).map("s1:{}".format)


@st.composite
def entries(draw: st.DrawFn) -> ControlRecord:
    """Draw any entry that can be."""
    action = draw(st.sampled_from(Action))
    until_ms = draw(TIMES) if action is Action.ERASE else None
    entry_id = str(draw(st.uuids()))
    named = draw(st.sampled_from(Subject)), draw(PSEUDONYMS)
    return ControlRecord(entry_id, action, *named, draw(TIMES), until_ms, draw(st.booleans()))


MANY = settings(deadline=None)


# What an entry is


@given(entries())
@MANY
def test_an_entry_is_read_as_it_was_written(written: ControlRecord) -> None:
    """Every field comes back, the enums as enums, and the bytes are the same when it is written again."""
    raw = encode_entry(written, SCHEMA)
    read = decode_entry(raw, SCHEMA)
    assert read == written
    assert (type(read.action), type(read.subject)) == (Action, Subject)
    assert encode_entry(read, SCHEMA) == raw


def test_an_entry_is_the_documented_json() -> None:
    """The fields of the schema in its order; other systems write entries too."""
    assert json.loads(encode_entry(erase(unlink=False), SCHEMA)) == {
        "entry_id": "0192f0c1-a2b3-4c4d-8e5f-000000000001",
        "action": "erase",
        "subject": "account",
        "pseudonym": ALICE,
        "issued_at": "2026-11-23T10:00:00.123Z",
        "received_until": "2026-11-23T10:00:00.123Z",
        "operational": "keep",
        "schema_version": 1,
    }
    assert list(json.loads(encode_entry(erase(), SCHEMA))) == [field.name for field in SCHEMA.fields]


def test_an_entry_can_be_spelled_otherwise() -> None:
    """Spaces, another order and escapes change nothing: entries may be written by hand."""
    fields = json.loads(encode_entry(erase(), SCHEMA))
    raw = json.dumps(dict(reversed(fields.items())), indent=2).replace("account", "\\u0061ccount").encode()
    assert decode_entry(raw, SCHEMA) == erase()


def test_no_text_of_an_entry_shows_whose_it_is() -> None:
    """Neither an entry nor the whole shows a pseudonym: a log may have them."""
    shown = f"{erase()!r} {erase()} {[erase()]} {applied(erase())!r} {applied(erase())}"
    assert "aaaa" not in shown
    assert repr(erase()) == "ControlRecord(erase account, 0192f0c1-a2b3-4c4d-8e5f-000000000001)"
    lifted = entry(Action.RESTRICT, BORIS)
    assert repr(applied(erase(), lifted)) == "Suppressions(1 restrictions, 1 erasures)"


# What is none


def fault_of(raw: bytes) -> ControlFault:
    """Return the fault of bytes that are no entry; it says one of a few things and has nothing behind it."""
    with pytest.raises(ControlFault) as caught:
        decode_entry(raw, SCHEMA)
    fault = caught.value
    assert (fault.__context__, fault.__cause__, vars(fault)) == (None, None, {})
    assert fault.args[0] in TEXTS
    return fault


def spoiled(change: Callable[[dict[str, Any]], object], action: Action = Action.ERASE) -> bytes:
    """Return the bytes of an entry with a change to its fields."""
    fields = json.loads(encode_entry(entry(action, until_ms=UNTIL_MS if action is Action.ERASE else None), SCHEMA))
    change(fields)
    return to_json(fields)


BAD: dict[str, Sequence[Any]] = {
    "entry_id": (CANARY, "", "0192f0c1a2b34c4d8e5f000000000001", "0192f0c1-a2b3-4c4d-8e5f-000000000001\n"),
    "action": (CANARY, "", "ERASE", "erase\n", "purge"),
    "subject": (CANARY, "", "Account", "user"),
    "pseudonym": (CANARY, "", "a" * 64, ALICE + "\n", ALICE[:-1], *(f"{p}:{'a' * 64}" for p in ("e1", "s2", "S1", ""))),
    "issued_at": (CANARY, "2026-11-23", "2026-11-23T10:00:00Z", "2026-02-30T10:00:00.000Z", "2026-11-23T24:00:00.000Z"),
    "received_until": (CANARY, "2026-11-23T10:00:00+00:00", "2026-13-01T00:00:00.000Z", "0000-12-31T23:59:59.999Z"),
    "operational": (CANARY, "", "none"),
    "schema_version": (CANARY, 0, 2, 1.5, "1", True),
}  # fmt: skip
"""Values that each field must not have."""


@pytest.mark.parametrize(("name", "value"), [(name, value) for name, bad in BAD.items() for value in bad], ids=ascii)
def test_a_bad_field_makes_it_none(name: str, value: Any) -> None:
    """Whichever field is bad, nothing is read of the entry, and the fault holds nothing of it."""
    fault_of(spoiled(lambda fields: fields.update({name: value})))


@pytest.mark.parametrize("value", [None, 7, [], {}, [CANARY], {CANARY: CANARY}], ids=ascii)
@pytest.mark.parametrize("name", BAD)
def test_a_field_of_another_type_makes_it_none(name: str, value: Any) -> None:
    """JSON of another type than the field's is no entry."""
    fault_of(spoiled(lambda fields: fields.update({name: value})))


@pytest.mark.parametrize("name", BAD)
def test_an_entry_has_all_fields_and_no_other(name: str) -> None:
    """A missing field is not guessed, and an undeclared one may mean something that this lethe does not know."""
    fault_of(spoiled(lambda fields: fields.pop(name)))
    fault_of(spoiled(lambda fields: fields.update({CANARY: CANARY})))


def test_only_an_erasure_says_until_when() -> None:
    """Until when a restriction holds is not for its entry to say, and an erasure without an end would be for ever."""
    until = "2026-11-23T10:00:00.123Z"
    raws = [
        spoiled(lambda fields: fields.update(received_until=until), each) for each in (Action.RESTRICT, Action.LIFT)
    ]
    raws.append(spoiled(lambda fields: fields.update(received_until=None)))
    for raw in raws:
        assert str(fault_of(raw)) == "must have received_until when it is an erasure, and only then"


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (b"", "empty"),
        (b" \n", "empty"),
        (CANARY.encode(), "not_json"),
        (b'{"entry_id": "' + CANARY.encode(), "not_json"),
        (b'{"entry_id": "\xff' + CANARY.encode() + b'"}', "not_utf8"),
        (json.dumps([CANARY]).encode(), "not_an_object"),
        (json.dumps(CANARY).encode(), "not_an_object"),
        (b"null", "not_an_object"),
        (json.dumps({CANARY: "x" * 5000}).encode(), "too_large"),
        (b'{"a":' * 20 + b"1" + b"}" * 20, "too_deep"),
        (b'{"schema_version": 1e999}', "number_out_of_range"),
        (spoiled(lambda _: None).replace(b'{"entry_id"', b'{"action":"lift","entry_id"'), "repeated keys"),
    ],
)
def test_bytes_that_are_no_entry_are_refused(raw: bytes, reason: str) -> None:
    """Whoever reads them learns the kind of fault; of two values of one field neither is believed."""
    assert str(fault_of(raw)) == f"is no entry of the control topic ({reason})"


@given(st.binary(max_size=200) | json_values().map(to_json))
@MANY
def test_any_bytes_are_a_fault_of_few_words(raw: bytes) -> None:
    """Whatever the bytes, a fault says one of a few things: it cannot hold anything of them."""
    fault_of(raw)


@given(entries(), st.integers(0), st.integers(0, 255))
@MANY
def test_a_damaged_entry_is_none_or_another_whole_one(written: ControlRecord, at: int, byte: int) -> None:
    """One byte changed: what is still read holds to the schema, so that nothing half-read is honoured."""
    raw = bytearray(encode_entry(written, SCHEMA))
    raw[at % len(raw)] = byte
    try:
        read = decode_entry(bytes(raw), SCHEMA)
    except ControlFault as fault:
        text = str(fault)
    else:
        text = ""
        assert decode_entry(encode_entry(read, SCHEMA), SCHEMA) == read
    assert text in {"", *TEXTS}


@pytest.mark.parametrize(
    "written",
    [
        entry(Action.RESTRICT, CANARY),
        entry(Action.ERASE, CANARY, UNTIL_MS),
        entry(Action.ERASE),
        entry(Action.LIFT, until_ms=UNTIL_MS),
        erase()._replace(entry_id=CANARY),
    ],
)
def test_what_is_no_entry_is_not_written(written: ControlRecord) -> None:
    """An account's id in the place of its pseudonym does not reach the topic, nor an erasure without an end."""
    with pytest.raises(ControlFault) as caught:
        encode_entry(written, SCHEMA)
    assert str(caught.value) in TEXTS
    assert caught.value.__context__ is None


# What entries come to


def test_nobody_is_suppressed_at_first() -> None:
    """Without entries, and for others than those that entries name, nothing is withheld."""
    assert not Suppressions()
    assert Suppressions().judge([ALICE, BORIS], UNTIL_MS) == CLEAR == Verdict("", unlink=False)
    suppressions = applied(erase(), entry(Action.RESTRICT))
    assert all(map(applied, (erase(), entry(Action.RESTRICT))))
    assert suppressions.judge([BORIS], UNTIL_MS) == CLEAR
    assert suppressions.judge([], UNTIL_MS) == CLEAR


def test_a_restriction_holds_until_it_is_lifted() -> None:
    """It looks at no time, keeps the operational record, and the last of restrictions and lifts holds."""
    restrict, lift, again = (
        entry(action, number=n) for n, action in enumerate((Action.RESTRICT, Action.LIFT, Action.RESTRICT))
    )
    for entries_, outcome in (
        ((restrict,), "restricted"),
        ((restrict, lift), ""),
        ((lift, restrict), "restricted"),
        ((restrict, lift, again), "restricted"),
    ):
        for received_at_ms in (0, UNTIL_MS, TIME_MS_MAX):
            assert applied(*entries_).judge([ALICE], received_at_ms) == Verdict(outcome, unlink=False)
    assert not applied(restrict, lift)


def test_an_entry_that_is_written_twice_counts_once() -> None:
    """A producer that repeats a lift does not end the restriction that came after it, nor the other way round."""
    restrict, lift, again = (
        entry(action, number=n) for n, action in enumerate((Action.RESTRICT, Action.LIFT, Action.RESTRICT))
    )
    assert applied(restrict, lift, again, lift).judge([ALICE], 0).outcome == "restricted"
    assert applied(restrict, lift, restrict).judge([ALICE], 0) == CLEAR
    both = [restrict, restrict._replace(pseudonym=BORIS)]  # one id for an account and its key is no repetition
    assert [applied(*both).judge([each], 0).outcome for each in (ALICE, BORIS)] == ["restricted", "restricted"]


def test_an_erasure_ends_at_its_millisecond() -> None:
    """A request received at that time is erased, a millisecond later it is not."""
    suppressions = applied(erase())
    assert suppressions.judge([ALICE], UNTIL_MS) == Verdict("erased", unlink=True)
    assert suppressions.judge([ALICE], UNTIL_MS + 1) == CLEAR


def test_nothing_ends_an_erasure() -> None:
    """A lift before or after it leaves it, and under a restriction what is later is restricted still."""
    for others in ((entry(Action.LIFT),), (entry(Action.RESTRICT), entry(Action.LIFT, number=2))):
        for suppressions in (applied(erase(), *others), applied(*others, erase())):
            assert suppressions.judge([ALICE], UNTIL_MS).outcome == "erased"
            assert suppressions.judge([ALICE], UNTIL_MS + 1) == CLEAR
    both = applied(entry(Action.RESTRICT), erase())
    assert both.judge([ALICE], UNTIL_MS) == Verdict("erased", unlink=True)
    assert both.judge([ALICE], UNTIL_MS + 1) == Verdict("restricted", unlink=False)


@pytest.mark.parametrize("turned", [False, True])
def test_of_two_erasures_the_wider_holds(turned: bool) -> None:
    """Content is erased up to the later end, in whatever order they came."""
    both = [erase(UNTIL_MS - 5), erase(UNTIL_MS)]
    suppressions = applied(*(both[::-1] if turned else both))
    assert [suppressions.judge([ALICE], UNTIL_MS + at).outcome for at in (-6, -5, -4, 0, 1)] == ["erased"] * 4 + [""]


@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize(("kept_ms", "unlinked_ms"), [(0, -5), (-5, 0), (0, 0)])
def test_a_hold_keeps_what_no_unlinking_erasure_reaches(turned: bool, kept_ms: int, unlinked_ms: int) -> None:
    """Each erasure does what it says up to its own end: one that keeps is not widened by one that unlinks."""
    both = [erase(UNTIL_MS + kept_ms, unlink=False), erase(UNTIL_MS + unlinked_ms)]
    suppressions = applied(*(both[::-1] if turned else both))
    for at_ms in range(-7, 3):
        outcome = "erased" if at_ms <= max(kept_ms, unlinked_ms) else ""
        assert suppressions.judge([ALICE], UNTIL_MS + at_ms) == Verdict(outcome, unlink=at_ms <= unlinked_ms)


def test_of_several_subjects_the_most_is_taken_away() -> None:
    """An erasure of one wins over a restriction of another, and unlinks when one of them does."""
    held = entry(Action.ERASE, BORIS, UNTIL_MS, unlink=False)
    for pseudonyms in ([ALICE, BORIS], [BORIS, ALICE]):
        assert applied(entry(Action.RESTRICT), held).judge(pseudonyms, UNTIL_MS) == Verdict("erased", unlink=False)
        assert applied(erase(), held).judge(pseudonyms, UNTIL_MS) == Verdict("erased", unlink=True)
        restricted = applied(entry(Action.RESTRICT), held)
        assert restricted.judge(pseudonyms, UNTIL_MS + 1) == Verdict("restricted", unlink=False)


def test_an_erasure_without_an_end_is_not_passed_over() -> None:
    """Code that makes one by hand hears of it: to ignore it would keep what someone had erased."""
    with pytest.raises(ControlFault, match="must have received_until"):
        applied(entry(Action.ERASE))


FEW_ENTRIES = st.builds(
    lambda action, pseudonym, until_ms, unlink, number: entry(
        action, pseudonym, until_ms if action is Action.ERASE else None, unlink=unlink, number=number
    ),
    st.sampled_from(Action),
    st.sampled_from([ALICE, BORIS]),
    st.integers(0, 4),
    st.booleans(),
    st.integers(1, 4),
)


@given(st.lists(FEW_ENTRIES, max_size=12), st.sampled_from([[ALICE], [BORIS], [ALICE, BORIS], []]), st.integers(-1, 5))
@MANY
def test_entries_come_to_what_each_of_them_says(made: list[ControlRecord], asked: list[str], at_ms: int) -> None:
    """The verdict is that of all entries read one by one: the last toggle, every erasure that reaches the time."""
    named = [each for each in made if each.pseudonym in asked]
    reaching = [each for each in named if each.received_until_ms is not None and at_ms <= each.received_until_ms]
    toggles: dict[tuple[str, str, Action], ControlRecord] = {}
    for each in named:
        if each.action is not Action.ERASE:
            toggles.setdefault((each.entry_id, each.pseudonym, each.action), each)
    last = {each.pseudonym: each.action for each in toggles.values()}
    restricted = Action.RESTRICT in last.values()
    expected = Verdict(
        "erased" if reaching else "restricted" if restricted else "", unlink=any(each.unlink for each in reaching)
    )
    assert applied(*made).judge(asked, at_ms) == expected
    assert applied(*made, *(each for each in made if each.action is Action.ERASE)).judge(asked, at_ms) == expected


def test_times_are_read_to_the_millisecond() -> None:
    """An end that is written as text is the very millisecond again."""
    for until_ms in (TIME_MS_MIN, -1, 0, UNTIL_MS, TIME_MS_MAX):
        raw = encode_entry(erase(until_ms), SCHEMA)
        assert format_timestamp(until_ms).encode() in raw
        assert decode_entry(raw, SCHEMA).received_until_ms == until_ms


def test_who_judges_meanwhile_sees_all_of_an_erasure_or_nothing() -> None:
    """A worker with a model judges in another thread than the one that applies entries."""
    suppressions, seen = Suppressions(), set[Verdict]()

    class Watched(dict[str, int]):
        def __setitem__(self, key: str, value: int) -> None:
            super().__setitem__(key, value)
            seen.add(suppressions.judge([ALICE], UNTIL_MS))

    suppressions._erased, suppressions._unlinked = Watched(), Watched()
    suppressions.apply(erase())
    assert seen == {CLEAR, Verdict("erased", unlink=True)}
