"""lethe's worker beside other stream processors, on one real broker, in one run.

A raw topic of 8 partitions is filled once for each table. Each runner starts fresh, in a process of its own, with a
group and two output topics of its own, and writes two records an event. All are asked for the same: at least once,
acks=all, zstd. The rounds are interleaved, and each begins with another runner. A first round is not counted: the
broker's virtual machine compiles in it, and an event costs the broker several times what it does later.

events/s: events delivered, divided by the time from the first output record's append to the last one's, by the
broker's clock (LogAppendTime); start-up is not in it. A runner that has not delivered all within the time box is
stopped and judged by what it has. "warm" is the same without the first tenth of the events or the first second,
whichever is over sooner: caches fill in it, and runners differ in how much of it falls before their first record. CPU:
user and system time of the runner's processes while warm, divided by the events delivered meanwhile. The broker shares
the machine.
"""

import argparse
import math
import os
import shlex
import statistics
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from peer import COMPRESSION, Job
from produce import fill
from rig import PARTITIONS, RAW, Rig, RunnerFailed, Running, running_rig
from runners import (
    LETHE,
    LETHE_CORE,
    LETHE_TRIVIAL,
    PEERS_PYTHON,
    Runner,
    core_runners,
    describe_versions,
    peer_environ,
    peer_packages,
    trivial_runners,
)
from traffic import NS_PER_MS, make_pool

POLL_S = 0.1
START_S_MAX = 60.0
WARM_SHARE = 0.1
WARM_S = 1.0
POOL_EVENTS = 10_000


@dataclass(frozen=True, slots=True)
class Table:
    """One table: runners, the raw topic they read with so many events, and the time box."""

    title: str
    runners: list[Runner]
    raw: str
    events: int
    box_s: float


@dataclass(frozen=True, slots=True)
class Moment:
    """What was seen at a point in time: seconds since the epoch, processor seconds, events delivered."""

    at_s: float
    cpu_s: float
    events: float


@dataclass(frozen=True, slots=True)
class Figures:
    """What one runner did in one round.

    Attributes:
        events: delivered, both records of each.
        repeats: records beyond one an event in each topic.
        events_per_s, warm_per_s, cpu_us: see the module.
        first_s: from the start of the process to when output was seen first.
    """

    events: int
    repeats: int
    events_per_s: float
    warm_per_s: float
    cpu_us: float
    first_s: float


def measure(rig: Rig, runner: Runner, table: Table, more: dict[str, str]) -> Figures:
    """Run one runner once.

    Raises:
        RunnerFailed: it ended, or wrote nothing.
    """
    job, events = rig.new_job(table.raw), table.events
    began_s = time.time()
    with rig.start(runner.command, job, more) as running:
        first, warm, last = watch(rig, job, running, events, table.box_s)
    content, operational = rig.ends(job.content), rig.ends(job.operational)
    spans = [rig.span_ms(job.content), rig.span_ms(job.operational)]
    rig.drop(job)
    first_s, last_s = min(start for start, _ in spans) / 1000, max(end for _, end in spans) / 1000
    delivered = min(content, operational, events)
    return Figures(
        events=delivered,
        repeats=max(0, content - events) + max(0, operational - events),
        events_per_s=delivered / max(last_s - first_s, 1e-3),
        warm_per_s=max(0.0, delivered - warm.events) / max(last_s - warm.at_s, 1e-3),
        cpu_us=(last.cpu_s - warm.cpu_s) / max(1.0, last.events - warm.events) * 1e6,
        first_s=first.at_s - began_s,
    )


def watch(rig: Rig, job: Job, running: Running, events: int, box_s: float) -> tuple[Moment, Moment, Moment]:
    """Wait until both topics hold all events, or the time box ends.

    Returns:
        When output was seen first, when the runner counts as warm, and the end.
    """
    start_s = time.time()
    first: Moment | None = None
    warm: Moment | None = None
    while True:
        running.check()
        content, operational = rig.ends(job.content), rig.ends(job.operational)
        seen = Moment(time.time(), running.cpu_s(), (content + operational) / 2)
        if first is None and seen.events:
            first = seen
        if first is None and seen.at_s - start_s > START_S_MAX:
            raise RunnerFailed(f"wrote nothing in {START_S_MAX:g} s:\n{running.last_words()}")
        if first is not None:
            if warm is None and (seen.events >= events * WARM_SHARE or seen.at_s - first.at_s >= WARM_S):
                warm = seen
            if min(content, operational) >= events or seen.at_s - first.at_s > box_s:
                return first, warm or seen, seen
        time.sleep(POLL_S)


def compare(rig: Rig, table: Table, rounds: int, more: dict[str, str]) -> dict[str, list[Figures]]:
    """Run all runners in interleaved rounds, and once more before."""
    results: dict[str, list[Figures]] = {runner.name: [] for runner in table.runners}
    for number in range(rounds + 1):
        turn = number % len(table.runners)
        for runner in [*table.runners[turn:], *table.runners[:turn]]:
            try:
                figures = measure(rig, runner, table, more)
            except RunnerFailed as failure:
                print(f"round {number}  {runner.name}: {failure}", file=sys.stderr, flush=True)
                continue
            if number:
                results[runner.name].append(figures)
            print(f"round {number}  {runner.name:24}{figures.events_per_s:10,.0f} events/s", flush=True)
    return results


def print_table(title: str, results: dict[str, list[Figures]]) -> None:
    """Print absolute figures, and each runner's rate as a share of lethe's."""
    ours = results.get(LETHE) or []
    print(f"\n{title}")
    print(f"{'':24}{'events':>9}{'best ev/s':>11}{'median':>9}{'warm':>9}{'lethe is':>10}{'median':>9}{'warm':>9}"
          f"{'CPU us/ev':>11}{'first rec':>11}{'repeats':>9}")  # fmt: skip
    for name, rounds in sorted(results.items(), key=lambda item: -_best(item[1])):
        if not rounds:
            print(f"{name:24}failed")
            continue
        rates = [_best(rounds), _median(rounds), _warm(rounds)]
        theirs = zip((_best(ours), _median(ours), _warm(ours)), rates, strict=True)
        ratios = "".join(f"{mine / rate if ours and rate else math.nan:8.2f}x" for mine, rate in theirs)
        cpu = min(figures.cpu_us for figures in rounds)
        first = statistics.median(figures.first_s for figures in rounds)
        repeats = sum(figures.repeats for figures in rounds)
        events = max(figures.events for figures in rounds)
        print(f"{name:24}{events:9,}{rates[0]:11,.0f}{rates[1]:9,.0f}{rates[2]:9,.0f} {ratios}"
              f"{cpu:11,.0f}{first:9.1f} s{repeats:9,}")  # fmt: skip


def _best(rounds: list[Figures]) -> float:
    return max((figures.events_per_s for figures in rounds), default=0.0)


def _warm(rounds: list[Figures]) -> float:
    return max((figures.warm_per_s for figures in rounds), default=0.0)


def _median(rounds: list[Figures]) -> float:
    return statistics.median(figures.events_per_s for figures in rounds) if rounds else 0.0


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=120_000, help="in the raw topic, for the trivial transform")
    parser.add_argument("--core-events", type=int, default=6000, help="likewise, for the real core")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--box-s", type=float, default=6.0, help="time box with the trivial transform")
    parser.add_argument("--core-box-s", type=float, default=15.0, help="time box with the real core")
    parser.add_argument("--only", choices=["trivial", "core"], help="one of the two tables")
    parser.add_argument("--runner", action="append", default=[], help="only runners whose name begins so; repeatable")
    parser.add_argument("--peers-python", type=Path, default=PEERS_PYTHON)
    parser.add_argument("--lethe-trivial", type=shlex.split, default=LETHE_TRIVIAL, metavar="COMMAND")
    parser.add_argument("--lethe-core", type=shlex.split, default=LETHE_CORE, metavar="COMMAND")
    return parser.parse_args()


def chosen(runners: list[Runner], names: list[str]) -> list[Runner]:
    """Return the runners that have a command and are asked for."""
    return [
        runner for runner in runners
        if runner.command and (not names or any(runner.name.startswith(name) for name in names))
    ]  # fmt: skip


def tables_of(arguments: argparse.Namespace) -> list[Table]:
    """Return the tables that are asked for, without empty ones."""
    trivial = chosen(trivial_runners(arguments.peers_python, tuple(arguments.lethe_trivial)), arguments.runner)
    core = chosen(core_runners(tuple(arguments.lethe_core)), arguments.runner)
    tables = {
        "trivial": Table("Trivial transform", trivial, f"{RAW}.trivial", arguments.events, arguments.box_s),
        "core": Table("Real core, detection on", core, f"{RAW}.core", arguments.core_events, arguments.core_box_s),
    }
    return [table for name, table in tables.items() if table.runners and arguments.only in {None, name}]


def main() -> None:
    """Print the tables."""
    arguments = parse()
    sys.path.append(str(peer_packages(arguments.peers_python)))
    print(describe_versions(arguments.peers_python))
    with running_rig(time.time_ns() // NS_PER_MS) as rig:
        pool = make_pool(POOL_EVENTS)
        for table in tables_of(arguments):
            rig.make_topics(table.raw)
            mean = fill(rig.brokers, table.raw, pool, table.events) / table.events
            print(f"\n{table.events:,} raw events in {PARTITIONS} partitions, mean {mean:,.0f} bytes, {COMPRESSION}; "
                  f"{os.cpu_count()} cores shared with the broker; {arguments.rounds} rounds", flush=True)  # fmt: skip
            print_table(table.title, compare(rig, table, arguments.rounds, peer_environ(arguments.peers_python)))


if __name__ == "__main__":
    main()
