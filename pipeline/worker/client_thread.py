"""Faust's thread of the Kafka client, with what our transport asks of it: positions, commits and ends of logs.

Each method is called on the worker's loop and does its work on the thread's.
"""

from collections.abc import Mapping
from typing import Any

from faust.transport.drivers import aiokafka as driver
from faust.types import TP

from pipeline.client import CommitFailedError, IllegalStateError, KafkaError, OffsetAndMetadata, TopicPartition
from pipeline.worker.offsets import Start, choose_start


class ConsumerThread(driver.AIOKafkaConsumerThread):
    """The thread of the Kafka client: heartbeats go on while the worker's loop computes."""

    async def begin(self, assignment: set[TP]) -> dict[TP, Start]:
        """Find where each partition begins, and go there."""
        starts: dict[TP, Start] = await self.call_thread(self._begin, assignment)
        return starts

    async def _begin(self, assignment: set[TP]) -> dict[TP, Start]:
        consumer = self._ensure_consumer()
        partitions = [TopicPartition(*tp) for tp in assignment]
        log_starts = await consumer.beginning_offsets(partitions)
        log_ends = await consumer.end_offsets(partitions)
        starts = {}
        for at in partitions:
            start = choose_start(await consumer.committed(at), log_starts[at], log_ends[at])
            consumer.seek(at, start.offset)
            starts[TP(*at)] = start
        return starts

    async def go_to(self, tp: TP, offset: int) -> None:
        """Read a partition from an offset on; of one that is not ours any more, nothing is read anyway."""
        await self.call_thread(self._go_to, TopicPartition(*tp), offset)

    async def _go_to(self, at: Any, offset: int) -> None:
        consumer = self._ensure_consumer()
        if at in consumer.assignment():
            consumer.seek(at, offset)

    @property
    def has_started(self) -> bool:
        """Return whether the client is there; before, nothing can be asked of it."""
        return self._consumer is not None

    async def check(self) -> None:
        """Raise what the group's coordinator has against this member: aiokafka tells whoever fetches, and not all do.

        Raises:
            KafkaError: the coordinator's answer.
        """
        await self.call_thread(self._check)

    async def _check(self) -> None:
        coordinator = self._ensure_consumer()._coordinator  # noqa: SLF001 - there is no other way to ask
        if coordinator is not None:
            coordinator.check_errors()

    def on_crash(self, msg: str, *fmt: Any, **kwargs: Any) -> None:
        """Say nothing here: mode would print a traceback. What crashed it ends the process, with a reason."""

    async def log_ends(self) -> dict[int, int]:
        """Ask the brokers where the assigned partitions end: a consumer that fetches no more does not know."""
        ends: dict[int, int] = await self.call_thread(self._log_ends)
        return ends

    async def _log_ends(self) -> dict[int, int]:
        consumer = self._ensure_consumer()
        return {at.partition: end for at, end in (await consumer.end_offsets(list(consumer.assignment()))).items()}

    async def store(self, offsets: Mapping[TP, int]) -> str:
        """Commit offsets; return how it went."""
        outcome: str = await self.call_thread(self._store, offsets)
        return outcome

    async def _store(self, offsets: Mapping[TP, int]) -> str:
        consumer = self._ensure_consumer()
        owned = {TopicPartition(*tp): OffsetAndMetadata(offset, "") for tp, offset in offsets.items()}
        owned = {tp: offset for tp, offset in owned.items() if tp in consumer.assignment()}
        if not owned:
            return "rebalanced"
        try:
            await consumer.commit(owned)
        except (CommitFailedError, IllegalStateError):  # another member has them now, and reads them again
            return "rebalanced"
        except KafkaError:  # the next commit carries these offsets too; the watchdog sees when none succeeds
            return "failed"
        return "done" if len(owned) == len(offsets) else "rebalanced"
