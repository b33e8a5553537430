"""Resident memory of a worker while events flow: flat, or it leaks.

Events of a generated pool flow in again and again under new ids, never more than a bounded backlog ahead of the
worker; topics keep a bounded size, so that the disk holds out. VmRSS and VmHWM (the highest VmRSS so far) come from
/proc, so Linux only; of several processes the largest counts. ``--large`` sends events of nearly 16 MiB instead, by
turns one of thousands of messages and one of a few messages of 3 MiB.
"""

import argparse
import contextlib
import shlex
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

from peer import Job
from produce import Producer
from rig import RAW, Rig, RunnerFailed, Running, running_rig
from runners import LETHE_CORE, PEERS_PYTHON, peer_environ, peer_packages
from traffic import NS_PER_MS, Raw, make_large_pool, make_pool

Item = TypeVar("Item")
MB = 1_000_000
POOL_EVENTS = 40_000  # more texts than a detector remembers
POLL_S = 0.1
BROKER = {"log.retention.check.interval.ms": "5000", "log.segment.delete.delay.ms": "1000"}
TOPIC = {"retention.bytes": str(256 << 20), "segment.bytes": str(64 << 20)}


@dataclass(frozen=True, slots=True)
class Sample:
    """Memory at a moment, in bytes: of the largest of the worker's processes.

    Attributes:
        events: that were done by then.
        processes: how many there were.
        resident: now.
        highest: since the process began.
    """

    events: int
    processes: int
    resident: int
    highest: int


def take_sample(running: Running, events: int) -> Sample:
    """Read the memory of a worker."""
    figures = []
    for pid in running.pids():
        with contextlib.suppress(OSError, KeyError):  # it has just ended
            lines = Path(f"/proc/{pid}/status").read_text("utf-8").splitlines()
            status = dict(line.split(":", 1) for line in lines if ":" in line)
            figures.append(tuple(int(status[name].split()[0]) * 1024 for name in ("VmRSS", "VmHWM")))
    return Sample(events, len(figures), max(now for now, _ in figures), max(high for _, high in figures))


class Flow(Generic[Item]):
    """Keeps events flowing into a process, and watches it; what flows, a subclass says."""

    stall_s = 600.0

    def __init__(self, rig: Rig, job: Job, running: Running, *, backlog: int) -> None:
        """Connect.

        Args:
            rig: the broker.
            job: what the worker does.
            running: the worker.
            backlog: most events that are sent and not done.
        """
        self.bytes_sent = 0
        self._rig = rig
        self._job = job
        self._running = running
        self._backlog = backlog
        self._producer = Producer(rig.brokers, linger_ms=20)

    def run(self, events: Iterator[Item], count: int, samples: int) -> Iterator[Sample]:
        """Send so many events; yield samples at even intervals.

        Raises:
            RunnerFailed: the worker ended, or stands still.
        """
        sent, done, step, moved_s = 0, 0, max(1, count // samples), time.monotonic()
        wanted = step
        while done < count:
            self._running.check()
            sent += self._send(events, min(self._backlog - (sent - done), count - sent))
            before, done = done, self.done()
            moved_s = time.monotonic() if done > before else moved_s
            if time.monotonic() - moved_s > self.stall_s:
                raise RunnerFailed(f"no event done in {self.stall_s:g} s:\n{self._running.last_words()}")
            if done >= wanted:
                wanted = (done // step + 1) * step
                yield take_sample(self._running, done)
            time.sleep(POLL_S)

    def done(self) -> int:
        """Return how many events are through: as records in both topics, or rejected."""
        content, operational = self._rig.ends(self._job.content), self._rig.ends(self._job.operational)
        return min(content, operational) + self.rejected()

    def rejected(self) -> int:
        """Return how many events were rejected."""
        return self._rig.ends(self._job.rejected, partitions=1)

    def _send(self, events: Iterator[Item], count: int) -> int:
        for _ in range(count):
            self._send_one(next(events))
        self._producer.flush()
        return max(0, count)

    def _send_one(self, one: Item) -> None:
        """Send one of what flows."""
        raise NotImplementedError


class WorkerFlow(Flow[Raw]):
    """Raw events into a worker."""

    def _send_one(self, one: Raw) -> None:
        self.bytes_sent += len(one.value)
        self._producer.send(RAW, one.key, one.value)


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--command", type=shlex.split, default=LETHE_CORE, help="of the worker; default lethe's")
    parser.add_argument("--events", type=int, help="default 1,000,000, with --large 24")
    parser.add_argument("--backlog", type=int, help="events ahead of the worker; default 20,000, with --large 8")
    parser.add_argument("--samples", type=int, default=20)
    parser.add_argument("--large", action="store_true", help="events of nearly 16 MiB")
    parser.add_argument("--peers-python", type=Path, default=PEERS_PYTHON)
    return parser.parse_args()


def print_summary(samples: list[Sample]) -> None:
    """Say how the last tenth compares to the first, and what the most was."""
    tenth = max(1, len(samples) // 10)
    early = max(sample.resident for sample in samples[:tenth])
    late = max(sample.resident for sample in samples[-tenth:])
    most = max(sample.highest for sample in samples)
    print(f"resident: {early / MB:,.1f} MB early, {late / MB:,.1f} MB at the end, ratio {late / early:.2f}; "
          f"highest ever {most / MB:,.1f} MB ({most / (1 << 20):,.1f} MiB)")  # fmt: skip


def main() -> None:
    """Print the samples and the summary."""
    arguments = parse()
    sys.path.append(str(peer_packages(arguments.peers_python)))
    pool = make_large_pool() if arguments.large else make_pool(POOL_EVENTS)
    count = arguments.events or (24 if arguments.large else 1_000_000)
    backlog = arguments.backlog or (8 if arguments.large else 20_000)
    with running_rig(time.time_ns() // NS_PER_MS, BROKER) as rig:
        rig.make_topics(RAW, configs=TOPIC)
        job = rig.new_job(configs=TOPIC)
        with rig.start(arguments.command, job, peer_environ(arguments.peers_python)) as running:
            flow, samples, began_s = WorkerFlow(rig, job, running, backlog=backlog), [], time.monotonic()
            for sample in flow.run(pool.events(), count, arguments.samples):
                samples.append(sample)
                now, high = sample.resident / MB, sample.highest / MB
                print(f"{sample.events:10,} events  {sample.processes} processes  "
                      f"{now:8,.1f} MB resident  {high:8,.1f} MB highest", flush=True)  # fmt: skip
            seconds = time.monotonic() - began_s
            print(f"{count:,} events of {flow.bytes_sent / count:,.0f} bytes in {seconds:,.0f} s: "
                  f"{count / seconds:,.1f} events/s with start-up; {flow.rejected():,} rejected")  # fmt: skip
            print_summary(samples)


if __name__ == "__main__":
    main()
