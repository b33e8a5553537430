"""Ten minutes of kills: workers and brokers, at random moments, while events flow. Then every id is accounted for.

``make chaos``. The same seed gives the same order of blows; what each of them hits depends on the machine.
"""

import argparse
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "tests"), str(ROOT)]

from kafka_broker import Cluster, Node, admin, running  # noqa: E402 - found by the line above
from worker_harness import Bench, Feeder, Worker, ending, judge, locate  # noqa: E402 - as above

WORKERS = 2
PARTITIONS = 8
PAUSE_S = (4.0, 12.0)
SIGSTOP_S = (1.0, 10.0)
AWAY_S = (2.0, 6.0)
REPEATED_GOAL = 0.01
BLOWS = ("kill -9 of a worker", "SIGTERM of a worker", "SIGSTOP of a worker", "kill -9 of a broker")


class Chaos:
    """Blows, one at a time; workers that end are started again, as a supervisor would."""

    def __init__(self, bench: Bench, seed: int) -> None:
        self.counts: Counter[str] = Counter()
        self.exits: Counter[int] = Counter()
        self.workers: list[Worker] = [bench.worker() for _ in range(WORKERS)]
        self._bench = bench
        self.random = random.Random(seed)

    def strike(self) -> str:
        """Deliver a blow, and say which."""
        blow = self.random.choice(BLOWS)
        worker = self.random.choice(self.workers)
        node = self.random.choice(self._bench.cluster.nodes)
        self.counts[blow] += 1
        if blow == BLOWS[0]:
            worker.kill()
        elif blow == BLOWS[1]:
            worker.signal(signal.SIGTERM)
        elif blow == BLOWS[2]:
            worker.signal(signal.SIGSTOP)
            time.sleep(self.random.uniform(*SIGSTOP_S))
            worker.signal(signal.SIGCONT)
        else:
            self._break_broker(node)
        return blow

    def look_after(self, seconds: float) -> None:
        """Let things go on for a while, starting again what has ended."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            for place, worker in enumerate(self.workers):
                code = worker.process.poll()
                if code is not None:
                    self.exits[code] += 1
                    self.workers[place] = self._bench.worker()
            time.sleep(0.2)

    def _break_broker(self, node: Node) -> None:
        node.kill()
        self.look_after(self.random.uniform(*AWAY_S))
        self._bench.cluster.restart(node)
        wait_in_sync(self._bench.cluster, self._bench)


def wait_in_sync(cluster: Cluster, bench: Bench) -> None:
    """Wait until every replica of the topics is in sync: one broker at a time is what three are for."""
    topics = [bench.topic(sink) for sink in ("raw", "content", "operational", "rejected")]
    deadline = time.monotonic() + 90
    while time.monotonic() < deadline:
        with admin(cluster) as client:
            described = client.describe_topics(topics)
        parts = [part for topic in described for part in topic["partitions"]]
        if all(len(part["isr_nodes"]) == len(part["replica_nodes"]) for part in parts):
            return
        time.sleep(0.5)
    sys.stdout.write("replicas did not come back in sync within 90 s\n")


def main() -> int:
    """Run, report, and return 1 when an event was lost or a repeat has other bytes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--rate", type=float, default=510, help="events a second; the default makes 306,000")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--brokers", type=int, default=3)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="lethe-chaos-") as folder, running(given.brokers) as cluster:
        bench = Bench(cluster, Path(folder), "chaos.").prepare(partitions=PARTITIONS)
        feeder = Feeder(bench, given.rate, poison_every=100, seed=given.seed)
        chaos = Chaos(bench, given.seed)
        with ending(chaos.workers):
            for worker in chaos.workers:
                worker.wait_assigned()
            begin = time.monotonic()
            feeder.start()
            while time.monotonic() - begin < given.seconds:
                chaos.look_after(chaos.random.uniform(*PAUSE_S))
                sys.stdout.write(f"{time.monotonic() - begin:6.0f} s  {chaos.strike()}\n")
                sys.stdout.flush()
            feeder.finish()
            fed_s = time.monotonic() - begin
            chaos.look_after(1)
            bench.wait_done(600)
            done_s = time.monotonic() - begin
            chaos.look_after(1)
            codes = [worker.stop() for worker in chaos.workers]
        collected = bench.collect()
        verdict = judge(feeder, collected)
        repeated = collected.repeats() / max(1, sum(collected.records.values()))
        report(given, chaos, feeder, fed_s, done_s)
        sys.stdout.write(
            f"records repeated        {collected.repeats():,} ({repeated:.2%}; goal {REPEATED_GOAL:.0%})\n"
        )
        for name, counts in (("lost", verdict.lost), ("unknown", verdict.unknown), ("differing", verdict.differing)):
            told = ", ".join(f"{sink} {count}" for sink, count in counts.items())
            sys.stdout.write(f"{name:24}{told}\n")
        sys.stdout.write(f"exit codes at the end   {codes}\n")
        if not verdict.holds:
            lost = feeder.ids - collected.ids("content")
            sys.stdout.write("\n".join(locate(bench, lost)[:50]) + "\n")
        return 0 if verdict.holds else 1


def report(given: argparse.Namespace, chaos: Chaos, feeder: Feeder, fed_s: float, done_s: float) -> None:
    """Say what was done."""
    lines = [
        f"seed {given.seed}, {given.brokers} brokers, {WORKERS} workers, {PARTITIONS} partitions",
        f"events acknowledged     {len(feeder.ids):,}, and {len(feeder.poison):,} that are none",
        f"fed for                 {fed_s:.0f} s; read to the end after {done_s:.0f} s",
        *(f"{blow:24}{count}" for blow, count in sorted(chaos.counts.items())),
        f"workers that ended      {dict(sorted(chaos.exits.items()))} (exit code: times; below zero: the signal)",
    ]
    sys.stdout.write("\n" + "\n".join(lines) + "\n")


if __name__ == "__main__":
    sys.exit(main())
