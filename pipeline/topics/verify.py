"""Judges the live topics against the policy: settings, replicas, and the oldest records. Pure; managed or not.

`plan` says whether a topic is as derived; this says whether its bound holds, whoever made it.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum

from pipeline.policy.model import SinkPolicy
from pipeline.topics.derive import STREAM, in_sync_min, message_bytes, replication_of
from pipeline.topics.duration import format_ms
from pipeline.topics.life import HELD_AT_LEAST, Basis
from pipeline.topics.live import AUTO_CREATE, CHECK_INTERVAL, DELETE_DELAY, LiveTopic, longest_ms


class Outcome(StrEnum):
    """What a check came to."""

    OK = "ok"
    WARNS = "warns"
    FAILS = "fails"


@dataclass(frozen=True, slots=True)
class Check:
    """One check.

    Attributes:
        topic: its name, "" for the cluster.
        check: what was looked at.
        outcome: what it came to.
        found: what is there.
        needed: what must be.
    """

    topic: str
    check: str
    outcome: Outcome
    found: str
    needed: str


def verify_topics(basis: Basis, live: Mapping[str, LiveTopic], now_ms: int) -> list[Check]:
    """Judge the brokers and every sink's topic.

    Args:
        basis: policy, names, brokers and wishes.
        live: the topics that exist, read deeply, by name.
        now_ms: the time.
    """
    checks = [*_broker_checks(basis)]
    for sink in basis.sinks.values():
        name = basis.names[sink.name]
        topic = live.get(name)
        if topic is None:
            checks.append(Check(name, "exists", Outcome.FAILS, "no such topic", "lethe topics apply"))
        else:
            checks += [*_setting_checks(sink, topic, basis)]
            checks += [*_replica_checks(topic, basis)]
            checks.append(_age_check(sink, topic, basis, now_ms))
    return checks


def _judged(topic: str, check: str, found: str, needed: str, *, holds: bool) -> Check:
    return Check(topic, check, Outcome.OK if holds else Outcome.FAILS, found, needed)


def _broker_checks(basis: Basis) -> Iterator[Check]:
    facts = basis.facts
    for name in (CHECK_INTERVAL, DELETE_DELAY):
        note = " (assumed)" if name in facts.assumed else ""
        yield Check("", name, Outcome.OK, format_ms(facts.ms(name)) + note, "part of every bound")
    if facts.settings.get(AUTO_CREATE) == "true":
        needed = "false: a mistyped name makes a topic that nothing bounds"
        yield Check("", AUTO_CREATE, Outcome.WARNS, "true", needed)


def _setting_checks(sink: SinkPolicy, topic: LiveTopic, basis: Basis) -> Iterator[Check]:
    wanted = {
        "cleanup.policy": "delete",
        "message.timestamp.type": "LogAppendTime",
        "remote.storage.enable": "false",
        "retention.bytes": "-1",
        "unclean.leader.election.enable": "false",
    }
    for name, value in wanted.items():
        if (found := topic.settings.get(name)) is not None:
            yield _judged(topic.name, name, found, value, holds=found == value)
    yield _bound_check(sink, topic, basis)
    size = int(topic.settings.get("max.message.bytes", "0"))
    least = message_bytes(sink, basis.wishes.event_bytes_max)
    if sink.name in STREAM and sink.managed:
        yield _judged(topic.name, "max.message.bytes", f"{size:,}", f"{least:,} or more", holds=size >= least)


def _bound_check(sink: SinkPolicy, topic: LiveTopic, basis: Basis) -> Check:
    longest = longest_ms(topic.settings, basis.facts.check_ms)
    limit_ms = basis.limit_ms(sink)
    if sink.name in HELD_AT_LEAST:
        retention_ms = int(topic.settings["retention.ms"])
        found = "for ever" if longest is None else f"{_terms(topic, basis)} = {format_ms(longest)}"
        holds = longest is not None and retention_ms >= limit_ms
        needed = f"retention.ms {format_ms(limit_ms)} or more, and an end"
        return _judged(topic.name, "held", found, needed, holds=holds)
    needed = f"{format_ms(limit_ms)} from the request"
    if longest is None:
        return _judged(topic.name, "bound", "nothing bounds it", needed, holds=False)
    admission_ms = basis.admission_ms(sink)
    older = f"{format_ms(admission_ms)} admission + " if admission_ms else ""
    found = f"{older}{_terms(topic, basis)} = {format_ms(longest + admission_ms)}"
    return _judged(topic.name, "bound", found, needed, holds=longest + admission_ms <= limit_ms)


def _terms(topic: LiveTopic, basis: Basis) -> str:
    terms = {
        "retention": int(topic.settings["retention.ms"]),
        "segment": int(topic.settings["segment.ms"]),
        "check": basis.facts.check_ms,
        "delete delay": int(topic.settings["file.delete.delay.ms"]),
    }
    return " + ".join(f"{format_ms(ms)} {name}" for name, ms in terms.items())


def _replica_checks(topic: LiveTopic, basis: Basis) -> Iterator[Check]:
    wanted = replication_of(basis)
    found = topic.replication
    yield _judged(topic.name, "replicas", str(found), f"{wanted} or more", holds=found >= wanted)
    in_sync, least = int(topic.settings["min.insync.replicas"]), in_sync_min(wanted)
    most = max(1, found - 1)
    needed = str(least) if least >= most else f"{least} to {most}"
    yield _judged(topic.name, "min.insync.replicas", str(in_sync), needed, holds=least <= in_sync <= max(least, most))
    offline = [p.number for p in topic.partitions if p.offline or p.leader < 0]
    needed = "none: nothing is deleted there"
    yield _judged(topic.name, "offline replicas", _numbers(offline), needed, holds=not offline)
    lagging = [p.number for p in topic.partitions if len(p.in_sync) < len(p.replicas)]
    yield _judged(topic.name, "replicas behind", _numbers(lagging), "none", holds=not lagging)
    left_over = [p.number for p in topic.partitions if p.left_over]
    if topic.hidden_by and not left_over:
        yield Check(topic.name, "left-over replicas", Outcome.WARNS, "not shown by the brokers", "none")
    else:
        yield _judged(topic.name, "left-over replicas", _numbers(left_over), "none", holds=not left_over)


def _numbers(partitions: list[int]) -> str:
    return f"in partitions {', '.join(map(str, partitions))}" if partitions else "none"


@dataclass(frozen=True, slots=True)
class Oldest:
    """The oldest record of a topic that can be read.

    Attributes:
        partition: where it is; None without records.
        age_ms: its age by its append; None without records.
        partitions: how many have records.
        usual_ms: the age that it reaches when the brokers do as the topic's settings say.
        limit_ms: the age that it must not pass: its bytes stay for the delete delay after it.
    """

    partition: int | None
    age_ms: int | None
    partitions: int
    usual_ms: int
    limit_ms: int


def oldest_record(sink: SinkPolicy, topic: LiveTopic, basis: Basis, now_ms: int) -> Oldest:
    """Return the oldest record of a topic that was read deeply."""
    ages = {p.number: now_ms - p.oldest_ms for p in topic.partitions if p.oldest_ms is not None}
    delete_ms = int(topic.settings.get("file.delete.delay.ms", basis.facts.delete_ms))
    longest = longest_ms(topic.settings, basis.facts.check_ms)
    limit_ms = basis.limit_ms(sink) - basis.admission_ms(sink)
    if sink.name in HELD_AT_LEAST:
        limit_ms = limit_ms if longest is None else longest
    usual_ms = limit_ms if longest is None else min(limit_ms, longest)
    number = max(ages, key=lambda partition: ages[partition]) if ages else None
    age_ms = None if number is None else ages[number]
    return Oldest(number, age_ms, len(ages), usual_ms - delete_ms, limit_ms - delete_ms)


def _age_check(sink: SinkPolicy, topic: LiveTopic, basis: Basis, now_ms: int) -> Check:
    oldest = oldest_record(sink, topic, basis, now_ms)
    needed = f"{format_ms(oldest.limit_ms)} or younger"
    if oldest.age_ms is None:
        return Check(topic.name, "oldest record", Outcome.OK, "no record", needed)
    found = f"{format_ms(oldest.age_ms)} in partition {oldest.partition}"
    return _judged(topic.name, "oldest record", found, needed, holds=oldest.age_ms <= oldest.limit_ms)


def has_failed(checks: Iterable[Check]) -> bool:
    """Return whether a check failed; a warning is none."""
    return any(check.outcome is Outcome.FAILS for check in checks)


def files_end_ms(basis: Basis, live: Mapping[str, LiveTopic]) -> dict[str, int]:
    """Return, by topic, the longest time from the last write into a file of records to its end.

    A file's first record is up to ``segment.ms`` older than its last one, so that much of the limit is gone by then.
    """
    ends = {}
    for sink in basis.sinks.values():
        if topic := live.get(basis.names[sink.name]):
            longest = longest_ms(topic.settings, basis.facts.check_ms)
            limit_ms = basis.limit_ms(sink) - basis.admission_ms(sink)
            if sink.name in HELD_AT_LEAST and longest is not None:
                limit_ms = longest
            ends[topic.name] = limit_ms - int(topic.settings["segment.ms"])
    return ends
