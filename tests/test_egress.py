"""The last look: a record with a string that could be free text does not leave, whatever happened upstream."""

from typing import Any

import pytest
from conftest import OPEN_DOOR, base_event
from hypothesis import given
from hypothesis import strategies as st

from pipeline.anonymize import Core, process
from pipeline.codec import encode
from pipeline.egress import check_record, is_oversize
from pipeline.errors import InvalidEvent, Reason
from pipeline.policy.load import Policy, load_policy
from pipeline.policy.model import FieldType, RecordSchema
from pipeline.records import Anonymized, Source
from pipeline.rejects import make_rejection

SHIPPED = load_policy()
STRINGS = [
    (schema.name, field.name)
    for schema in (SHIPPED.operational, SHIPPED.content, SHIPPED.rejection)
    for field in schema.fields
    if field.type in (FieldType.STRING, FieldType.TIMESTAMP)
]
FREE_TEXTS = [
    "Vera Lindqvist",
    "vera@example.com",
    "ft:llama:acme:vera",
    "",
    " ",
    "e1:vera",
    "2026-11-23T10:00:00.123Z\n",
]


def good_records(core: Core) -> dict[str, dict[str, Any]]:
    """Return one sound record of each kind."""
    raw = encode(base_event())
    fate = process(raw, Source("requests.raw", 0, 1, len(raw)), core, OPEN_DOOR)
    assert isinstance(fate, Anonymized)
    assert fate.content is not None
    rejection = make_rejection(Source("requests.raw", 0, 1, 9), Reason.NOT_JSON, "", core.policy)
    return {
        "operational": dict(fate.operational.fields),
        "content": {**fate.content.fields, "body": {"request": {}}},
        "rejection": dict(rejection.fields),
    }


def schema_of(policy: Policy, name: str) -> RecordSchema:
    """Return a record schema by name."""
    found: RecordSchema = getattr(policy, name)
    return found


def refuses(fields: dict[str, Any], schema: RecordSchema) -> bool:
    """Tell whether egress refuses a record, for the one reason it has."""
    try:
        check_record(fields, schema)
    except InvalidEvent as error:
        return error.reason is Reason.EGRESS and error.pointer == ""
    return False


def test_sound_records_leave(bare_core: Core) -> None:
    """What the core makes passes, or the tests below would prove nothing."""
    records = good_records(bare_core)
    assert [name for name in records if refuses(records[name], schema_of(bare_core.policy, name))] == []


@pytest.mark.parametrize(("record", "field"), STRINGS)
@pytest.mark.parametrize("text", FREE_TEXTS)
def test_free_text_does_not_leave(bare_core: Core, record: str, field: str, text: str) -> None:
    """No string field of any record takes free text; a pointer to the whole event is the one empty string."""
    fields = {**good_records(bare_core)[record], field: text}
    allowed = field == "pointer" and text == ""
    assert refuses(fields, schema_of(bare_core.policy, record)) is not allowed


@given(text=st.text(min_size=1, max_size=40))
def test_no_text_at_all_is_operational_by_chance(bare_core: Core, text: str) -> None:
    """A random text is refused in every open-looking operational field."""
    record = good_records(bare_core)["operational"]
    for field in ("node", "region", "error_code", "account", "client_network", "policy_digest"):
        if text != record[field] and text not in bare_core.policy.catalogues["nodes"].mapping and text != "other":
            assert refuses({**record, field: text}, bare_core.policy.operational) or is_in_catalogue(bare_core, text)


def is_in_catalogue(core: Core, text: str) -> bool:
    """Tell whether a text is a value of some catalogue."""
    return any(text in catalogue.mapping.values() for catalogue in core.policy.catalogues.values())


@pytest.mark.parametrize("record", ["operational", "content", "rejection"])
def test_a_missing_or_additional_field_does_not_leave(bare_core: Core, record: str) -> None:
    """A record has exactly the fields of its schema."""
    fields, schema = good_records(bare_core)[record], schema_of(bare_core.policy, record)
    assert refuses({**fields, "email": None}, schema)
    assert all(refuses({k: v for k, v in fields.items() if k != name}, schema) for name in fields)


def test_content_has_no_room_for_an_account(bare_core: Core) -> None:
    """No field of the content schema is the account's, the key's or the client's (policy §5)."""
    names = {field.name for field in bare_core.policy.content.fields}
    assert names & {"account", "api_key", "client_ip", "client_network", "user_agent"} == set()


def test_counts_take_declared_names_only(bare_core: Core) -> None:
    """What is counted as removed is named by a closed list, so a name cannot be smuggled as a count."""
    content = good_records(bare_core)["content"]
    assert not refuses({**content, "redactions": {"EMAIL_ADDRESS": 2}}, bare_core.policy.content)
    assert refuses({**content, "redactions": {"vera@example.com": 1}}, bare_core.policy.content)


def test_an_undeclared_pointer_is_hidden(bare_core: Core) -> None:
    """A rejection points to declared places only."""
    source = Source("requests.raw", 3, 7, 10)
    assert make_rejection(source, Reason.WRONG_TYPE, "/vera@example.com", bare_core.policy).pointer == "/*"
    assert make_rejection(source, Reason.WRONG_TYPE, "/account/id", bare_core.policy).pointer == "/account/id"


def test_a_source_that_is_no_topic_does_not_leave(bare_core: Core) -> None:
    """A path could name a person, so a rejection names a topic or a digest."""
    with pytest.raises(InvalidEvent):
        make_rejection(Source("/home/vera/events.jsonl", 0, 1, 1), Reason.EMPTY, "", bare_core.policy)


def test_size_is_inclusive() -> None:
    """A body of exactly the limit still fits."""
    assert [is_oversize(b"x" * n, 10) for n in (9, 10, 11)] == [False, False, True]
