"""What goes to which sink: fates as records with key, headers and partition. Deterministic and pure (design §2, §5)."""

import zlib
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from pipeline.policy.load import Policy
from pipeline.policy.model import RecordSchema
from pipeline.records import Fate, Rejection
from pipeline.wire import content_bytes, operational_bytes, rejection_bytes

Header = tuple[str, bytes]


class Outgoing(NamedTuple):
    """A record on its way to a topic; the same event gives the same key, value and headers."""

    sink: str
    topic: str
    key: bytes
    value: bytes
    headers: list[Header]

    def __repr__(self) -> str:
        return f"Outgoing({self.topic}, {len(self.value)} bytes)"


class Router:
    """Knows the topics and the headers. Headers hold versions only, and nothing of the raw record's."""

    def __init__(self, policy: Policy, topics: Mapping[str, str]) -> None:
        """Prepare.

        Args:
            policy: its versions go into headers.
            topics: topic of each sink, by the sink's name.
        """
        self._topics = {name: topics[name] for name in ("content", "operational", "rejected")}
        self._headers = {
            schema.name: _headers(schema, policy) for schema in (policy.content, policy.operational, policy.rejection)
        }
        self._keyed: dict[tuple[str, str], list[Header]] = {}

    def route(self, fate: Fate) -> Iterator[Outgoing]:
        """Yield the records that a fate becomes: content and operational, operational alone, or a rejection."""
        if isinstance(fate, Rejection):
            key = f"{fate.source.topic}/{fate.source.partition}/{fate.source.offset}".encode()
            yield self._outgoing("rejected", key, rejection_bytes(fate), self._headers["rejection"])
            return
        key, epoch = fate.operational.request_id.encode(), fate.facts.key_epoch
        if fate.content is not None:
            yield self._outgoing("content", key, content_bytes(fate.content), self._with_key("content", epoch))
        value = operational_bytes(fate.operational)
        yield self._outgoing("operational", key, value, self._with_key("operational", epoch))

    def _outgoing(self, sink: str, key: bytes, value: bytes, headers: list[Header]) -> Outgoing:
        return Outgoing(sink, self._topics[sink], key, value, headers)

    def _with_key(self, record: str, epoch: str) -> list[Header]:
        known = self._keyed.get((record, epoch))
        if known is None:
            known = self._keyed[record, epoch] = [*self._headers[record], ("key_epoch", epoch.encode())]
        return known


def partition_of(key: bytes, partitions: int) -> int:
    """Return the partition of a key: its CRC-32 (RFC 1952) modulo the topic's own number of partitions.

    Kafka's librdkafka clients call it ``consistent``. Raw's partition is no guide: raw may be keyed by account, and
    its partition number is then a group of accounts.
    """
    return zlib.crc32(key) % partitions


def _headers(schema: RecordSchema, policy: Policy) -> list[Header]:
    return [
        ("schema", f"{schema.name}/{schema.version}".encode()),
        ("policy", f"{policy.version}".encode()),
        ("policy_digest", policy.digest.encode()),
    ]
