"""Faust's thread of the Kafka client, with what our transport asks of it: positions, commits and ends of logs.

Each method is called on the worker's loop and does its work on the thread's.
"""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any, cast

from faust.transport.drivers import aiokafka as driver
from faust.types import TP

from pipeline.client import (
    CommitFailedError,
    ConsumerRecord,
    IllegalStateError,
    KafkaError,
    OffsetAndMetadata,
    TopicPartition,
    keep_metadata,
)
from pipeline.closing import end_soon
from pipeline.worker.lease import Lease
from pipeline.worker.leaving import leave
from pipeline.worker.offsets import Start, choose_start

RecordMap = Mapping[TP, Sequence[ConsumerRecord[Any, Any]]]


class ConsumerThread(driver.AIOKafkaConsumerThread):
    """The thread of the Kafka client: heartbeats go on while the worker's loop computes."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._fetching = asyncio.Lock()
        self._believed: dict[TP, tuple[int, int]] = {}

    @property
    def _lease(self) -> Lease:
        lease: Lease = cast("Any", self.app).lease  # pipeline.worker.agent.WorkerApp
        return lease

    async def on_start(self) -> None:
        """Start the client, and listen to what the group answers to its heartbeats."""
        await super().on_start()
        end_soon(self._ensure_consumer()._client)  # noqa: SLF001 - there is no other way to it
        coordinator = self._coordinator()
        beat, reset = coordinator._do_heartbeat, coordinator.reset_generation  # noqa: SLF001 - there is no other way

        async def heard() -> bool:
            sent_s = self._lease.clock()
            is_member: bool = await beat()
            if is_member:
                self._lease.renew(sent_s, settled=not coordinator._rejoin_needed_fut.done())  # noqa: SLF001 - as above
            return is_member

        def unknown() -> None:
            self._lease.lose()
            reset()

        coordinator._do_heartbeat, coordinator.reset_generation = heard, unknown  # noqa: SLF001 - as above

    async def on_thread_stop(self) -> None:
        """Leave the group, while calls from the worker's loop are still answered, and stop the client."""
        if self._consumer is not None and self._coordinator() is not None:
            await leave(self._coordinator())
        await super().on_thread_stop()

    def _coordinator(self) -> Any:
        return self._ensure_consumer()._coordinator  # noqa: SLF001 - there is no other way to ask

    async def member_id(self) -> str:
        """Return what the group calls this member; "" while it is none."""
        member: str = await self.call_thread(self._member_id)
        return member

    async def _member_id(self) -> str:
        return str(self._coordinator().member_id)

    async def begin(self, assignment: set[TP]) -> dict[TP, Start]:
        """Find where each partition begins, and go there."""
        starts: dict[TP, Start] = await self.call_thread(self._begin, assignment)
        return starts

    async def _begin(self, assignment: set[TP]) -> dict[TP, Start]:
        consumer, coordinator = self._ensure_consumer(), self._coordinator()
        self._believed.clear()
        if coordinator.member_id:
            self._lease.begin()
            await coordinator._do_heartbeat()  # noqa: SLF001 - the first one by itself would come later than records
        partitions = [TopicPartition(*tp) for tp in assignment]
        log_starts = await consumer.beginning_offsets(partitions)
        log_ends = await consumer.end_offsets(partitions)
        starts = {}
        for at in partitions:
            start = choose_start(await consumer.committed(at), log_starts[at], log_ends[at])
            consumer.seek(at, start.offset)
            starts[TP(*at)] = start
        return starts

    async def fetch(self, ends: Mapping[TP, int], timeout_s: float) -> RecordMap:
        """Return records of partitions, from where what was handed over of each ends.

        A fetch that a rebalance overtook is thrown away, and the client has moved on behind its records. When they are
        the last ones of a partition, nothing that comes later shows that they are missing. So each fetch first looks
        where the client is, and goes back. A log may end with a gap (what a transaction leaves, what retention took),
        and then the client is further on for good reason: that is believed when a fetch that went back found nothing.

        Args:
            ends: offset after the last record that was handed over, by partition.
            timeout_s: how long to wait for records when there are none.

        Raises:
            NoOffsetForPartitionError, OffsetOutOfRangeError: the client has no position, or one that the log has not.
        """
        fetched: RecordMap = await self.call_thread(self._fetch, ends, timeout_s)
        return fetched

    async def _fetch(self, ends: Mapping[TP, int], timeout_s: float) -> RecordMap:
        consumer = self._ensure_consumer()
        async with self._fetching:  # one that was cancelled may still run here, and would take records from this one
            gone_back = self._go_back(consumer, ends)
            fetched = await self._fetch_records(
                consumer,
                set(ends),
                timeout=timeout_s,
                max_records=consumer._max_poll_records,  # noqa: SLF001 - as Faust does
            )
            for tp, (end, position) in gone_back.items():
                if tp not in fetched and _position(consumer, tp) == position:
                    self._believed[tp] = end, position
            return fetched

    def _go_back(self, consumer: Any, ends: Mapping[TP, int]) -> dict[TP, tuple[int, int]]:
        """Return where the client had been, of partitions of which it has moved on: end and position."""
        gone_back = {}
        for tp, end in ends.items():
            position = _position(consumer, tp)
            if position is not None and position > end and self._believed.get(tp) != (end, position):
                consumer.seek(TopicPartition(*tp), end)
                gone_back[tp] = end, position
        return gone_back

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
        consumer, coordinator = self._ensure_consumer(), self._coordinator()
        if coordinator is not None:
            coordinator.check_errors()
        keep_metadata(consumer)

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
        note = cast("Any", self.app).note  # pipeline.worker.agent.WorkerApp
        owned = {TopicPartition(*tp): OffsetAndMetadata(offset, note) for tp, offset in offsets.items()}
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


def _position(consumer: Any, tp: TP) -> int | None:
    """Return the offset of the next record that the client would hand out; None of a partition without one."""
    subscription = consumer._subscription.subscription  # noqa: SLF001 - aiokafka's own `position` waits for one
    assignment = subscription and subscription.assignment
    at = TopicPartition(*tp)
    if not assignment or at not in assignment.tps:
        return None
    state = assignment.state_value(at)
    return int(state.position) if state.has_valid_position else None
