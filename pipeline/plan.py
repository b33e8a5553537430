"""The policy made ready for one event after another: what each leaf becomes, and the records' empty forms."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pipeline.keys.keyring import Keyring
from pipeline.policy.load import Policy
from pipeline.policy.model import RecordSchema, Role
from pipeline.policy.shape import FieldRule
from pipeline.transform import TRANSFORMS, Apply, Making, Times
from pipeline.useragent import UserAgentTable

_IDENTIFIER_ROLES = frozenset({Role.ACCOUNT, Role.API_KEY, Role.OWN_IDENTIFIER, Role.CLIENT_IP})


@dataclass(frozen=True, slots=True)
class Plan:
    """What to do with the leaves of an event.

    Attributes:
        operational, content: steps of each leaf, by its name: field of the record, and the function that makes it.
        body: place in the body of each content leaf, by its name.
        dropped: names of leaves that go nowhere.
        identifiers: (name, entity type) of the leaves that identify the account.
        received: the leaf that says when the request came in.
        operational_form, content_form: every field of the record in its order, constants filled in, the rest null.
    """

    operational: Mapping[str, tuple[tuple[str, Apply], ...]]
    content: Mapping[str, tuple[tuple[str, Apply], ...]]
    body: Mapping[str, tuple[str, ...]]
    dropped: frozenset[str]
    identifiers: tuple[tuple[str, str], ...]
    received: FieldRule
    operational_form: Mapping[str, Any]
    content_form: Mapping[str, Any]


def make_plan(policy: Policy, keys: Keyring, user_agents: UserAgentTable) -> Plan:
    """Compile a policy and its keys into a plan."""
    rules = policy.shape.rules
    steps: dict[str, dict[str, tuple[tuple[str, Apply], ...]]] = {}
    for record in ("operational", "content"):
        steps[record] = {
            rule.name: made for rule in rules.values() if (made := _steps(rule, record, policy, keys, user_agents))
        }
    body = {r.name: tuple(t.field.split(".")) for r in rules.values() for t in r.targets if t.how == "scrubbed"}
    return Plan(
        operational=steps["operational"],
        content=steps["content"],
        body=body,
        dropped=frozenset(rule.name for rule in rules.values() if not rule.targets),
        identifiers=tuple((r.name, r.entity) for r in rules.values() if r.role in _IDENTIFIER_ROLES),
        received=policy.shape.role(Role.RECEIVED_AT),
        operational_form=_form(policy.operational, policy),
        content_form=_form(policy.content, policy),
    )


def fill(
    form: Mapping[str, Any], steps: Mapping[str, tuple[tuple[str, Apply], ...]], values: Mapping[str, Any], times: Times
) -> dict[str, Any]:
    """Return a record's fields: its form, filled from the values of an event's leaves."""
    fields = dict(form)
    for name, made in steps.items():
        value = values.get(name)
        if value is not None:
            for field, apply in made:
                fields[field] = apply(value, times)
    return fields


def _steps(
    rule: FieldRule, record: str, policy: Policy, keys: Keyring, user_agents: UserAgentTable
) -> tuple[tuple[str, Apply], ...]:
    return tuple(
        (target.field, TRANSFORMS[target.how](Making(rule, target, policy, keys, user_agents)))
        for target in rule.targets
        if target.record == record and target.how != "scrubbed"
    )


def _form(schema: RecordSchema, policy: Policy) -> dict[str, Any]:
    constants = {"schema_version": schema.version, "policy_version": policy.version, "policy_digest": policy.digest}
    return {declared.name: constants.get(declared.name) for declared in schema.fields}
