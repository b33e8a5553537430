"""Placeholders, escapes of look-alikes, and the table of entity types they come from."""

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.detect.entities import EntityTable
from pipeline.detect.spans import Span
from pipeline.errors import PolicyError
from pipeline.policy.load import Policy
from pipeline.redact import Placeholders, escape, redact, unescape

FORM = re.compile(r"<(?:[A-Z]+(?:_[A-Z]+)*_\d+|REDACTED|OPAQUE|(?:TOKENS|VECTOR) \d+|MEDIA(?: [^<>]*)?)>")
BRICKS = ["<", ">", "\\", "EMAIL_1", "NATIONAL_ID_12", "REDACTED", "OPAQUE", "TOKENS 8", "VECTOR 3", "MEDIA",
          "MEDIA image/png 48000 bytes", " ", "_1", "EMAIL", "x", "\n", "é"]  # fmt: skip
TEXTS = st.lists(st.sampled_from(BRICKS), max_size=14).map("".join)


@pytest.fixture(scope="module")
def table(policy: Policy) -> EntityTable:
    """Return the shipped table."""
    return EntityTable.from_json(policy.entities)


def entity(**changes: Any) -> dict[str, Any]:
    """Return a valid entity with changes."""
    return {"placeholder": "EMAIL", "enabled": True, "score_min": 0.5, "why": "a reason", **changes}


def test_values_are_numbered_in_order_of_first_appearance(table: EntityTable) -> None:
    """The first mailbox is EMAIL_1, the second EMAIL_2, and each type counts for itself."""
    placeholders = Placeholders(table)
    labels = [
        placeholders.label("EMAIL_ADDRESS", "b@example.com"),
        placeholders.label("IP_ADDRESS", "203.0.113.7"),
        placeholders.label("EMAIL_ADDRESS", "a@example.com"),
    ]
    assert labels == ["<EMAIL_1>", "<IP_1>", "<EMAIL_2>"]


def test_types_with_one_label_share_their_numbers() -> None:
    """Two types under one label never give one placeholder to two values."""
    data = {"why": "x", "entities": {"A": entity(), "B": entity()}}
    placeholders = Placeholders(EntityTable.from_json(data))
    assert [placeholders.label("A", "one"), placeholders.label("B", "two")] == ["<EMAIL_1>", "<EMAIL_2>"]


@pytest.mark.parametrize(
    ("entity_type", "first", "second"),
    [
        ("EMAIL_ADDRESS", "nadia.rossi@example.com", "Nadia.Rossi@EXAMPLE.com"),
        ("EMAIL_ADDRESS", "nadia.rossi@example.com", "nadia.rossi%40example.com"),
        ("EMAIL_ADDRESS", "nadia.rossi@example.com", "\\u006eadia.rossi&#64;example.com"),
        ("EMAIL_ADDRESS", "nadia.rossi@example.com", "\uff4e\uff41\uff44\uff49\uff41.rossi@exa\u200bmple.com"),
        ("PHONE_NUMBER", "+1 212-555-0123", "+1 (212) 555 0123"),
        ("CREDIT_CARD", "4111 1111 1111 1111", "4111-1111-1111-1111"),
        ("IBAN_CODE", "DE89 3704 0044 0532 0130 00", "de89370400440532013000"),
        ("PERSON", "Nadia Rossi", "NADIA_ROSSI"),
        ("PERSON", "Zoë Ünal", "Zoe Unal"),
    ],
)
def test_spellings_of_one_value_share_a_placeholder(
    table: EntityTable, entity_type: str, first: str, second: str
) -> None:
    """Case, encoding and separators do not make another value."""
    placeholders = Placeholders(table)
    assert placeholders.label(entity_type, first) == placeholders.label(entity_type, second)


@pytest.mark.parametrize(
    ("entity_type", "first", "second"),
    [
        ("EMAIL_ADDRESS", "a.b@example.com", "ab@example.com"),
        ("PHONE_NUMBER", "+1 212-555-0123", "+1 212-555-0124"),
        ("PERSON", "Nadia Rossi", "Nadia Russo"),
        ("IP_ADDRESS", "203.0.113.7", "203.0.113.70"),
    ],
)
def test_other_values_have_other_placeholders(table: EntityTable, entity_type: str, first: str, second: str) -> None:
    """Two people are never made one."""
    placeholders = Placeholders(table)
    assert placeholders.label(entity_type, first) != placeholders.label(entity_type, second)


def test_counts_are_by_entity_type(table: EntityTable) -> None:
    """Every replacement counts, repeats too; a type that is not on the list is redacted without a number."""
    placeholders = Placeholders(table)
    placeholders.label("EMAIL_ADDRESS", "a@example.com")
    placeholders.label("EMAIL_ADDRESS", "a@example.com")
    assert placeholders.label("SHOE_SIZE", "43") == "<REDACTED>"
    assert placeholders.counts == {"EMAIL_ADDRESS": 2, "REDACTED": 1}


def test_the_repr_holds_no_value(table: EntityTable) -> None:
    """A log line with the object in it leaks nothing."""
    placeholders = Placeholders(table)
    placeholders.label("EMAIL_ADDRESS", "a@example.com")
    assert repr(placeholders) == "Placeholders(1 replaced)"


def test_redact_replaces_spans_and_escapes_the_rest(table: EntityTable) -> None:
    """What stands between the spans stays as it was, but for look-alikes."""
    text = "see <EMAIL_1>: a@example.com, b@example.com & <b>"
    spans = [Span(15, 28, "EMAIL_ADDRESS", 1.0, "r"), Span(30, 43, "EMAIL_ADDRESS", 1.0, "r")]
    assert redact(text, spans, Placeholders(table)) == "see <\\EMAIL_1>: <EMAIL_1>, <EMAIL_2> & <b>"


def test_a_text_without_anything_to_replace_is_returned_itself(table: EntityTable) -> None:
    """The very same object comes back, so that a caller sees that nothing changed."""
    for text in ("plain", "a < b", "<div class=x>", "List<String>", "<email_1>", "<EMAIL_>", "< EMAIL_1>"):
        assert escape(text) is text
        assert redact(text, [], Placeholders(table)) is text


@pytest.mark.parametrize(
    ("text", "escaped"),
    [
        ("<EMAIL_1>", "<\\EMAIL_1>"),
        ("<\\EMAIL_1>", "<\\\\EMAIL_1>"),
        ("<CALL_2>", "<\\CALL_2>"),
        ("<REDACTED><OPAQUE>", "<\\REDACTED><\\OPAQUE>"),
        ("<TOKENS 812> <VECTOR 1536>", "<\\TOKENS 812> <\\VECTOR 1536>"),
        ("<MEDIA image/png 48000 bytes>", "<\\MEDIA image/png 48000 bytes>"),
        ("<<EMAIL_1>>", "<<\\EMAIL_1>>"),
    ],
)
def test_look_alikes_are_escaped(text: str, escaped: str) -> None:
    """Each form of placeholder is marked as literal."""
    assert escaped == escape(text)


@given(TEXTS)
def test_escape_is_undone_and_leaves_no_placeholder(text: str) -> None:
    """The reader gets the original back, and cannot take a literal for a placeholder."""
    assert text == unescape(escape(text))
    assert not FORM.search(escape(text))


@given(TEXTS)
def test_escape_changes_only_texts_with_look_alikes(text: str) -> None:
    """A text without a form, escaped or not, is left alone."""
    if not re.search(r"<\\*" + FORM.pattern[1:], text):
        assert text == escape(text)


@given(st.lists(TEXTS, min_size=2, max_size=4))
def test_no_placeholder_arises_where_segments_join(segments: list[str]) -> None:
    """However a literal is split around spans, the only placeholders are ours."""
    value = "a@example.com"
    text = value.join(segments)
    spans, position = [], 0
    for segment in segments[:-1]:
        position += len(segment)
        spans.append(Span(position, position + len(value), "EMAIL_ADDRESS", 1.0, "r"))
        position += len(value)
    table = EntityTable.from_json({"entities": {"EMAIL_ADDRESS": entity()}})
    redacted = redact(text, spans, Placeholders(table))
    assert ["<EMAIL_1>"] * len(spans) == FORM.findall(redacted)
    assert "<EMAIL_1>".join(segments) == unescape(redacted)


@pytest.mark.parametrize(
    ("data", "where"),
    [
        ([], "must be an object"),
        ({"entity": {}}, "entity: unknown field"),
        ({"entities": {"A": entity(placeholder="e-mail")}}, "entities/A/placeholder"),
        ({"entities": {"A": entity(placeholder="OPAQUE")}}, "entities/A/placeholder"),
        ({"entities": {"A": entity(score_min=2)}}, "entities/A/score_min"),
        ({"entities": {"A": entity(score_min=True)}}, "entities/A/score_min"),
        ({"entities": {"A": entity(enabled="yes")}}, "entities/A/enabled"),
        ({"entities": {"A": entity(why="")}}, "entities/A/why"),
        ({"entities": {"A": entity(same_value="soundex")}}, "entities/A/same_value"),
        ({"entities": {"A": entity(colour="red")}}, "entities/A/colour"),
        ({"recognizers": {"R": {"entity": "A", "why": "x"}}}, "R/entity is not declared"),
        ({"entities": {"A": entity()}, "recognizers": {"R": {"entity": "A"}}}, "recognizers/R/why"),
        ({"entities": {"A": entity()}, "recognizers": {"R": {"entity": "A", "why": "x", "gate": "("}}}, "R/gate"),
        (
            {"entities": {"A": entity()}, "recognizers": {"R": {"entity": "A", "why": "x", "context": "maybe"}}},
            "R/context",
        ),
        (
            {"entities": {"A": entity()}, "patterns": {"p": {"entity": "A", "why": "x", "regex": "a", "score": 1}}},
            "patterns/p/examples",
        ),
    ],
)
def test_a_bad_table_is_refused_by_name(data: Any, where: str) -> None:
    """The error says which field of the file is wrong."""
    with pytest.raises(PolicyError, match=re.escape(where)):
        EntityTable.from_json(data)


def test_every_entity_and_recognizer_has_its_reason(table: EntityTable) -> None:
    """The shipped list says why each type is on it, and each recognizer's type is one of them."""
    assert all(entity.why for entity in table.entities.values())
    assert all(rule.why for rule in table.recognizers)
    assert {"PERSON", "ORGANIZATION", "ACCOUNT_ID", "SECRET", "USERNAME"} <= set(table.entities)
