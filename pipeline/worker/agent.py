"""The Faust app and its agent: an ordinary agent whose event is a batch of raw records."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import faust
from faust.types import Message

from pipeline.brokers import MECHANISM, Brokers, Security
from pipeline.client import METADATA_AGE_MS
from pipeline.worker.batches import RawBatch
from pipeline.worker.lease import Lease
from pipeline.worker.observer import Observer
from pipeline.worker.transport import Transport

POLL_RECORDS_MAX = 2000
REBALANCE_S = 60
COMMIT_INTERVAL_S = 0.5
POLL_INTERVAL_S = 10 * 365 * 86_400
"""For ever: aiokafka takes a member without partitions, which fetches nothing, for stuck. The watchdog knows better."""
HEARTBEATS = 4
"""Heartbeats in a session: one may be lost, and one late."""


@dataclass(frozen=True, slots=True)
class Wiring:
    """What the app needs from its worker.

    Attributes:
        brokers: how Kafka is reached.
        group: consumer group.
        raw_topic: what it reads.
        datadir: a private folder; Faust wants one, and nothing of an event is written there.
        session_s: a member that is silent for so long loses its partitions.
        batch_bytes_max: bytes of a batch; also what one fetch takes of a partition, unless a record is larger.
        instance_id: static membership, "" for none.
        observer: is told what happens.
        lease: for how long this process is surely a member.
        in_flight: how many slices are not delivered yet.
        make_producer: makes the aiokafka producer.
        commits: whether offsets are committed; a shadow commits none.
        note: is said with them, see `pipeline.worker.versions`.
        handle: the agent's body: takes a batch, and returns when it may have the next.
    """

    brokers: Brokers
    group: str
    raw_topic: str
    datadir: str
    session_s: int
    batch_bytes_max: int
    instance_id: str
    observer: Observer
    lease: Lease
    in_flight: Callable[[], int]
    commits: bool
    note: str
    make_producer: Callable[[], Any]
    handle: Callable[[RawBatch], Awaitable[None]]


class BatchSchema(faust.Schema[Any, Any]):
    """Hands the batch to the agent as it is: decoding is the core's, and a bad event no reason to skip it."""

    def loads_key(self, app: Any, message: Message, **_: Any) -> None:
        """Return no key: a batch has many."""

    def loads_value(self, app: Any, message: Message, **_: Any) -> Any:  # noqa: ARG002 - Faust's signature
        """Return the batch."""
        return message.value


class _NoHttp:
    """In place of aiohttp's client, which Faust would load and nothing here may use (policy §6)."""


class WorkerApp(faust.App):
    """The app, with what the transport asks of it."""

    def __init__(self, wiring: Wiring) -> None:
        """Configure Faust so that it keeps no state, serves no pages and makes no topics."""
        self.observer = wiring.observer
        self.lease = wiring.lease
        self.in_flight = wiring.in_flight
        self.make_producer = wiring.make_producer
        self.raw_topic = wiring.raw_topic
        self.batch_bytes_max = wiring.batch_bytes_max
        self.commits = wiring.commits
        self.note = wiring.note
        super().__init__(
            wiring.group,
            broker=";".join(f"kafka://{server}" for server in wiring.brokers.servers()),
            broker_credentials=_credentials(wiring.brokers),
            autodiscover=False,
            store="memory://",
            datadir=wiring.datadir,
            web_enabled=False,
            HttpClient=_NoHttp,
            topic_allow_declare=False,
            topic_disable_leader=True,
            table_standby_replicas=0,
            consumer_auto_offset_reset="none",
            consumer_group_instance_id=wiring.instance_id or None,
            consumer_metadata_max_age_ms=METADATA_AGE_MS,
            consumer_max_fetch_size=wiring.batch_bytes_max,
            broker_max_poll_records=POLL_RECORDS_MAX,
            broker_max_poll_interval=POLL_INTERVAL_S,
            broker_session_timeout=wiring.session_s,
            broker_heartbeat_interval=wiring.session_s / HEARTBEATS,
            broker_rebalance_timeout=REBALANCE_S,
            broker_request_timeout=max(40, wiring.session_s + 10),
            broker_commit_interval=COMMIT_INTERVAL_S,
            stream_wait_empty=True,
        )
        self.transport = Transport(self.conf.broker_consumer, self)

    def _crash(self, reason: BaseException) -> None:
        """End the process when any service of the app fails: Faust would stop some of them and let others go on."""
        super()._crash(reason)
        self.observer.die(reason)


def _credentials(brokers: Brokers) -> faust.SASLCredentials | faust.SSLCredentials | None:
    """Return what Faust's own consumer is let in by; None for plaintext. Our producer does not ask Faust."""
    context = brokers.context()
    if context is None:
        return None
    if brokers.security is Security.TLS:
        return faust.SSLCredentials(context)
    return faust.SASLCredentials(
        username=brokers.user, password=brokers.password, ssl_context=context, mechanism=MECHANISM
    )


def make_app(wiring: Wiring) -> WorkerApp:
    """Make the app and its agent.

    The raw topic is declared without Faust's acknowledgements: `pipeline.worker.transport` has its own account.
    """
    app = WorkerApp(wiring)
    topic = app.topic(wiring.raw_topic, schema=BatchSchema(), acks=False)

    @app.agent(topic, name="anonymize", concurrency=1)
    async def anonymize(stream: Any) -> None:
        consumer: Any = app.consumer  # pipeline.worker.transport.Consumer
        async for event in stream.events():
            consumer.taken()
            try:
                await wiring.handle(event.value)
            except asyncio.CancelledError:  # the app stops; what is not delivered is not committed
                raise
            except BaseException as error:
                wiring.observer.die(error)
                raise

    return app
