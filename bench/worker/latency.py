"""Latency of a worker: from when a raw event was due to be produced to when both of its records were readable.

An open-loop producer sends at a fixed rate, whatever becomes of what it sent; an event's time counts from the moment
it was due, so that a producer that falls behind hides nothing. A consumer of both output topics, in this same process
and on its clock, notes each request id (the records' key) the second time it comes. Before the rates a backlog is
drained; its rate is the maximum, half of which is the last rate.
"""

import argparse
import importlib
import os
import shlex
import statistics
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from peer import Job
from produce import Producer, fill
from rig import PARTITIONS, RAW, RunnerFailed, Running, running_rig
from runners import LETHE_CORE, PEERS_PYTHON, peer_environ, peer_packages
from traffic import NS_PER_MS, Raw, make_pool

POOL_EVENTS = 4000
START_S_MAX = 90.0
REST_S_MAX = 60.0
POLL_S = 0.05
_BOTH = 3


class Arrivals(threading.Thread):
    """Reads both output topics from their start, in a thread.

    Attributes:
        complete: when the second record of a request id was read, monotonic seconds by id.
    """

    def __init__(self, job: Job) -> None:
        """Connect."""
        super().__init__(daemon=True)
        client = importlib.import_module("confluent_kafka")
        self.complete: dict[bytes, float] = {}
        self._bits = {job.content: 1, job.operational: 2}
        self._seen: dict[bytes, int] = {}
        self._ending = threading.Event()
        self._consumer: Any = client.Consumer(
            {
                "bootstrap.servers": job.brokers,
                "group.id": f"{job.group}-reader",  # librdkafka wants one; nothing is committed
                "enable.auto.commit": False,
                "fetch.wait.max.ms": 100,
            }
        )
        self._consumer.assign(
            [client.TopicPartition(topic, number, 0) for topic in self._bits for number in range(PARTITIONS)]
        )

    def run(self) -> None:
        """Read until `end`."""
        while not self._ending.is_set():
            message = self._consumer.poll(POLL_S)
            if message is not None and message.error() is None:
                self._note(message.key(), self._bits[message.topic()])
        self._consumer.close()

    def end(self) -> None:
        """Stop reading."""
        self._ending.set()
        self.join()

    def wait_for(self, count: int, running: Running, seconds_max: float) -> bool:
        """Wait until so many ids are complete; say whether they are.

        Raises:
            RunnerFailed: the worker ended.
        """
        until_s = time.monotonic() + seconds_max
        while len(self.complete) < count and time.monotonic() < until_s:
            running.check()
            time.sleep(POLL_S)
        return len(self.complete) >= count

    def _note(self, key: bytes, bit: int) -> None:
        seen = self._seen.get(key, 0) | bit
        if seen < _BOTH:
            self._seen[key] = seen
        elif key not in self.complete:
            self.complete[key] = time.monotonic()
            self._seen[key] = seen


@dataclass(slots=True)
class Sent:
    """What the producer did at one rate.

    Attributes:
        due_s: when each event was due, monotonic seconds by id.
        late_s: how late each was really sent.
    """

    due_s: dict[bytes, float] = field(default_factory=dict)
    late_s: list[float] = field(default_factory=list)


def send(producer: Producer, events: Iterator[Raw], rate: float, seconds: float) -> Sent:
    """Send events at a fixed rate."""
    sent, start_s = Sent(), time.monotonic()
    for number in range(int(rate * seconds)):
        due_s = start_s + number / rate
        wait_s = due_s - time.monotonic()
        if wait_s > 0:
            time.sleep(wait_s)
        raw = next(events)
        sent.due_s[raw.key] = due_s
        sent.late_s.append(time.monotonic() - due_s)
        producer.send(RAW, raw.key, raw.value)
    producer.flush()
    return sent


def drain(arrivals: Arrivals, count: int, running: Running) -> float:
    """Wait until the backlog is through; return its rate from the first complete event to the last."""
    if not arrivals.wait_for(1, running, START_S_MAX):
        raise RunnerFailed(f"wrote nothing in {START_S_MAX:g} s:\n{running.last_words()}")
    if not arrivals.wait_for(count, running, REST_S_MAX + START_S_MAX):
        raise RunnerFailed(f"only {len(arrivals.complete):,} of {count:,} events came through")
    times = arrivals.complete.values()
    return (count - 1) / (max(times) - min(times))


def print_row(rate: float, sent: Sent, arrivals: Arrivals, warm_s: float) -> None:
    """Print the percentiles of one rate, without its first seconds."""
    from_s = min(sent.due_s.values()) + warm_s
    judged = {key: due_s for key, due_s in sent.due_s.items() if due_s >= from_s}
    came = [(arrivals.complete[key], due_s) for key, due_s in judged.items() if key in arrivals.complete]
    took_ms = sorted((read_s - due_s) * 1e3 for read_s, due_s in came)
    missing = len(judged) - len(took_ms)
    if len(took_ms) < 2:
        print(f"{rate:10,.0f}{len(judged):9,}   too few came through: {missing:,} missing")
        return
    cuts = statistics.quantiles(took_ms, n=100, method="inclusive")
    late = statistics.quantiles(sent.late_s, n=100, method="inclusive")[98] * 1e3
    print(f"{rate:10,.0f}{len(judged):9,}{cuts[49]:10.1f}{cuts[89]:9.1f}{cuts[98]:9.1f}{took_ms[-1]:9.1f}"
          f"{late:14.1f}{missing:9,}", flush=True)  # fmt: skip


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--command", type=shlex.split, default=LETHE_CORE, help="of the worker; default lethe's")
    parser.add_argument("--rates", type=float, nargs="*", default=[100.0, 1000.0], help="events/s, before half of max")
    parser.add_argument("--max-rate", type=float, help="events/s; default: as the backlog is drained")
    parser.add_argument("--backlog", type=int, default=5000, help="events that measure the maximum")
    parser.add_argument("--seconds", type=float, default=20.0, help="at each rate")
    parser.add_argument("--warm-s", type=float, default=3.0, help="of these, not judged")
    parser.add_argument("--peers-python", type=Path, default=PEERS_PYTHON)
    return parser.parse_args()


def main() -> None:
    """Print the table."""
    arguments = parse()
    sys.path.append(str(peer_packages(arguments.peers_python)))
    with running_rig(time.time_ns() // NS_PER_MS) as rig:
        rig.make_topics(RAW)
        pool = make_pool(POOL_EVENTS)
        size = fill(rig.brokers, RAW, pool, arguments.backlog)
        job = rig.new_job()
        arrivals = Arrivals(job)
        arrivals.start()
        with rig.start(arguments.command, job, peer_environ(arguments.peers_python)) as running:
            highest = drain(arrivals, arguments.backlog, running)
            print(f"{arguments.backlog:,} events of {size / arguments.backlog:,.0f} bytes drained at {highest:,.0f} "
                  f"events/s; {os.cpu_count()} cores shared with broker and measurer; milliseconds")  # fmt: skip
            print(f"{'events/s':>10}{'events':>9}{'p50':>10}{'p90':>9}{'p99':>9}{'max':>9}"
                  f"{'sent late p99':>14}{'missing':>9}")  # fmt: skip
            producer, expected = Producer(rig.brokers, linger_ms=0), arguments.backlog
            for rate in (*arguments.rates, (arguments.max_rate or highest) / 2):
                sent = send(producer, pool.events(), rate, arguments.seconds)
                expected += len(sent.due_s)
                arrivals.wait_for(expected, running, REST_S_MAX)
                print_row(rate, sent, arrivals, arguments.warm_s)
        arrivals.end()


if __name__ == "__main__":
    main()
