"""The audit log in its Kafka topic: file first, then topic. Publishing again sends what is not there yet.

Keys are ``<log>:<sequence>``: a topic can hold the logs of several hosts. All of them go to partition 0, which keeps
each log's order.
"""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from pipeline.audit.chain import Chain
from pipeline.audit.entry import AuditFault, Entry, parse_entry
from pipeline.audit.segments import check_folder, read_lines, segments_of
from pipeline.audit.verify import read_folder
from pipeline.brokers import Brokers
from pipeline.client import TopicPartition, producing, reading
from pipeline.policy.model import RecordSchema
from pipeline.recovery.reading import count_partitions, log_ranges, read_range

_ROUND_MAX = 5000
"""Entries that are sent at once; while they are gathered, nobody writes."""


class Place(NamedTuple):
    """Where the audit log is published.

    Attributes:
        brokers: how Kafka is reached.
        topic: its name.
        batch_bytes_max: bytes of a batch.
    """

    brokers: Brokers
    topic: str
    batch_bytes_max: int


@dataclass
class Published:
    """What a topic holds of one log.

    Attributes:
        chain: what was found of it.
        hashes: of entries, by sequence.
    """

    chain: Chain
    hashes: dict[int, str] = field(default_factory=dict)

    @property
    def last(self) -> int:
        """Return the last sequence that was published; -1 for none."""
        return max(self.hashes, default=-1)

    def take(self, value: bytes, place: str, log: str) -> None:
        """Look at a record: the same entry again changes nothing, one of another log is not ours."""
        entry = parse_entry(value, self.chain.schema)
        if isinstance(entry, str):
            self.chain.find(place, entry)
        elif entry["log"] == log and self.hashes.get(entry["sequence"]) != entry["hash"]:
            self.chain.add(value, place)
            self.hashes[entry["sequence"]] = entry["hash"]

    def compare(self, entry: Entry) -> None:
        """Compare an entry of the files with the published one."""
        known = self.hashes.get(entry["sequence"])
        if known is not None and known != entry["hash"]:
            self.chain.find(f"sequence {entry['sequence']}", "is another entry in the files than in the topic")


def publish(place: Place, folder: Path, schema: RecordSchema) -> int:
    """Send the entries that the topic does not hold yet, in their order, and return how many.

    Raises:
        AuditFault: files or topic do not hold, or not together: nothing is sent then.
        ConfigError, SinkUnavailable: Kafka is not there, or refuses.
    """
    sent = 0
    published = read_published(place, folder, schema)
    while True:
        chain = Chain(schema)
        lines: list[tuple[bytes, bytes]] = []
        for entry, line in read_folder(folder, chain):
            published.compare(entry)
            if entry["sequence"] > published.last and len(lines) < _ROUND_MAX:
                lines.append((f"{entry['log']}:{entry['sequence']}".encode(), line))
        chain.finish()
        _refuse_faults(published, chain)
        if not lines:
            return sent
        asyncio.run(_send(place, lines))
        sent += len(lines)
        for _, line in lines:
            published.take(line, place.topic, chain.head.log if chain.head else "")


def read_published(place: Place, folder: Path, schema: RecordSchema) -> Published:
    """Read what the topic holds of the log of a folder.

    Raises:
        AuditFault: the folder holds no log.
        ConfigError, SinkUnavailable: Kafka is not there, or refuses.
    """
    log = _log_of(folder, schema)
    published = Published(Chain(schema, anywhere=True))
    partitions = count_partitions(place.brokers, [place.topic])[place.topic]

    async def read() -> None:
        async for where, value in _records(place, partitions):
            published.take(value, where, log)

    asyncio.run(read())
    return published


async def _records(place: Place, partitions: int) -> AsyncIterator[tuple[str, bytes]]:
    places = [TopicPartition(place.topic, number) for number in range(partitions)]
    async with reading(place.brokers, fetch_bytes_max=place.batch_bytes_max) as consumer:
        for at, (first, end) in (await log_ranges(consumer, places)).items():
            async for record in read_range(consumer, at, first, end):
                yield f"{at.topic}/{at.partition}/{record.offset}", record.value or b""


async def _send(place: Place, lines: list[tuple[bytes, bytes]]) -> None:
    async with producing(place.brokers, batch_bytes_max=place.batch_bytes_max) as producer:
        waiting = [await producer.send(place.topic, line, key=key, partition=0) for key, line in lines]
        await asyncio.gather(*waiting)


def _log_of(folder: Path, schema: RecordSchema) -> str:
    """Return the id of a folder's log."""
    check_folder(folder)
    for path in segments_of(folder):
        for line, _ in read_lines(path):
            entry = parse_entry(line, schema)
            if isinstance(entry, str):
                raise AuditFault(f"{path}:1 {entry}")
            return str(entry["log"])
    raise AuditFault(f"{folder} holds no audit log")


def _refuse_faults(published: Published, chain: Chain) -> None:
    findings = [*chain.findings, *published.chain.findings]
    if findings:
        raise AuditFault(f"nothing is published, because the audit log does not hold: {findings[0]}")
    if chain.head is not None and published.last > chain.head.sequence:
        raise AuditFault(
            f"nothing is published: the topic ends with {published.last} and the files with {chain.head.sequence}"
        )
