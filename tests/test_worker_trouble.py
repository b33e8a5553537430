"""When Kafka is in trouble: the worker says what is wrong, loses nothing, and goes on once it is mended."""

import re
import signal
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from kafka_broker import QUICK_JVM, Cluster, admin, prepare
from worker_harness import Bench, ending, make_event, read_all, wait_until

DISK = "256m"
DELIVERY_S = 5


@pytest.fixture(scope="module")
def disk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Mount a small disk for the broker's data."""
    folder = tmp_path_factory.mktemp("disk")
    mounted = subprocess.run(  # noqa: S603 - fixed arguments
        ["mount", "-t", "tmpfs", "-o", f"size={DISK}", "lethe-test", str(folder)],  # noqa: S607 - the system's
        capture_output=True,
        text=True,
        check=False,
    )
    if mounted.returncode:
        pytest.fail(f"this test mounts a small tmpfs, for which it must be root: {mounted.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)  # noqa: S603, S607 - as above


@pytest.fixture(scope="module")
def cluster(disk: Path) -> Iterator[Cluster]:
    """Run one broker on that disk."""
    prepare()
    with Cluster(disk / "kafka", 1, jvm=QUICK_JVM) as started:
        started.start()
        yield started


@pytest.fixture(scope="module")
def bench(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Bench:
    """Return topics, keys, and workers that wait seconds for what others wait a minute for."""
    settings = {"LETHE_DELIVERY_S": str(DELIVERY_S)}
    return Bench(cluster, tmp_path_factory.mktemp("bench"), "trouble.", settings).prepare(partitions=1)


def content_ids(bench: Bench) -> set[int]:
    """Return the numbers of the events whose content is there."""
    return {int(record.key.decode()[4:], 16) for record in read_all(bench.cluster, bench.topic("content"))}


def work_off(bench: Bench) -> None:
    """Let a worker read raw to its end."""
    worker = bench.worker()
    with ending(worker):
        bench.wait_done()
        assert worker.stop() == 0


def test_a_topic_that_takes_too_little(bench: Bench) -> None:
    """A sink that someone made smaller than its records ends the worker, which names topic and setting."""
    worker = bench.worker().wait_assigned()
    with ending(worker):
        bench.alter("content", max_message_bytes="200")
        bench.send([make_event(1)])
        assert worker.wait() == 2
    assert "max.message.bytes of trouble.content is 200" in worker.said()
    bench.lethe("topics", "apply", "--yes", "--partitions", "1")
    work_off(bench)
    assert content_ids(bench) == {1}


def test_a_deleted_topic(bench: Bench) -> None:
    """A sink that is deleted ends the worker, which names it; made anew, it gets all that was not delivered."""
    worker = bench.worker().wait_assigned()
    topic = bench.topic("content")
    with ending(worker):
        with admin(bench.cluster) as client:
            client.delete_topics([topic])
            wait_until(lambda: topic not in client.list_topics())
        bench.send([make_event(2)])
        assert worker.wait() == 2
    assert "trouble.content does not exist (run `lethe topics apply`)" in worker.said()
    bench.lethe("topics", "apply", "--partitions", "1")
    work_off(bench)
    assert content_ids(bench) == {2}


def test_a_broker_that_does_not_answer(bench: Bench) -> None:
    """A broker that hangs for longer than a delivery may take ends the worker, which says that no answer comes."""
    worker = bench.worker().wait_assigned()
    node = bench.cluster.nodes[0]
    with ending(worker):
        bench.send([make_event(number) for number in range(3, 400)])
        node.pause()
        try:
            assert worker.wait(90) == 2
        finally:
            node.resume()
    assert "no answer from Kafka at" in worker.said()
    work_off(bench)
    assert content_ids(bench) >= {*range(3, 400)}


def test_a_full_disk(bench: Bench, disk: Path) -> None:
    """A broker whose disk is full goes away; the worker ends with a reason, and nothing is lost once there is room."""
    bench.send([make_event(number) for number in range(400, 3000)])
    worker = bench.worker(LETHE_SLICE_MS="10").wait_assigned()
    worker.signal(signal.SIGSTOP)  # while it has most of them before it
    filler = disk / "filler"
    with ending(worker):
        with suppress(OSError), filler.open("wb") as stream:
            while True:
                stream.write(b"0" * 65_536)
                stream.flush()
        worker.signal(signal.SIGCONT)
        assert worker.wait(120) == 2
    # A broker that cannot write answers so, or is gone at once.
    assert re.search(r"(no answer from Kafka at|cannot go on: Kafka at .* look at the brokers' log)", worker.said())
    filler.unlink()
    bench.cluster.restart(bench.cluster.nodes[0])
    work_off(bench)
    assert content_ids(bench) >= {*range(400, 3000)}
