"""Raw records as they come from the consumer: batches of one partition, bounded in bytes and number. Pure."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple, Protocol

BATCH_RECORDS_MAX = 500


class RawRecord(Protocol):
    """What the worker reads of a consumed record; aiokafka's ``ConsumerRecord`` has it."""

    @property
    def offset(self) -> int:
        """Return its offset in the partition."""

    @property
    def timestamp(self) -> int:
        """Return its timestamp, in epoch milliseconds: of the append, where the topic says LogAppendTime."""

    @property
    def key(self) -> bytes | None:
        """Return its key."""

    @property
    def value(self) -> bytes | None:
        """Return its value; None is a tombstone."""


class RawBatch(NamedTuple):
    """Records of one partition that follow one another.

    Attributes:
        partition: of the raw topic.
        first: the offset from which on the batch covers the partition. It is below the first record's offset where
            the log has a gap there (markers of transactions, records that retention took).
        end: the offset up to which it covers the partition, not included.
        records: in the order of their offsets.
        size_bytes: of their values.
        fetched_s: when they came from the client, in seconds of the monotonic clock.
    """

    partition: int
    first: int
    end: int
    records: Sequence[RawRecord]
    size_bytes: int = 0
    fetched_s: float = 0.0

    def __repr__(self) -> str:
        return f"RawBatch({self.partition}, {self.first}..{self.end})"


def split(
    records: Sequence[RawRecord], bytes_max: int, records_max: int = BATCH_RECORDS_MAX
) -> Iterator[Sequence[RawRecord]]:
    """Cut records into runs of at most so many bytes and records; one that is larger goes alone."""
    start, size = 0, 0
    for place, record in enumerate(records):
        weight = len(record.value or b"")
        if place > start and (size + weight > bytes_max or place - start >= records_max):
            yield records[start:place]
            start, size = place, 0
        size += weight
    if start < len(records):
        yield records[start:]
