"""The policy in words that one needs no engineer for. Pure."""

from pipeline.policy.load import Policy
from pipeline.policy.model import Treatment
from pipeline.policy.shape import FieldRule, Target
from pipeline.policy.table import to_days

TREATMENTS = {
    Treatment.DROP: ("dropped", "It is kept nowhere."),
    Treatment.PSEUDONYMIZE: ("pseudonymized", "A code stands in its place that only the holder of the key can make."),
    Treatment.COARSEN: ("coarsened", "It is kept less exact: an address becomes its network, a time its minute."),
    Treatment.CONTENT: ("content", "What was said: kept apart, for a short time, with what identifies taken out."),
    Treatment.OPERATIONAL: ("operational", "A number, a time or a word of a closed list: never free text."),
}
"""What each treatment is called, and what it means."""

SINKS = {
    "content": "Content records",
    "operational": "Operational records",
    "rejected": "Rejections: pointers only",
}
"""The sinks that the worker writes, as the page calls them."""


def kept_for(rule: FieldRule, policy: Policy) -> str:
    """Say how long what becomes of a field is kept."""
    return "; ".join(dict.fromkeys(_kept(target, policy) for target in rule.targets)) or "not kept"


def _kept(target: Target, policy: Policy) -> str:
    record = policy.content if target.record == policy.content.name else policy.operational
    ends_ms = next((one.null_after_ms for one in record.fields if one.name == target.field), None)
    if ends_ms is not None:
        return f"{to_days(ends_ms)}, then empty ({target.record})"
    return f"{to_days(policy.sinks[target.record].retention_ms)} ({target.record})"
