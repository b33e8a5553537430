"""The policy's own rules (design §3), checked when it is written and again before anything runs."""

from collections import Counter
from collections.abc import Iterator, Mapping
from itertools import pairwise
from typing import Any

from pipeline.policy.files import PolicyFiles
from pipeline.policy.lint_sinks import lint_sinks
from pipeline.policy.lint_types import Finding, is_safe_string, kinds
from pipeline.policy.model import REFERRING_ROLES, REFERRING_WAYS, Treatment
from pipeline.policy.record import json_types
from pipeline.policy.shape import DEFAULT_AS, is_plain, required_leaves, split_pointer, walk_leaves
from pipeline.policy.validator import OPERATOR_FORMATS, Validator

__all__ = ["Finding", "lint"]

_REQUIRED_ROLES = ("request_id", "received_at", "account")
_RECORDS = ("content", "operational", "rejection", "control", "applied", "audit")


def lint(files: PolicyFiles) -> list[Finding]:
    """Check a policy and return what is wrong with it, in a stable order; empty means sound."""
    findings = [*_lint_presence(files), *_lint_catalogues(files), *_lint_annotations(files)]
    if not findings:  # the rest reads annotations, so they must be well formed first
        findings = [*_lint_leaves(files), *_lint_roles(files), *_lint_records(files), *_lint_links(files)]
        findings += lint_sinks(files)
    return findings


def _lint_presence(files: PolicyFiles) -> Iterator[Finding]:
    for name in _RECORDS:
        if name not in files.records:
            yield Finding("1", "policy.json", f"/records/{name}", "is missing: every record has its schema")
    version = files.main.get("version")
    back_to = files.main.get("back_to", version)
    if not isinstance(back_to, int) or not isinstance(version, int) or not 1 <= back_to <= version:
        yield Finding("1", "policy.json", "/back_to", "is a version from 1 to the policy's own")


def _lint_catalogues(files: PolicyFiles) -> Iterator[Finding]:
    meta = Validator(files.meta["catalogue"])
    for name, catalogue in files.catalogues.items():
        for path, keyword in meta.errors(catalogue):
            yield Finding("1", f"catalogues/{name}.json", "/" + "/".join(map(str, path)), f"breaks '{keyword}'")


def _lint_annotations(files: PolicyFiles) -> Iterator[Finding]:
    """Rules 1 and 5: every leaf has one well-formed annotation, of closed words."""
    meta = Validator(files.meta["privacy"])
    file = files.paths["event"]
    leaves = list(walk_leaves(files.event))
    if not leaves or "x-event" not in files.event:
        yield Finding("1", file, "/", "declares no leaves, or no x-event {name, version}")
    for path, leaf in leaves:
        place = "/" + "/".join(path)
        if not isinstance(leaf, Mapping) or "x-privacy" not in leaf:
            yield Finding("1", file, place, "has no x-privacy annotation: say its treatment and why")
            continue
        for inner, keyword in meta.errors(leaf["x-privacy"]):
            rule = "5" if inner[:1] == ["treatment"] and keyword == "enum" else "1"
            yield Finding(rule, file, f"{place}/x-privacy/{'/'.join(map(str, inner))}", f"breaks '{keyword}'")


def _lint_leaves(files: PolicyFiles) -> Iterator[Finding]:
    """Rule 2 for the event's side, and that every target and catalogue is there."""
    file = files.paths["event"]
    seen: Counter[tuple[str, str]] = Counter()
    for path, leaf in walk_leaves(files.event):
        note, place = leaf["x-privacy"], "/" + "/".join(path)
        if note.get("catalogue") and note["catalogue"] not in files.catalogues:
            yield Finding("2", file, place, f"names the catalogue '{note['catalogue']}', which is not there")
        if note["treatment"] == "operational" and not is_safe_string(leaf):
            yield Finding("2", file, place, "is free text and operational: give it a catalogue, or a strict format")
        if "pattern" in leaf and note["treatment"] == "operational":
            yield Finding("2", file, place, "has a pattern of its own: a bounded pattern still lets free text through")
        for target in note.get("to", ()):
            seen[target["record"], target["field"]] += 1
            yield from _lint_target(files, place, leaf, target)
    for (record, name), times in seen.items():
        if times > 1:
            yield Finding("1", file, "/", f"fills the field '{name}' of {record} {times} times")


def _lint_target(files: PolicyFiles, place: str, leaf: Any, target: Mapping[str, str]) -> Iterator[Finding]:
    file = files.paths["event"]
    properties = files.records[target["record"]]["properties"]
    if leaf["x-privacy"]["treatment"] == "content":
        if not _is_in_body(_body_properties(files), target["field"].split(".")):
            yield Finding("1", file, place, f"goes to '{target['field']}', which the body does not declare")
    elif target["field"] not in properties:
        yield Finding("1", file, place, f"goes to '{target['field']}', which {target['record']} does not declare")
    elif leaf["x-privacy"]["treatment"] == "operational":
        field = properties[target["field"]]
        if not kinds(leaf, leaf["x-privacy"]) <= kinds(field, {}):
            yield Finding("1", file, place, f"and the field '{target['field']}' have different types")


def _body_properties(files: PolicyFiles) -> Mapping[str, Any]:
    bodies = [n for n in files.records["content"]["properties"].values() if n.get("x-type") == "body"]
    return bodies[0]["properties"] if bodies else {}


def _is_in_body(properties: Mapping[str, Any], parts: list[str]) -> bool:
    """Tell whether the body has this place; an object that declares no members takes any."""
    node = properties.get(parts[0])
    if node is None or len(parts) == 1:
        return node is not None
    return "object" in json_types(node) and ("properties" not in node or _is_in_body(node["properties"], parts[1:]))


def _lint_roles(files: PolicyFiles) -> Iterator[Finding]:
    file = files.paths["event"]
    notes = {"/".join(path): leaf["x-privacy"] for path, leaf in walk_leaves(files.event)}
    roles = Counter(note.get("role") for note in notes.values())
    required = {name.replace(".", "/") for name in required_leaves(files.event)}
    for role in _REQUIRED_ROLES:
        if roles[role] != 1:
            yield Finding("1", file, "/", f"must give the role '{role}' to exactly one leaf")
    for place, note in notes.items():
        if note.get("role") in _REQUIRED_ROLES and place not in required:
            yield Finding("1", file, f"/{place}", f"has the role '{note['role']}' and must be required")
        yield from _lint_referring(files, place, note)
    plain = sorted(s for s in (split_pointer(n.get("from", "/" + p)) for p, n in notes.items()) if is_plain(s))
    for shorter, longer in pairwise(plain):
        if len(shorter) < len(longer) and longer[: len(shorter)] == shorter:
            yield Finding("1", file, "/" + "/".join(shorter), "is declared as a leaf and as an object")


def _lint_referring(files: PolicyFiles, place: str, note: Mapping[str, Any]) -> Iterator[Finding]:
    """What refers to the account is operational, and can be null there: an erasure takes it out of the record."""
    file = files.paths["event"]
    for target in note.get("to", ()):
        how = target.get("as") or DEFAULT_AS[Treatment(note["treatment"])]
        if note.get("role") not in REFERRING_ROLES and how not in REFERRING_WAYS:
            continue
        field = files.records[target["record"]]["properties"].get(target["field"])
        if target["record"] != "operational":
            yield Finding("3", file, f"/{place}", "refers to the account and goes into the content record")
        elif field is not None and "null" not in json_types(field):
            text = f"refers to the account, so the field '{target['field']}' must allow null"
            yield Finding("1", file, f"/{place}", text)


def _lint_records(files: PolicyFiles) -> Iterator[Finding]:
    """Rule 2 for the records: no string of a record, body apart, can hold free text."""
    meta = Validator(files.meta["record-field"])
    for name, schema in files.records.items():
        file = files.paths[f"record {name}"]
        for field, node in schema["properties"].items():
            for path, keyword in meta.errors(node):
                yield Finding("2", file, f"/{field}/{'/'.join(map(str, path))}", f"breaks '{keyword}'")
            loose = {"object", "array"} & set(json_types(node)) and "x-type" not in node
            closed = {"x-format", "x-catalogue", "x-type", "enum"} & set(node)
            free = "string" in json_types(node) and not closed
            if loose or free or not json_types(node):
                yield Finding("2", file, f"/{field}", "could hold free text: give it x-format, x-catalogue or enum")
            if name != "audit" and node.get("x-format") in OPERATOR_FORMATS:
                yield Finding("2", file, f"/{field}", "names an operator, and only the audit log may")
            if "x-null-after-days" in node and "null" not in json_types(node):
                yield Finding("1", file, f"/{field}", "becomes null before its record goes, so it must allow null")
            if node.get("x-catalogue") and node["x-catalogue"] not in files.catalogues:
                yield Finding(
                    "2", file, f"/{field}", f"names the catalogue '{node['x-catalogue']}', which is not there"
                )
        if schema.get("additionalProperties") is not False or set(schema.get("required", ())) != set(
            schema["properties"]
        ):
            yield Finding("1", file, "/", "must require all its fields and allow no others")


def _lint_links(files: PolicyFiles) -> Iterator[Finding]:
    """Rule 3: content and operational share only what both declare as a link."""
    content, operational = files.records["content"], files.records["operational"]
    shared = set(content["properties"]) & set(operational["properties"])
    for name, schema in (("content", content), ("operational", operational)):
        links = set(schema["x-record"]["links"])
        for field in sorted(shared - links):
            yield Finding(
                "3", files.paths[f"record {name}"], f"/{field}", "is in both records and not declared as a link"
            )
    for path, leaf in walk_leaves(files.event):
        targets = leaf["x-privacy"].get("to", ())
        fields = {t["field"] for t in targets if t["record"] == "content"}
        both = len({t["record"] for t in targets}) > 1
        if both and not fields <= shared:
            yield Finding("3", files.paths["event"], "/" + "/".join(path), "reaches both records under two names")
