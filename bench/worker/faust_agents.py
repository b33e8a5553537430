"""Faust agents as a reader of its documentation writes them, each chosen by its name on the command line.

``naive`` awaits `Topic.send`, which waits until a record is queued, not until it is delivered: that is the documented
form, and it loses records when a delivery fails. ``delivered`` awaits the deliveries, an event at a time. ``take``
takes up to 500 events and awaits the deliveries of all. Only the last two are at least once while nothing raises.
"""

import asyncio
import sys
import tempfile
from typing import Any

import faust
from peer import COMPRESSION, LINGER_MS, Job, read_job, split

TAKE_EVENTS_MAX = 500
TAKE_WITHIN_S = 0.1


def make_app(job: Job, agent: str, datadir: str) -> faust.App:
    """Return the app with one agent; settings that are not named here are Faust's defaults."""
    app = faust.App(
        job.group,
        broker=f"kafka://{job.brokers}",
        store="memory://",
        datadir=datadir,
        web_enabled=False,
        topic_allow_declare=False,
        topic_disable_leader=True,
        table_standby_replicas=0,
        consumer_auto_offset_reset="earliest",
        producer_acks=-1,
        producer_compression_type=COMPRESSION,
        producer_linger=LINGER_MS / 1000 if agent == "take" else 0.0,  # 0 is Faust's default
        value_serializer="raw",
        key_serializer="raw",
    )
    raw, content, operational = (
        app.topic(name, key_type=bytes, value_type=bytes) for name in (job.raw, job.content, job.operational)
    )

    async def naive(stream: Any) -> None:
        async for event in stream.events():
            made = split(event.value)
            await content.send(key=made.key, value=made.content)
            await operational.send(key=made.key, value=made.operational)

    async def delivered(stream: Any) -> None:
        async for event in stream.events():
            made = split(event.value)
            sent = await content.send(key=made.key, value=made.content)
            also_sent = await operational.send(key=made.key, value=made.operational)
            await asyncio.gather(sent, also_sent)

    async def take(stream: Any) -> None:
        async for values in stream.take(TAKE_EVENTS_MAX, within=TAKE_WITHIN_S):
            sent = []
            for value in values:
                made = split(value)
                sent.append(await content.send(key=made.key, value=made.content))
                sent.append(await operational.send(key=made.key, value=made.operational))
            await asyncio.gather(*sent)

    app.agent(raw)({"naive": naive, "delivered": delivered, "take": take}[agent])
    return app


def main() -> None:
    """Run the agent that the command line names, until SIGTERM."""
    with tempfile.TemporaryDirectory() as datadir:
        app = make_app(read_job(), sys.argv[1], datadir)
        # Not "WARN": Faust then shows a spinner, for which it sets the root logger to DEBUG, and that costs a third.
        faust.Worker(app, loglevel="INFO").execute_from_commandline()


if __name__ == "__main__":
    main()
