"""What the topics are called: the operator's names over the policy's."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from pipeline.errors import ConfigError
from pipeline.policy.model import SinkPolicy

_NAME = re.compile(r"[A-Za-z0-9._-]{1,249}", re.ASCII)
_RESERVED = {".", ".."}


@dataclass(frozen=True, slots=True)
class TopicSettings:
    """Topic names.

    Attributes:
        topic_prefix: stands before the policy's topic names.
        topics: whole topic names by sink, where they differ.
    """

    topic_prefix: str = "requests."
    topics: Mapping[str, str] = field(default_factory=dict)

    def topic_of(self, sink: SinkPolicy) -> str:
        """Return the topic of a sink."""
        return self.topics.get(sink.name) or self.topic_prefix + sink.topic

    def check(self, sinks: Mapping[str, SinkPolicy]) -> None:
        """Refuse what Kafka would refuse, and what would mix sinks.

        Raises:
            ConfigError: a name is malformed, or two sinks share a topic. The text repeats no value.
        """
        taken: dict[str, str] = {}
        for sink in sinks.values():
            topic = self.topic_of(sink)
            setting = f"topic_{sink.name}" if self.topics.get(sink.name) else "topic_prefix"
            setting = f"{setting} (LETHE_{setting.upper()})"
            if not _NAME.fullmatch(topic) or topic in _RESERVED:
                raise ConfigError(f"{setting} gives no topic name: 1 to 249 letters, digits, '.', '_' or '-'")
            # Kafka's metric names hold '_' for '.', so it refuses two topics that differ in these alone.
            other = taken.setdefault(topic.replace(".", "_"), sink.name)
            if other != sink.name:
                raise ConfigError(f"{setting}: the sinks {other} and {sink.name} would share a topic")
