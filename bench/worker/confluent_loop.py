"""A bare confluent-kafka loop: consume some, transform and produce them, flush, commit. Nothing around it."""

import signal
import sys
from collections.abc import Callable, Iterable
from typing import Any

from confluent_kafka import (  # type: ignore[import-not-found]  # it is in the peers' virtualenv only
    Consumer,
    KafkaException,
    Producer,
)
from peer import LINGER_MS, POLL_RECORDS_MAX, Job, rdkafka_consumer, rdkafka_producer, read_job, split

CONSUME_S = 0.05
Record = tuple[str, bytes, bytes, list[tuple[str, bytes]] | None]
"""Topic, key, value and headers."""


class Loop:
    """Reads until told to stop. At least once: what a flush has not delivered is not committed."""

    def __init__(self, job: Job, transform: Callable[[Any], Iterable[Record]], linger_ms: int = LINGER_MS) -> None:
        """Connect.

        Args:
            job: where to read and write.
            transform: makes the records of one message.
            linger_ms: how long a record waits for others, at most until the flush.
        """
        self._transform = transform
        self._stopping = False
        self._failure: Any = None
        self._producer = Producer(rdkafka_producer(job.brokers, linger_ms))
        self._consumer = Consumer(rdkafka_consumer(job))
        self._consumer.subscribe([job.raw])
        signal.signal(signal.SIGTERM, self._stop)

    def run(self) -> None:
        """Work until SIGTERM."""
        while not self._stopping:
            messages = self._consumer.consume(num_messages=POLL_RECORDS_MAX, timeout=CONSUME_S)
            if messages:
                self._pass_on(messages)
        self._consumer.close()

    def _pass_on(self, messages: list[Any]) -> None:
        for message in messages:
            if message.error() is not None:
                raise KafkaException(message.error())
            for topic, key, value, headers in self._transform(message):
                self._produce(topic, key, value, headers)
            self._producer.poll(0)
        if self._producer.flush() or self._failure is not None:
            sys.exit(f"not delivered: {self._failure}")
        self._consumer.commit(asynchronous=False)

    def _produce(self, topic: str, key: bytes, value: bytes, headers: list[tuple[str, bytes]] | None) -> None:
        while True:
            try:
                self._producer.produce(topic, value, key, headers=headers, on_delivery=self._delivered)
            except BufferError:  # the queue is full; wait for deliveries
                self._producer.poll(0.1)
            else:
                return

    def _delivered(self, error: Any, _message: Any) -> None:
        if error is not None:
            self._failure = error

    def _stop(self, *_: Any) -> None:
        self._stopping = True


def main() -> None:
    """Run the loop with the trivial transform."""
    job = read_job()

    def transform(message: Any) -> Iterable[Record]:
        key, content, operational = split(message.value())
        return (job.content, key, content, None), (job.operational, key, operational, None)

    Loop(job, transform).run()


if __name__ == "__main__":
    main()
