"""The archive's side of Kafka: every partition of its topics, assigned by hand; offsets in a group, committed by hand.

A group without members needs no rebalances: an archive that was killed goes on at once. Two of them at the same time
do the work twice and store nothing twice.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from pipeline.client import (
    ConsumerRecord,
    NoOffsetForPartitionError,
    OffsetAndMetadata,
    OffsetOutOfRangeError,
    TopicPartition,
)
from pipeline.recovery.reading import log_ranges
from pipeline.store.tags import to_metadata
from pipeline.worker.offsets import Start, choose_start


class PositionLost(Exception):  # noqa: N818 - a condition that the loop answers by beginning again
    """Retention overtook the reader: positions must be found anew, at what is committed."""


class Reader:
    """Reads the partitions of some topics.

    Attributes:
        places: the partitions, in order.
        committed: offset that is committed, by partition.
    """

    def __init__(self, consumer: Any, sinks: Mapping[str, str], partitions: Mapping[str, int]) -> None:
        """Prepare.

        Args:
            consumer: of `pipeline.client.reading`, with a group.
            sinks: sink of each topic.
            partitions: how many each topic has.
        """
        self._consumer = consumer
        self._sinks = sinks
        self._partitions = dict(partitions)
        self.places: list[TopicPartition] = []
        self.committed: dict[TopicPartition, int] = {}
        self._tag = ""

    async def begin(self, tag: str) -> tuple[dict[TopicPartition, Start], dict[TopicPartition, int]]:
        """Find where to begin in every partition, and commit that: a group that forgets would read all again.

        Args:
            tag: of the store, said with all offsets from now on.

        Returns:
            Where each begins, and where each ends now.

        Raises:
            KafkaError: the brokers' answer.
        """
        self.places = [
            TopicPartition(topic, number) for topic, count in self._partitions.items() for number in range(count)
        ]
        ranges = await log_ranges(self._consumer, self.places)
        starts = {
            at: choose_start(await self._consumer.committed(at), log_start, log_end)
            for at, (log_start, log_end) in ranges.items()
        }
        for at, start in starts.items():
            self._consumer.seek(at, start.offset)
        self.committed, self._tag = {}, tag
        await self.commit({(at.topic, at.partition): start.offset for at, start in starts.items()})
        return starts, {at: log_end for at, (_, log_end) in ranges.items()}

    async def fetch(self, timeout_s: float, records_max: int) -> list[tuple[str, ConsumerRecord]]:
        """Return the next records, each with its sink; none when there are none for as long as the timeout.

        Raises:
            PositionLost: retention overtook this reader.
            KafkaError: the brokers' answer.
        """
        lost = False
        fetched: Mapping[TopicPartition, list[ConsumerRecord]] = {}
        try:
            fetched = await self._consumer.getmany(timeout_ms=int(timeout_s * 1000), max_records=records_max)
        except NoOffsetForPartitionError:  # from before the seek: the client looked when partitions were assigned
            fetched = {}
        except OffsetOutOfRangeError:
            lost = True
        if lost:
            raise PositionLost
        return [(self._sinks[at.topic], record) for at, records in fetched.items() for record in records]

    async def commit(self, ends: Mapping[tuple[str, int], int]) -> None:
        """Commit offsets, by topic and partition: what is before them is durable.

        Raises:
            KafkaError: they may not be committed.
        """
        offsets = {TopicPartition(*at): end for at, end in ends.items()}
        await self._consumer.commit({at: OffsetAndMetadata(end, to_metadata(self._tag)) for at, end in offsets.items()})
        self.committed |= offsets

    async def say(self, tag: str) -> None:
        """Say another tag, with all that is committed: whoever waits for the archive hears it of idle partitions too.

        Raises:
            KafkaError: they may not be committed.
        """
        if tag != self._tag:
            self._tag = tag
            await self.commit({(at.topic, at.partition): end for at, end in self.committed.items()})

    async def has_reached(self, ends: Mapping[TopicPartition, int]) -> bool:
        """Tell whether all before some ends was handed out; gaps at the end of a log count as read."""
        for at, end in ends.items():
            if await self._consumer.position(at) < end:
                return False
        return True

    async def lags(self) -> dict[TopicPartition, int]:
        """Return how many records of each partition are not committed.

        Raises:
            KafkaError: the brokers' answer.
        """
        ends = await self._consumer.end_offsets(list(self.committed))
        return {at: max(0, end - self.committed.get(at, end)) for at, end in ends.items()}

    def has_grown(self) -> bool:
        """Tell whether a topic has got partitions; `begin` then reads them too."""
        known = {topic: len(self._consumer.partitions_for_topic(topic) or ()) for topic in self._partitions}
        grown = {topic: count for topic, count in known.items() if count > self._partitions[topic]}
        self._partitions |= grown
        return bool(grown)

    def hold(self) -> None:
        """Fetch nothing more until `go_on`; what is on its way still comes."""
        self._consumer.pause(*self.places)

    def go_on(self) -> None:
        """Fetch again."""
        self._consumer.resume(*self.places)


def describe_start(at: TopicPartition, start: Start) -> str:
    """Say what must be said of where a partition begins, or ""."""
    name = f"{at.topic}/{at.partition}"
    if start.expired is not None:
        first, last = start.expired
        return (
            f"{last - first + 1} records of {name} expired before they were archived (offsets {first} to {last}): they "
            "are lost. Find out why the archive was so far behind"
        )
    if start.restarted:
        return f"{name} ends before the committed offset: it was made anew, and is read from its start"
    return ""


def lost_records(starts: Iterable[tuple[TopicPartition, Start]]) -> dict[str, int]:
    """Return how many records retention took unread, by topic."""
    lost: dict[str, int] = {}
    for at, start in starts:
        if start.expired is not None:
            lost[at.topic] = lost.get(at.topic, 0) + start.expired[1] - start.expired[0] + 1
    return lost
