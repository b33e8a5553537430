"""Kafka's clients on an event loop, as lethe needs them: nothing is lost, and errors are ours (the door to aiokafka).

Their own log lines can hold offsets, assignments and whole requests, so `quiet_clients` keeps them at warnings.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from typing import Any

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.errors import (
    CommitFailedError,
    IllegalStateError,
    KafkaError,
    NoOffsetForPartitionError,
    OffsetOutOfRangeError,
)
from aiokafka.protocol.group import LeaveGroupRequest
from aiokafka.protocol.produce import ProduceRequest
from aiokafka.structs import ConsumerRecord, OffsetAndMetadata

from pipeline.brokers import Brokers
from pipeline.closing import end_soon
from pipeline.errors import PipelineError, describe, forget_text
from pipeline.knock import knock
from pipeline.topics.trouble import to_error

__all__ = [
    "CommitFailedError",
    "ConsumerRecord",
    "IllegalStateError",
    "KafkaError",
    "LeaveGroupRequest",
    "NoOffsetForPartitionError",
    "OffsetAndMetadata",
    "OffsetOutOfRangeError",
    "TopicPartition",
    "committed_by",
    "from_kafka",
    "keep_metadata",
    "make_producer",
    "make_reader",
    "producing",
    "quiet_clients",
    "reading",
]

_log = logging.getLogger(__name__)

REQUEST_TIMEOUT_MS = 40_000
"""How long a request may take."""
METADATA_AGE_MS = 30_000
"""How soon partitions that were added are seen."""
COMPRESSION = "zstd"
"""aiokafka compresses lz4 at level 9, 63 MB/s here; zstd does 250 MB/s and leaves a quarter of the bytes."""


def make_producer(
    brokers: Brokers,
    *,
    batch_bytes_max: int,
    delivery_ms: int = REQUEST_TIMEOUT_MS,
    idempotent: bool = True,
    gate: Callable[[], Awaitable[None]] | None = None,
) -> AIOKafkaProducer:
    """Make a producer that loses nothing: idempotent, acknowledged by all in-sync replicas. Start and stop it.

    Args:
        brokers: how Kafka is reached.
        batch_bytes_max: bytes of a batch; a larger record goes alone, up to what its topic takes.
        delivery_ms: how long a record waits for its acknowledgement before producing has failed.
        idempotent: false for one that never writes: brokers let nobody start an idempotent one who may write nowhere.
        gate: awaited before each request that has records, those sent again included.
    """
    producer = AIOKafkaProducer(
        bootstrap_servers=brokers.servers(),
        client_id="lethe",
        acks="all",
        enable_idempotence=idempotent,
        compression_type=COMPRESSION,
        max_batch_size=batch_bytes_max,
        metadata_max_age_ms=METADATA_AGE_MS,
        request_timeout_ms=delivery_ms,
        **brokers.options(),
    )
    end_soon(producer.client)
    if gate is not None:
        _put_behind(gate, producer.client)
    return producer


def _put_behind(gate: Callable[[], Awaitable[None]], client: Any) -> None:
    """Have a client's requests with records wait: the last moment at which something can be held back."""
    send = client.send

    async def gated(node: int, request: Any, **how: Any) -> Any:
        if isinstance(request, ProduceRequest):
            await gate()
        return await send(node, request, **how)

    client.send = gated


def make_reader(
    brokers: Brokers, *, fetch_bytes_max: int, group: str | None = None, options: Mapping[str, Any] | None = None
) -> AIOKafkaConsumer:
    """Make a consumer that is assigned partitions and sought by hand, and commits nothing by itself.

    Args:
        brokers: how Kafka is reached.
        fetch_bytes_max: bytes that one fetch takes of a partition, unless a record is larger.
        group: where it keeps its offsets, without being a member; None for one that has none.
        options: further ones of aiokafka's.
    """
    consumer = AIOKafkaConsumer(
        bootstrap_servers=brokers.servers(),
        client_id="lethe",
        group_id=group,
        enable_auto_commit=False,
        auto_offset_reset="none",
        max_partition_fetch_bytes=fetch_bytes_max,
        metadata_max_age_ms=METADATA_AGE_MS,
        request_timeout_ms=REQUEST_TIMEOUT_MS,
        **brokers.options(),
        **(options or {}),
    )
    end_soon(consumer._client)  # noqa: SLF001 - there is no other way to it
    return consumer


@asynccontextmanager
async def producing(brokers: Brokers, *, batch_bytes_max: int) -> AsyncIterator[AIOKafkaProducer]:
    """Yield a started producer, as `make_producer`, and stop it.

    Raises:
        SinkUnavailable, ConfigError: Kafka is not there, or refuses.
    """
    await knock(brokers)
    producer = make_producer(brokers, batch_bytes_max=batch_bytes_max)
    async with _running(producer, "connect", brokers):
        yield producer


@asynccontextmanager
async def reading(
    brokers: Brokers, *, fetch_bytes_max: int, group: str | None = None, options: Mapping[str, Any] | None = None
) -> AsyncIterator[AIOKafkaConsumer]:
    """Yield a started consumer, as `make_reader`, and stop it.

    Raises:
        SinkUnavailable, ConfigError: Kafka is not there, or refuses.
    """
    await knock(brokers)
    consumer = make_reader(brokers, fetch_bytes_max=fetch_bytes_max, group=group, options=options)
    async with _running(consumer, "connect", brokers):
        yield consumer


async def committed_by(consumer: AIOKafkaConsumer, places: Iterable[TopicPartition]) -> dict[TopicPartition, Any]:
    """Return what a consumer's group has committed, with what it said beside: none of a partition without an offset.

    Raises:
        KafkaError: the brokers' answer.
    """
    found = await consumer._coordinator.fetch_committed_offsets(list(places))  # noqa: SLF001 - `committed` keeps silent
    return {at: said for at, said in found.items() if said.offset >= 0}


@asynccontextmanager
async def _running(client: Any, doing: str, brokers: Brokers) -> AsyncIterator[None]:
    problem: PipelineError | None = None
    try:
        await client.start()
        await asyncio.sleep(0)  # aiokafka's stop fails on tasks of its own that have not begun yet
        yield
    except KafkaError as error:
        problem = from_kafka(doing, brokers, error)
        forget_text(error)
    finally:
        await client.stop()
    if problem is not None:  # the client's own text can hold whole requests
        raise problem


def from_kafka(doing: str, brokers: Brokers, error: BaseException) -> PipelineError:
    """Return our error for one of the client's; raise it outside the handler."""
    return to_error(doing, brokers, type(error))


def keep_metadata(client: Any) -> None:
    """Start a client's task that learns about the cluster again, where it has ended: aiokafka lets it end in silence.

    Without it nothing is ever fetched from, or sent to, a partition whose leader has changed. It was seen to be gone
    after a broker's restart, and not seen why; so the log names the type and the place of what ended it.

    Args:
        client: a consumer or a producer that runs. Call this on its loop, about once a second.
    """
    inner = client.client if isinstance(client, AIOKafkaProducer) else client._client  # noqa: SLF001 - there is
    task = inner._sync_task  # noqa: SLF001 - no other way to ask
    if task is None or not task.done():
        return
    error = None if task.cancelled() else task.exception()
    reason = "cancelled" if error is None else describe(error)
    _log.warning("a client had stopped learning about the cluster, and goes on: %s", reason)
    if inner._md_update_fut is not None and inner._md_update_fut.done():  # noqa: SLF001 - as above
        inner._md_update_fut = None  # noqa: SLF001 - it would be answered twice
    inner._sync_task = asyncio.get_running_loop().create_task(inner._md_synchronizer())  # noqa: SLF001 - as above


def quiet_clients(names: Iterable[str] = ("aiokafka", "faust", "mode")) -> None:
    """Keep the clients' loggers at warnings and above, whatever the root logger is set to."""
    for name in names:
        logging.getLogger(name).setLevel(logging.WARNING)
