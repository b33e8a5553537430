"""Producing raw events from the measurer, with librdkafka: it must cost little beside what is measured.

Import `confluent_kafka` late: the peers' packages are put on the path by the script's main.
"""

import importlib
import itertools
from collections.abc import Sequence
from typing import Any

from peer import COMPRESSION, RECORD_BYTES_MAX
from traffic import Pool

FLUSH_S = 60


class Producer:
    """Sends raw events; ends the measurement when one is not delivered."""

    def __init__(self, brokers: str, *, linger_ms: int) -> None:
        """Connect."""
        self._producer: Any = importlib.import_module("confluent_kafka").Producer(
            {
                "bootstrap.servers": brokers,
                "acks": "all",
                "compression.type": COMPRESSION,
                "linger.ms": linger_ms,
                "message.max.bytes": RECORD_BYTES_MAX,
                "queue.buffering.max.kbytes": 256 << 10,
                "log_level": 2,  # the broker goes first at the end, and librdkafka would say so
            }
        )
        self._failure: Any = None

    def send(self, topic: str, key: bytes, value: bytes, headers: Sequence[tuple[str, bytes]] = ()) -> None:
        """Queue one record; wait while the queue is full."""
        while True:
            try:
                self._producer.produce(topic, value, key, on_delivery=self._delivered, headers=list(headers))
            except BufferError:
                self._producer.poll(0.1)
            else:
                self._producer.poll(0)
                return

    def flush(self) -> None:
        """Wait until all is delivered.

        Raises:
            RuntimeError: something was not.
        """
        if self._producer.flush(FLUSH_S) or self._failure is not None:
            raise RuntimeError(f"raw events were not delivered: {self._failure}")

    def _delivered(self, error: Any, _message: Any) -> None:
        if error is not None:
            self._failure = error


def fill(brokers: str, topic: str, pool: Pool, count: int) -> int:
    """Write so many events to a topic; return their bytes."""
    producer, size = Producer(brokers, linger_ms=20), 0
    for raw in itertools.islice(pool.events(), count):
        producer.send(topic, raw.key, raw.value)
        size += len(raw.value)
    producer.flush()
    return size
