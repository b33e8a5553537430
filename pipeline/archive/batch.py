"""What the archive has read and not stored yet. Pure."""

from dataclasses import dataclass, field
from typing import NamedTuple

from pipeline.archive.decode import Decoded
from pipeline.records import ContentRecord, OperationalRecord, Rejection
from pipeline.store.intake import Records
from pipeline.store.rows import Key


class Place(NamedTuple):
    """Where a record is: topic, partition and offset. Its text is what errors and ``--skip`` call it."""

    topic: str
    partition: int
    offset: int

    def __str__(self) -> str:
        return f"{self.topic}/{self.partition}/{self.offset}"


@dataclass(slots=True)
class Batch:
    """Records that are stored at once.

    Attributes:
        content, operational, rejected: the records of each sink, in the order of their partitions.
        ends: the offset behind the last record that was read, by topic and partition: what is committed afterwards.
        appended_ms: when that last record was appended.
        oldest_ms: when the oldest of all was appended.
        size_bytes: of their values.
        largest_bytes: the largest one's.
        read: records read, those that were passed over included.
        fault: why reading ended at a record that is none, or "". What is before it is stored first.
    """

    content: list[ContentRecord] = field(default_factory=list)
    operational: list[OperationalRecord] = field(default_factory=list)
    rejected: list[Rejection] = field(default_factory=list)
    ends: dict[tuple[str, int], int] = field(default_factory=dict)
    appended_ms: dict[tuple[str, int], int] = field(default_factory=dict)
    oldest_ms: int | None = None
    size_bytes: int = 0
    largest_bytes: int = 0
    read: int = 0
    fault: str = ""
    _places: dict[tuple[str, Key], Place] = field(default_factory=dict)

    def __repr__(self) -> str:
        return f"Batch({self.read} records, {self.size_bytes} bytes)"

    def pass_over(self, place: Place, appended_ms: int, size_bytes: int) -> None:
        """Take note that a record was read."""
        self.ends[place[:2]] = place.offset + 1
        self.appended_ms[place[:2]] = appended_ms
        self.oldest_ms = appended_ms if self.oldest_ms is None else min(self.oldest_ms, appended_ms)
        self.size_bytes += size_bytes
        self.largest_bytes = max(self.largest_bytes, size_bytes)
        self.read += 1

    def add(self, record: Decoded, place: Place) -> None:
        """Take a record, after `pass_over`."""
        if isinstance(record, ContentRecord):
            self.content.append(record)
            self._places["content", (record.request_id,)] = place
        elif isinstance(record, OperationalRecord):
            self.operational.append(record)
            self._places["operational", (record.request_id,)] = place
        else:
            self.rejected.append(record)
            self._places["rejected", tuple(record.source[:3])] = place

    def records(self) -> Records:
        """Return what is to be stored."""
        return Records(self.content, self.operational, self.rejected)

    def place_of(self, sink: str, key: Key) -> Place | None:
        """Return where a record was read; of an identity that came several times, the last one's place."""
        return self._places.get((sink, key))

    def room(self, records_max: int, bytes_max: int, at_once_max: int) -> int:
        """Return how many records more it may be given, if each is as large as the largest so far; 0: it is full."""
        if self.read >= records_max or self.size_bytes >= bytes_max:
            return 0
        by_size = (bytes_max - self.size_bytes) // max(self.largest_bytes, 1)
        return max(1, min(at_once_max, records_max - self.read, by_size))
