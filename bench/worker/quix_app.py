"""Quix Streams: one dataframe, two topics; at least once by its checkpoints, at its default interval.

The two halves travel as one value and each topic's serializer takes its own: a second branch of the dataframe would
have every value pickled.
"""

from operator import itemgetter
from typing import Any

from peer import rdkafka_producer, read_job, split
from quixstreams import Application  # type: ignore[import-not-found]  # it is in the peers' virtualenv only
from quixstreams.models import Serializer  # type: ignore[import-not-found]  # as above


class Half(Serializer):  # type: ignore[misc]  # what is not found is Any
    """Writes one part of the transform's result."""

    def __init__(self, place: int) -> None:
        super().__init__()
        self._place = place

    def __call__(self, value: Any, ctx: Any) -> Any:  # noqa: ARG002 - Quix Streams' signature
        """Return the part."""
        return value[self._place]


def main() -> None:
    """Run until SIGTERM."""
    job = read_job()
    extra = rdkafka_producer(job.brokers)
    del extra["bootstrap.servers"]
    app = Application(
        job.brokers,
        consumer_group=job.group,
        auto_offset_reset="earliest",
        producer_extra_config=extra,
        processing_guarantee="at-least-once",
        auto_create_topics=False,
        use_changelog_topics=False,
        loglevel="WARNING",
    )
    frame = app.dataframe(app.topic(job.raw, key_deserializer="bytes", value_deserializer="bytes"))
    frame = frame.apply(split)
    for place, name in ((1, job.content), (2, job.operational)):
        topic = app.topic(name, key_serializer="bytes", value_serializer=Half(place))
        frame = frame.to_topic(topic, key=itemgetter(0))
    app.run()


if __name__ == "__main__":
    main()
