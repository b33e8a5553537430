"""Runs real workers against a real broker, feeds them, and compares what came out with what went in, id by id."""

import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
import zlib
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from conftest import make_keys
from kafka import KafkaConsumer, KafkaProducer, TopicPartition
from kafka.errors import KafkaError
from kafka_broker import Cluster, admin

from pipeline.brokers import Brokers
from pipeline.coarsen import format_timestamp
from pipeline.keys.provider import load_provider
from pipeline.keys.sealfile import load_day_keys
from pipeline.keys.sealing import DaySealer
from pipeline.topics.admin import TopicAdmin
from pipeline.topics.live import LiveTopic

ROOT = Path(__file__).resolve().parent.parent
SINKS = ("content", "operational", "rejected")
SESSION_S = 6
PATIENCE_S = 120.0
POISON = (b"", b"{", b"[]", b'{"request_id": 7}', b"\xff\xfe", b'{"a":' * 200)


def now_ms() -> int:
    """Return the time, in epoch milliseconds."""
    return time.time_ns() // 1_000_000


def make_event(number: int, *, account: int | None = None) -> bytes:
    """Return a small valid event that was received now, with an e-mail address to find in it."""
    event = {
        "request_id": f"req_{number:032x}",
        "received_at": format_timestamp(now_ms()),
        "account": {
            "id": f"acct_{(number if account is None else account) % 97:016x}",
            "email": "ola@mail.example.com",
        },
        "client": {"ip": "203.0.113.7"},
        "endpoint": "/v1/chat/completions",
        "model": "llama-3.1-8b-instruct",
        "status": 200,
        "usage": {"prompt_tokens": number % 100, "completion_tokens": 3},
        "request": {"messages": [{"role": "user", "content": f"mail row {number} to kari@shop.example.org"}]},
        "response": {"choices": [{"message": {"role": "assistant", "content": "done"}}]},
    }
    return json.dumps(event).encode()


def wait_until(holds: Callable[[], bool], patience_s: float = PATIENCE_S) -> None:
    """Wait until something holds."""
    deadline = time.monotonic() + patience_s
    while not holds():
        assert time.monotonic() < deadline, "it did not come to hold in time"
        time.sleep(0.05)


@dataclass
class Bench:
    """A cluster with the policy's topics, a key file, and the workers that run on them.

    Attributes:
        cluster: the brokers.
        folder: key file and log files are here.
        prefix: of the topics.
        settings: environment of the workers, over the defaults of this file.
    """

    cluster: Cluster
    folder: Path
    prefix: str
    settings: dict[str, str] = field(default_factory=dict)

    def environ(self, **more: str) -> dict[str, str]:
        """Return a worker's environment."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith("LETHE_")}
        return kept | {
            "LETHE_BROKERS": self.cluster.bootstrap,
            "LETHE_TOPIC_PREFIX": self.prefix,
            "LETHE_GROUP": f"{self.prefix}workers",
            "LETHE_KEYS": str(self.folder / "lethe.keys.json"),
            "LETHE_KEYRING": str(self.folder / "lethe.keyring.json"),
            "LETHE_KEK": f"file:{self.folder / 'lethe.kek.json'}",
            "LETHE_SESSION_S": str(SESSION_S),
            "LETHE_METRICS_PORT": "0",
            "PYTHONPATH": str(ROOT),
            "PYTHONFAULTHANDLER": "1",
            **self.settings,
            **more,
        }

    def topic(self, sink: str) -> str:
        """Return the topic of a sink."""
        return self.prefix + sink

    def prepare(self, partitions: int = 4, **raw_settings: str) -> Self:
        """Make the topics as the policy says, and a key file."""
        keys = self.folder / "lethe.keys.json"
        if not keys.exists():
            make_keys(self.folder, now_ms())
        self.lethe("topics", "apply", "--partitions", str(partitions))
        if raw_settings:
            self.alter("raw", **raw_settings)
        return self

    def sealer(self) -> DaySealer:
        """Return what seals and opens content with the keyring as it is now."""
        provider = load_provider(f"file:{self.folder / 'lethe.kek.json'}")
        return DaySealer(load_day_keys(self.folder / "lethe.keyring.json", provider))

    def alter(self, sink: str, **settings: str) -> None:
        """Change settings of a topic, with ``_`` for each dot."""
        from kafka.admin import ConfigResource, ConfigResourceType  # noqa: PLC0415 - here alone

        named = {name.replace("_", "."): value for name, value in settings.items()}
        with admin(self.cluster) as client:
            client.alter_configs([ConfigResource(ConfigResourceType.TOPIC, self.topic(sink), named)])

    def lethe(
        self, *arguments: str, check: bool = True, stdin: str = "", **environ: str
    ) -> subprocess.CompletedProcess[str]:
        """Run a command to its end."""
        call = [sys.executable, "-m", "pipeline", *arguments]
        done = subprocess.run(  # noqa: S603 - our own command
            call,
            cwd=self.folder,
            env=self.environ(**environ),
            input=stdin,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert not check or done.returncode == 0, done.stderr[-2000:]
        return done

    def worker(self, *arguments: str, code: str = "", **environ: str) -> "Worker":
        """Start a worker; with ``code``, a program of that text in its place."""
        number = len(list(self.folder.glob("worker-*.log")))
        log = self.folder / f"worker-{number}.log"
        call = [sys.executable, "-c", code] if code else [sys.executable, "-m", "pipeline", "worker"]
        with log.open("wb") as stream:
            process = subprocess.Popen(  # noqa: S603 - our own command
                [*call, *arguments], cwd=self.folder, env=self.environ(**environ), stdout=stream, stderr=stream
            )
        return Worker(process, log)

    def producer(self) -> KafkaProducer:
        """Return a producer that waits for every in-sync replica and tries for as long as it takes."""
        return KafkaProducer(
            bootstrap_servers=self.cluster.bootstrap,
            acks="all",
            enable_idempotence=True,
            max_request_size=17 << 20,
            linger_ms=5,
            metadata_max_age_ms=1000,  # partitions that a test adds are written to soon
            delivery_timeout_ms=int(PATIENCE_S * 1000),
        )

    def send(self, values: Sequence[bytes], partition: int | None = None) -> None:
        """Write raw events and wait until they are acknowledged."""
        producer = self.producer()
        try:
            for sent in [producer.send(self.topic("raw"), value, partition=partition) for value in values]:
                sent.get(timeout=PATIENCE_S)
        finally:
            producer.close(timeout=5)

    def live(self) -> dict[str, LiveTopic]:
        """Return the topics as they are, by sink."""
        with TopicAdmin(Brokers(self.cluster.bootstrap)) as connection:
            found = connection.read_topics([self.topic(sink) for sink in ("raw", *SINKS)])
        return {topic.name.removeprefix(self.prefix): topic for topic in found.values()}

    def committed(self) -> dict[int, int]:
        """Return what the group has committed, by partition; nothing while its coordinator is not there."""
        group = f"{self.prefix}workers"
        with admin(self.cluster) as client:
            try:
                found = client.list_group_offsets({group: None})[group]
            except KafkaError:  # the coordinator is away, or only just loading
                return {}
        return {at.partition: said.offset for at, said in found.items() if said.offset >= 0}

    def ends(self, sink: str = "raw") -> dict[int, int]:
        """Return where each partition of a topic ends."""
        consumer = KafkaConsumer(bootstrap_servers=self.cluster.bootstrap)
        try:
            numbers = consumer.partitions_for_topic(self.topic(sink)) or set()
            found = consumer.end_offsets([TopicPartition(self.topic(sink), number) for number in numbers])
            return {at.partition: end for at, end in found.items()}
        finally:
            consumer.close()

    def wait_done(self, patience_s: float = PATIENCE_S) -> None:
        """Wait until all of raw is committed."""
        deadline = time.monotonic() + patience_s
        while True:
            ends, committed = self.ends(), self.committed()
            left = {number: end - committed.get(number, 0) for number, end in ends.items() if end}
            if not any(left.values()):
                return
            assert time.monotonic() < deadline, f"raw is not read to its end: {left}"
            time.sleep(0.2)

    def collect(self) -> "Collected":
        """Read every sink from its start to its end."""
        collected = Collected()
        for sink in SINKS:
            for record in read_all(self.cluster, self.topic(sink)):
                collected.add(sink, record)
        return collected


def read_all(cluster: Cluster, topic: str) -> Iterator[Any]:
    """Yield every record that a topic has now."""
    consumer = KafkaConsumer(
        bootstrap_servers=cluster.bootstrap, auto_offset_reset="earliest", max_partition_fetch_bytes=32 << 20
    )
    try:
        parts = [TopicPartition(topic, number) for number in sorted(consumer.partitions_for_topic(topic) or ())]
        consumer.assign(parts)
        consumer.seek_to_beginning(*parts)
        ends = consumer.end_offsets(parts)
        deadline = time.monotonic() + PATIENCE_S
        while any(consumer.position(at) < ends[at] for at in parts):
            assert time.monotonic() < deadline, f"{topic} cannot be read to its end"
            for records in consumer.poll(timeout_ms=500, max_records=5000).values():
                yield from records
    finally:
        consumer.close()


@dataclass
class Worker:
    """A worker process."""

    process: subprocess.Popen[bytes]
    log: Path

    @property
    def pid(self) -> int:
        """The process id."""
        return self.process.pid

    def said(self) -> str:
        """Return all that it printed."""
        return self.log.read_text("utf-8", "replace")

    def wait_said(self, text: str, patience_s: float = 60.0) -> Self:
        """Wait until it has printed a text."""
        deadline = time.monotonic() + patience_s
        while text not in self.said():
            assert self.process.poll() is None, f"ended with {self.process.returncode}: {self.said()[-2000:]}"
            assert time.monotonic() < deadline, f"never said {text!r}: {self.said()[-2000:]}"
            time.sleep(0.05)
        return self

    def wait_assigned(self) -> Self:
        """Wait until it has partitions for the first time."""
        return self.wait_said("assigned ")

    def signal(self, number: signal.Signals) -> None:
        """Send a signal."""
        self.process.send_signal(number)

    def kill(self) -> None:
        """End it at once."""
        self.process.kill()
        self.process.wait()

    def stop(self, patience_s: float = 40.0) -> int:
        """Ask it to drain, and return its exit code."""
        self.process.send_signal(signal.SIGCONT)
        self.process.terminate()
        return self.process.wait(patience_s)

    def wait(self, patience_s: float = 60.0) -> int:
        """Wait until it ends by itself, and return its exit code."""
        try:
            return self.process.wait(patience_s)
        except subprocess.TimeoutExpired:
            self.process.send_signal(signal.SIGABRT)  # Python then prints where each thread is
            self.process.wait()
        raise AssertionError(f"did not end within {patience_s:g} s: {self.said()[-4000:]}")


@contextmanager
def ending(*workers: Worker | list[Worker]) -> Iterator[None]:
    """Kill what still runs on the way out."""
    try:
        yield
    finally:
        for each in workers:
            for worker in each if isinstance(each, list) else [each]:
                worker.process.kill()
                worker.process.wait()


@dataclass
class Collected:
    """What the sinks hold: digests of the records by identity, and how many records there are."""

    values: dict[str, dict[str, set[bytes]]] = field(default_factory=lambda: {sink: defaultdict(set) for sink in SINKS})
    records: Counter[str] = field(default_factory=Counter)

    def add(self, sink: str, record: Any) -> None:
        """Take a record; its bytes are value and headers."""
        digest = hashlib.blake2b(record.value + repr(record.headers).encode(), digest_size=16).digest()
        self.values[sink][record.key.decode()].add(digest)
        self.records[sink] += 1

    def ids(self, sink: str) -> set[str]:
        """Return the identities in a sink."""
        return set(self.values[sink])

    def repeats(self) -> int:
        """Return how many records are there again."""
        return sum(self.records[sink] - len(self.values[sink]) for sink in SINKS)

    def differing(self) -> dict[str, list[str]]:
        """Return the identities that have records of several bytes."""
        return {sink: [key for key, seen in self.values[sink].items() if len(seen) > 1] for sink in SINKS}


class Feeder(threading.Thread):
    """Writes events and poison at a rate until told to stop, and knows what it wrote.

    Attributes:
        ids: request ids of the good events that were acknowledged.
        poison: ``topic/partition/offset`` of the bad ones.
        partitions: those that it writes to: all that there are.
    """

    def __init__(self, bench: Bench, rate: float, *, start: int = 0, poison_every: int = 50, seed: int = 1) -> None:
        super().__init__(daemon=True)
        self.ids: set[str] = set()
        self.poison: set[str] = set()
        self.failed: list[BaseException] = []
        self._bench = bench
        self._rate = rate
        self._number = start
        self._poison_every = poison_every
        self._random = random.Random(seed)
        self._stopping = threading.Event()
        self.partitions: set[int] = set()

    def run(self) -> None:
        """Write until told to stop, then wait for what is not acknowledged yet."""
        producer = self._bench.producer()
        try:
            begin = time.monotonic()
            sent = 0
            while not self._stopping.is_set():
                due = int((time.monotonic() - begin) * self._rate)
                for _ in range(min(due - sent, 500)):
                    self._send(producer)
                    sent += 1
                self._stopping.wait(0.02)
            producer.flush(timeout=PATIENCE_S)
        except BaseException as error:  # noqa: BLE001 - shown by finish()
            self.failed.append(error)
        finally:
            producer.close(timeout=5)

    def finish(self) -> Self:
        """Stop, and wait until everything is acknowledged."""
        self._stopping.set()
        self.join(PATIENCE_S + 10)
        assert not self.failed, self.failed
        return self

    def _send(self, producer: KafkaProducer) -> None:
        self._number += 1
        number = self._number
        self.partitions |= producer.partitions_for(self._bench.topic("raw")) or set()
        partition = self._random.choice(sorted(self.partitions))
        if self._poison_every and number % self._poison_every == 0:
            bad = self._random.choice(POISON)
            producer.send(self._bench.topic("raw"), bad, partition=partition).add_callback(
                lambda sent: self.poison.add(f"{sent.topic}/{sent.partition}/{sent.offset}")
            ).add_errback(self.failed.append)
            return
        name = f"req_{number:032x}"
        producer.send(self._bench.topic("raw"), make_event(number), partition=partition).add_callback(
            lambda _: self.ids.add(name)
        ).add_errback(self.failed.append)


@dataclass(frozen=True)
class Verdict:
    """What is wrong with what came out: all of it empty means that nothing is lost."""

    lost: Mapping[str, int]
    unknown: Mapping[str, int]
    differing: Mapping[str, int]

    @property
    def holds(self) -> bool:
        """Whether nothing is lost, nothing came from nowhere, and every repeat is byte-identical."""
        return not any([*self.lost.values(), *self.unknown.values(), *self.differing.values()])


def judge(feeder: Feeder, collected: Collected) -> Verdict:
    """Compare what was written with what the sinks hold."""
    expected = {"content": feeder.ids, "operational": feeder.ids, "rejected": feeder.poison}
    differing = collected.differing()
    return Verdict(
        lost={sink: len(expected[sink] - collected.ids(sink)) for sink in SINKS},
        unknown={sink: len(collected.ids(sink) - expected[sink]) for sink in SINKS},
        differing={sink: len(differing[sink]) for sink in SINKS},
    )


def locate(bench: Bench, ids: set[str]) -> list[str]:
    """Say where in raw events are, for a reader who wonders why they were lost."""
    found = []
    for record in read_all(bench.cluster, bench.topic("raw")):
        name = record.value[16:52].decode("utf-8", "replace") if record.value else ""
        if name in ids:
            found.append(f"{name[-6:]} at {record.partition}/{record.offset}, appended {record.timestamp}")
    return found


def partition_of(key: bytes, partitions: int) -> int:
    """Return the partition of a key, worked out apart from the worker."""
    return zlib.crc32(key) % partitions
