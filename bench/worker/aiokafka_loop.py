"""A bare aiokafka loop: fetch some, transform and send them, wait for every delivery, commit. Nothing around it."""

import asyncio
import signal

import uvloop
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from peer import COMPRESSION, LINGER_MS, POLL_RECORDS_MAX, RECORD_BYTES_MAX, Job, read_job, split

FETCH_TIMEOUT_MS = 50


async def run(job: Job) -> None:
    """Work until SIGTERM."""
    stopping = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopping.set)
    producer = AIOKafkaProducer(
        bootstrap_servers=job.brokers,
        acks="all",
        enable_idempotence=True,
        compression_type=COMPRESSION,
        linger_ms=LINGER_MS,
        max_batch_size=1 << 20,
        max_request_size=RECORD_BYTES_MAX,
    )
    consumer = AIOKafkaConsumer(
        job.raw,
        bootstrap_servers=job.brokers,
        group_id=job.group,
        auto_offset_reset="earliest",
        enable_auto_commit=False,
    )
    async with producer, consumer:
        while not stopping.is_set():
            await pass_on(consumer, producer, job)


async def pass_on(consumer: AIOKafkaConsumer, producer: AIOKafkaProducer, job: Job) -> None:
    """Move one batch."""
    fetched = await consumer.getmany(timeout_ms=FETCH_TIMEOUT_MS, max_records=POLL_RECORDS_MAX)
    deliveries = []
    for records in fetched.values():
        for record in records:
            key, content, operational = split(record.value)
            deliveries.append(await producer.send(job.content, content, key))
            deliveries.append(await producer.send(job.operational, operational, key))
    if deliveries:
        await asyncio.gather(*deliveries)
        await consumer.commit()


if __name__ == "__main__":
    uvloop.run(run(read_job()))
