"""lethe's worker beside other stream processors, on one real broker, in one run.

A raw topic of 8 partitions is filled once. Each runner starts fresh, in a process of its own, with a group and two
output topics of its own, and writes two records an event. All are asked for the same: at least once, acks=all, lz4. The
rounds are interleaved, and each begins with another runner.

events/s: events delivered, divided by the time from the first output record's append to the last one's, by the
broker's clock (LogAppendTime); start-up is not in it. A runner that has not delivered all within the time box is
stopped and judged by what it has. CPU: user and system time of the runner's processes from the first moment that
output was seen to the last, divided by the events delivered in between. The broker shares the machine.
"""

import argparse
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
POOL_EVENTS = 10_000


@dataclass(frozen=True, slots=True)
class Moment:
    """What was seen at a point in time: seconds, processor seconds, events delivered."""

    at_s: float
    cpu_s: float
    events: float


@dataclass(frozen=True, slots=True)
class Figures:
    """What one runner did in one round.

    Attributes:
        events: delivered, both records of each.
        repeats: records beyond one an event in each topic.
        events_per_s, cpu_us: see the module.
        first_s: from the start of the process to when output was seen first.
    """

    events: int
    repeats: int
    events_per_s: float
    cpu_us: float
    first_s: float


def measure(rig: Rig, runner: Runner, events: int, box_s: float, more: dict[str, str]) -> Figures:
    """Run one runner once.

    Raises:
        RunnerFailed: it ended, or wrote nothing.
    """
    job = rig.new_job()
    began_s = time.monotonic()
    with rig.start(runner.command, job, more) as running:
        first, last = watch(rig, job, running, events, box_s)
    content, operational = rig.ends(job.content), rig.ends(job.operational)
    spans = [rig.span_ms(job.content), rig.span_ms(job.operational)]
    rig.drop(job)
    seconds = (max(end for _, end in spans) - min(start for start, _ in spans)) / 1000
    delivered = min(content, operational, events)
    return Figures(
        events=delivered,
        repeats=max(0, content - events) + max(0, operational - events),
        events_per_s=delivered / max(seconds, 1e-3),
        cpu_us=(last.cpu_s - first.cpu_s) / max(1.0, last.events - first.events) * 1e6,
        first_s=first.at_s - began_s,
    )


def watch(rig: Rig, job: Job, running: Running, events: int, box_s: float) -> tuple[Moment, Moment]:
    """Wait until both topics hold all events, or the time box ends; return the first and the last of what was seen."""
    start_s = time.monotonic()
    first: Moment | None = None
    while True:
        running.check()
        content, operational = rig.ends(job.content), rig.ends(job.operational)
        seen = Moment(time.monotonic(), running.cpu_s(), (content + operational) / 2)
        if first is None and seen.events:
            first = seen
        if first is None and seen.at_s - start_s > START_S_MAX:
            raise RunnerFailed(f"wrote nothing in {START_S_MAX:g} s:\n{running.last_words()}")
        if first is not None and (min(content, operational) >= events or seen.at_s - first.at_s > box_s):
            return first, seen
        time.sleep(POLL_S)


def compare(
    rig: Rig, runners: list[Runner], arguments: argparse.Namespace, events: int, box_s: float
) -> dict[str, list[Figures]]:
    """Run all runners in interleaved rounds."""
    more = peer_environ(arguments.peers_python)
    results: dict[str, list[Figures]] = {runner.name: [] for runner in runners}
    for number in range(arguments.rounds):
        turn = number % len(runners)
        for runner in [*runners[turn:], *runners[:turn]]:
            try:
                figures = measure(rig, runner, events, box_s, more)
            except RunnerFailed as failure:
                print(f"round {number + 1}  {runner.name}: {failure}", file=sys.stderr, flush=True)
                continue
            results[runner.name].append(figures)
            print(f"round {number + 1}  {runner.name:24}{figures.events_per_s:10,.0f} events/s", flush=True)
    return results


def print_table(title: str, results: dict[str, list[Figures]]) -> None:
    """Print absolute figures, and each runner's rate as a share of lethe's."""
    ours = results.get(LETHE) or []
    print(f"\n{title}")
    print(f"{'':24}{'events':>9}{'best ev/s':>11}{'median':>9}{'lethe is':>10}{'median':>8}"
          f"{'CPU us/ev':>11}{'first rec':>11}{'repeats':>9}")  # fmt: skip
    for name, rounds in sorted(results.items(), key=lambda item: -_best(item[1])):
        if not rounds:
            print(f"{name:24}failed")
            continue
        best, median = _best(rounds), _median(rounds)
        ratios = f"{_best(ours) / best:9.2f}x{_median(ours) / median:7.2f}x" if ours else f"{'-':>10}{'-':>8}"
        cpu = min(figures.cpu_us for figures in rounds)
        first = statistics.median(figures.first_s for figures in rounds)
        repeats = sum(figures.repeats for figures in rounds)
        print(f"{name:24}{max(figures.events for figures in rounds):9,}{best:11,.0f}{median:9,.0f}{ratios}"
              f"{cpu:11,.0f}{first:9.1f} s{repeats:9,}")  # fmt: skip


def _best(rounds: list[Figures]) -> float:
    return max((figures.events_per_s for figures in rounds), default=0.0)


def _median(rounds: list[Figures]) -> float:
    return statistics.median(figures.events_per_s for figures in rounds) if rounds else 0.0


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=80_000, help="in the raw topic, for the trivial transform")
    parser.add_argument("--core-events", type=int, default=20_000, help="of these, for the real core")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--box-s", type=float, default=6.0, help="time box with the trivial transform")
    parser.add_argument("--core-box-s", type=float, default=12.0, help="time box with the real core")
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


def main() -> None:
    """Print the tables."""
    arguments = parse()
    sys.path.append(str(peer_packages(arguments.peers_python)))
    print(describe_versions(arguments.peers_python))
    with running_rig(time.time_ns() // NS_PER_MS) as rig:
        rig.make_topics(RAW)
        pool = make_pool(min(POOL_EVENTS, arguments.events))
        mean = fill(rig.brokers, RAW, pool, arguments.events) / arguments.events
        print(f"{arguments.events:,} raw events in {PARTITIONS} partitions, mean {mean:,.0f} bytes, {COMPRESSION}; "
              f"{os.cpu_count()} cores shared with the broker; {arguments.rounds} rounds", flush=True)  # fmt: skip
        tables = [
            ("Trivial transform", trivial_runners(arguments.peers_python, tuple(arguments.lethe_trivial)),
             arguments.events, arguments.box_s),
            ("Real core, detection on", core_runners(tuple(arguments.lethe_core)),
             min(arguments.events, arguments.core_events), arguments.core_box_s),
        ]  # fmt: skip
        for (title, runners, events, box_s), name in zip(tables, ("trivial", "core"), strict=True):
            if arguments.only in {None, name} and (some := chosen(runners, arguments.runner)):
                print_table(title, compare(rig, some, arguments, events, box_s))


if __name__ == "__main__":
    main()
