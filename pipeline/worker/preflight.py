"""What must hold before a worker starts: topics are there, take what the event limit lets through, and end in time."""

from collections.abc import Iterator, Mapping

from pipeline.errors import ConfigError
from pipeline.policy.load import Policy
from pipeline.topics.derive import message_bytes
from pipeline.topics.duration import format_ms
from pipeline.topics.life import SLACK_MS
from pipeline.topics.live import LiveTopic

NEEDED = ("raw", "content", "operational", "rejected", "control", "applied")
_SIZE = "max.message.bytes"
_LIFE = ("retention.ms", "segment.ms")


def check_topics(
    policy: Policy, topics: Mapping[str, str], live: Mapping[str, LiveTopic], admission_ms: int
) -> list[str]:
    """Return what is wrong with the topics that a worker needs; empty means that it can start.

    Args:
        policy: its sinks and limits.
        topics: topic of each sink, by the sink's name.
        live: what the cluster has, by topic name.
        admission_ms: oldest request of which content is made.
    """
    missing = [topics[name] for name in NEEDED if topics[name] not in live]
    found = {name: live[topics[name]] for name in NEEDED if topics[name] in live}
    return [
        *(f"{topic} does not exist (run `lethe topics apply`)" for topic in missing),
        *_check_sizes(policy, found),
        *_check_lives(policy, found, admission_ms),
    ]


def require_topics(policy: Policy, topics: Mapping[str, str], live: Mapping[str, LiveTopic], admission_ms: int) -> None:
    """Refuse to start where `check_topics` finds something.

    Raises:
        ConfigError: with every finding.
    """
    findings = check_topics(policy, topics, live, admission_ms)
    if findings:
        raise ConfigError("the topics are not ready: " + "; ".join(findings))


def _check_sizes(policy: Policy, found: Mapping[str, LiveTopic]) -> Iterator[str]:
    """Raw may be another team's, and smaller: then no larger event comes in."""
    for name in ("content", "operational"):
        needed = message_bytes(policy.sinks[name], policy.limits.event_bytes_max)
        size = found[name].settings.get(_SIZE, "") if name in found else ""
        if size.isdigit() and int(size) < needed:
            yield f"{_SIZE} of {found[name].name} is {size}, but a batch can have {needed} (run `lethe topics plan`)"


def _check_lives(policy: Policy, found: Mapping[str, LiveTopic], admission_ms: int) -> Iterator[str]:
    """A request that is as old as admission allows must still be gone from the topic within its bound (design §4)."""
    ends = [field.null_after_ms for field in policy.operational.fields if field.null_after_ms is not None]
    limits = {
        "content": policy.sinks["content"].retention_ms,
        "operational": min([policy.sinks["operational"].retention_ms, *ends]),
    }
    for name, limit_ms in limits.items():
        life = [found[name].settings.get(setting, "") for setting in _LIFE] if name in found else []
        held_ms = sum(int(value) for value in life if value.isdigit())
        if held_ms + admission_ms + SLACK_MS > limit_ms or "-1" in life:
            held = "for ever" if "-1" in life else f"for {format_ms(held_ms)}"
            yield (
                f"{found[name].name if name in found else name} holds records {held}, and admission is "
                f"{format_ms(admission_ms)}: together more than the bound of {format_ms(limit_ms)} allows (lower "
                "LETHE_ADMISSION, or run `lethe topics plan`)"
            )
