"""Derives a topic's settings from its sink's retention bound (design §4). Pure; every value says why."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from pipeline.errors import ConfigError, PolicyError
from pipeline.policy.model import SinkPolicy
from pipeline.topics.duration import format_ms
from pipeline.topics.life import MADE_FROM_RAW, SEGMENT_MS_FLOOR, Basis, Life, life_of, refusal_of
from pipeline.topics.live import DELETE_DELAY, TIERED

HEADROOM_BYTES = 1 << 20
SMALL_MESSAGE_BYTES = 1_048_588
REPLICATION = 3
STREAM = MADE_FROM_RAW | {"raw"}


@dataclass(frozen=True, slots=True)
class Setting:
    """A topic setting as derived, and why."""

    value: str
    why: str


@dataclass(frozen=True, slots=True)
class DerivedTopic:
    """What a managed sink's topic must be."""

    sink: SinkPolicy
    name: str
    partitions: int
    replication: int
    settings: Mapping[str, Setting] = field(repr=False)
    life: Life


def derive_topics(basis: Basis) -> list[DerivedTopic]:
    """Derive every managed topic.

    Raises:
        PolicyError: bounds cannot be met; the text has the arithmetic of each.
        ConfigError: a wish cannot be had.
    """
    replication = replication_of(basis)
    wishes = basis.wishes
    if wishes.segment_ms_min < SEGMENT_MS_FLOOR:
        raise ConfigError(f"the shortest segment.ms must be {format_ms(SEGMENT_MS_FLOOR)} or more")
    managed = [sink for sink in basis.sinks.values() if sink.managed]
    refused = [text for sink in managed if (text := refusal_of(sink, basis))]
    if refused:
        raise PolicyError("a bound cannot be met:\n" + "\n".join(f"  {text}" for text in refused))
    derived = []
    for sink in managed:
        life = life_of(sink, basis)
        partitions = wishes.partitions if wishes.partitions and sink.name in STREAM else sink.partitions
        settings = dict(_settings(sink, life, replication, basis))
        derived.append(DerivedTopic(sink, basis.names[sink.name], partitions, replication, settings, life))
    return derived


def replication_of(basis: Basis) -> int:
    """Return the number of replicas: as wished, otherwise 3, or the number of brokers when they are fewer.

    Raises:
        ConfigError: there are fewer brokers than wished for.
    """
    brokers = len(basis.facts.brokers)
    wished = basis.wishes.replication
    replication = min(REPLICATION, brokers) if wished is None else wished
    if not 1 <= replication <= brokers:
        raise ConfigError(f"--replication must be from 1 to the number of brokers, which is {brokers}")
    return replication


def in_sync_min(replication: int) -> int:
    """Return min.insync.replicas: 2 of 3, so that one broker may fail and no acknowledged record is on one alone."""
    return max(1, min(2, replication - 1))


def message_bytes(sink: SinkPolicy, event_bytes_max: int) -> int:
    """Return max.message.bytes: the largest event, and room for its key, headers and framing, where events pass."""
    return event_bytes_max + HEADROOM_BYTES if sink.name in STREAM else SMALL_MESSAGE_BYTES


def _settings(sink: SinkPolicy, life: Life, replication: int, basis: Basis) -> Iterator[tuple[str, Setting]]:
    yield "retention.ms", Setting(str(life.retention_ms), _why_retention(life))
    yield "segment.ms", Setting(str(life.segment_ms), "a record waits for its segment to roll")
    if DELETE_DELAY not in basis.facts.assumed:  # who hides the broker's setting lets nobody change the topic's
        yield (
            "file.delete.delay.ms",
            Setting(str(life.delete_ms), "pinned: a new default of the brokers moves no bound"),
        )
    yield "message.timestamp.type", Setting("LogAppendTime", "a client's clock neither prolongs nor ends a record")
    yield "cleanup.policy", Setting("delete", "compaction alone never applies retention.ms")
    yield "segment.jitter.ms", Setting("0", "segments roll when the arithmetic says")
    yield "retention.bytes", Setting("-1", "time alone ends a record: size would drop unread ones")
    if TIERED in basis.facts.settings:
        yield "remote.storage.enable", Setting("false", "the bound holds on the brokers' own disks only")
    size = message_bytes(sink, basis.wishes.event_bytes_max)
    yield "max.message.bytes", Setting(str(size), _why_size(sink, basis.wishes.event_bytes_max))
    yield "min.insync.replicas", Setting(str(in_sync_min(replication)), f"acks=all with {replication} replicas")
    yield "unclean.leader.election.enable", Setting("false", "a replica that lags would lose acknowledged records")


def _why_retention(life: Life) -> str:
    if life.at_least:
        return f"held {format_ms(life.limit_ms)} at least: it outlives what it erases"
    rest = (life.segment_ms, "segment"), (life.check_ms, "check"), (life.delete_ms, "delete delay")
    return " - ".join([f"{format_ms(life.hold_ms)} hold", *(f"{format_ms(ms)} {name}" for ms, name in rest)])


def _why_size(sink: SinkPolicy, event_bytes_max: int) -> str:
    if sink.name not in STREAM:
        return "its records are small"
    return f"largest event {event_bytes_max:,} + framing {HEADROOM_BYTES:,}"
