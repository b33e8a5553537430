"""The barrier of an erasure or restriction (design §4): publish, wait for every worker, its backlog, and the archive.

A worker says on the topic ``applied`` how far entries are in force: nothing that it judged without them can come any
more. Who the workers are, their group says. One that joins later reads the control topic to its end before it takes up
an event, and one that the group does not know any more sends nothing (`pipeline.worker.lease`). So no member at all
counts as applied. A group that has never read anything is no group of workers, though: its name may be wrong.
"""

import asyncio
import time
from collections.abc import Callable, Collection, Coroutine, Iterable, Mapping
from contextlib import suppress
from typing import Any, NamedTuple, TypeVar

from pipeline.applied import decode_applied, reader_of
from pipeline.brokers import Brokers
from pipeline.client import NoOffsetForPartitionError, TopicPartition, committed_by, producing, reading
from pipeline.errors import ConfigError, SinkUnavailable
from pipeline.policy.model import RecordSchema
from pipeline.recovery.reading import PATIENCE_S, log_ranges
from pipeline.rights.receipt import BEHIND, Ends, Mark, Waited
from pipeline.store.tags import from_metadata
from pipeline.topics.admin import TopicAdmin
from pipeline.topics.live import CHECK_INTERVAL, longest_ms

NEEDED = (*BEHIND, "raw", "control", "applied")
_FETCH_BYTES = 1 << 20
_POLL_MS = 250
_CHECK_MS = 300_000
"""Kafka's default of the check interval, where the brokers hide theirs."""
_CLOCKS_DIFFER_MS = 3_600_000

T = TypeVar("T")


class Place(NamedTuple):
    """Where the workers' topics are.

    Attributes:
        brokers: how Kafka is reached.
        group: of the workers; the archive keeps its offsets in another, ``-archive`` behind it.
        topics: topic of each sink, by the sink's name.
        batch_bytes_max: bytes of a batch.
    """

    brokers: Brokers
    group: str
    topics: Mapping[str, str]
    batch_bytes_max: int


class Barrier:
    """One cluster; each step may be done again.

    Attributes:
        group: of the workers.
        holds_ms: longest time from a record's append to its bytes being gone from a topic, by sink; None where nothing
            bounds it, which `lethe topics verify` calls a fault.
    """

    def __init__(self, place: Place, applied: RecordSchema) -> None:
        """Look whether the topics are there, and how long they hold a record.

        Args:
            place: of the topics.
            applied: schema of the topic ``applied``.

        Raises:
            ConfigError: a topic is missing, or Kafka refuses.
            SinkUnavailable: no broker answers.
        """
        self._place, self._applied = place, applied
        with TopicAdmin(place.brokers) as admin:
            live = admin.read_topics(place.topics[name] for name in NEEDED)
            check_ms = admin.read_brokers({CHECK_INTERVAL: str(_CHECK_MS)}).check_ms
        if missing := [place.topics[name] for name in NEEDED if place.topics[name] not in live]:
            raise ConfigError(f"the topics are not ready: {', '.join(missing)} missing (run `lethe topics apply`)")
        self._partitions = {name: len(live[place.topics[name]].partitions) for name in NEEDED}
        self.group = place.group
        self.holds_ms = {name: longest_ms(live[place.topics[name]].settings, check_ms) for name in NEEDED}

    def until_ms(self, sink: str, now_ms: int) -> int | None:
        """Return when what a topic holds now is gone from it; None where nothing bounds it."""
        hold_ms = self.holds_ms[sink]
        return None if hold_ms is None else now_ms + hold_ms

    def check_group(self) -> None:
        """See that the group is that of the workers, as far as can be seen.

        Raises:
            ConfigError: it has no member and has never committed, but raw has records.
            SinkUnavailable: Kafka is not there.
        """
        if self._run(self._is_unknown()):
            raise ConfigError(
                f"the group {self.group} has read nothing of {self._place.topics['raw']}, which has records: set "
                "LETHE_GROUP to the group of the workers. If no worker has read any of it, as yet: --no-workers"
            )

    def backlog(self) -> Ends:
        """Return where raw ends now, by sink and partition; nothing of a group that has never read it.

        What lies before may have been done by halves, by a worker that was killed: a record of content was sent, and
        that of its account was not. Whoever does it again judges it by the entry, and then nothing names that content
        but the record that has lost its account (`pipeline.store.intake`). So it is to be done before one looks.
        """
        return {"raw": {}} if self._run(self._is_unknown()) else self.ends("raw")

    async def _is_unknown(self) -> bool:
        places = self._places(["raw"])
        async with reading(self._place.brokers, fetch_bytes_max=_FETCH_BYTES, group=self._place.group) as consumer:
            if any([await consumer.committed(at) is not None for at in places]):
                return False
            is_empty = all(begin == end for begin, end in (await log_ranges(consumer, places)).values())
        with TopicAdmin(self._place.brokers) as admin:
            members = await _patiently(lambda: admin.members_of(self._place.group), time.monotonic() + PATIENCE_S / 2)
        return not members and not is_empty

    def publish(self, pseudonym: str, entry: bytes) -> Mark:
        """Write an entry to the control topic, and return where it is, when all in-sync replicas have it.

        Raises:
            ConfigError, SinkUnavailable: Kafka is not there, or refuses; the entry may be there all the same.
        """
        return self._run(self._publish(pseudonym.encode(), entry))

    async def _publish(self, key: bytes, entry: bytes) -> Mark:
        async with producing(self._place.brokers, batch_bytes_max=self._place.batch_bytes_max) as producer:
            said = await producer.send_and_wait(self._place.topics["control"], entry, key=key)
        return Mark(said.partition, said.offset)

    def wait_for_workers(self, mark: Mark, since_ms: int, wait_s: float) -> Waited:
        """Wait until each worker of now has applied an entry.

        Args:
            mark: where the entry is.
            since_ms: when it was published at the earliest, epoch milliseconds.
            wait_s: how long to wait.

        Raises:
            ConfigError, SinkUnavailable: Kafka is not there, or refuses.
        """
        return self._run(self._wait_for_workers(mark, since_ms, time.monotonic() + wait_s), wait_s)

    async def _wait_for_workers(self, mark: Mark, since_ms: int, until_s: float) -> Waited:
        reached: dict[str, int] = {}
        with TopicAdmin(self._place.brokers) as admin:
            async with reading(self._place.brokers, fetch_bytes_max=_FETCH_BYTES) as consumer:
                await self._seek(consumer, since_ms - _CLOCKS_DIFFER_MS)
                while True:
                    members = await _patiently(lambda: admin.members_of(self._place.group), until_s)
                    await self._hear(consumer, mark.partition, reached)
                    left = sum(reached.get(reader_of(member), 0) <= mark.offset for member in members)
                    if not left or time.monotonic() >= until_s:
                        return Waited(left, len(members))

    async def _hear(self, consumer: Any, partition: int, reached: dict[str, int]) -> None:
        """Take in what readers have said since."""
        fetched: Mapping[TopicPartition, list[Any]] = {}
        with suppress(NoOffsetForPartitionError):  # from before the seek: the client looked when it was assigned
            fetched = await consumer.getmany(timeout_ms=_POLL_MS)
        for record in (record for records in fetched.values() for record in records):
            said = decode_applied(record.value or b"", self._applied)
            if said is not None and said[1] == partition:
                reached[said[0]] = max(said[2], reached.get(said[0], 0))

    async def _seek(self, consumer: Any, since_ms: int) -> None:
        """Begin where the topic ``applied`` has records from a time on."""
        places = self._places(["applied"])
        ranges = await log_ranges(consumer, places)
        found = await consumer.offsets_for_times(dict.fromkeys(places, max(0, since_ms)))
        for at, (_, end) in ranges.items():
            first = found.get(at)
            consumer.seek(at, end if first is None else first.offset)

    def ends(self, *names: str) -> Ends:
        """Return where the topics of some sinks end now, by sink and partition."""
        return self._run(self._ends(names))

    async def _ends(self, names: Collection[str]) -> Ends:
        async with reading(self._place.brokers, fetch_bytes_max=_FETCH_BYTES) as consumer:
            found = await consumer.end_offsets(self._places(names))
        sinks = {self._place.topics[name]: name for name in names}
        ends: dict[str, dict[int, int]] = {name: {} for name in names}
        for at, end in found.items():
            ends[sinks[at.topic]][at.partition] = end
        return ends

    def wait_for_archive(self, ends: Ends, wait_s: float) -> Waited:
        """Wait until an archive has stored and committed all before some ends.

        Raises:
            ConfigError, SinkUnavailable: Kafka is not there, or refuses.
        """
        return self._run(self._wait_for(f"{self.group}-archive", ends, time.monotonic() + wait_s), wait_s)

    def wait_for_backlog(self, ends: Ends, wait_s: float) -> Waited:
        """Wait until workers have done and committed all before some ends.

        Raises:
            ConfigError, SinkUnavailable: Kafka is not there, or refuses.
        """
        return self._run(self._wait_for(self.group, ends, time.monotonic() + wait_s), wait_s)

    async def _wait_for(self, group: str, ends: Ends, until_s: float) -> Waited:
        wanted = {
            TopicPartition(self._place.topics[name], number): end
            for name, partitions in ends.items()
            for number, end in partitions.items()
        }
        async with reading(self._place.brokers, fetch_bytes_max=_FETCH_BYTES, group=group) as consumer:
            while True:
                begins = await consumer.beginning_offsets(list(wanted))
                # What a topic does not hold any more is not waited for: retention took it, and it is nowhere.
                said = await committed_by(consumer, wanted)
                done = begins | {at: max(begins[at], one.offset) for at, one in said.items()}
                left = sum(max(0, end - done[at]) for at, end in wanted.items())
                if not left or time.monotonic() >= until_s:
                    return Waited(left, tags=frozenset(from_metadata(one.metadata) for one in said.values()))
                await asyncio.sleep(_POLL_MS / 1000)

    def _run(self, work: Coroutine[Any, Any, T], wait_s: float = 0.0) -> T:
        """Do some work on a loop of its own; Kafka's client by itself waits for its brokers without an end."""

        async def limited() -> T:
            async with asyncio.timeout(wait_s + PATIENCE_S):
                return await work

        with suppress(TimeoutError):
            return asyncio.run(limited())
        raise SinkUnavailable(f"no answer from Kafka at {self._place.brokers}: look at its brokers, and do it again")

    def _places(self, names: Iterable[str]) -> list[TopicPartition]:
        return [
            TopicPartition(self._place.topics[name], number)
            for name in names
            for number in range(self._partitions[name])
        ]


async def _patiently(ask: Callable[[], list[str]], until_s: float) -> list[str]:
    """Ask, and ask again while the brokers do not answer: a coordinator may only just be coming up."""
    while True:
        try:
            return await asyncio.to_thread(ask)
        except SinkUnavailable:
            if time.monotonic() >= until_s:
                raise
        await asyncio.sleep(_POLL_MS / 1000)
