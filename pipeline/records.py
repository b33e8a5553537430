"""What comes out of the core: two records, or a rejection, and payload-free facts about the event.

Every ``repr`` here is safe to log: it names the request at most, never a field's value.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from pipeline.errors import Reason

PLAIN = "json"
"""Encoding of a body that is not sealed."""

Scalar = str | int | float | bool | None
Json = Scalar | list["Json"] | dict[str, "Json"]
Fields = Mapping[str, Scalar | Mapping[str, int]]


class Sealed(NamedTuple):
    """A content body as it is stored.

    Attributes:
        encoding: ``json`` (plain UTF-8 JSON) or the name of a sealing scheme.
        data: the bytes.
    """

    encoding: str
    data: bytes

    @property
    def wire_bytes(self) -> int:
        """Return how long it is in a record on a topic, where what is sealed is base64."""
        return len(self.data) if self.encoding == PLAIN else (len(self.data) + 2) // 3 * 4

    def __repr__(self) -> str:
        return f"Sealed({self.encoding}, {len(self.data)} bytes)"


class ContentRecord(NamedTuple):
    """Anonymized content of one request (policy §5: at most 30 days).

    Attributes:
        request_id: the record's identity and its one link to the operational record.
        fields: the clear fields, in the order of the content schema, body excluded.
        body: what the request and its answer said, scrubbed and passed through the sealer.
    """

    request_id: str
    fields: Fields
    body: Sealed

    def __repr__(self) -> str:
        return f"ContentRecord({self.request_id})"


class OperationalRecord(NamedTuple):
    """Content-free metadata of one request (policy §5: kept longer).

    Attributes:
        request_id: the record's identity.
        fields: every field of the operational schema, in its order.
    """

    request_id: str
    fields: Fields

    def __repr__(self) -> str:
        return f"OperationalRecord({self.request_id})"


class Source(NamedTuple):
    """Where a raw event was read from. Names no path: a path can name a person.

    Attributes:
        topic: a Kafka topic, or ``file:<hex>`` (a digest of the path) for a file.
        partition: Kafka partition, 0 for a file.
        offset: Kafka offset, or the line number of a file, from 1.
        size_bytes: size of the raw event.
    """

    topic: str
    partition: int
    offset: int
    size_bytes: int


class Rejection(NamedTuple):
    """A pointer to a refused raw event: no payload, no value, no undeclared name.

    Attributes:
        source: where the raw event was read from.
        reason: why it was refused.
        pointer: where in the event; an undeclared name is ``*``.
        fields: every field of the rejection schema, in its order.
    """

    source: Source
    reason: Reason
    pointer: str
    fields: Fields

    def __repr__(self) -> str:
        return f"Rejection({self.reason} at {self.pointer or '/'}, {self.source})"


@dataclass(slots=True)
class Facts:
    """Counts about one event, for metrics and summaries; names come from closed lists only.

    Attributes:
        redactions: how many spans or leaves were replaced, by entity type.
        unknown_fields: fields of the event that the schema does not declare.
        dropped_fields: declared fields and body keys that were dropped.
        duplicate_keys: keys that occurred again in one object (the last one wins).
        content_outcome: ``stored``, ``expired``, ``restricted``, ``erased`` or ``oversize``.
        received_at_ms: when the request came in, epoch milliseconds.
        key_epoch: name of the key epoch that its pseudonyms are under.
    """

    redactions: dict[str, int] = field(default_factory=dict)
    unknown_fields: int = 0
    dropped_fields: int = 0
    duplicate_keys: int = 0
    content_outcome: str = "stored"
    received_at_ms: int = 0
    key_epoch: str = ""


class Anonymized(NamedTuple):
    """An event's one good fate. ``content`` is None when content may not be stored (too old, restricted)."""

    content: ContentRecord | None
    operational: OperationalRecord
    facts: Facts

    def __repr__(self) -> str:
        return f"Anonymized({self.operational.request_id})"


Fate = Anonymized | Rejection
