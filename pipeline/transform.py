"""The treatments: what each declared leaf becomes in the records. A table, one function a word."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from pipeline.coarsen import coarsen_ip, format_timestamp, normalize_ip, parse_epoch, parse_timestamp, truncate_to_minute
from pipeline.errors import Reason, reject
from pipeline.keys.keyring import Keyring
from pipeline.policy.load import Policy
from pipeline.policy.model import Role
from pipeline.policy.shape import FieldRule
from pipeline.records import Scalar
from pipeline.useragent import UserAgentTable, coarsen_user_agent

_MS_PER_SECOND = 1000


@dataclass(frozen=True, slots=True)
class Context:
    """What the treatments go by besides the value: the policy, the keys, and when the request came in."""

    policy: Policy
    keys: Keyring
    user_agents: UserAgentTable
    received_at_ms: int


Transform = Callable[[Any, FieldRule, str, Context], Scalar]


def to_received_at(value: Any, rule: FieldRule) -> int:
    """Return a received_at as epoch milliseconds.

    Raises:
        InvalidEvent: it is no timestamp with a zone (RFC 3339), or outside the years 2000 to 2100.
    """
    ms = parse_epoch(value) if rule.unit == "epoch" else parse_timestamp(value)
    if ms is None:
        reject(Reason.BAD_FORMAT, rule.pointer)
    if not _EARLIEST_MS <= ms < _LATEST_MS:
        reject(Reason.OUT_OF_RANGE, rule.pointer)
    return ms


_EARLIEST_MS = 946_684_800_000  # 2000-01-01: older than any LLM API, so a broken clock
_LATEST_MS = 4_102_444_800_000  # 2100-01-01


def _value(value: Any, rule: FieldRule, _field: str, context: Context) -> Scalar:
    if rule.catalogue:
        return context.policy.catalogues[rule.catalogue].value_of(value)
    if rule.values:
        return value if value in rule.values else "other"
    if rule.format == "date-time" or rule.unit == "epoch":
        return format_timestamp(to_received_at(value, rule))
    if rule.unit == "s":
        return float(value) * _MS_PER_SECOND
    if rule.role is Role.REQUEST_ID and rule.format != "request_id":
        return f"req_{value}"  # an id of the same strength in another dress
    return value  # type: ignore[no-any-return]  # the validator has held it to its schema


def _minute(value: Any, rule: FieldRule, _field: str, _context: Context) -> Scalar:
    return format_timestamp(truncate_to_minute(to_received_at(value, rule)))


def _pseudonym(value: Any, _rule: FieldRule, field: str, context: Context) -> Scalar:
    return context.keys.pseudonym(field, str(value), context.received_at_ms)


def _day_pseudonym(value: Any, _rule: FieldRule, field: str, context: Context) -> Scalar:
    address = normalize_ip(value)
    return None if address is None else context.keys.day_pseudonym(field, address, context.received_at_ms)


def _network(value: Any, _rule: FieldRule, _field: str, _context: Context) -> Scalar:
    return coarsen_ip(value)


def _family(value: Any, _rule: FieldRule, _field: str, context: Context) -> Scalar:
    return coarsen_user_agent(value, context.user_agents)[0]


def _major(value: Any, _rule: FieldRule, _field: str, context: Context) -> Scalar:
    return coarsen_user_agent(value, context.user_agents)[1]


TRANSFORMS: Mapping[str, Transform] = {
    "value": _value,
    "minute": _minute,
    "pseudonym": _pseudonym,
    "day_pseudonym": _day_pseudonym,
    "network": _network,
    "family": _family,
    "major": _major,
}
"""By the word that a target's ``as`` says; ``scrubbed`` is the content walk's."""
