"""The archive against a real broker and an embedded store: what is written comes to be read once, whatever happens."""

import asyncio
import json
import os
import random
import re
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from kafka import KafkaProducer
from kafka.errors import KafkaError
from kafka.structs import OffsetAndMetadata, TopicPartition
from kafka_broker import Cluster, admin, make_topic
from worker_harness import ROOT, Bench, Worker, ending, make_event, now_ms, partition_of, wait_until

from pipeline.anonymize import Admission, Core, process
from pipeline.archive.account import Account
from pipeline.archive.decode import decoders
from pipeline.archive.loop import Archive, Edges, Limits
from pipeline.archive.metrics import ArchiveMetrics
from pipeline.archive.patience import Patience
from pipeline.archive.reader import Reader
from pipeline.archive.upkeep import Upkeep
from pipeline.brokers import Brokers
from pipeline.client import reading
from pipeline.coarsen import DAY_MS, format_timestamp
from pipeline.errors import SinkUnavailable
from pipeline.records import Anonymized, ContentRecord, Fate, OperationalRecord, Sealed, Source
from pipeline.retention import Holding
from pipeline.retention_metrics import RetentionMetrics
from pipeline.store import open_store
from pipeline.store.intake import Records, RecordWriter, TableReport, schemas_of
from pipeline.store.sweep import SweepReport, sweep
from pipeline.store.verify import verify_store
from pipeline.worker.route import Outgoing, Router
from pipeline.worker.vitals import Vitals

PARTITIONS = 3
SINKS = ("content", "operational", "rejected")
VIEWS = ("content", "operational")
SWEPT = "b" * 32
SIZE = str(17 << 20)
"""What topics take for events of 16 MiB."""


@dataclass
class Place:
    """Topics, a store and settings of one test, and what writes records as a worker does."""

    cluster: Cluster
    folder: Path
    core: Core
    topics: dict[str, str]

    @property
    def store(self) -> str:
        """URL of the store."""
        return f"chdb:{self.folder / 'store'}"

    def fates(self, numbers: range) -> list[Fate]:
        """Return what the core makes of some events; every fiftieth is none."""
        admission = Admission(latest_ms=now_ms() + 300_000)
        made = []
        for number in numbers:
            raw = b"{" if number % 50 == 0 else make_event(number)
            made.append(process(raw, Source("test-raw", 0, number, len(raw)), self.core, admission))
        return made

    def outgoing(self, fates: Sequence[Fate]) -> list[Outgoing]:
        """Return the records that a worker makes of fates."""
        router = Router(self.core.policy, self.topics)
        return [record for fate in fates for record in router.route(fate)]

    def send(self, records: Sequence[Outgoing]) -> None:
        """Write records as a worker does, and wait until they are acknowledged."""
        producer = KafkaProducer(bootstrap_servers=self.cluster.bootstrap, acks="all", max_request_size=18 << 20)
        for record in records:
            at = partition_of(record.key, PARTITIONS)
            producer.send(record.topic, key=record.key, value=record.value, headers=record.headers, partition=at)
        producer.flush(timeout=60)
        producer.close()

    def environ(self, **more: str) -> dict[str, str]:
        """Return the environment of an archive."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith("LETHE_")}
        topics = {f"LETHE_TOPIC_{sink.upper()}": topic for sink, topic in self.topics.items()}
        own = {
            "LETHE_BROKERS": self.cluster.bootstrap,
            "LETHE_GROUP": self.topics["content"],
            "LETHE_STORE": self.store,
            "LETHE_METRICS_PORT": "0",
            "PYTHONPATH": str(ROOT),
        }
        return kept | topics | own | more

    def start(self, *arguments: str, **environ: str) -> subprocess.Popen[str]:
        """Start an archive."""
        return subprocess.Popen(  # noqa: S603 - our own command
            [sys.executable, "-m", "pipeline", "archive", *arguments],
            cwd=self.folder,
            env=self.environ(**environ),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def run(self, *arguments: str, code: int = 0, **environ: str) -> str:
        """Run an archive to its end, and return what it said."""
        process = self.start(*arguments, **environ)
        said = process.communicate(timeout=60)[0]
        assert process.returncode == code, said[-2000:]
        return said

    def rewind(self) -> None:
        """Set the group's offsets to the start of every partition."""
        group = f"{self.topics['content']}-archive"
        places = [TopicPartition(topic, n) for topic in self.topics.values() for n in range(PARTITIONS)]
        with admin(self.cluster) as client:
            client.alter_group_offsets(group, {at: OffsetAndMetadata(0, "", -1) for at in places})

    def committed(self) -> int:
        """Return how many records are committed."""
        return sum(committed_of(self.cluster, f"{self.topics['content']}-archive").values())

    def rows(self, sql: str) -> list[tuple[object, ...]]:
        """Ask the store, which nothing else has open."""
        with open_store(self.store, now_ms=now_ms()) as store:
            return store.query(sql).rows


@pytest.fixture
def place(broker: Cluster, bare_core: Core, tmp_path: Path) -> Place:
    """Return topics and a store of the test's own."""
    return Place(
        broker, tmp_path, bare_core, {sink: make_topic(broker, PARTITIONS, max_message_bytes=SIZE) for sink in SINKS}
    )


def committed_of(cluster: Cluster, group: str) -> dict[str, int]:
    """Return the sum of what a group has committed, by topic."""
    with admin(cluster) as client:
        try:
            found = client.list_group_offsets({group: None})[group]
        except KafkaError:  # the coordinator is only just loading
            return {}
    sums: dict[str, int] = {}
    for at, said in found.items():
        sums[at.topic] = sums.get(at.topic, 0) + max(0, said.offset)
    return sums


def get(port: int, path: str) -> str:
    """Return a page of a process on this machine."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=10) as answer:
        return str(answer.read().decode())


def shown(url: str) -> dict[str, dict[Any, dict[str, Any]]]:
    """Return the rows of both views by request id, and see that each id is there once."""
    found: dict[str, dict[Any, dict[str, Any]]] = {view: {} for view in VIEWS}
    with open_store(url, now_ms=now_ms()) as store:
        for view, rows in found.items():
            binary = ("body",) if view == "content" else ()
            columns, values = store.query(f"SELECT * FROM {view}", binary=binary)  # noqa: S608 - ours
            for row in values:
                fields = {name: as_text(value) for name, value in zip(columns, row, strict=True)}
                assert fields["request_id"] not in rows, "an id is there twice"
                rows[fields["request_id"]] = fields
    return found


def as_text(value: Any) -> Any:
    """Return a moment as records have it, and anything else as it is."""
    return format_timestamp(round(value.timestamp() * 1000)) if isinstance(value, datetime) else value


def sent(fates: Sequence[Fate]) -> dict[str, dict[Any, dict[str, Any]]]:
    """Return what the views must show of fates."""
    expected: dict[str, dict[Any, dict[str, Any]]] = {view: {} for view in VIEWS}
    for fate in fates:
        if isinstance(fate, Anonymized):
            expected["operational"][fate.operational.request_id] = dict(fate.operational.fields)
            if fate.content is not None:
                body = {"body": fate.content.body.data, "body_encoding": fate.content.body.encoding}
                expected["content"][fate.content.request_id] = {**fate.content.fields, **body}
    return expected


def figures(said: str) -> dict[str, int]:
    """Return the figures of an archive's last words."""
    found = re.search(r"(\d+) records read, (\d+) stored, (\d+) there already, (\d+) conflicts, (\d+) expired", said)
    assert found, said[-2000:]
    return dict(zip(("read", "stored", "repeated", "conflicts", "expired"), map(int, found.groups()), strict=True))


def test_killed_archives_lose_and_repeat_nothing(place: Place) -> None:
    """Kills at random moments, other batch sizes, repeats, and a group set back: the views are what was sent."""
    chance = random.Random(6)
    fates = place.fates(range(1, 1501))
    records = place.outgoing(fates)
    place.send([*records, *chance.sample(records, 400)])
    total, cut_short, before = len(records) + 400, 0, 0
    for _ in range(2):
        archive = place.start("--once", LETHE_BATCH_EVENTS_MAX=str(chance.choice((40, 90, 170))))
        assert archive.stdout is not None
        assert any("reads 9 partitions" in line for line in iter(archive.stdout.readline, ""))
        while place.committed() <= before:
            assert archive.poll() is None, "it ended by itself"
            time.sleep(0.05)
        time.sleep(chance.uniform(0, 0.2))
        archive.kill()
        archive.communicate()
        before = place.committed()
        cut_short += before < total
    assert cut_short, "no kill came in the middle of the work"
    last = figures(archive_here(place, records_max=700)[0])
    assert (last["conflicts"], last["expired"]) == (0, 0)
    assert shown(place.store) == sent(fates)
    place.rewind()
    again = figures(archive_here(place, records_max=333)[0])
    assert again == {"read": total, "stored": 0, "repeated": total, "conflicts": 0, "expired": 0}
    assert shown(place.store) == sent(fates)
    assert place.rows("SELECT count(), uniqExact(offset) FROM rejected") == [(30, 30)]


def test_a_record_of_nobody_stops_the_archive_at_its_place(place: Place) -> None:
    """The place is named and no value; what was before it is stored; --skip passes over it alone."""
    fates = place.fates(range(1, 31))
    records = place.outgoing(fates)
    person = "kari.nordmann@shop.example.org"
    key, headers = records[1].key, [("schema", b"operational/1")]
    bad = Outgoing("operational", place.topics["operational"], key, json.dumps([person]).encode(), headers)
    half = len(records) // 2
    place.send([*records[:half], bad, *records[half:]])
    said = place.run("--once", code=2)
    found = re.search(rf"({place.topics['operational']}/\d/\d+) is not the JSON of one record", said)
    assert found, said
    assert person not in said
    assert 0 < place.committed() < len(records)
    said, metrics = archive_here(place, skips=[found[1]])
    assert f"{found[1]} is passed over" in said
    assert 'lethe_archive_skipped_total{sink="operational"} 1.0' in metrics
    assert shown(place.store) == sent(fates)


class FailingStore:
    """An embedded store as the loop's target, which fails a number of times."""

    tag = "a" * 32

    def __init__(self, place: Place, failures: int) -> None:
        policy = place.core.policy
        self.store = open_store(place.store, now_ms=now_ms())
        self.writer = RecordWriter(self.store, schemas_of(policy), policy.sinks, now_ms)
        self.failures = failures

    def write(self, records: Records) -> dict[str, TableReport]:
        """Store, or fail."""
        if self.failures:
            self.failures -= 1
            raise SinkUnavailable("chdb:there: the store cannot be reached or used (OSError)")
        return self.writer.write(records)

    def sweep(self) -> SweepReport:
        """Sweep, and be another one from then on."""
        self.tag = SWEPT
        return sweep(self.store, now_ms())

    def look(self) -> list[Holding]:
        """Look."""
        return verify_store(self.store, now_ms())


def archive_here(
    place: Place, *, records_max: int = 1000, failures: int = 0, retry_s: float = 20.0, skips: Sequence[str] = ()
) -> tuple[str, str]:
    """Run an archive once in this process; return what it logged and its metrics."""
    lines: list[str] = []
    metrics, shown, vitals = ArchiveMetrics(), RetentionMetrics(), Vitals(time.monotonic)
    sinks = {topic: sink for sink, topic in place.topics.items()}
    target, account = FailingStore(place, failures), Account(metrics, vitals, sinks, now_ms, lines.append)

    async def run() -> None:
        with ThreadPoolExecutor(1) as aside:
            patience = Patience(aside, retry_s, lines.append, metrics.failures.inc)
            group = f"{place.topics['content']}-archive"
            async with reading(Brokers(place.cluster.bootstrap), fetch_bytes_max=1 << 20, group=group) as consumer:
                archive = Archive(
                    Reader(consumer, sinks, dict.fromkeys(sinks, PARTITIONS)),
                    target,
                    decoders(place.core.policy),
                    Limits(records_max, 1 << 20, 0.2),
                    Edges(
                        patience, Upkeep(target, patience, metrics, shown, vitals, now_ms, lines.append), lines.append
                    ),
                    metrics,
                    vitals,
                    account,
                    once=True,
                    skips=skips,
                )
                await archive.run()
                await archive.measure()
                lines.append(account.summary())

    with target.store:
        asyncio.run(run())
    return "\n".join(lines), metrics.render().decode()


def test_conflicts_are_counted_and_expired_content_is_refused(place: Place) -> None:
    """The first record of an id stays; content past its bound is not stored, and a lapsed address is null."""
    fates = place.fates(range(1, 21))
    old = format_timestamp(now_ms() - 40 * DAY_MS)
    first, stale = fates[2], fates[3]
    assert isinstance(first, Anonymized)
    assert isinstance(stale, Anonymized)
    assert stale.content is not None
    planted = OperationalRecord(first.operational.request_id, {**first.operational.fields, "status": 418})
    aged = OperationalRecord(stale.operational.request_id, {**stale.operational.fields, "received_at": old})
    body = ContentRecord(
        stale.content.request_id, {**stale.content.fields, "received_at": old[:17] + "00.000Z"}, stale.content.body
    )
    fates[3] = Anonymized(body, aged, stale.facts)
    place.send(place.outgoing(fates))
    place.send(place.outgoing([Anonymized(None, planted, first.facts)]))
    said, metrics = archive_here(place)
    assert 'lethe_archive_conflicts_total{sink="operational"} 1.0' in metrics
    assert 'lethe_archive_conflicts_total{sink="content"} 0.0' in metrics
    assert 'lethe_archive_expired_total{sink="content"} 1.0' in metrics
    assert re.search(rf"conflict: {place.topics['operational']}/\d/\d+ has the identity", said)
    assert planted.request_id not in said
    expected = sent(fates)
    del expected["content"][body.request_id]
    expected["operational"][aged.request_id] |= {"client_network": None, "client_ip": None}
    assert shown(place.store) == expected
    assert aged.fields["client_network"] is not None
    assert "lethe_archive_oldest_uncommitted_seconds 0.0" in metrics
    with admin(place.cluster) as client:
        group = f"{place.topics['content']}-archive"
        tags = [one.metadata for one in client.list_group_offsets(group)[group].values()]
    assert tags == [f"store:{SWEPT}"] * len(SINKS) * PARTITIONS, "an idle partition says another store"


def test_a_store_that_is_down_loses_nothing(place: Place) -> None:
    """It is tried again for a bounded time, nothing is committed meanwhile; then all is there, large records too."""
    fates = place.fates(range(1, 101))
    large = fates[4]
    assert isinstance(large, Anonymized)
    assert large.content is not None
    body = b'{"request":"%s"}' % random.Random(1).randbytes(3 << 19).hex().encode()
    fates[4] = large._replace(content=large.content._replace(body=Sealed("json", body)))
    place.send(place.outgoing(fates))
    with pytest.raises(SinkUnavailable, match=r"chdb:there.*will be read again"):
        archive_here(place, failures=1000, retry_s=0.6)
    assert place.committed() == 0
    said, metrics = archive_here(place, failures=2)
    assert said.count("trying again") == 2
    assert "lethe_archive_store_failures_total 2.0" in metrics
    assert shown(place.store) == sent(fates)


def test_worker_and_archive_together(broker: Cluster, tmp_path: Path) -> None:
    """An archive beside a worker that runs: probes say that it works, each event is in the views once, it drains."""
    bench = Bench(broker, tmp_path, "archived.").prepare(2)
    store = f"chdb:{tmp_path / 'store'}"
    bench.send([make_event(number) for number in range(1, 501)])
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    environ = bench.environ(LETHE_STORE=store, LETHE_METRICS_PORT=str(port))
    log = tmp_path / "archive.log"
    with log.open("wb") as stream:
        call = [sys.executable, "-m", "pipeline", "archive"]
        process = subprocess.Popen(call, cwd=tmp_path, env=environ, stdout=stream, stderr=stream)  # noqa: S603 - ours
    archive, worker = Worker(process, log), bench.worker()
    with ending(archive, worker):
        bench.wait_done()
        ends = {bench.topic(sink): sum(bench.ends(sink).values()) for sink in SINKS}
        wait_until(lambda: committed_of(broker, f"{bench.prefix}workers-archive") == ends)
        assert get(port, "/healthz") == get(port, "/readyz") == "ok\n"
        page = get(port, "/metrics")
        assert 'lethe_archive_conflicts_total{sink="content"} 0.0' in page
        assert 'lethe_retention_verdict{field="",kind="files",sink="content"} 0.0' in page
        assert re.search(r"^lethe_retention_looked_timestamp_seconds 1\.\d+e\+09$", page, re.MULTILINE)
        assert archive.stop() == 0
    expected = {f"req_{number:032x}" for number in range(1, 501)}
    assert {view: set(rows) for view, rows in shown(store).items()} == dict.fromkeys(VIEWS, expected)
