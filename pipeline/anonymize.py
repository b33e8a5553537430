"""The core: (event, policy, detector, keys, admission) → records. Pure: no I/O, no clock, no globals."""

from dataclasses import dataclass, field
from functools import partial
from typing import Any

from pipeline.codec import Decoded, decode, encode
from pipeline.content.scrub import scrub
from pipeline.detect.entities import EntityTable
from pipeline.detect.spans import Detector, OwnIdentifier
from pipeline.egress import check_record, is_oversize
from pipeline.errors import InvalidEvent, Reason, reject
from pipeline.extract import extract
from pipeline.keys.keyring import Keyring
from pipeline.plan import Plan, make_plan
from pipeline.policy.load import Policy
from pipeline.records import Anonymized, ContentRecord, Facts, Fate, OperationalRecord, Source
from pipeline.redact import REDACTED
from pipeline.rejects import make_rejection
from pipeline.seal import PlainSealer, RawOpener, Sealer, open_raw
from pipeline.suppress import CLEAR, Subject, Suppressions, Verdict
from pipeline.transform import Times, read_times
from pipeline.useragent import UserAgentTable


@dataclass(frozen=True, slots=True)
class Admission:
    """What the edge lets in, decided from its clock, the append time and the sink (design §4).

    Attributes:
        latest_ms: a later received_at is rejected: five minutes after the raw record's append.
        content_from_ms: an earlier request's content is not made; None admits all.
        operational_from_ms: an earlier request is rejected as expired; None admits all.
        short_lived_from_ms: of an earlier request, fields that end before their record are null; None keeps them.
        suppressions: whose events are restricted or erased; None is nobody's.
    """

    latest_ms: int
    content_from_ms: int | None = None
    operational_from_ms: int | None = None
    short_lived_from_ms: int | None = None
    suppressions: Suppressions | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Core:
    """What is fixed for a run: policy, detector, keys, how bodies are sealed, and what opens sealed raw events."""

    policy: Policy
    detector: Detector = field(repr=False)
    keys: Keyring = field(repr=False)
    sealer: Sealer = field(repr=False)
    envelopes: RawOpener | None = field(repr=False)
    table: EntityTable = field(repr=False)
    plan: Plan = field(repr=False)


def make_core(
    policy: Policy,
    detector: Detector,
    keys: Keyring,
    sealer: Sealer | None = None,
    envelopes: RawOpener | None = None,
) -> Core:
    """Put a core together; without a sealer bodies are plain, without an opener events in envelopes are rejected."""
    table = EntityTable.from_json(policy.entities)
    plan = make_plan(policy, keys, UserAgentTable.from_catalogue(policy.user_agents))
    return Core(policy, detector, keys, sealer or PlainSealer(), envelopes, table, plan)


def process(raw: bytes, source: Source, core: Core, admission: Admission) -> Fate:
    """Decode, validate, anonymize and check one raw event: exactly one fate, whatever the bytes.

    Raises:
        KeyringError: no key epoch covers the event; the process must stop rather than pass over it.
        DetectorLost: the detector cannot work any more; likewise.
    """
    limits = core.policy.limits
    try:
        decoded = decode(
            open_raw(raw, core.envelopes, limits.event_bytes_max),
            size_max=limits.event_bytes_max,
            depth_max=limits.depth_max,
            declared=core.policy.shape.tree,
        )
        return anonymize(decoded, core, admission)
    except InvalidEvent as fault:
        reason, pointer = fault.reason, fault.pointer
    return make_rejection(source, reason, pointer, core.policy)


def anonymize(decoded: Decoded, core: Core, admission: Admission) -> Anonymized:
    """Turn one decoded event into its records.

    Raises:
        InvalidEvent: the event is bad, expired or from the future.
        KeyringError: no key epoch covers the event.
        DetectorLost: the detector cannot work any more.
    """
    policy, plan = core.policy, core.plan
    values, unknown = extract(decoded.event, policy.shape)
    times = read_times(values[plan.received.name], plan.received)
    if times.received_at_ms > admission.latest_ms:
        reject(Reason.IN_FUTURE, plan.received.pointer)
    if admission.operational_from_ms is not None and times.received_at_ms < admission.operational_from_ms:
        reject(Reason.EXPIRED, plan.received.pointer)
    operational = plan.operational.fill(values, times)
    verdict = _judge(operational["request_id"], values, times, core, admission)
    if verdict.unlink:
        operational.update(plan.unlinked)
    if admission.short_lived_from_ms is not None and times.received_at_ms < admission.short_lived_from_ms:
        operational.update(plan.short_lived)
    check_record(operational, policy.operational)
    facts = Facts(
        unknown_fields=unknown,
        dropped_fields=len(plan.dropped & values.keys()),
        duplicate_keys=decoded.duplicate_keys,
        received_at_ms=times.received_at_ms,
        key_epoch=core.keys.epoch_at(times.received_at_ms).name,
    )
    content = None
    if verdict.outcome:
        facts.content_outcome = verdict.outcome
    elif admission.content_from_ms is not None and times.received_at_ms < admission.content_from_ms:
        facts.content_outcome = "expired"
    else:
        content = _content(operational["request_id"], values, times, core, facts)
    return Anonymized(content, OperationalRecord(operational["request_id"], operational), facts)


def _judge(request_id: str, values: dict[str, Any], times: Times, core: Core, admission: Admission) -> Verdict:
    """Ask the suppressions about an event: about its account, its API key and itself."""
    suppressions = admission.suppressions
    if not suppressions:
        return CLEAR
    named = ((subject, values.get(leaf)) for leaf, subject in core.plan.subjects)
    pseudonyms = [core.keys.suppression(subject, value) for subject, value in named if value]
    pseudonyms.append(core.keys.suppression(Subject.REQUEST, request_id))
    return suppressions.judge(pseudonyms, times.received_at_ms)


def _content(request_id: str, values: dict[str, Any], times: Times, core: Core, facts: Facts) -> ContentRecord:
    """Scrub, check and seal one body; one that grew past what a sink takes is redacted whole."""
    policy, plan = core.policy, core.plan
    own = [OwnIdentifier(entity, values[name]) for name, entity in plan.identifiers if values.get(name)]
    scrubbed = scrub(_body(values, plan), own, policy, core.table, core.detector)
    facts.redactions = scrubbed.redactions
    facts.dropped_fields += scrubbed.dropped
    fields = plan.content.fill(values, times)
    fields["redactions"] = facts.redactions
    record, is_whole = seal_content(request_id, fields, scrubbed.body, times.received_at_ms, core)
    if not is_whole:
        facts.content_outcome = "oversize"
    return record


def seal_content(
    request_id: str, fields: dict[str, Any], body: dict[str, Any], received_at_ms: int, core: Core
) -> tuple[ContentRecord, bool]:
    """Check and seal one scrubbed body; return its record, and whether the body went in whole.

    Args:
        request_id: identity of the record.
        fields: its clear fields; a place for the body among them is taken out.
        body: scrubbed; replaced whole where it grew past what a sink takes.
        received_at_ms: when its request came in.
        core: policy and sealer.

    Raises:
        InvalidEvent: the record does not hold to its schema.
        KeyringError: there is no key to seal it with.
    """
    policy = core.policy
    seal = partial(
        core.sealer.seal,
        request_id=request_id,
        schema_version=policy.content.version,
        received_at_ms=received_at_ms,
    )
    bytes_max = policy.limits.event_bytes_max
    data = encode(body)
    sealed = None if is_oversize(len(data), bytes_max) else seal(data)
    is_whole = sealed is not None and not is_oversize(sealed.wire_bytes, bytes_max)
    if sealed is None or not is_whole:
        body = {name: REDACTED for name in body if name != "error"}
        sealed = seal(encode(body))
    fields["body"] = body
    check_record(fields, policy.content)
    del fields["body"]
    return ContentRecord(request_id, fields, sealed), is_whole


def _body(values: dict[str, Any], plan: Plan) -> dict[str, Any]:
    """Return the content leaves at their places in the body."""
    body: dict[str, Any] = {}
    for name, (*parents, last) in plan.body.items():
        value = values.get(name)
        if value is not None:
            node = body
            for parent in parents:
                node = node.setdefault(parent, {})
            node[last] = value
    return body
