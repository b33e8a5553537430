"""Golden cases: one file each, named by behaviour, discovered and never listed.

A case holds ``why`` and one input: ``event`` (a JSON merge patch, RFC 7396, over the base event), ``raw`` (text),
``raw_base64``, or ``raw_repeat`` (``{prefix, repeat, times, suffix}``); ``shape`` names another event schema, whose
``event`` then is whole. It expects ``rejected`` (``{reason, pointer}``), or any of: ``body`` (the whole anonymized
body), ``request`` / ``response`` / ``error`` (that part of it), ``redactions`` (all counts), ``operational`` (these
fields) and ``facts``. ``unchanged`` names parts that come out as they went in, with nothing counted. ``limits`` are
limits in place of the defaults.
"""

import base64
from pathlib import Path
from typing import Any

import orjson
import pytest
from conftest import KEYS, OPEN_DOOR, base_event

from pipeline.anonymize import Core, make_core, process
from pipeline.codec import encode
from pipeline.detect.spans import Detector
from pipeline.errors import Reason
from pipeline.policy.load import Limits, load_policy
from pipeline.policy.shape import EventShape
from pipeline.records import Anonymized, Fate, Rejection, Source
from pipeline.wire import content_bytes, operational_bytes

FOLDER = Path(__file__).parent / "golden"
CASES = sorted(FOLDER.rglob("*.json"))
EXPECTED = {"body", "request", "response", "error", "redactions", "operational", "facts", "unchanged", "rejected"}
KNOWN = EXPECTED | {"why", "event", "raw", "raw_base64", "raw_repeat", "shape", "limits"}


def load(path: Path) -> dict[str, Any]:
    """Read a case."""
    case: dict[str, Any] = orjson.loads(path.read_bytes())
    return case


def merge(target: Any, patch: Any) -> Any:
    """Apply a JSON merge patch (RFC 7396); a member given as ``{"=": value}`` is set as it is, null included."""
    if not isinstance(patch, dict):
        return patch
    if set(patch) == {"="}:
        return patch["="]
    result = dict(target) if isinstance(target, dict) else {}
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        else:
            result[key] = merge(result.get(key), value)
    return result


def raw_of(case: dict[str, Any]) -> bytes:
    """Return the raw event of a case."""
    if "raw_base64" in case:
        return base64.b64decode(case["raw_base64"])
    if "raw_repeat" in case:
        parts = case["raw_repeat"]
        return str(parts["prefix"] + parts["repeat"] * parts["times"] + parts["suffix"]).encode()
    if "raw" in case:
        return str(case["raw"]).encode()
    return encode(case["event"] if "shape" in case else merge(base_event(), case["event"]))


def run(case: dict[str, Any], core: Core, detector: Detector) -> Fate:
    """Return the fate of a case."""
    if "shape" in case or "limits" in case:
        core = make_core(load_policy(event=case.get("shape"), limits=Limits(**case.get("limits", {}))), detector, KEYS)
    raw = raw_of(case)
    return process(raw, Source("golden", 0, 1, len(raw)), core, OPEN_DOOR)


@pytest.mark.parametrize("path", CASES, ids=lambda p: p.stem)
def test_golden_case(path: Path, core: Core, detector: Detector) -> None:
    """The case has the fate that its file says."""
    case = load(path)
    assert set(case) <= KNOWN
    assert set(case) & EXPECTED
    fate = run(case, core, detector)
    if "rejected" in case:
        assert isinstance(fate, Rejection)
        assert {"reason": str(fate.reason), "pointer": fate.pointer} == case["rejected"]
        return
    assert isinstance(fate, Anonymized), repr(fate)
    assert fate.content is not None
    body = orjson.loads(fate.content.body.data)
    actual = {
        "body": body,
        **{part: body.get(part) for part in ("request", "response", "error")},
        "redactions": fate.facts.redactions,
        "operational": {k: fate.operational.fields[k] for k in case.get("operational", {})},
        "facts": {k: getattr(fate.facts, k) for k in case.get("facts", {})},
    }
    if "unchanged" in case:
        assert actual["redactions"] == {}
        event = orjson.loads(raw_of(case))
        assert {part: event[part] for part in case["unchanged"]} == {part: body[part] for part in case["unchanged"]}
    compared = EXPECTED - {"unchanged"}
    assert {k: v for k, v in case.items() if k in compared} == {k: actual[k] for k in case if k in compared}
    assert core.policy.content.is_valid(orjson.loads(content_bytes(fate.content)))
    assert orjson.loads(operational_bytes(fate.operational)) == dict(fate.operational.fields)


def test_every_reason_that_an_event_can_have_has_a_case() -> None:
    """Each rejection reason occurs in a case; egress and expired need more than an event and are tested apart."""
    reasons = {load(path)["rejected"]["reason"] for path in CASES if "rejected" in load(path)}
    assert {str(r) for r in Reason} - {"egress", "expired"} == reasons


@pytest.mark.parametrize("event", [None, "spend_log/v1/event.schema.json"])
def test_every_declared_leaf_occurs_in_a_case(event: str | None) -> None:
    """Every leaf of both event shapes is filled by some golden case."""
    shape = load_policy(event=event).shape
    seen: set[str] = set()
    for path in CASES:
        case = load(path)
        if "event" in case and "rejected" not in case and ("shape" in case) == (event is not None):
            seen |= filled(orjson.loads(raw_of(case)), shape)
    assert set(shape.rules) - seen == set()


def filled(event: dict[str, Any], shape: EventShape) -> set[str]:
    """Return the names of the rules that find something in an event."""
    from pipeline.extract import extract  # noqa: PLC0415 - only here

    return set(extract(event, shape)[0])
