"""Reads ``requests.control``: to its end before the first event, and on from there as long as the worker runs.

After each assignment it is read to its end once more before a batch is taken up: what was published before this process
was a member, and so while nobody waited for it, is in force then.

An entry that cannot be read stops the worker: to pass over it could keep what someone had erased (policy §8).
"""

import asyncio
from collections.abc import Callable
from typing import Any

from pipeline.client import TopicPartition, keep_metadata
from pipeline.suppress import ControlFault, ControlRecord, Suppressions

POLL_MS = 1000
_BATCH_MAX = 1000


class ControlReader:
    """Holds the suppressions in force. Everything happens on the worker's loop.

    Attributes:
        suppressions: those in force.
        entries: how many were read.
        applied: the offset before which every entry is in force, by partition.
    """

    def __init__(self, consumer: Any, topic: str, partitions: int, decode: Callable[[bytes], ControlRecord]) -> None:
        """Prepare.

        Args:
            consumer: of `pipeline.client.make_reader`, started.
            topic: the control topic.
            partitions: how many it has.
            decode: reads an entry.
        """
        self._consumer = consumer
        self._partitions = [TopicPartition(topic, number) for number in range(partitions)]
        self._decode = decode
        self.suppressions = Suppressions()
        self.entries = 0
        self.applied: dict[int, int] = {}
        self._moved = asyncio.Event()

    async def read_to_end(self, tick: Callable[[], None]) -> None:
        """Read all that is there now.

        Args:
            tick: called after each fetch.

        Raises:
            ControlFault: an entry is malformed; the text says where it is.
        """
        self._consumer.assign(self._partitions)
        await self._consumer.seek_to_beginning(*self._partitions)
        ends = await self._consumer.end_offsets(self._partitions)
        for at in self._partitions:
            while await self._consumer.position(at) < ends[at]:
                await self._poll()
                tick()
        # Where nothing was to be polled, too: whoever catches up asks before the next poll has come back.
        self.applied = {at.partition: await self._consumer.position(at) for at in self._partitions}

    async def keep_reading(self, moved: Callable[[], None]) -> None:
        """Read on until cancelled.

        Args:
            moved: called when entries came that are in force now.

        Raises:
            ControlFault: an entry is malformed; the text says where it is.
        """
        while True:
            if await self._poll():
                moved()

    async def catch_up(self) -> None:
        """Return when all is in force that was published before this call, while another task keeps reading."""
        ends = await self._consumer.end_offsets(self._partitions)
        while any(self.applied[at.partition] < end for at, end in ends.items()):
            self._moved.clear()
            await self._moved.wait()

    async def _poll(self) -> bool:
        """Read what is there, and say whether it moved on."""
        keep_metadata(self._consumer)
        numbers = self._consumer.partitions_for_topic(self._partitions[0].topic)
        if numbers and len(numbers) != len(self._partitions):
            raise ControlFault(
                f"{self._partitions[0].topic} has got partitions that this worker does not read: start again"
            )
        fetched = await self._consumer.getmany(timeout_ms=POLL_MS, max_records=_BATCH_MAX)
        for at, records in fetched.items():
            for record in records:
                self._apply(record.value or b"", f"{at.topic}/{at.partition}/{record.offset}")
        reached = {at.partition: await self._consumer.position(at) for at in self._partitions}
        if reached != self.applied:
            self.applied = reached
            self._moved.set()
            return True
        return False

    def _apply(self, raw: bytes, place: str) -> None:
        fault = ""
        try:
            self.suppressions.apply(self._decode(raw))
        except ControlFault as error:
            fault = str(error)
        if fault:
            raise ControlFault(f"{place} {fault}. The worker stops: what it asks for might be an erasure")
        self.entries += 1
