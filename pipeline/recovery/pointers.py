"""Many rejections in little memory: 25 bytes each, so that a flood of them can be counted and replayed."""

from array import array
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

from pipeline.recovery.rejections import REASONS, Rejected

_CODES = {reason: code for code, reason in enumerate(REASONS)}


@dataclass(slots=True)
class _Column:
    """The rejections of one raw partition, each a place in four arrays."""

    offsets: "array[int]" = field(default_factory=lambda: array("q"))
    sizes: "array[int]" = field(default_factory=lambda: array("q"))
    times: "array[int]" = field(default_factory=lambda: array("q"))
    reasons: "array[int]" = field(default_factory=lambda: array("B"))

    def in_order(self) -> Iterator[int]:
        """Yield the places of distinct offsets, the smallest first; of the same offset the last that was added."""
        order = sorted(range(len(self.offsets)), key=self.offsets.__getitem__)
        for index, place in enumerate(order):
            if index + 1 == len(order) or self.offsets[order[index + 1]] != self.offsets[place]:
                yield place


class Pointers:
    """Distinct rejections by raw topic and partition. Ranges that expired unread are only counted."""

    def __init__(self) -> None:
        self._columns: dict[tuple[str, int], _Column] = {}
        self._ranges: dict[tuple[str, int, int], Rejected] = {}

    def add(self, rejected: Rejected) -> None:
        """Take one; the same raw record may come again."""
        if rejected.last_offset is not None:
            self._ranges[rejected.place] = rejected
            return
        column = self._columns.setdefault((rejected.topic, rejected.partition), _Column())
        column.offsets.append(rejected.offset)
        column.sizes.append(rejected.size_bytes)
        column.times.append(rejected.rejected_ms)
        column.reasons.append(_CODES[rejected.reason])

    def counts(self) -> dict[tuple[str, int, str], int]:
        """Return how many events were rejected, by raw topic, partition and reason, in that order."""
        counts: Counter[tuple[str, int, str]] = Counter()
        for (topic, partition), column in self._columns.items():
            counts.update((topic, partition, REASONS[column.reasons[place]]) for place in column.in_order())
        for rejected in self._ranges.values():
            counts[rejected.topic, rejected.partition, rejected.reason] += rejected.events
        return dict(sorted(counts.items()))

    def expired(self) -> int:
        """Return how many events expired in raw before anybody read them."""
        return sum(rejected.events for rejected in self._ranges.values())

    def partitions(self) -> list[tuple[str, int]]:
        """Return the raw topics and partitions that rejections point into."""
        return sorted(self._columns)

    def take(self, topic: str, partition: int) -> Iterator[Rejected]:
        """Yield the rejections of a partition in the order of their offsets, and forget them.

        Their JSON pointers are not kept.
        """
        column = self._columns.pop((topic, partition))
        for place in column.in_order():
            reason = REASONS[column.reasons[place]]
            offset, size, time_ms = column.offsets[place], column.sizes[place], column.times[place]
            yield Rejected(topic, partition, offset, None, size, reason, "", time_ms)
