"""The audit log in its topic: published once, in order, and compared with the files. A real broker."""

import asyncio
from pathlib import Path

import pytest
from cli_fixtures import Lethe, make_lethe
from kafka import KafkaProducer
from kafka_broker import Cluster, make_topic
from test_audit import ERASE, EXPIRE, SCHEMA, START_MS, make_chain, make_log

from pipeline.audit import publishing
from pipeline.audit.acting import audited
from pipeline.brokers import Brokers
from pipeline.client import TopicPartition, reading
from pipeline.recovery.reading import log_ranges, read_range


def read_topic(cluster: Cluster, topic: str) -> list[tuple[bytes, bytes]]:
    """Return keys and values of partition 0."""

    async def read() -> list[tuple[bytes, bytes]]:
        at = TopicPartition(topic, 0)
        async with reading(Brokers(cluster.bootstrap), fetch_bytes_max=1 << 20) as consumer:
            first, end = (await log_ranges(consumer, [at]))[at]
            return [(record.key, record.value) async for record in read_range(consumer, at, first, end)]

    return asyncio.run(read())


def put(cluster: Cluster, topic: str, *values: bytes) -> None:
    """Write records as they are."""
    producer = KafkaProducer(bootstrap_servers=cluster.bootstrap)
    for value in values:
        producer.send(topic, value, partition=0)
    producer.flush()
    producer.close()


def lines_of(folder: Path) -> list[bytes]:
    """Return the lines of a log."""
    return [line for path in sorted(folder.iterdir()) for line in path.read_bytes().splitlines()]


@pytest.fixture
def topic(broker: Cluster, monkeypatch: pytest.MonkeyPatch) -> str:
    """Return a topic of its own, with two partitions: the order must hold there too."""
    monkeypatch.setattr(publishing, "_ROUND_MAX", 3)
    return make_topic(broker, 2)


@pytest.fixture
def lethe(
    broker: Cluster, topic: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Lethe:
    """Return the command, set to the topic."""
    command = make_lethe(tmp_path, monkeypatch, capfd)
    monkeypatch.setenv("LETHE_BROKERS", broker.bootstrap)
    monkeypatch.setenv("LETHE_TOPIC_AUDIT", topic)
    return command


def test_the_topic_gets_each_entry_once(lethe: Lethe, broker: Cluster, topic: str, tmp_path: Path) -> None:
    """Publishing resumes after the last entry; what the topic has is what the files have, after an expiry too."""
    folder = tmp_path / "lethe-audit"
    log = make_log(folder)
    with audited(log, ERASE):
        pass
    place = publishing.Place(Brokers(broker.bootstrap), topic, 1 << 20)
    assert publishing.publish(place, folder, SCHEMA) == 3
    put(broker, topic, *make_chain(3), lines_of(folder)[1])  # another host's log, and a repeat
    with audited(log, ERASE), audited(log, ERASE):
        pass
    assert "3 entries are in the topic, 4 not yet" in lethe("audit-log", "verify", "--topic").out
    assert lethe("audit-log", "publish").out == f"published 4 entries to {topic}\n"
    assert lethe("audit-log", "publish").out == f"published 0 entries to {topic}\n"
    ours = [(key, value) for key, value in read_topic(broker, topic) if key is not None]
    assert [value for _, value in ours] == lines_of(folder)
    assert [key.rpartition(b":")[2] for key, _ in ours] == [str(number).encode() for number in range(7)]
    assert lethe("audit-log", "verify", "--topic").code == 0
    make_log(folder, lambda: START_MS + 400 * 86_400_000).expire(400 * 86_400_000, EXPIRE)
    assert lethe("audit-log", "verify", "--topic").code == 0


def test_the_topic_tells_what_the_files_lost(lethe: Lethe, broker: Cluster, topic: str, tmp_path: Path) -> None:
    """An end that was cut off, and a chain that was made anew, are found beside the topic, and not published over."""
    folder = tmp_path / "lethe-audit"
    for _ in range(3):
        make_log(folder).checkpoint()
    assert lethe("audit-log", "publish").code == 0
    (path,) = folder.iterdir()
    whole = path.read_bytes()
    path.write_bytes(b"".join(whole.splitlines(keepends=True)[:-1]))
    assert lethe("audit-log", "verify").code == 0
    done = lethe("audit-log", "verify", "--topic")
    assert (done.code, "! the end: is gone: the topic ends with 3 and the files with 2" in done.out) == (1, True)
    assert "the topic ends with 3 and the files with 2" in lethe("audit-log", "publish").err
    make_log(folder).append(ERASE, "started")  # type: ignore[arg-type]  # another entry of that sequence
    done = lethe("audit-log", "verify", "--topic")
    assert (done.code, "sequence 3: is another entry in the files than in the topic" in done.out) == (1, True)
    assert lethe("audit-log", "publish").code == 2
    path.write_bytes(whole)
    put(broker, topic, b"zqcanary")
    done = lethe("audit-log", "verify", "--topic")
    assert (done.code, "/4: is no entry" in done.out, "zqcanary" in done.out) == (1, True, False)
