"""The local broker: ready in seconds, durable over kills, clear when it cannot run, and never left behind."""

import asyncio
import contextlib
import os
import re
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from kafka import KafkaConsumer, KafkaProducer, TopicPartition
from kafka.admin import ConfigResource, ConfigResourceType
from kafka.errors import KafkaTimeoutError
from kafka_broker import (
    DEPLOY,
    Cluster,
    LocalKafkaError,
    PortClaims,
    admin,
    make_topic,
    running,
)

from pipeline.brokers import Brokers
from pipeline.client import keep_metadata, reading

READY_S_MAX = 30
PATIENCE_S = 30


@pytest.fixture(scope="module")
def single() -> Iterator[Cluster]:
    """Run one broker, told to look for expired segments every 700 ms."""
    with running(properties={"log.retention.check.interval.ms": "700"}) as cluster:
        yield cluster


def produce(cluster: Cluster, topic: str, values: list[bytes]) -> None:
    """Write values and wait until every replica that must has them."""
    producer = KafkaProducer(bootstrap_servers=cluster.bootstrap, acks="all", retries=100, request_timeout_ms=5000)
    try:
        for sent in [producer.send(topic, value, partition=0) for value in values]:
            sent.get(timeout=PATIENCE_S)
    finally:
        producer.close(timeout=1)


def consume(cluster: Cluster, topic: str, count: int) -> list[bytes]:
    """Read partition 0 from its start: `count` values, or fewer when they do not come."""
    consumer = KafkaConsumer(bootstrap_servers=cluster.bootstrap, auto_offset_reset="earliest")
    try:
        consumer.assign([TopicPartition(topic, 0)])
        values: list[bytes] = []
        deadline = time.monotonic() + PATIENCE_S
        while len(values) < count and time.monotonic() < deadline:
            for records in consumer.poll(timeout_ms=500).values():
                values += [record.value for record in records]
        return values
    finally:
        consumer.close()


def has_ended(pid: int, within_s: float = PATIENCE_S) -> bool:
    """Return whether a process, anyone's child, ends in time."""
    try:
        handle = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        return bool(select.select([handle], [], [], within_s)[0])
    finally:
        os.close(handle)


def members(group: int) -> list[int]:
    """Return the processes of a process group."""
    found = []
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(ValueError, ProcessLookupError):
            if os.getpgid(int(entry.name)) == group:
                found.append(int(entry.name))
    return found


def pid_of(cluster: Cluster) -> int:
    """Return the process of a cluster's first node, which must run."""
    pid = cluster.nodes[0].pid
    assert pid is not None
    return pid


def free_port() -> int:
    """Return a port that is free now."""
    claims = PortClaims()
    port = claims.take_any()
    claims.close()
    return port


def test_a_broker_is_ready_in_seconds(single: Cluster) -> None:
    """A new broker, its folder formatted first, serves clients within seconds, also on a busy machine."""
    assert 0 < single.ready_s < READY_S_MAX


def test_what_is_produced_is_consumed(single: Cluster) -> None:
    """Records come back as they went in, in order."""
    topic = make_topic(single)
    values = [b"value %d" % number for number in range(100)]
    produce(single, topic, values)
    assert consume(single, topic, len(values)) == values


def test_settings_reach_the_broker_and_the_topic(single: Cluster) -> None:
    """A broker setting given to the cluster, and a topic setting given to the topic, are what Kafka says it uses."""
    topic = make_topic(single, segment_ms="60000")
    asked = {
        (ConfigResourceType.BROKER, "1"): ("log.retention.check.interval.ms", "700"),
        (ConfigResourceType.TOPIC, topic): ("segment.ms", "60000"),
    }
    found = {}
    with admin(single) as client:
        described = client.describe_configs([ConfigResource(kind, name) for kind, name in asked], config_filter="all")
    for (kind, name), (setting, _) in asked.items():
        found[kind, name] = (setting, described[kind.name.lower()][name][setting]["value"])
    assert found == asked


def test_a_killed_broker_keeps_what_it_acknowledged(single: Cluster) -> None:
    """After kill -9 and a restart the broker is another process at the same address with the same records."""
    topic = make_topic(single)
    produce(single, topic, [b"before"])
    node = single.nodes[0]
    before = (pid_of(single), single.bootstrap)
    node.kill()
    assert (node.pid, has_ended(before[0], 0)) == (None, True)
    single.restart(node)
    produce(single, topic, [b"after"])
    assert consume(single, topic, 2) == [b"before", b"after"]
    assert (pid_of(single) != before[0], single.bootstrap) == (True, before[1])


def test_a_paused_broker_answers_only_when_it_goes_on(single: Cluster) -> None:
    """SIGSTOP holds the broker's answers back, SIGCONT lets them come, and nothing is lost in between."""
    topic = make_topic(single)
    produce(single, topic, [b"connects"])
    producer = KafkaProducer(bootstrap_servers=single.bootstrap, acks="all", request_timeout_ms=60_000)
    try:
        producer.send(topic, b"warm", partition=0).get(timeout=PATIENCE_S)
        single.nodes[0].pause()
        held = producer.send(topic, b"held", partition=0)
        with pytest.raises(KafkaTimeoutError):
            held.get(timeout=1)
        single.nodes[0].resume()
        assert held.get(timeout=PATIENCE_S).offset == 2
    finally:
        producer.close(timeout=1)


def test_a_lost_leader_is_followed_by_another() -> None:
    """When the leader of three is killed nothing acknowledged is lost, writing goes on, and it comes back in sync."""
    with running(brokers=3) as cluster, admin(cluster) as client:
        topic = make_topic(cluster)

        def partition() -> dict[str, Any]:
            deadline = time.monotonic() + PATIENCE_S
            while not (described := client.describe_topics([topic])[0]["partitions"]):
                assert time.monotonic() < deadline  # each broker learns of the topic by itself
            first: dict[str, Any] = described[0]
            return first

        before = partition()
        assert sorted(before["isr_nodes"]) == [1, 2, 3]
        produce(cluster, topic, [b"before"])
        leader = cluster.nodes[before["leader_id"] - 1]
        leader.kill()
        produce(cluster, topic, [b"meanwhile"])
        assert partition()["leader_id"] != leader.id
        cluster.restart(leader)
        deadline = time.monotonic() + PATIENCE_S
        while sorted(partition()["isr_nodes"]) != [1, 2, 3]:
            assert time.monotonic() < deadline
        assert consume(cluster, topic, 2) == [b"before", b"meanwhile"]
    assert not leader.log_dir.exists()


def test_ports_never_collide() -> None:
    """Claims made by several threads and by another process at the same moment are all different."""
    claims = [PortClaims() for _ in range(4)]
    with ThreadPoolExecutor(len(claims)) as pool:
        ports = [
            port for taken in pool.map(lambda claim: [claim.take_any() for _ in range(8)], claims) for port in taken
        ]
    script = (
        "from local_kafka.ports import PortClaims\nimport sys\nprint([PortClaims().take(int(p)) for p in sys.argv[1:]])"
    )
    elsewhere = [sys.executable, "-c", script, *map(str, ports)]
    asked = subprocess.run(elsewhere, cwd=DEPLOY, capture_output=True, text=True, check=True, timeout=PATIENCE_S)  # noqa: S603 - our own script
    assert (len(set(ports)), asked.stdout.strip()) == (32, str([False] * 32))
    for claim in claims:
        claim.close()
    assert PortClaims().take(ports[0])


def test_a_port_in_use_is_refused(single: Cluster, tmp_path: Path) -> None:
    """A port that someone listens on is not taken, whoever it is, and the message says what to do."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        with pytest.raises(LocalKafkaError, match=f"Port {port} is taken: name another"):
            Cluster(tmp_path / "a", port=port)
    with pytest.raises(LocalKafkaError, match="is taken"):
        Cluster(tmp_path / "b", port=single.nodes[0].port)


def test_a_broker_that_cannot_start_says_why(tmp_path: Path) -> None:
    """A node that ends while starting raises with the end of what it printed."""
    with (
        Cluster(tmp_path, properties={"num.io.threads": "none"}) as cluster,
        pytest.raises(LocalKafkaError, match=r"(?s)Node 1 ended while starting.*num\.io\.threads"),
    ):
        cluster.start()


def test_a_failing_test_leaves_nothing_behind(single: Cluster, tmp_path: Path) -> None:
    """Leaving the cluster by an exception kills the process and frees the port; other brokers are not touched."""
    cluster = Cluster(tmp_path)

    def fail() -> None:
        with cluster:
            cluster.launch(cluster.nodes[0])
            pids.append(pid_of(cluster))
            raise ZeroDivisionError

    pids: list[int] = []
    with pytest.raises(ZeroDivisionError):
        fail()
    pid = pids[0]
    assert (has_ended(pid, 0), PortClaims().take(cluster.nodes[0].port)) == (True, True)
    assert single.nodes[0].pid is not None


def test_a_broker_never_outlives_its_parent(tmp_path: Path) -> None:
    """When the process that started a broker is killed, the broker ends too, and so does its guard."""
    script = (
        "import sys, pathlib\nfrom local_kafka.cluster import Cluster\n"
        "c = Cluster(pathlib.Path(sys.argv[1]))\nc.launch(c.nodes[0])\nprint(c.nodes[0].pid, flush=True)\ninput()"
    )
    command = [sys.executable, "-c", script, str(tmp_path)]
    with subprocess.Popen(command, cwd=DEPLOY, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as parent:  # noqa: S603 - our own script
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        try:
            deadline = time.monotonic() + PATIENCE_S
            while len(family := members(pid)) < 2:
                assert time.monotonic() < deadline
            parent.kill()
            assert [member for member in family if not has_ended(member)] == []
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(pid, signal.SIGKILL)


def test_the_command_runs_a_broker_in_the_foreground(tmp_path: Path) -> None:
    """``broker.py start`` says where the broker is, refuses a second one on its data, and ends on ``stop``."""
    data = ["--data", str(tmp_path / "data")]

    def run(*arguments: str) -> tuple[int, str]:
        command = [sys.executable, str(DEPLOY / "broker.py"), *arguments, *data]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=PATIENCE_S)  # noqa: S603 - our own command
        return done.returncode, done.stdout + done.stderr

    assert run("status")[0] == 3
    command = [sys.executable, str(DEPLOY / "broker.py"), "start", "--quick", "--port", str(free_port()), *data]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as foreground:  # noqa: S603 - as above
        assert foreground.stdout is not None
        try:
            said = next(line for line in foreground.stdout if "ready" in line)
            bootstrap = re.search(r"127\.0\.0\.1:\d+", said)
            assert bootstrap is not None
            assert run("status") == (0, f"Running at {bootstrap[0]}, process {foreground.pid}.\n")
            code, refusal = run("start")
            assert (code, "is in use by process" in refusal) == (1, True)
            assert run("stop") == (0, f"Stopped {bootstrap[0]}.\n")
            assert foreground.wait(PATIENCE_S) == 0
        finally:
            foreground.kill()
    assert run("status")[0] == 3


def _confuse(inner: Any) -> None:
    """Have the client's task fail: what it is about to answer is answered already."""
    inner.force_metadata_update()
    inner._md_update_fut.cancel()


def test_a_client_that_stopped_learning_about_the_cluster_learns_on(broker: Cluster) -> None:
    """Aiokafka's task ends in silence on an error that it does not expect; it is started again, and answers."""

    async def revive() -> list[bool]:
        answers = []
        async with reading(Brokers(broker.bootstrap), fetch_bytes_max=1 << 20) as consumer:
            inner = consumer._client
            for end in (
                inner._sync_task.cancel,
                lambda: inner.force_metadata_update() and inner._md_update_fut.cancel(),
            ):
                end()
                await asyncio.wait([inner._sync_task], timeout=10)
                assert inner._sync_task.done()
                keep_metadata(consumer)
                answers.append(await asyncio.wait_for(inner.force_metadata_update(), 10))
        return answers

    assert asyncio.run(revive()) == [True, True]
