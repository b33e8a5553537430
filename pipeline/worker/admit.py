"""What the worker lets in, from now, the raw record's append time and the sinks' bounds (design §4). Pure."""

from dataclasses import dataclass

from pipeline.anonymize import Admission
from pipeline.coarsen import DAY_MS
from pipeline.keys.daykeys import held_ms
from pipeline.policy.load import Policy
from pipeline.run import FUTURE_SLACK_MS
from pipeline.suppress import Suppressions
from pipeline.topics.life import ARCHIVED, ARCHIVED_HOLD_MS, SLACK_MS

_NEVER_MS = 1 << 62


@dataclass(frozen=True, slots=True)
class AgeLimits:
    """How old a request may be, in milliseconds.

    Attributes:
        content_ms: oldest of which content is made: admission. Fields that end early are null beyond it too.
        operational_ms: oldest of which an operational record is made: its bound less what the topic holds it.
    """

    content_ms: int
    operational_ms: int


def age_limits(policy: Policy, admission_ms: int | None, *, archive: bool) -> AgeLimits:
    """Return the limits that fit the topics as `pipeline.topics.life` derives them.

    Args:
        policy: its sinks have the bounds.
        admission_ms: as the topics were derived with; None is raw's bound.
        archive: whether an archive stands behind the topics, which then hold 48 h.
    """
    admission = policy.sinks["raw"].retention_ms if admission_ms is None else admission_ms
    operational = policy.sinks["operational"]
    ends = [field.null_after_ms for field in policy.operational.fields if field.null_after_ms is not None]
    hold_ms = min([operational.retention_ms, *ends]) - admission - SLACK_MS
    if archive and operational.name in ARCHIVED:
        hold_ms = min(hold_ms, ARCHIVED_HOLD_MS)
    return AgeLimits(
        content_ms=min(admission, _sealed_ms(policy)), operational_ms=max(admission, operational.retention_ms - hold_ms)
    )


def _sealed_ms(policy: Policy) -> int:
    """Return the age up to which the key of a request's day is there: it goes a bound after the day's beginning."""
    return held_ms(policy.sinks["content"].retention_ms) - DAY_MS


def admit(now_ms: int, append_ms: int, limits: AgeLimits, suppressions: Suppressions | None) -> Admission:
    """Return the admission of one raw record.

    Age counts from received_at or from the append, whichever is earlier: a replay restarts the append time, and a
    producer's clock may lie. An append time in the future (a topic with CreateTime) is no reason to accept a later
    received_at: now is.
    """
    oldest_ms = now_ms - limits.content_ms
    content_from_ms = oldest_ms if append_ms >= oldest_ms else _NEVER_MS
    return Admission(
        latest_ms=min(append_ms, now_ms) + FUTURE_SLACK_MS,
        content_from_ms=content_from_ms,
        operational_from_ms=now_ms - limits.operational_ms,
        short_lived_from_ms=content_from_ms,
        suppressions=suppressions,
    )
