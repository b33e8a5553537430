"""Reads the rejected topic to its end: pointers into raw. What is no rejection is counted and not shown."""

import re
from collections.abc import AsyncIterator, Iterable
from typing import Any, NamedTuple

import orjson

from pipeline.client import TopicPartition
from pipeline.errors import ConfigError, Reason
from pipeline.policy.validator import FORMATS
from pipeline.recovery.reading import log_ranges, read_range
from pipeline.topics.duration import parse_ms

OTHER = "other"
"""What a reason of another version of lethe is called."""
REASONS = (*map(str, Reason), OTHER)
_SOURCE, _POINTER = re.compile(FORMATS["source"]), re.compile(FORMATS["pointer"])
_PLACE = re.compile(r"([A-Za-z0-9._-]{1,249})/([0-9]{1,9})/([0-9]{1,18})", re.ASCII)
_OFFSET_END = 1 << 63
_FIELDS = ("topic", "partition", "offset", "last_offset", "size_bytes", "reason", "pointer")

Place = tuple[str, int, int]
"""Topic, partition and offset of a raw record."""


class Rejected(NamedTuple):
    """A rejection as the topic has it: a pointer, no payload.

    Attributes:
        topic, partition, offset: where the raw event was, as its worker read it.
        last_offset: last of a range that expired before anybody read it; None for a single event.
        size_bytes: size of the raw event.
        reason: why it was refused, one of `REASONS`.
        pointer: JSON pointer into the event.
        rejected_ms: when the rejection was appended, epoch milliseconds.
    """

    topic: str
    partition: int
    offset: int
    last_offset: int | None
    size_bytes: int
    reason: str
    pointer: str
    rejected_ms: int

    @property
    def place(self) -> Place:
        """Return where the raw event was."""
        return self.topic, self.partition, self.offset

    @property
    def events(self) -> int:
        """Return how many events it stands for."""
        return 1 if self.last_offset is None else self.last_offset - self.offset + 1


class Wanted(NamedTuple):
    """Which rejections are asked for; None is any.

    Attributes:
        reason: only of this reason.
        since_ms: appended at this time or later, epoch milliseconds.
        place: only of this raw record.
    """

    reason: str | None = None
    since_ms: int | None = None
    place: Place | None = None

    def admits(self, rejected: Rejected) -> bool:
        """Tell whether a rejection is asked for."""
        return (
            (self.reason is None or rejected.reason == self.reason)
            and (self.since_ms is None or rejected.rejected_ms >= self.since_ms)
            and (self.place is None or rejected.place == self.place)
        )


class RejectedReader:
    """Reads the rejected topic.

    Attributes:
        unreadable: how many of its records are no rejections.
    """

    def __init__(self, consumer: Any, topic: str, partitions: int, wanted: Wanted) -> None:
        """Prepare.

        Args:
            consumer: of `pipeline.client.reading`.
            topic: the rejected topic.
            partitions: how many it has.
            wanted: which to yield.
        """
        self.unreadable = 0
        self._consumer = consumer
        self._places = [TopicPartition(topic, number) for number in range(partitions)]
        self._wanted = wanted

    async def read(self) -> AsyncIterator[Rejected]:
        """Yield what is there now, a partition after the other; the same event may be rejected several times.

        Raises:
            SinkUnavailable: as `read_range`.
        """
        ranges = await log_ranges(self._consumer, self._places)
        since = {} if self._wanted.since_ms is None else dict.fromkeys(self._places, self._wanted.since_ms)
        later = await self._consumer.offsets_for_times(since) if since else {}
        for at, (begin, end) in ranges.items():
            first = begin
            if at in later:
                first = end if later[at] is None else max(begin, later[at].offset)
            async for record in read_range(self._consumer, at, first, end):
                rejected = parse_rejected(record.value, record.timestamp)
                if rejected is None:
                    self.unreadable += 1
                elif self._wanted.admits(rejected):
                    yield rejected


class Newest:
    """Keeps the newest distinct rejections, in memory bounded by their number.

    Attributes:
        passed_over: whether there were more.
    """

    def __init__(self, limit: int) -> None:
        self.passed_over = False
        self._limit = limit
        self._kept: dict[Place, Rejected] = {}

    def add(self, rejected: Rejected) -> None:
        """Take one; of the same raw record the newest stays."""
        known = self._kept.get(rejected.place)
        if known is None or rejected.rejected_ms >= known.rejected_ms:
            self._kept[rejected.place] = rejected
        if len(self._kept) > 2 * self._limit:
            self._trim()

    def in_order(self) -> list[Rejected]:
        """Return them, the newest last."""
        self._trim()
        return sorted(self._kept.values(), key=_age)

    def _trim(self) -> None:
        if len(self._kept) > self._limit:
            self.passed_over = True
            newest = sorted(self._kept.values(), key=_age)[-self._limit :]
            self._kept = {rejected.place: rejected for rejected in newest}


def _age(rejected: Rejected) -> tuple[int, Place]:
    return rejected.rejected_ms, rejected.place


def parse_rejected(value: bytes | None, rejected_ms: int) -> Rejected | None:
    """Read a record of the rejected topic, of this version of lethe or a later one; None when it is no rejection.

    Each field is held to its format: what is shown of it can hold no text of an event, whoever wrote it.
    """
    try:
        fields = orjson.loads(value or b"")
    except orjson.JSONDecodeError:
        return None
    if not isinstance(fields, dict):
        return None
    found = Rejected._make([*map(fields.get, _FIELDS), rejected_ms])
    if not _is_rejection(found):
        return None
    return found if found.reason in REASONS else found._replace(reason=OTHER)


def _is_rejection(found: Rejected) -> bool:
    """Tell whether fields of any type are those of a rejection."""
    last: object = found.offset if found.last_offset is None else found.last_offset
    numbers: tuple[object, ...] = (found.partition, found.offset, last, found.size_bytes)
    if not all(type(number) is int and 0 <= number < _OFFSET_END for number in numbers):
        return False
    if not all(isinstance(text, str) for text in (found.topic, found.pointer, found.reason)):
        return False
    in_form = _SOURCE.fullmatch(found.topic) and _POINTER.fullmatch(found.pointer)
    return in_form is not None and found.events > 0


def parse_place(text: str) -> Place:
    """Read ``topic/partition/offset``.

    Raises:
        ConfigError: it is none; the text is not repeated.
    """
    match = _PLACE.fullmatch(text)
    if match is None:
        raise ConfigError("--at takes TOPIC/PARTITION/OFFSET of a raw record, as the list shows it")
    return match[1], int(match[2]), int(match[3])


def wanted_of(reason: str, since: str, now_ms: int) -> Wanted:
    """Return which rejections are asked for.

    Args:
        reason: only of this one; "" is any.
        since: a duration until now; "" is any.
        now_ms: the time, epoch milliseconds.

    Raises:
        ConfigError: there is no such reason, or it is no duration.
    """
    if reason and reason not in REASONS:
        raise ConfigError(f"--reason is one of {', '.join(REASONS)}")
    since_ms = max(0, now_ms - parse_ms("--since", since)) if since else None
    return Wanted(reason or None, since_ms)


def by_partition(rejections: Iterable[Rejected], topic: str) -> tuple[dict[int, list[Rejected]], list[Rejected]]:
    """Part distinct rejections into those of a topic's partitions, in the order of their offsets, and the rest."""
    partitions: dict[int, list[Rejected]] = {}
    rest = []
    for rejected in sorted(rejections, key=lambda each: each.place):
        if rejected.topic == topic and rejected.last_offset is None:
            partitions.setdefault(rejected.partition, []).append(rejected)
        else:
            rest.append(rejected)
    return partitions, rest
