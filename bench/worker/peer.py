"""What every runner shares: where it reads and writes, the trivial transform, and the settings of the clients.

It imports nothing but orjson, because the peers' virtualenv has nothing of lethe's.
"""

import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import NamedTuple

import orjson

COMPRESSION = "zstd"
"""What lethe's worker uses (pipeline/client.py); every peer does the same work, here and on the broker."""
LINGER_MS = 5
POLL_RECORDS_MAX = 500
RECORD_BYTES_MAX = 24 << 20
_VARIABLES = {
    "brokers": "LETHE_BROKERS",
    "group": "LETHE_GROUP",
    "raw": "LETHE_TOPIC_RAW",
    "content": "LETHE_TOPIC_CONTENT",
    "operational": "LETHE_TOPIC_OPERATIONAL",
    "rejected": "LETHE_TOPIC_REJECTED",
    "control": "LETHE_TOPIC_CONTROL",
    "applied": "LETHE_TOPIC_APPLIED",
}


@dataclass(frozen=True, slots=True)
class Job:
    """Where a runner reads and writes; the names of lethe's own settings carry it in the environment.

    Attributes:
        brokers: ``host:port``, separated by commas.
        group: consumer group, a new one for each run.
        raw: topic that is read, from its start.
        content, operational: topics that get one record an event each.
        rejected, control, applied: topics that lethe's worker wants besides; the peers leave them alone.
    """

    brokers: str
    group: str
    raw: str
    content: str
    operational: str
    rejected: str
    control: str
    applied: str

    def environ(self) -> dict[str, str]:
        """Return the variables that tell a runner."""
        return {_VARIABLES[name]: value for name, value in asdict(self).items()}


def read_job(environ: Mapping[str, str] = os.environ) -> Job:
    """Return what the environment says."""
    return Job(**{name: environ[variable] for name, variable in _VARIABLES.items()})


class Split(NamedTuple):
    """What the trivial transform makes of an event."""

    key: bytes
    content: bytes
    operational: bytes


def split(raw: bytes) -> Split:
    """Parse an event and write both halves: the bodies, and the rest. The same for every runner."""
    event = orjson.loads(raw)
    key = event["request_id"].encode()
    content = orjson.dumps({"request": event.pop("request", None), "response": event.pop("response", None)})
    return Split(key, content, orjson.dumps(event))


def rdkafka_producer(brokers: str, linger_ms: int = LINGER_MS) -> dict[str, str | int | bool]:
    """Return librdkafka's settings for producing at least once."""
    return {
        "bootstrap.servers": brokers,
        "acks": "all",
        "enable.idempotence": True,
        "compression.type": COMPRESSION,
        "linger.ms": linger_ms,
        "message.max.bytes": RECORD_BYTES_MAX,
    }


def rdkafka_consumer(job: Job) -> dict[str, str | int | bool]:
    """Return librdkafka's settings for a group that commits by itself."""
    return {
        "bootstrap.servers": job.brokers,
        "group.id": job.group,
        "auto.offset.reset": "earliest",
        "enable.auto.commit": False,
        "fetch.message.max.bytes": RECORD_BYTES_MAX,
    }
