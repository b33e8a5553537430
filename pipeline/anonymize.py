"""The core: (event, policy, detector, keys, admission) → records. Pure: no I/O, no clock, no globals."""

from dataclasses import dataclass, field
from typing import Any

from pipeline.codec import Decoded, decode, encode
from pipeline.content.coding import REDACTED
from pipeline.content.scrub import scrub
from pipeline.detect.entities import EntityTable
from pipeline.detect.spans import Detector, OwnIdentifier
from pipeline.egress import check_record, is_oversize
from pipeline.errors import InvalidEvent, Reason, reject
from pipeline.extract import extract
from pipeline.keys.keyring import Keyring
from pipeline.policy.load import Policy
from pipeline.policy.model import RecordSchema, Role
from pipeline.records import Anonymized, ContentRecord, Facts, Fate, OperationalRecord, Rejection, Source
from pipeline.seal import PlainSealer, Sealer
from pipeline.transform import TRANSFORMS, Context, to_received_at
from pipeline.useragent import UserAgentTable

_IDENTIFIER_ROLES = frozenset({Role.ACCOUNT, Role.API_KEY, Role.OWN_IDENTIFIER, Role.CLIENT_IP})


@dataclass(frozen=True, slots=True)
class Admission:
    """What the edge lets in, decided from its clock, the append time and the sink (design §4).

    Attributes:
        latest_ms: a later received_at is rejected: five minutes after the raw record's append.
        content_from_ms: an earlier request's content is not made; None admits all.
        operational_from_ms: an earlier request is rejected as expired; None admits all.
    """

    latest_ms: int
    content_from_ms: int | None = None
    operational_from_ms: int | None = None


@dataclass(frozen=True, slots=True)
class Core:
    """What is fixed for a run: policy, detector, keys, and how bodies are sealed."""

    policy: Policy
    detector: Detector = field(repr=False)
    keys: Keyring = field(repr=False)
    sealer: Sealer = field(repr=False)
    table: EntityTable = field(repr=False)
    user_agents: UserAgentTable = field(repr=False)


def make_core(policy: Policy, detector: Detector, keys: Keyring, sealer: Sealer | None = None) -> Core:
    """Put a core together; bodies are plain where no sealer is given."""
    table = EntityTable.from_json(policy.entities)
    user_agents = UserAgentTable.from_catalogue(policy.user_agents)
    return Core(policy, detector, keys, sealer or PlainSealer(), table, user_agents)


def process(raw: bytes, source: Source, core: Core, admission: Admission) -> Fate:
    """Decode, validate, anonymize and check one raw event: exactly one fate, whatever the bytes.

    Raises:
        KeyringError: no key epoch covers the event; the process must stop rather than pass over it.
    """
    limits = core.policy.limits
    try:
        decoded = decode(
            raw, size_max=limits.event_bytes_max, depth_max=limits.depth_max, declared=core.policy.shape.tree
        )
        return anonymize(decoded, core, admission)
    except InvalidEvent as fault:
        reason, pointer = fault.reason, fault.pointer
    return Rejection(source, reason, pointer)


def anonymize(decoded: Decoded, core: Core, admission: Admission) -> Anonymized:
    """Turn one decoded event into its records.

    Raises:
        InvalidEvent: the event is bad, expired or from the future.
        KeyringError: no key epoch covers the event.
    """
    shape = core.policy.shape
    values, unknown = extract(decoded.event, shape)
    received = shape.role(Role.RECEIVED_AT)
    received_at_ms = to_received_at(values[received.name], received)
    if received_at_ms > admission.latest_ms:
        reject(Reason.IN_FUTURE, received.pointer)
    if admission.operational_from_ms is not None and received_at_ms < admission.operational_from_ms:
        reject(Reason.EXPIRED, received.pointer)
    context = Context(core.policy, core.keys, core.user_agents, received_at_ms)
    fields = {"content": _constants(core.policy.content, core), "operational": _constants(core.policy.operational, core)}
    body, dropped = _apply_rules(values, context, fields)
    facts = Facts(unknown_fields=unknown, dropped_fields=dropped, duplicate_keys=decoded.duplicate_keys)
    operational = _in_order(fields["operational"], core.policy.operational)
    check_record(operational, core.policy.operational)
    request_id = operational["request_id"]
    content = None
    if admission.content_from_ms is not None and received_at_ms < admission.content_from_ms:
        facts.content_outcome = "expired"
    else:
        own = _own_identifiers(values, shape.rules)
        content = _content(request_id, received_at_ms, body, own, fields["content"], core, facts)
    return Anonymized(content, OperationalRecord(request_id, operational), facts)


def _constants(schema: RecordSchema, core: Core) -> dict[str, Any]:
    return {"schema_version": schema.version, "policy_version": core.policy.version, "policy_digest": core.policy.digest}


def _apply_rules(values: dict[str, Any], context: Context, fields: dict[str, dict[str, Any]]) -> tuple[dict[str, Any], int]:
    """Fill the records' fields; return the content leaves by their place in the body, and how many leaves were dropped."""
    body: dict[str, Any] = {}
    dropped = 0
    rules = context.policy.shape.rules
    for name, value in values.items():
        rule = rules[name]
        if not rule.targets:
            dropped += 1
        for target in rule.targets:
            if target.how == "scrubbed":
                _place(body, target.field, value)
            else:
                fields[target.record][target.field] = TRANSFORMS[target.how](value, rule, target.field, context)
    return body, dropped


def _place(body: dict[str, Any], path: str, value: Any) -> None:
    *parents, last = path.split(".")
    for parent in parents:
        body = body.setdefault(parent, {})
    body[last] = value


def _own_identifiers(values: dict[str, Any], rules: Any) -> list[OwnIdentifier]:
    return [
        OwnIdentifier(rule.entity, value)
        for rule in rules.values()
        if rule.role in _IDENTIFIER_ROLES and isinstance(value := values.get(rule.name), str) and value
    ]


def _in_order(fields: dict[str, Any], schema: RecordSchema) -> dict[str, Any]:
    """Return every field of the schema in its order, null where the event has nothing, and nothing else."""
    return {declared.name: fields.get(declared.name) for declared in schema.fields}


def _content(
    request_id: str,
    received_at_ms: int,
    body: dict[str, Any],
    own: list[OwnIdentifier],
    fields: dict[str, Any],
    core: Core,
    facts: Facts,
) -> ContentRecord:
    """Scrub, check and seal one body; one that grew past what a sink takes is redacted whole."""
    policy = core.policy
    scrubbed = scrub(body, own, policy, core.table, core.detector)
    facts.redactions = scrubbed.redactions
    facts.dropped_fields += scrubbed.dropped
    clean = scrubbed.body
    data = encode(clean)
    if is_oversize(data, policy.limits.event_bytes_max):
        facts.content_outcome = "oversize"
        clean = {name: REDACTED for name in clean if name != "error"}
        data = encode(clean)
    fields["redactions"] = facts.redactions
    record = _in_order({**fields, "body": clean}, policy.content)
    check_record(record, policy.content)
    del record["body"]
    sealed = core.sealer.seal(data, request_id=request_id, received_at_ms=received_at_ms)
    return ContentRecord(request_id, record, sealed)
