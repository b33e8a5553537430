"""The treatments: what each declared leaf becomes in the records. A table, one function a word.

Each function is made once for a leaf and its target, so that an event only pays for the value's own work.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from pipeline.coarsen import (
    coarsen_ip,
    format_timestamp,
    is_canonical,
    normalize_ip,
    parse_epoch,
    parse_timestamp,
    truncate_to_minute,
)
from pipeline.errors import Reason, reject
from pipeline.keys.keyring import Keyring
from pipeline.policy.load import Policy
from pipeline.policy.model import Role
from pipeline.policy.shape import FieldRule, Target
from pipeline.records import Scalar
from pipeline.useragent import UserAgentTable, coarsen_user_agent

_MS_PER_SECOND = 1000
_EARLIEST_MS = 946_684_800_000  # 2000-01-01: older than any LLM API, so a broken clock
_LATEST_MS = 4_102_444_800_000  # 2100-01-01


@dataclass(frozen=True, slots=True)
class Making:
    """What a treatment is made from: the leaf, its target, the policy and the keys."""

    rule: FieldRule
    target: Target
    policy: Policy
    keys: Keyring
    user_agents: UserAgentTable


class Times(NamedTuple):
    """When a request came in: epoch milliseconds, and as its records write it, whole and to the minute."""

    received_at_ms: int
    exact: str
    minute: str


Apply = Callable[[Any, Times], Scalar]


def read_times(value: Any, rule: FieldRule) -> Times:
    """Read a received_at. What reads as a time in the form of our own is kept as it is written.

    Raises:
        InvalidEvent: it is no time with a zone (RFC 3339), or outside the years 2000 to 2100.
    """
    time_ms = _to_ms(value, rule)
    exact = value if isinstance(value, str) and is_canonical(value) else format_timestamp(time_ms)
    return Times(time_ms, exact, f"{exact[:17]}00.000Z")


def _to_ms(value: Any, rule: FieldRule) -> int:
    time_ms = parse_epoch(value) if rule.unit == "epoch" else parse_timestamp(value)
    if time_ms is None:
        reject(Reason.BAD_FORMAT, rule.pointer)
    if not _EARLIEST_MS <= time_ms < _LATEST_MS:
        reject(Reason.OUT_OF_RANGE, rule.pointer)
    return time_ms


def _value(making: Making) -> Apply:  # noqa: PLR0911 - a table of cases reads best as one
    rule = making.rule
    if rule.catalogue:
        return _catalogue(
            making.policy.catalogues[rule.catalogue].mapping, making.policy.catalogues[rule.catalogue].other
        )
    if rule.values:
        return _catalogue({value: value for value in rule.values}, "other")
    if rule.role is Role.RECEIVED_AT:
        return lambda _, times: times.exact
    if rule.format == "date-time" or rule.unit == "epoch":
        return lambda value, _: format_timestamp(_to_ms(value, rule))
    if rule.unit == "s":
        return lambda value, _: float(value) * _MS_PER_SECOND
    if rule.role is Role.REQUEST_ID and rule.format != "request_id":
        return lambda value, _: f"req_{value}"  # an id of the same strength in another dress
    return _whole if rule.whole else as_it_is


def _whole(value: Any, _times: Times) -> Scalar:
    return value if type(value) is int else int(value)


def as_it_is(value: Any, _times: Times) -> Scalar:
    """Return a number, boolean or identifier unchanged; a plan copies such leaves without a call."""
    return value  # type: ignore[no-any-return]  # the validator has held it to its schema


def _catalogue(mapping: Mapping[str, str], other: str) -> Apply:
    return lambda value, _: mapping.get(value, other)


def _minute(making: Making) -> Apply:
    if making.rule.role is Role.RECEIVED_AT:
        return lambda _, times: times.minute
    return lambda value, _: format_timestamp(truncate_to_minute(_to_ms(value, making.rule)))


def _pseudonym(making: Making) -> Apply:
    field, keys = making.target.field, making.keys
    return lambda value, times: keys.pseudonym(field, value, times.received_at_ms)


def _day_pseudonym(making: Making) -> Apply:
    field, keys = making.target.field, making.keys

    def apply(value: Any, times: Times) -> Scalar:
        address = normalize_ip(value)
        return None if address is None else keys.day_pseudonym(field, address, times.received_at_ms)

    return apply


def _network(_making: Making) -> Apply:
    return lambda value, _: coarsen_ip(value)


def _family(making: Making) -> Apply:
    table = making.user_agents
    return lambda value, _: coarsen_user_agent(value, table)[0]


def _major(making: Making) -> Apply:
    table = making.user_agents
    return lambda value, _: coarsen_user_agent(value, table)[1]


TRANSFORMS: Mapping[str, Callable[[Making], Apply]] = {
    "value": _value,
    "minute": _minute,
    "pseudonym": _pseudonym,
    "day_pseudonym": _day_pseudonym,
    "network": _network,
    "family": _family,
    "major": _major,
}
"""By the word that a target's ``as`` says; ``scrubbed`` is the content walk's."""
