"""Reads ranges of a partition as far as they are still there; creates no topic, and does not wait for ever.

A range is read to an end that was there when reading began, so a busy topic ends it as well as a quiet one.
"""

import logging
import time
from collections.abc import AsyncIterator, Iterable
from typing import Any

from pipeline.brokers import Brokers
from pipeline.client import NoOffsetForPartitionError, OffsetOutOfRangeError, TopicPartition
from pipeline.errors import ConfigError, SinkUnavailable
from pipeline.topics.admin import TopicAdmin

PATIENCE_S = 40.0
"""How long a range may stand still; Kafka's client itself waits for its brokers without an end."""
POLL_MS = 1000
_POLL_RECORDS_MAX = 500


def count_partitions(brokers: Brokers, names: Iterable[str]) -> dict[str, int]:
    """Return how many partitions each topic has, and silence the other client's log.

    The administrator's client asks: a consumer or producer that asks for a topic can create it by that. What the
    latter log is for no terminal, and at DEBUG it holds whole records.

    Raises:
        ConfigError: there is no such topic, or Kafka refuses.
        SinkUnavailable: no broker answers.
    """
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
    wanted = list(names)
    with TopicAdmin(brokers) as admin:
        found = admin.read_topics(wanted)
    for name in wanted:
        if name not in found:
            raise ConfigError(f"there is no topic {name} at {brokers}: run `lethe topics apply`")
    return {name: len(topic.partitions) for name, topic in found.items()}


async def log_ranges(consumer: Any, places: Iterable[TopicPartition]) -> dict[TopicPartition, tuple[int, int]]:
    """Return where each partition's log begins and ends now; the consumer is assigned them.

    Args:
        consumer: of `pipeline.client.reading`.
        places: partitions that exist.
    """
    asked = list(places)
    consumer.assign(asked)
    begins = await consumer.beginning_offsets(asked)
    ends = await consumer.end_offsets(asked)
    return {at: (begins[at], ends[at]) for at in asked}


async def read_range(consumer: Any, at: TopicPartition, first: int, end: int) -> AsyncIterator[Any]:
    """Yield the records of a partition from ``first`` up to ``end``, not included, that are still there.

    Args:
        consumer: of `pipeline.client.reading`; it is assigned this partition alone.
        at: the partition.
        first: an offset within its log, or retention has passed over it meanwhile.
        end: at most the end of its log.

    Raises:
        SinkUnavailable: Kafka gives nothing for `PATIENCE_S`.
    """
    consumer.assign([at])
    consumer.seek(at, first)
    position, moved_s = first, time.monotonic()
    while position < end:
        try:
            fetched = await consumer.getmany(at, timeout_ms=POLL_MS, max_records=_POLL_RECORDS_MAX)
        except NoOffsetForPartitionError:  # from before the seek: the client looked when the partition was assigned
            fetched = {}
        except OffsetOutOfRangeError:
            begin = (await consumer.beginning_offsets([at]))[at]
            if begin <= position:  # the log ends before this place: it was made anew, or cut
                return
            consumer.seek(at, begin)
            position = begin
            continue
        for record in fetched.get(at, ()):
            if record.offset >= end:
                return
            yield record
        reached = await consumer.position(at)
        if reached > position:
            position, moved_s = reached, time.monotonic()
        elif time.monotonic() - moved_s > PATIENCE_S:
            raise SinkUnavailable(
                f"cannot read {at.topic}: Kafka gives nothing of partition {at.partition} for {PATIENCE_S:g} s. Check "
                "its brokers, then run the same again"
            )
