"""What a cluster says of itself: plain data that `pipeline.topics.admin` reads and the pure modules judge."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from pipeline.errors import ConfigError

CHECK_INTERVAL = "log.retention.check.interval.ms"
DELETE_DELAY = "log.segment.delete.delay.ms"
AUTO_CREATE = "auto.create.topics.enable"
TIERED = "remote.log.storage.system.enable"
BROKER_SETTINGS = (CHECK_INTERVAL, DELETE_DELAY, AUTO_CREATE, TIERED)


@dataclass(frozen=True, slots=True)
class BrokerFacts:
    """The brokers, and the settings of theirs that every topic depends on.

    Attributes:
        brokers: ids of the brokers, those included that are registered and down, where the cluster tells.
        settings: by name; where brokers differ, the value that keeps records longest. A hidden one is missing.
        assumed: names of settings that were given with ``--assume`` because the cluster hides them.
    """

    brokers: tuple[int, ...]
    settings: Mapping[str, str]
    assumed: frozenset[str] = frozenset()

    def ms(self, name: str) -> int:
        """Return a broker setting in milliseconds.

        Raises:
            ConfigError: the cluster hides it and nobody assumed it.
        """
        value = self.settings.get(name)
        if value is None:
            raise ConfigError(
                f"the brokers do not show {name}, which the retention bound depends on: "
                f"ask who runs them, and give --assume {name}=MILLISECONDS"
            )
        return int(value)

    @property
    def check_ms(self) -> int:
        """How often brokers look for expired segments."""
        return self.ms(CHECK_INTERVAL)

    @property
    def delete_ms(self) -> int:
        """How long brokers wait between taking a segment out of the log and unlinking its file."""
        return self.ms(DELETE_DELAY)


@dataclass(frozen=True, slots=True)
class LivePartition:
    """One partition.

    Attributes:
        number: from 0.
        leader: the leader's id, -1 for none.
        replicas: ids of the brokers that should hold it.
        in_sync: ids of those that are in sync.
        offline: ids of those that cannot be reached: nothing there is deleted while that lasts.
        oldest_ms: timestamp of the oldest record that can be read, None when there is none or it was not asked for.
        left_over: ids of brokers that hold it although they should not.
    """

    number: int
    leader: int
    replicas: tuple[int, ...]
    in_sync: tuple[int, ...]
    offline: tuple[int, ...] = ()
    oldest_ms: int | None = None
    left_over: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class LiveTopic:
    """One topic.

    Attributes:
        name: its name.
        settings: every setting in effect, wherever it comes from.
        partitions: in order.
        hidden_by: ids of live brokers that were asked which partitions they hold, and did not say.
    """

    name: str
    settings: Mapping[str, str] = field(repr=False)
    partitions: tuple[LivePartition, ...] = ()
    hidden_by: tuple[int, ...] = ()

    @property
    def replication(self) -> int:
        """The smallest number of replicas that a partition has."""
        return min((len(partition.replicas) for partition in self.partitions), default=0)


def longest_ms(settings: Mapping[str, str], check_ms: int) -> int | None:
    """Return the longest time from a record's append to its bytes being gone; None when nothing bounds it.

    Only an append rolls a segment, and a segment expires by its youngest record, so its oldest one waits for
    ``segment.ms`` more. Then comes the next check, and after it the delay before the file is unlinked.

    Args:
        settings: of the topic, all that are in effect.
        check_ms: the brokers' check interval.
    """
    retention_ms = int(settings.get("retention.ms", "-1"))
    bounded = (
        retention_ms >= 0
        and "delete" in settings.get("cleanup.policy", "").split(",")
        and settings.get("message.timestamp.type") == "LogAppendTime"
        and settings.get("remote.storage.enable", "false") != "true"
    )
    if not bounded:
        return None
    return retention_ms + int(settings["segment.ms"]) + check_ms + int(settings["file.delete.delay.ms"])


def to_partition(
    topic: str,
    said: Mapping[str, Any],
    oldest: Mapping[tuple[str, int], int],
    left_over: Mapping[tuple[str, int], Iterable[int]],
) -> LivePartition:
    """Put together what the cluster said of one partition, in several answers."""
    at = (topic, said["partition_index"])
    return LivePartition(
        number=said["partition_index"],
        leader=said["leader_id"],
        replicas=tuple(said["replica_nodes"]),
        in_sync=tuple(said["isr_nodes"]),
        offline=tuple(said["offline_replicas"]),
        oldest_ms=oldest.get(at),
        left_over=tuple(sorted(left_over.get(at, ()))),
    )


def held_partitions(log_dirs: Iterable[Mapping[str, Any]]) -> Iterator[tuple[str, int]]:
    """Yield the partitions that a broker says it has on its disks."""
    for log_dir in log_dirs:
        for topic in log_dir["topics"]:
            yield from ((topic["name"], partition["partition_index"]) for partition in topic["partitions"])


def left_over_replicas(
    held: Mapping[int, Iterable[tuple[str, int]]], owners: Mapping[tuple[str, int], Iterable[int]]
) -> dict[tuple[str, int], set[int]]:
    """Return the partitions that lie on brokers which should not have them (any more).

    Args:
        held: partitions that each broker says it has.
        owners: ids of the brokers that should have them, by partition.
    """
    found: dict[tuple[str, int], set[int]] = {}
    for broker, partitions in held.items():
        for at in partitions:
            if broker not in owners[at]:
                found.setdefault(at, set()).add(broker)
    return found


def slowest_settings(shown: Iterable[Mapping[str, str]]) -> dict[str, str]:
    """Return, of several brokers' settings that matter, the value that keeps records longest: largest, or ``true``."""
    found: dict[str, str] = {}
    for settings in shown:
        for name in settings.keys() & set(BROKER_SETTINGS):
            found[name] = max(found.get(name, settings[name]), settings[name], key=_weight)
    return found


def _weight(value: str) -> int:
    return int(value) if value.isdigit() else value == "true"
