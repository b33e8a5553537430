"""Delivers records to topics in batches of each partition, and returns when all of them are acknowledged."""

import asyncio
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from pipeline.errors import SinkUnavailable
from pipeline.worker.route import Outgoing, partition_of

TARGET_BYTES = 512 * 1024
"""A batch is sent when it has grown to this; a record that is larger goes alone."""
_TURN_S = 1.0


class Delivery:
    """The way out, through a producer of `pipeline.client.make_producer`, which exists once the app has started."""

    def __init__(self, patience_s: float) -> None:
        """Prepare.

        Args:
            patience_s: longest wait for acknowledgements. aiokafka itself never gives up on an idempotent batch.
        """
        self._patience_s = patience_s
        self._producer: Callable[[], Any] = lambda: None
        self._sending = asyncio.Lock()

    def connect(self, producer: Callable[[], Any]) -> None:
        """Say where the producer is."""
        self._producer = producer

    async def deliver(self, records: Sequence[Outgoing]) -> None:
        """Send the records, and wait until every one is acknowledged.

        Raises:
            SinkUnavailable: a topic is missing, or no acknowledgement comes in time.
            Exception: aiokafka's; some or all records may not be there, and the caller must not pass over them.
        """
        producer = self._producer()
        groups: defaultdict[tuple[str, int], list[Outgoing]] = defaultdict(list)
        counts: dict[str, int] = {}
        for record in records:
            count = counts.get(record.topic)
            if count is None:
                count = counts[record.topic] = await self._partitions(producer, record.topic)
            groups[record.topic, partition_of(record.key, count)].append(record)
        sending = asyncio.ensure_future(self._send_all(producer, groups))
        try:
            await _wait(sending, self._patience_s)
            if sending.done():
                return sending.result()
        finally:
            sending.cancel()
        raise SinkUnavailable(f"no acknowledgement within {self._patience_s:g} s (LETHE_DELIVERY_S)")

    async def _send_all(self, producer: Any, groups: Mapping[tuple[str, int], Sequence[Outgoing]]) -> None:
        acknowledged: list[asyncio.Future[Any]] = []
        # One at a time: aiokafka counts the time double for whoever waits second for a partition's place.
        async with self._sending:
            for (topic, partition), group in groups.items():
                await self._send(producer, topic, partition, group, acknowledged)
        await asyncio.gather(*acknowledged)

    async def _partitions(self, producer: Any, topic: str) -> int:
        partitions = await producer.partitions_for(topic)
        if not partitions:
            raise SinkUnavailable(f"the topic {topic} does not exist: run `lethe topics apply`")
        return len(partitions)

    async def _send(
        self, producer: Any, topic: str, partition: int, group: Sequence[Outgoing], acknowledged: list[Any]
    ) -> None:
        builder = producer.create_batch()
        for record in group:
            if builder.size() >= TARGET_BYTES or not _append(builder, record):
                builder.close()
                acknowledged.append(await producer.send_batch(builder, topic, partition=partition))
                builder = producer.create_batch()
                _append(builder, record)
        builder.close()
        acknowledged.append(await producer.send_batch(builder, topic, partition=partition))


async def _wait(sending: asyncio.Future[None], patience_s: float) -> None:
    """Wait until something is done, or for so long, counted in turns of the loop.

    One event of 16 MiB takes the loop for half a minute and more. An acknowledgement that came meanwhile is not late.
    """
    while patience_s > 0 and not sending.done():
        turn_s = min(_TURN_S, patience_s)
        await asyncio.wait({sending}, timeout=turn_s)
        patience_s -= turn_s


def _append(builder: Any, record: Outgoing) -> bool:
    """Append; False when the batch is full. An empty one takes a record of any size."""
    return builder.append(timestamp=None, key=record.key, value=record.value, headers=record.headers) is not None
