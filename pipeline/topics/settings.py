"""Where the topics are and what they are called: the environment over the policy's names."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from pipeline.errors import ConfigError
from pipeline.policy.model import SinkPolicy

_NAME = re.compile(r"[A-Za-z0-9._-]{1,249}", re.ASCII)
_BROKER = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+):\d{1,5}", re.ASCII)
_RESERVED = {".", ".."}


@dataclass(frozen=True, slots=True)
class TopicSettings:
    """Brokers and topic names.

    Attributes:
        brokers: ``host:port``, separated by commas.
        topic_prefix: stands before the policy's topic names.
        topics: whole topic names by sink, where they differ.
    """

    brokers: str = "127.0.0.1:9092"
    topic_prefix: str = "requests."
    topics: Mapping[str, str] = field(default_factory=dict)

    def topic_of(self, sink: SinkPolicy) -> str:
        """Return the topic of a sink."""
        return self.topics.get(sink.name) or self.topic_prefix + sink.topic

    def check(self, sinks: Mapping[str, SinkPolicy]) -> None:
        """Refuse what Kafka would refuse, and what would mix sinks.

        Raises:
            ConfigError: an address or a name is malformed, or two sinks share a topic. The text repeats no value.
        """
        if not all(_BROKER.fullmatch(address.strip()) for address in self.brokers.split(",")):
            raise ConfigError("LETHE_BROKERS must be host:port, several separated by commas")
        taken: dict[str, str] = {}
        for sink in sinks.values():
            topic = self.topic_of(sink)
            variable = f"LETHE_TOPIC_{sink.name.upper()}" if sink.name in self.topics else "LETHE_TOPIC_PREFIX"
            if not _NAME.fullmatch(topic) or topic in _RESERVED:
                raise ConfigError(f"{variable} gives no topic name: 1 to 249 letters, digits, '.', '_' or '-'")
            # Kafka's metric names hold '_' for '.', so it refuses two topics that differ in these alone.
            other = taken.setdefault(topic.replace(".", "_"), sink.name)
            if other != sink.name:
                raise ConfigError(f"{variable}: the sinks {other} and {sink.name} would share a topic")


def load_topic_settings(environ: Mapping[str, str], sinks: Mapping[str, SinkPolicy]) -> TopicSettings:
    """Read ``LETHE_BROKERS``, ``LETHE_TOPIC_PREFIX`` and ``LETHE_TOPIC_<SINK>``. An empty variable is none.

    Raises:
        ConfigError: as `TopicSettings.check`.
    """
    given = {name: environ.get(f"LETHE_{name.upper()}") for name in ("brokers", "topic_prefix")}
    topics = {name: environ[key] for name in sinks if environ.get(key := f"LETHE_TOPIC_{name.upper()}")}
    settings = TopicSettings(**{name: value for name, value in given.items() if value}, topics=topics)
    settings.check(sinks)
    return settings
