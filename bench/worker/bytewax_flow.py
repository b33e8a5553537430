"""Bytewax: one worker, one flat_map, one Kafka sink for both topics; at least once by its recovery store.

Bytewax commits no offsets to Kafka: it keeps them in SQLite, a snapshot a second here. Its sink flushes after every
batch.
"""

import tempfile
from datetime import timedelta
from pathlib import Path
from typing import Any

from bytewax import operators as op  # type: ignore[import-not-found]  # it is in the peers' virtualenv only
from bytewax.connectors.kafka import (  # type: ignore[import-not-found]  # as above
    KafkaSink,
    KafkaSinkMessage,
    KafkaSource,
)
from bytewax.dataflow import Dataflow  # type: ignore[import-not-found]  # as above
from bytewax.recovery import RecoveryConfig, init_db_dir  # type: ignore[import-not-found]  # as above
from bytewax.run import cli_main  # type: ignore[import-not-found]  # as above
from peer import Job, rdkafka_producer, read_job, split

SNAPSHOT_S = 1


def make_flow(job: Job) -> Any:
    """Return the dataflow."""

    def transform(message: Any) -> list[Any]:
        key, content, operational = split(message.value)
        return [
            KafkaSinkMessage(key, content, topic=job.content),
            KafkaSinkMessage(key, operational, topic=job.operational),
        ]

    flow = Dataflow("bench")
    raw = op.input("raw", flow, KafkaSource([job.brokers], [job.raw]))
    records = op.flat_map("split", raw, transform)
    op.output("records", records, KafkaSink([job.brokers], None, rdkafka_producer(job.brokers)))
    return flow


def main() -> None:
    """Run until killed: a dataflow over Kafka has no end."""
    with tempfile.TemporaryDirectory() as folder:
        init_db_dir(Path(folder), 1)
        recovery = RecoveryConfig(Path(folder))
        cli_main(make_flow(read_job()), epoch_interval=timedelta(seconds=SNAPSHOT_S), recovery_config=recovery)


if __name__ == "__main__":
    main()
