"""The policy made ready for one event after another: what each leaf becomes, and the records' empty forms."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from pipeline.keys.keyring import Keyring
from pipeline.policy.load import Policy
from pipeline.policy.model import REFERRING_ROLES, REFERRING_WAYS, RecordSchema, Role
from pipeline.policy.shape import EventShape, FieldRule
from pipeline.suppress import Subject
from pipeline.transform import TRANSFORMS, Apply, Making, Times, as_it_is
from pipeline.useragent import UserAgentTable

_SUBJECTS = {Role.ACCOUNT: Subject.ACCOUNT, Role.API_KEY: Subject.API_KEY}
_IDENTIFIER_ROLES = frozenset({Role.ACCOUNT, Role.API_KEY, Role.OWN_IDENTIFIER, Role.CLIENT_IP})


class Copy(NamedTuple):
    """A leaf that goes into a field as it is."""

    leaf: str
    field: str


class Step(NamedTuple):
    """A leaf that becomes a field by a treatment's function."""

    leaf: str
    field: str
    apply: Apply


@dataclass(frozen=True, slots=True)
class RecordPlan:
    """How one record is filled.

    Attributes:
        form: every field in its order, constants filled in, the rest null.
        copies, steps: what fills the rest.
    """

    form: dict[str, Any]
    copies: tuple[Copy, ...]
    steps: tuple[Step, ...]

    def fill(self, values: Mapping[str, Any], times: Times) -> dict[str, Any]:
        """Return the record's fields, from the values of an event's leaves."""
        fields = self.form.copy()
        get = values.get
        for leaf, field in self.copies:
            fields[field] = get(leaf)
        for leaf, field, apply in self.steps:
            value = get(leaf)
            if value is not None:
                fields[field] = apply(value, times)
        return fields


@dataclass(frozen=True, slots=True)
class Plan:
    """What to do with the leaves of an event.

    Attributes:
        operational, content: how the records are filled.
        body: place in the body of each content leaf, by its name.
        dropped: names of leaves that go nowhere.
        identifiers: (name, entity type) of the leaves that identify the account.
        received: the leaf that says when the request came in.
        subjects: (name, subject) of the leaves that suppressions may name.
        unlinked: what takes the account out of an operational record: the fields that refer to it, null.
        short_lived: likewise the fields that end before their record does.
    """

    operational: RecordPlan
    content: RecordPlan
    body: Mapping[str, tuple[str, ...]]
    dropped: frozenset[str]
    identifiers: tuple[tuple[str, str], ...]
    received: FieldRule
    subjects: tuple[tuple[str, Subject], ...]
    unlinked: Mapping[str, None]
    short_lived: Mapping[str, None]


def make_plan(policy: Policy, keys: Keyring, user_agents: UserAgentTable) -> Plan:
    """Compile a policy and its keys into a plan."""
    rules = policy.shape.rules
    return Plan(
        operational=_record_plan(policy.operational, policy, keys, user_agents),
        content=_record_plan(policy.content, policy, keys, user_agents),
        body={r.name: tuple(t.field.split(".")) for r in rules.values() for t in r.targets if t.how == "scrubbed"},
        dropped=frozenset(rule.name for rule in rules.values() if not rule.targets),
        identifiers=tuple((r.name, r.entity) for r in rules.values() if r.role in _IDENTIFIER_ROLES),
        received=policy.shape.role(Role.RECEIVED_AT),
        subjects=tuple((r.name, _SUBJECTS[r.role]) for r in rules.values() if r.role in _SUBJECTS),
        unlinked=dict.fromkeys(referring_fields(policy.shape)),
        short_lived={f.name: None for f in policy.operational.fields if f.null_after_ms is not None},
    )


def referring_fields(shape: EventShape) -> list[str]:
    """Return the operational fields that refer to the account: whatever is pseudonymous, or made of an address."""
    return [
        target.field
        for rule in shape.rules.values()
        for target in rule.targets
        if target.record == "operational" and (rule.role in REFERRING_ROLES or target.how in REFERRING_WAYS)
    ]


def pseudonym_field(shape: EventShape, role: Role) -> str | None:
    """Return the operational field that holds the pseudonym of an account or API key; None where there is none.

    That of the account is null only in records of what was erased: the lint holds that each event has an account.
    """
    return next(
        (
            target.field
            for rule in shape.rules.values()
            for target in rule.targets
            if rule.role is role and (target.record, target.how) == ("operational", "pseudonym")
        ),
        None,
    )


def _record_plan(schema: RecordSchema, policy: Policy, keys: Keyring, user_agents: UserAgentTable) -> RecordPlan:
    constants = {"schema_version": schema.version, "policy_version": policy.version, "policy_digest": policy.digest}
    steps = [
        Step(rule.name, target.field, TRANSFORMS[target.how](Making(rule, target, policy, keys, user_agents)))
        for rule in policy.shape.rules.values()
        for target in rule.targets
        if target.record == schema.name and target.how != "scrubbed"
    ]
    return RecordPlan(
        form={declared.name: constants.get(declared.name) for declared in schema.fields},
        copies=tuple(Copy(step.leaf, step.field) for step in steps if step.apply is as_it_is),
        steps=tuple(step for step in steps if step.apply is not as_it_is),
    )
