"""How far each partition is done: the highest offset below which every record is delivered. Pure.

It stands in for Faust's own account of acknowledged offsets, which skips records that were never acknowledged
(docs/adr/006-worker-delivery.md).
"""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Mapping
from operator import itemgetter


class Watermark:
    """One partition's contiguous progress: ranges may be done in any order, the position moves over no hole."""

    def __init__(self, start: int) -> None:
        self.position = start
        self.committed = start
        # Beyond the position, in order, with a hole before each: as few as there are holes, however long one stays.
        self._ahead: list[tuple[int, int]] = []

    def done(self, first: int, end: int) -> None:
        """Mark the offsets from ``first`` up to, not including, ``end`` as delivered, some of them perhaps again."""
        first = max(first, self.position)
        if first >= end:
            return
        ahead = self._ahead
        low = bisect_left(ahead, first, key=itemgetter(1))
        high = bisect_right(ahead, end, key=itemgetter(0))
        if low < high:  # these touch the range
            first, end = min(first, ahead[low][0]), max(end, ahead[high - 1][1])
        if first > self.position:
            ahead[low:high] = [(first, end)]
        else:
            del ahead[low:high]
            self.position = end


class Ledger:
    """The watermarks of the partitions that this worker owns."""

    def __init__(self) -> None:
        self._marks: dict[int, Watermark] = {}

    def start(self, partition: int, offset: int) -> None:
        """Own a partition from an offset on. What was known of it is forgotten."""
        self._marks[partition] = Watermark(offset)

    def done(self, partition: int, first: int, end: int) -> None:
        """Mark a range as delivered; one of a partition that is not owned (any more) is passed over."""
        mark = self._marks.get(partition)
        if mark is not None:
            mark.done(first, end)

    def committable(self) -> dict[int, int]:
        """Return the offsets to commit, by partition: those that moved since the last commit."""
        return {p: mark.position for p, mark in self._marks.items() if mark.position > mark.committed}

    def committed(self, offsets: Mapping[int, int]) -> None:
        """Take note of a commit that the broker has confirmed."""
        for partition, offset in offsets.items():
            mark = self._marks.get(partition)
            if mark is not None:
                mark.committed = max(mark.committed, offset)

    def positions(self) -> dict[int, int]:
        """Return how far each owned partition is delivered."""
        return {partition: mark.position for partition, mark in self._marks.items()}

    def commits(self) -> dict[int, int]:
        """Return how far each owned partition is committed."""
        return {partition: mark.committed for partition, mark in self._marks.items()}

    def keep(self, partitions: Iterable[int]) -> None:
        """Forget every partition but these."""
        kept = set(partitions)
        self._marks = {partition: mark for partition, mark in self._marks.items() if partition in kept}
