"""What is sent into raw once more: lines of files as they are, and the raw records of rejections, each once."""

import re
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from typing import Any

from pipeline.brokers import Brokers
from pipeline.client import reading
from pipeline.inputs import Inputs
from pipeline.recovery.pointers import Pointers
from pipeline.recovery.raw import look_up
from pipeline.recovery.rejections import Rejected, RejectedReader, Wanted
from pipeline.recovery.sender import Headers, RawCopy

ORIGIN = "lethe_replay_of"
"""Header of a replayed record: partition/offset of the raw record that it was first."""
_PLACE = re.compile(rb"([0-9]{1,9})/([0-9]{1,18})")
_SHOWN_MAX = 5
_OFFSET_BITS = 63


@dataclass(slots=True)
class Skipped:
    """What was not sent, and why.

    Attributes:
        blank: empty lines.
        oversize: events longer than an event may be.
        oversize_lines: topic (as `Inputs` names files) and line of the first of them.
        gone: rejected events that raw has no more.
        repeated: rejected events that are replays of another one that was sent.
        elsewhere: rejected events of another topic than raw's.
        unreadable: records of the rejected topic that are no rejections.
    """

    blank: int = 0
    oversize: int = 0
    oversize_lines: list[tuple[str, int]] = field(default_factory=list)
    gone: int = 0
    repeated: int = 0
    elsewhere: int = 0
    unreadable: int = 0


@dataclass(frozen=True, slots=True)
class Places:
    """Where raw and rejected are.

    Attributes:
        brokers: how Kafka is reached.
        raw, rejected: the topics.
        raw_partitions, rejected_partitions: how many each has; 0 when that was not asked.
        fetch_bytes_max: bytes that are read of a partition at once.
    """

    brokers: Brokers
    raw: str
    rejected: str
    raw_partitions: int
    rejected_partitions: int
    fetch_bytes_max: int = 1 << 20


def lines_of(inputs: Inputs, *, event_bytes_max: int, skipped: Skipped) -> Iterator[RawCopy]:
    """Yield the lines of some inputs, byte for byte, whatever they hold.

    Args:
        inputs: files or standard input.
        event_bytes_max: a longer line is not sent.
        skipped: counts what is not sent.

    Raises:
        ConfigError, DamagedInput: as `Inputs.events`.
    """
    for event in inputs.events():
        if event.oversize or event.source.size_bytes > event_bytes_max:
            skipped.oversize += 1
            if len(skipped.oversize_lines) < _SHOWN_MAX:
                skipped.oversize_lines.append((event.source.topic, event.source.offset))
        elif not event.raw.strip():
            skipped.blank += 1
        else:
            yield RawCopy(event.raw)


async def rejected_copies(
    places: Places, wanted: Wanted, *, event_bytes_max: int, skipped: Skipped
) -> AsyncIterator[RawCopy]:
    """Yield the raw records of rejections that raw still has, each once, with key, headers and partition as they were.

    A replay that was rejected again is another raw record of the same event: a header says which one it was first, and
    of these one is sent. So replaying twice does not double what is replayed.

    Args:
        places: where.
        wanted: which rejections.
        event_bytes_max: a longer event is not sent: it would be rejected again.
        skipped: counts what is not sent.

    Raises:
        SinkUnavailable, ConfigError: Kafka is not there, or refuses.
    """
    sent: set[int] = set()  # of whole numbers: a flood is many
    async with reading(places.brokers, fetch_bytes_max=places.fetch_bytes_max) as consumer:
        async for rejected, record in _found(consumer, places, wanted, skipped):
            if record is None:
                skipped.gone += 1
                continue
            origin = origin_of(record.headers) or (rejected.partition, rejected.offset)
            value = record.value or b""
            if len(value) > event_bytes_max:
                skipped.oversize += 1
            elif (code := origin[0] << _OFFSET_BITS | origin[1]) in sent:
                skipped.repeated += 1
            else:
                sent.add(code)
                yield RawCopy(value, record.key, _headers(record.headers, origin), rejected.partition)


async def _found(
    consumer: Any, places: Places, wanted: Wanted, skipped: Skipped
) -> AsyncIterator[tuple[Rejected, Any]]:
    """Yield rejections of raw with their raw records, or None: by partition, in the order of their offsets."""
    reader = RejectedReader(consumer, places.rejected, places.rejected_partitions, wanted)
    pointers = Pointers()
    async for rejected in reader.read():
        if rejected.topic == places.raw:
            pointers.add(rejected)
        else:
            skipped.elsewhere += rejected.events
    skipped.unreadable = reader.unreadable
    skipped.gone += pointers.expired()
    for topic, partition in pointers.partitions():
        taken = pointers.take(topic, partition)
        async for found in look_up(consumer, topic, partition, places.raw_partitions, taken):
            yield found


def origin_of(headers: Headers) -> tuple[int, int] | None:
    """Return partition and offset of the raw record that a replayed one was first; None for one that is no replay."""
    for name, value in headers:
        if name == ORIGIN and (match := _PLACE.fullmatch(value or b"")):
            return int(match[1]), int(match[2])
    return None


def _headers(headers: Headers, origin: tuple[int, int]) -> Headers:
    kept = [(name, value) for name, value in headers if name != ORIGIN]
    return [*kept, (ORIGIN, f"{origin[0]}/{origin[1]}".encode())]
