"""The difference between the topics as derived and as they are. Pure: `pipeline.topics.admin` reads and applies."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from pipeline.topics.derive import DerivedTopic, in_sync_min
from pipeline.topics.live import LiveTopic, longest_ms

_FOREVER = -1
# Settings that move the time a record lives, by what a larger number does.
_LIFE_NUMBERS = frozenset({"retention.ms", "segment.ms", "file.delete.delay.ms", "retention.bytes"})
_LIFE_WORDS = frozenset({"cleanup.policy", "message.timestamp.type"})


class Action(StrEnum):
    """How a line of the plan is carried out."""

    CREATE = "create"
    ALTER = "alter"
    GROW = "grow"
    BY_HAND = "by hand"


class Effect(StrEnum):
    """What a line does to the time that records live. Anything but nothing needs ``--yes``."""

    NONE = ""
    SHORTENS = "shortens"
    WIDENS = "widens"
    MOVES = "moves"


@dataclass(frozen=True, slots=True)
class Change:
    """One line of the plan.

    Attributes:
        topic: its name.
        setting: a topic setting, ``partitions`` or ``replication.factor``.
        live: the value now, "" when the topic does not exist.
        derived: the value to be.
        why: where that comes from.
        action: how.
        effect: what it does to the time that records live.
    """

    topic: str
    setting: str
    live: str
    derived: str
    why: str
    action: Action
    effect: Effect = Effect.NONE


@dataclass(frozen=True, slots=True)
class Move:
    """A topic whose records will live for another time at most; None is without an end."""

    topic: str
    before_ms: int | None
    after_ms: int


@dataclass(frozen=True, slots=True)
class Plan:
    """All that `lethe topics apply` would do, and what it cannot do."""

    changes: tuple[Change, ...]
    moves: tuple[Move, ...]

    @property
    def by_hand(self) -> tuple[Change, ...]:
        """Lines that nobody but the cluster's operator can carry out."""
        return tuple(change for change in self.changes if change.action is Action.BY_HAND)

    @property
    def to_do(self) -> tuple[Change, ...]:
        """Lines that `apply` carries out."""
        return tuple(change for change in self.changes if change.action is not Action.BY_HAND)

    @property
    def needs_consent(self) -> bool:
        """Whether a topic's records would live for a shorter or longer time than now."""
        return any(change.effect for change in self.to_do)


def make_plan(derived: Sequence[DerivedTopic], live: Mapping[str, LiveTopic], check_ms: int) -> Plan:
    """Compare.

    Args:
        derived: the managed topics as they must be.
        live: topics that exist, by name; others than the derived ones do not matter.
        check_ms: the brokers' check interval.
    """
    changes = [change for topic in derived for change in _changes(topic, live.get(topic.name))]
    moves = [
        Move(topic.name, longest_ms(found.settings, check_ms), topic.life.hold_ms)
        for topic in derived
        if (found := live.get(topic.name)) and any(c.effect for c in changes if c.topic == topic.name)
    ]
    return Plan(tuple(changes), tuple(moves))


def _changes(topic: DerivedTopic, live: LiveTopic | None) -> Iterator[Change]:
    if live is None:
        partitions, replicas = f"as declared in topics/{topic.sink.name}.json, or wished", "records outlive a broker"
        yield Change(topic.name, "partitions", "", str(topic.partitions), partitions, Action.CREATE)
        yield Change(topic.name, "replication.factor", "", str(topic.replication), replicas, Action.CREATE)
        for name, setting in topic.settings.items():
            yield Change(topic.name, name, "", setting.value, setting.why, Action.CREATE)
        return
    yield from _shape_changes(topic, live)
    for name, setting in topic.settings.items():
        value, why = setting.value, setting.why
        if name == "min.insync.replicas":  # by the replicas it has: more than these would stop every write
            value, why = str(in_sync_min(live.replication)), f"acks=all with the {live.replication} replicas it has"
        found = live.settings.get(name)
        if found != value and not (found is None and name == "remote.storage.enable"):
            yield _alteration(topic.name, name, found or "", value, why)


def _shape_changes(topic: DerivedTopic, live: LiveTopic) -> Iterator[Change]:
    count = len(live.partitions)
    if count < topic.partitions:
        why = "added ones start empty; none is ever taken away"
        yield Change(topic.name, "partitions", str(count), str(topic.partitions), why, Action.GROW)
    if live.replication < topic.replication:
        yield Change(
            topic.name, "replication.factor", str(live.replication), str(topic.replication),
            "reassign its replicas (kafka-reassign-partitions), then apply again", Action.BY_HAND,
        )  # fmt: skip


def _alteration(topic: str, name: str, live: str, derived: str, why: str) -> Change:
    if name == "remote.storage.enable":
        why = "switch tiered storage off (remote.log.delete.on.disable=true removes what it holds), then apply again"
        return Change(topic, name, live, derived, why, Action.BY_HAND)
    return Change(topic, name, live, derived, why, Action.ALTER, effect_of(name, live, derived))


def effect_of(name: str, live: str, derived: str) -> Effect:
    """Return what a setting's change does to the time that records live."""
    if name in _LIFE_WORDS:
        # From compaction to deletion, or to another clock: for some records shorter, for others longer.
        return Effect.MOVES
    if name not in _LIFE_NUMBERS or not live:
        return Effect.NONE
    before, after = int(live), int(derived)
    if _FOREVER in {before, after}:
        return Effect.SHORTENS if before == _FOREVER else Effect.WIDENS
    return Effect.SHORTENS if after < before else Effect.WIDENS


def by_topic(changes: Iterable[Change], action: Action) -> dict[str, dict[str, str]]:
    """Return the derived values of the lines of one kind, by topic and setting."""
    topics: dict[str, dict[str, str]] = {}
    for change in changes:
        if change.action is action:
            topics.setdefault(change.topic, {})[change.setting] = change.derived
    return topics


def creations(changes: Iterable[Change]) -> dict[str, dict[str, Any]]:
    """Return the topics to create, in the words of the client."""
    shape = ("partitions", "replication.factor")
    return {
        name: {
            "num_partitions": int(values["partitions"]),
            "replication_factor": int(values["replication.factor"]),
            "configs": {setting: value for setting, value in values.items() if setting not in shape},
        }
        for name, values in by_topic(changes, Action.CREATE).items()
    }


def first_not_done(changes: Iterable[Change], live: Mapping[str, LiveTopic]) -> str:
    """Name the first line that the cluster does not show as done, or nothing."""
    for change in changes:
        topic = live.get(change.topic)
        if topic is None or _shown(topic).get(change.setting) != change.derived:
            return f"{change.topic}: {change.setting}"
    return ""


def _shown(topic: LiveTopic) -> dict[str, str]:
    led = sum(partition.leader >= 0 for partition in topic.partitions)
    return {**topic.settings, "partitions": str(led), "replication.factor": str(topic.replication)}
