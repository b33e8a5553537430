"""The policy's own rules (design §3): the shipped policies hold, and each rule has an example that breaks it."""

import copy
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
import pytest

from pipeline.errors import PolicyError, Reason
from pipeline.plan import referring_fields
from pipeline.policy.files import PolicyFiles, default_schemas_dir, read_policy_files
from pipeline.policy.lint import lint
from pipeline.policy.load import Limits, compile_policy, load_policy

SHAPES = [None, "spend_log/v1/event.schema.json"]
Break = Callable[[dict[str, Any]], object]


def files_with(**changes: Break) -> PolicyFiles:
    """Return the shipped policy's files with one document changed."""
    files = read_policy_files(default_schemas_dir())
    documents: dict[str, Any] = {
        "event": files.event, "records": files.records, "sinks": files.sinks, "stores": files.stores,
        "catalogues": files.catalogues,
    }  # fmt: skip
    documents = copy.deepcopy(documents)
    for name, change in changes.items():
        change(documents[name])
    return PolicyFiles(
        main=files.main, entities=files.entities, common_words=files.common_words, body=files.body, meta=files.meta,
        paths=files.paths, digest="", allow=files.allow, names=files.names, rules=files.rules,
            recognizers=files.recognizers, ner=files.ner, **documents,
    )  # fmt: skip


def reroute(event: dict[str, Any], name: str, role: str, treatment: str, how: str, record: str = "operational") -> None:
    """Add a leaf that goes to the field ``note`` of a record, with a role ("" for none) and a treatment."""
    target = {"record": record, "field": "note"} | ({"as": how} if how else {})
    note = {"treatment": treatment, "to": [target], "why": "A leaf for this test.", "clause": "§5"}
    note |= {"role": role, "entity": "ACCOUNT_ID"} if role else {}
    event["properties"][name] = {"type": "string", "x-privacy": note | {"format": "uuid"}}


def with_note(records: dict[str, Any], record: str, form: str, *, nullable: bool = False) -> None:
    """Declare the field ``note`` in a record."""
    node = {"type": ["string", "null"] if nullable else "string", "x-format": form, "x-why": "A field for this test."}
    records[record]["properties"]["note"] = node
    records[record]["required"].append("note")


def prop(event: dict[str, Any], name: str) -> dict[str, Any]:
    """Return a top-level property of the event schema."""
    found: dict[str, Any] = event["properties"][name]
    return found


def operational_field(records: dict[str, Any], name: str) -> dict[str, Any]:
    """Return a field of the operational record."""
    return prop(records["operational"], name)


BROKEN: list[tuple[str, str, dict[str, Break]]] = [
    ("1", "leaf_without_annotation", {"event": lambda e: prop(e, "node").pop("x-privacy")}),
    ("1", "leaf_without_why", {"event": lambda e: prop(e, "node")["x-privacy"].pop("why")}),
    ("1", "leaf_without_clause", {"event": lambda e: prop(e, "node")["x-privacy"].pop("clause")}),
    ("1", "unknown_word_in_annotation", {"event": lambda e: prop(e, "node")["x-privacy"].update(colour="red")}),
    ("1", "treatment_without_destination", {"event": lambda e: prop(e, "status")["x-privacy"].pop("to")}),
    ("1", "drop_with_destination", {"event": lambda e: prop(e, "account")["properties"]["email"]["x-privacy"].update(
        to=[{"record": "operational", "field": "node"}])}),
    ("1", "destination_that_no_record_declares", {"event": lambda e: prop(e, "node")["x-privacy"].update(
        to=[{"record": "operational", "field": "hostname"}])}),
    ("1", "field_filled_twice", {"event": lambda e: prop(e, "node")["x-privacy"].update(
        to=[{"record": "operational", "field": "region"}])}),
    ("1", "two_request_ids", {"event": lambda e: prop(e, "node")["x-privacy"].update(role="request_id")}),
    ("1", "request_id_not_required", {"event": lambda e: e["required"].remove("request_id")}),
    ("1", "leaf_and_object", {"event": lambda e: prop(e, "node")["x-privacy"].update({"from": "/client"})}),
    ("1", "types_differ", {"event": lambda e: prop(e, "status").update(type="boolean")}),
    ("1", "record_that_allows_other_fields", {"records": lambda r: r["operational"].pop("additionalProperties")}),
    ("1", "record_that_is_missing", {"records": lambda r: r.pop("control")}),
    ("1", "account_that_cannot_be_unlinked", {"records": lambda r: operational_field(r, "account").update(
        type="string")}),
    ("1", "address_that_cannot_be_unlinked", {"records": lambda r: (
        operational_field(r, "client_ip").pop("x-null-after-days"),
        operational_field(r, "client_ip").update(type="string"))}),
    ("1", "pseudonym_without_a_role_that_cannot_be_unlinked", {
        "event": lambda e: reroute(e, "end_user", "", "pseudonymize", ""),
        "records": lambda r: with_note(r, "operational", "pseudonym")}),
    ("1", "own_identifier_that_cannot_be_unlinked", {
        "event": lambda e: reroute(e, "team", "own_identifier", "operational", ""),
        "records": lambda r: with_note(r, "operational", "uuid")}),
    ("1", "short_lived_field_that_cannot_be_null", {"records": lambda r: operational_field(r, "status").update(
        {"x-null-after-days": 30})}),
    ("1", "catalogue_without_other", {"catalogues": lambda c: c["models"].pop("other")}),
    ("2", "free_text_operational", {"event": lambda e: prop(e, "node")["x-privacy"].pop("catalogue")}),
    ("2", "bounded_pattern_operational", {"event": lambda e: prop(e, "node").update(pattern="^[a-z0-9:.-]{1,64}$")}),
    ("2", "enum_without_other", {"event": lambda e: (prop(e, "node")["x-privacy"].pop("catalogue"),
                                                     prop(e, "node").update(enum=["gpu-01"]))}),
    ("2", "object_operational", {"event": lambda e: prop(e, "stream").update(type=["object", "null"])}),
    ("2", "catalogue_that_is_not_there", {"event": lambda e: prop(e, "node")["x-privacy"].update(catalogue="hosts")}),
    ("2", "record_string_without_format", {"records": lambda r: prop(r["operational"], "node").pop("x-catalogue")}),
    ("2", "record_string_with_a_pattern", {"records": lambda r: prop(r["operational"], "node").update(pattern="^.*$")}),
    ("2", "free_text_in_clear_part_of_content", {"records": lambda r: r["content"]["properties"].update(
        note={"type": "string", "x-why": "a note of somebody"})}),
    ("2", "operators_name_outside_the_audit_log", {"records": lambda r: operational_field(r, "account").update(
        {"x-format": "actor"})}),
    ("3", "address_in_content", {
        "event": lambda e: reroute(e, "proxy", "", "coarsen", "network", "content"),
        "records": lambda r: with_note(r, "content", "network", nullable=True)}),
    ("3", "account_in_content", {
        "event": lambda e: reroute(e, "owner", "own_identifier", "operational", "", "content"),
        "records": lambda r: with_note(r, "content", "uuid", nullable=True)}),
    ("3", "shared_field_that_is_no_link", {"records": lambda r: r["operational"]["x-record"]["links"].pop("model")}),
    ("3", "second_link_slipped_in", {"records": lambda r: r["content"]["properties"].update(
        node=r["operational"]["properties"]["node"])}),
    ("4", "sink_missing", {"sinks": lambda s: s.pop("audit")}),
    ("4", "sink_without_retention", {"sinks": lambda s: s["rejected"].pop("retention_ms")}),
    ("4", "content_over_30_days", {"sinks": lambda s: s["content"].update(retention_ms=30 * 86_400_000 + 1)}),
    ("4", "raw_not_the_shortest", {"sinks": lambda s: s["applied"].update(retention_ms=3_600_000)}),
    ("4", "control_not_the_longest", {"sinks": lambda s: s["control"].update(retention_ms=86_400_000 * 30)}),
    ("4", "aggregates_not_declared", {"stores": lambda s: s.pop("aggregates")}),
    ("4", "aggregates_without_a_clause", {"stores": lambda s: s["aggregates"].pop("clause")}),
    ("4", "aggregates_of_content", {"stores": lambda s: s["aggregates"].update(made_from="content")}),
    ("4", "aggregates_that_outlive_their_records", {"sinks": lambda s: s["operational"].update(
        retention_ms=86_400_000 * 30)}),
    ("4", "compacted_sink", {"sinks": lambda s: s["control"].update(cleanup_policy="compact")}),
    ("5", "unknown_treatment", {"event": lambda e: prop(e, "node")["x-privacy"].update(treatment="keep")}),
]  # fmt: skip


@pytest.mark.parametrize("event", SHAPES)
def test_shipped_policies_hold(event: str | None) -> None:
    """Both shipped event shapes pass their own lint."""
    assert lint(read_policy_files(default_schemas_dir(), event)) == []


@pytest.mark.parametrize(("rule", "changes"), [b[::2] for b in BROKEN], ids=[b[1] for b in BROKEN])
def test_a_broken_rule_is_found(rule: str, changes: dict[str, Break]) -> None:
    """Each way to break a rule is found, under that rule's number."""
    assert rule in {finding.rule for finding in lint(files_with(**changes))}


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        (
            {
                "event": lambda e: reroute(e, "end_user", "", "pseudonymize", ""),
                "records": lambda r: with_note(r, "operational", "pseudonym", nullable=True),
            },
            [],
        ),
        (
            {"records": lambda r: prop(r["operational"], "account").update(type="string")},
            ["/account/id: refers to the account, so the field 'account' must allow null [rule 1]"],
        ),
        (
            {
                "event": lambda e: reroute(e, "proxy", "", "coarsen", "network", "content"),
                "records": lambda r: with_note(r, "content", "network", nullable=True),
            },
            ["/proxy: refers to the account and goes into the content record [rule 3]"],
        ),
        (
            {"records": lambda r: r.pop("control")},
            ["/records/control: is missing: every record has its schema [rule 1]"],
        ),
        (
            {"records": lambda r: prop(r["control"], "action").pop("enum")},
            ["/action: could hold free text: give it x-format, x-catalogue or enum [rule 2]"],
        ),
    ],
)
def test_a_finding_is_that_and_nothing_else(changes: dict[str, Break], expected: list[str]) -> None:
    """What refers to an account is found wherever its record cannot drop it, and only there; an enum is closed."""
    found = [str(finding).partition(".json")[2] for finding in lint(files_with(**changes))]
    assert found == expected


def test_every_rule_has_a_broken_example() -> None:
    """All five rules of design §3 have an example above."""
    assert {b[0] for b in BROKEN} == {"1", "2", "3", "4", "5"}


@pytest.mark.parametrize(
    ("to", "form"),
    [
        (("", "pseudonymize", ""), "pseudonym"),
        (("", "coarsen", "network"), "network"),
        (("own_identifier", "operational", ""), "uuid"),
    ],
)
def test_whatever_refers_to_the_account_is_unlinked(to: tuple[str, str, str], form: str) -> None:
    """Roles say what refers to it, and so does a pseudonym or a network of a leaf without a role."""
    shipped = {"account", "api_key", "client_network", "client_ip"}
    for event in SHAPES:
        assert set(referring_fields(load_policy(event=event).shape)) == shipped
    files = files_with(
        event=lambda e: reroute(e, "added", *to), records=lambda r: with_note(r, "operational", form, nullable=True)
    )
    assert lint(files) == []
    assert set(referring_fields(compile_policy(files, Limits()).shape)) == shipped | {"note"}


def test_a_policy_that_breaks_a_rule_does_not_load(tmp_path: Path) -> None:
    """Loading refuses, and the error names file, field and rule."""
    folder = tmp_path / "schemas"
    shutil.copytree(default_schemas_dir(), folder)
    path = folder / "request_event/v1/event.schema.json"
    schema = orjson.loads(path.read_bytes())
    schema["properties"]["node"]["x-privacy"]["treatment"] = "keep"
    path.write_bytes(orjson.dumps(schema))
    with pytest.raises(PolicyError, match=r"event\.schema\.json/node/x-privacy/treatment.*rule 5"):
        load_policy(folder)


@pytest.mark.parametrize("text", [b"{", b"[]", None])
def test_an_unreadable_file_is_named(tmp_path: Path, text: bytes | None) -> None:
    """A file that is missing, no JSON or no object is named in the error."""
    folder = tmp_path / "schemas"
    shutil.copytree(default_schemas_dir(), folder)
    path = folder / "detection/body.json"
    path.unlink() if text is None else path.write_bytes(text)
    with pytest.raises(PolicyError, match=r"detection/body\.json"):
        load_policy(folder)


def test_reasons_catalogue_is_the_code_s() -> None:
    """The catalogue of rejection reasons and the code's closed list are the same."""
    catalogue = read_policy_files(default_schemas_dir()).catalogues["reasons"]
    assert set(catalogue["values"]) == {str(reason) for reason in Reason}


def test_redactions_catalogue_is_the_entity_table_s() -> None:
    """What the content record may count is the entity types and the kinds of leaf that are replaced whole."""
    files = read_policy_files(default_schemas_dir())
    kinds = {"CALL", "MEDIA", "OPAQUE", "REDACTED", "TOKENS", "VECTOR"}
    assert set(files.catalogues["redactions"]["values"]) == set(files.entities["entities"]) | kinds


def test_digest_follows_files_and_limits(tmp_path: Path) -> None:
    """Equal files and limits give an equal digest; a changed catalogue or limit another."""
    folder = tmp_path / "schemas"
    shutil.copytree(default_schemas_dir(), folder)
    before = load_policy(folder)
    assert before.digest == load_policy().digest
    assert before.digest != load_policy(folder, limits=Limits(depth_max=32)).digest
    path = folder / "catalogues/nodes.json"
    path.write_bytes(path.read_bytes().replace(b"gpu-63", b"gpu-99"))
    assert before.digest != load_policy(folder).digest
