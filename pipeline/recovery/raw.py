"""Looks raw records up by offset, for as long as raw has them."""

from collections import deque
from collections.abc import AsyncIterator, Iterable, Iterator
from typing import Any

from pipeline.client import TopicPartition
from pipeline.recovery.reading import log_ranges, read_range
from pipeline.recovery.rejections import Rejected

CLOCK_SLACK_MS = 5 * 60 * 1000
"""How far the clocks of two brokers may differ."""
_APPEND_TIME = 1
# Reading over so many records costs less than breaking off and asking again.
_GAP_MAX = 500
_RUN_MAX = 1000


async def look_up(
    consumer: Any, topic: str, partition: int, partitions: int, rejections: Iterable[Rejected]
) -> AsyncIterator[tuple[Rejected, Any]]:
    """Yield each rejection with its raw record, or with None where raw has it no more.

    Args:
        consumer: of `pipeline.client.reading`.
        topic: the raw topic.
        partition: of the rejections.
        partitions: how many the topic has.
        rejections: of single events, in the order of their offsets, each once.

    Raises:
        SinkUnavailable: as `read_range`.
    """
    if partition >= partitions:
        for rejected in rejections:
            yield rejected, None
        return
    at = TopicPartition(topic, partition)
    begin, end = (await log_ranges(consumer, [at]))[at]
    for run in _runs(rejections):
        left = deque(run)
        first, last = max(begin, run[0].offset), min(end, run[-1].offset + 1)
        if first < last:
            async for record in read_range(consumer, at, first, last):
                while left and left[0].offset < record.offset:
                    yield left.popleft(), None
                if left and left[0].offset == record.offset:
                    rejected = left.popleft()
                    yield rejected, record if is_same(rejected, record) else None
        while left:
            yield left.popleft(), None


def is_same(rejected: Rejected, record: Any) -> bool:
    """Tell whether a record can be the one that was rejected: a topic that was made anew counts from 0 again."""
    if len(record.value or b"") != rejected.size_bytes:
        return False
    return bool(record.timestamp_type != _APPEND_TIME or record.timestamp <= rejected.rejected_ms + CLOCK_SLACK_MS)


def _runs(rejections: Iterable[Rejected]) -> Iterator[list[Rejected]]:
    """Group rejections that lie close to each other."""
    run: list[Rejected] = []
    for rejected in rejections:
        if run and (rejected.offset - run[-1].offset > _GAP_MAX or len(run) >= _RUN_MAX):
            yield run
            run = []
        run.append(rejected)
    if run:
        yield run
