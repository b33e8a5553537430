"""The only module that talks to Kafka as an administrator. Errors are one line: what failed, where, what to check."""

import logging
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from types import TracebackType
from typing import Any, Self, TypeVar

from kafka import KafkaAdminClient, TopicPartition
from kafka import errors as kafka_errors
from kafka.admin import ConfigResource, ConfigResourceType

from pipeline.brokers import Brokers
from pipeline.errors import ConfigError, SinkUnavailable, forget_text
from pipeline.knock import knock_aside
from pipeline.topics import live
from pipeline.topics.live import BrokerFacts, LiveTopic
from pipeline.topics.plan import Action, Change, by_topic, creations, first_not_done
from pipeline.topics.trouble import RIGHTS, to_error

CONNECT_TIMEOUT_MS = 10_000
REQUEST_TIMEOUT_MS = 30_000
SETTLE_TIMEOUT_S = 15.0
_SETTLE_POLL_S = 0.1
_UNKNOWN_TOPIC = 3
# Asked for the first record from this time on, a broker names the oldest one and its timestamp.
_SINCE_EVER_MS = 0

T = TypeVar("T")


class TopicAdmin:
    """A connection to a cluster, for its topics. Close it, or use it as a context manager."""

    def __init__(self, brokers: Brokers, *, timeout_ms: int = CONNECT_TIMEOUT_MS) -> None:
        """Connect.

        Args:
            brokers: how Kafka is reached.
            timeout_ms: how long to try.

        Raises:
            SinkUnavailable: no broker answers.
            ConfigError: as `pipeline.knock.knock`.
        """
        quiet_client()
        knock_aside(brokers)
        self._address = brokers
        with self._guarded("connect"):
            self._client: Any = KafkaAdminClient(
                bootstrap_servers=brokers.servers(),
                client_id="lethe-topics",
                bootstrap_timeout_ms=timeout_ms,
                request_timeout_ms=REQUEST_TIMEOUT_MS,
                **brokers.options(),
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the connection."""
        self._client.close()

    def read_brokers(self, assumed: Mapping[str, str] | None = None) -> BrokerFacts:
        """Read the brokers and the settings of theirs that matter.

        Args:
            assumed: settings to fill in where the brokers show none.
        """
        brokers = self._brokers()
        answers = self._ask_each("read the brokers' settings", brokers, self._broker_settings)
        if not answers:
            raise to_error("read the brokers' settings", self._address, kafka_errors.NodeNotReadyError)
        found = live.slowest_settings(answers.values())
        missing = {name: value for name, value in (assumed or {}).items() if name not in found}
        return BrokerFacts(tuple(sorted(brokers)), found | missing, frozenset(missing))

    def read_topics(self, names: Iterable[str], *, deep: bool = False) -> dict[str, LiveTopic]:
        """Read the topics that exist, by name.

        Args:
            names: of the topics to look for.
            deep: read the age of the oldest records and left-over replicas too.
        """
        wanted = sorted(set(names))
        with self._guarded("describe topics"):
            described = self._client.describe_topics(wanted)
        exist = {topic["name"]: topic["partitions"] for topic in described if _exists(topic, self._address)}
        settings = self._settings(ConfigResourceType.TOPIC, exist)
        oldest = self._oldest(exist) if deep else {}
        left_over, hidden_by = self._left_over(exist) if deep else ({}, ())
        topics = {}
        for name, partitions in exist.items():
            if not settings[name]:
                raise ConfigError(f"the cluster does not show the settings of {name}; {RIGHTS}")
            ordered = sorted(partitions, key=lambda partition: int(partition["partition_index"]))
            held = tuple(live.to_partition(name, partition, oldest, left_over) for partition in ordered)
            topics[name] = LiveTopic(name, settings[name], held, hidden_by)
        return topics

    def members_of(self, group: str) -> list[str]:
        """Return the ids of a consumer group's members: none of one that does not exist. What fails is never none."""
        with self._guarded("describe the group"):
            found = self._client.describe_groups([group])[group]
        if found["error"] and kafka_errors.GroupIdNotFoundError.__name__ not in found["error"]:
            denied = kafka_errors.GroupAuthorizationFailedError
            kind = denied if denied.__name__ in found["error"] else kafka_errors.KafkaError
            raise to_error("describe the group", self._address, kind)
        return [member["member_id"] for member in found["members"]]

    def apply(self, changes: Iterable[Change]) -> None:
        """Carry out a plan's lines: nothing else is touched, and nothing at all when the cluster refuses one of them.

        Raises:
            ConfigError: the cluster refuses; the text names the topic and gives the broker's reason.
            SinkUnavailable: the cluster is not there.
        """
        chosen = list(changes)
        for validate_only in (True, False):
            self._create(creations(chosen), validate_only)
            self._grow(by_topic(chosen, Action.GROW), validate_only)
            self._alter(by_topic(chosen, Action.ALTER), validate_only)

    def wait_for(self, changes: Iterable[Change]) -> None:
        """Wait until the cluster says that the lines hold.

        Raises:
            SinkUnavailable: it does not say so in time.
        """
        chosen = list(changes)
        deadline = time.monotonic() + SETTLE_TIMEOUT_S
        while left := first_not_done(chosen, self.read_topics({change.topic for change in chosen})):
            if time.monotonic() > deadline:
                raise SinkUnavailable(f"{left} was accepted but cannot be read back: run `lethe topics plan` again")
            time.sleep(_SETTLE_POLL_S)

    def _create(self, topics: Mapping[str, dict[str, Any]], validate_only: bool) -> None:
        if not topics:
            return
        with self._guarded("create topics"):
            answer = self._client.create_topics(topics, validate_only=validate_only, raise_errors=False)
        for topic in answer["topics"]:
            _check_answer("create", topic["name"], topic["error_code"], topic.get("error_message"))

    def _grow(self, topics: Mapping[str, dict[str, str]], validate_only: bool) -> None:
        if not topics:
            return
        counts = {name: int(settings["partitions"]) for name, settings in topics.items()}
        with self._guarded("add partitions"):
            answer = self._client.create_partitions(counts, validate_only=validate_only, raise_errors=False)
        for result in answer.results:
            _check_answer("add partitions to", result.name, result.error_code, result.error_message)

    def _alter(self, topics: Mapping[str, dict[str, str]], validate_only: bool) -> None:
        if not topics:
            return
        resources = [ConfigResource(ConfigResourceType.TOPIC, name, values) for name, values in topics.items()]
        with self._guarded("alter topics"):
            # Incremental, and nothing else would do: the older request resets every setting that it does not name.
            answer = self._client.alter_configs(
                resources, validate_only=validate_only, incremental=True, raise_on_unknown=False
            )
        for name, result in answer.get("topic", {}).items():
            if result != "OK":
                raise ConfigError(f"the cluster refuses to alter {name}: {result}")

    def _settings(self, kind: ConfigResourceType, names: Iterable[str]) -> dict[str, dict[str, str]]:
        """Read every setting in effect; what the cluster hides is missing."""
        resources = [ConfigResource(kind, name) for name in names]
        if not resources:
            return {}
        with self._guarded("read settings"):
            found = self._client.describe_configs(resources, config_filter="all").get(kind.name.lower(), {})
        return {
            resource.name: {
                name: entry["value"]
                for name, entry in found.get(resource.name, {}).items()
                if entry["value"] is not None and not entry["is_sensitive"]
            }
            for resource in resources
        }

    def _oldest(self, topics: Mapping[str, Any]) -> dict[tuple[str, int], int]:
        """Read the timestamp of the oldest record of each partition that has a leader and a record."""
        asked = {
            TopicPartition(name, partition["partition_index"]): _SINCE_EVER_MS
            for name, partitions in topics.items()
            for partition in partitions
            if partition["leader_id"] >= 0
        }
        if not asked:
            return {}
        with self._guarded("read the oldest records' timestamps"):
            found = self._client.list_partition_offsets(asked)
        return {(at.topic, at.partition): said.timestamp for at, said in found.items() if said.timestamp >= 0}

    def _left_over(self, topics: Mapping[str, Any]) -> tuple[dict[tuple[str, int], set[int]], tuple[int, ...]]:
        """Find the live brokers that hold a partition which is not theirs (any more), and those that do not say."""
        owners = {(name, p["partition_index"]): p["replica_nodes"] for name, ps in topics.items() for p in ps}
        asked = {name: [p["partition_index"] for p in partitions] for name, partitions in topics.items()}
        if not asked:
            return {}, ()
        brokers, doing = self._brokers(), "read the brokers' folders"
        answers = self._ask_each(doing, brokers, lambda at: self._client.describe_log_dirs(asked, [at])[0]["log_dirs"])
        silent = (broker for broker, alive in brokers.items() if alive and not answers.get(broker))
        held = {broker: live.held_partitions(log_dirs) for broker, log_dirs in answers.items()}
        return live.left_over_replicas(held, owners), tuple(sorted(silent))

    def _brokers(self) -> dict[int, bool]:
        """Return the ids of the brokers, and whether each is alive, as far as the cluster has noticed."""
        with self._guarded("describe the cluster"):
            brokers = self._client.describe_cluster()["brokers"]
        return {broker["broker_id"]: not broker.get("is_fenced", False) for broker in brokers}

    def _broker_settings(self, broker: int) -> dict[str, str]:
        return self._settings(ConfigResourceType.BROKER, [str(broker)])[str(broker)]

    def _ask_each(self, doing: str, brokers: Mapping[int, bool], ask: Callable[[int], T]) -> dict[int, T]:
        """Ask every broker that is alive, and return the answers of those that give one."""
        answers = {}
        for broker in (broker for broker, alive in brokers.items() if alive):
            with suppress(SinkUnavailable), self._guarded(doing):
                answers[broker] = ask(broker)
        return answers

    @contextmanager
    def _guarded(self, doing: str) -> Iterator[None]:
        try:
            yield
        except (kafka_errors.KafkaError, OSError, RuntimeError) as error:  # a lost controller is a RuntimeError
            forget_text(error)  # it stays the context of ours, since the body of `with` is what raised it
            raise to_error(doing, self._address, type(error)) from None


def quiet_client() -> None:
    """Keep the client's own messages off the terminal, unless someone asked its logger for more than warnings."""
    logger = logging.getLogger("kafka")
    if logger.level in {logging.NOTSET, logging.WARNING}:
        logger.setLevel(logging.CRITICAL)


def _exists(topic: Mapping[str, Any], brokers: Brokers) -> bool:
    code = topic["error_code"]
    if code in {0, _UNKNOWN_TOPIC}:
        return bool(code == 0)
    raise to_error(f"describe the topic {topic['name']}", brokers, kafka_errors.for_code(code))


def _check_answer(doing: str, topic: str, code: int, message: str | None) -> None:
    if code:
        raise ConfigError(f"the cluster refuses to {doing} {topic}: {message or kafka_errors.for_code(code).__name__}")
