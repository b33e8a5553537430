"""Delivery, proved by killing real processes against a real broker: no id is lost, every repeat is byte-identical."""

import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from kafka_broker import Cluster, admin, running
from worker_harness import SESSION_S, Bench, Feeder, ending, judge, locate, make_event, wait_until

# A worker that marks a slice as done before it delivers it, which is what Faust does by itself.
ACK_FIRST = """
import asyncio
from pipeline.worker.outbox import Outbox
pass_on = Outbox._pass_on
async def early(self, slices):
    self._done(slices, 0.0)
    await asyncio.sleep(2)
    await pass_on(self, slices)
Outbox._pass_on = early
import sys
sys.argv[1:] = ["worker"]
from pipeline.cli import main
main()
"""
# A worker that loses what its first fetch brought, which is what a rebalance at that moment does.
THROW_AWAY = """
from pipeline.worker.client_thread import ConsumerThread
fetch = ConsumerThread.fetch
thrown = []
async def overtaken(self, *arguments):
    fetched = await fetch(self, *arguments)
    if fetched and not thrown:
        thrown.append(1)
        print("thrown away", flush=True)
        return {}
    return fetched
ConsumerThread.fetch = overtaken
import sys
sys.argv[1:] = ["worker"]
from pipeline.cli import main
main()
"""


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    """Run one broker that these tests may kill."""
    with running() as started:
        yield started


def test_nothing_is_lost_whatever_happens(cluster: Cluster, tmp_path: Path) -> None:
    """Two workers under kill -9, SIGTERM, SIGSTOP past the session, a broker restart, new partitions and poison."""
    bench = Bench(cluster, tmp_path, "chaos.").prepare(partitions=4)
    feeder = Feeder(bench, rate=300)
    workers = [bench.worker(), bench.worker()]
    with ending(workers):
        for worker in workers:
            worker.wait_assigned()
        feeder.start()
        time.sleep(3)
        workers[0].kill()
        workers.append(bench.worker().wait_assigned())
        time.sleep(1)
        assert workers[1].stop() == 0
        workers.append(bench.worker().wait_assigned())
        workers[2].signal(signal.SIGSTOP)
        time.sleep(SESSION_S + 3)
        workers[2].signal(signal.SIGCONT)
        time.sleep(2)
        cluster.nodes[0].kill()
        time.sleep(1)
        cluster.restart(cluster.nodes[0])
        with admin(cluster) as client:
            client.create_partitions({bench.topic("raw"): 6})
        wait_until(lambda: len(feeder.partitions) == 6)
        time.sleep(3)
        feeder.finish()
        bench.wait_done()
        assert workers[2].stop() in {0, 2}, "2: the group went on without it, and it had work in hand"
        assert workers[3].stop() == 0
    collected = bench.collect()
    lost = feeder.ids - collected.ids("content")
    assert judge(feeder, collected).holds, (judge(feeder, collected), locate(bench, lost))
    assert len(feeder.ids) > 5000
    assert len(feeder.poison) > 100


def test_the_proof_can_fail(cluster: Cluster, tmp_path: Path) -> None:
    """A worker that acknowledges before it delivers loses events at kill -9, and the comparison of ids says so."""
    bench = Bench(cluster, tmp_path, "broken.").prepare(partitions=2)
    feeder = Feeder(bench, rate=200, poison_every=0)
    workers = [bench.worker(code=ACK_FIRST)]
    with ending(workers):
        workers[0].wait_assigned()
        feeder.start()
        time.sleep(4)
        workers[0].kill()
        workers.append(bench.worker().wait_assigned())
        feeder.finish()
        bench.wait_done()
        workers[1].stop()
    verdict = judge(feeder, bench.collect())
    assert verdict.lost["content"] > 0
    assert verdict.unknown["content"] == 0


def test_a_clean_stop_repeats_nothing(cluster: Cluster, tmp_path: Path) -> None:
    """SIGTERM drains: what was taken up is committed, so the next worker repeats no record."""
    bench = Bench(cluster, tmp_path, "clean.").prepare(partitions=2)
    bench.send([make_event(number) for number in range(2000)])
    first = bench.worker()
    with ending(first):
        first.wait_assigned()
        time.sleep(0.5)
        assert first.stop() == 0
    second = bench.worker()
    with ending(second):
        bench.wait_done()
        assert second.stop() == 0
    collected = bench.collect()
    assert (collected.repeats(), len(collected.ids("content"))) == (0, 2000)


def test_the_last_records_of_a_partition_are_fetched_again_when_their_fetch_is_thrown_away(
    cluster: Cluster, tmp_path: Path
) -> None:
    """Nothing comes after them that would show that they are missing."""
    bench = Bench(cluster, tmp_path, "thrown.").prepare(partitions=1)
    bench.send([make_event(number) for number in range(50)])
    worker = bench.worker(code=THROW_AWAY)
    with ending(worker):
        worker.wait_said("thrown away")
        bench.wait_done(patience_s=20)
        assert worker.stop() == 0
    assert len(bench.collect().ids("content")) == 50
