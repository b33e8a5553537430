"""Resident memory of an archive, and its rate, while records flow: flat, or it leaks.

Records of a pool of events flow into the content and the operational topic again and again under new ids, never more
than a bounded backlog ahead of the archive, which writes them into an embedded store of its own. They were made by the
real core without a detector: what a store keeps does not depend on it.
"""

import argparse
import itertools
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from kafka import TopicPartition
from kafka.errors import KafkaError
from resident import BROKER, MB, TOPIC, Flow, print_summary
from rig import running_rig
from runners import PEERS_PYTHON, peer_packages
from traffic import NS_PER_MS, make_pool

from pipeline.anonymize import Admission, make_core, process
from pipeline.coarsen import format_timestamp
from pipeline.detect.spans import Span
from pipeline.keys.keyring import KeyEpoch, Keyring
from pipeline.policy.load import load_policy
from pipeline.records import Source
from pipeline.store.intake import STORED_SINKS
from pipeline.worker.route import Outgoing, Router

COMMAND = [sys.executable, "-m", "pipeline", "archive"]
POOL_EVENTS = 10_000
MINUTE_MS = 60_000
_TIME_FIELD = b'"received_at":"'
_TIME_CHARS = len("2026-01-01T00:00:00.000Z")


class NoDetector:
    """Finds nothing. Lives here, where no worker can reach it."""

    def find_spans(self, texts: Sequence[str], _own: object = ()) -> list[Sequence[Span] | None]:
        """Return no spans."""
        return [()] * len(texts)


class Cut(NamedTuple):
    """A record without its id and its time: what stands before, between and behind them, and the headers."""

    head: bytes
    middle: bytes
    tail: bytes
    headers: Sequence[tuple[str, bytes]]


class Numbered(NamedTuple):
    """The content and the operational record of an event, under an id of their own."""

    key: bytes
    content: bytes
    operational: bytes
    headers: tuple[Sequence[tuple[str, bytes]], Sequence[tuple[str, bytes]]]


def make_pairs() -> list[tuple[Cut, Cut]]:
    """Return the two records of generated events that have content."""
    policy = load_policy()
    core = make_core(policy, NoDetector(), Keyring((KeyEpoch("e1", 0, b"k" * 32),), {}, b"s" * 32))
    router = Router(policy, {name: name for name in STORED_SINKS})
    pairs = []
    for raw in itertools.islice(make_pool(POOL_EVENTS).events(), POOL_EVENTS):
        fate = process(raw.value, Source("bench", 0, 0, len(raw.value)), core, Admission(latest_ms=1 << 50))
        made = [_cut(one) for one in router.route(fate)]
        if len(made) == len(("content", "operational")):
            pairs.append((made[0], made[1]))
    return pairs


def number(pairs: list[tuple[Cut, Cut]]) -> Iterator[Numbered]:
    """Yield records without end, received now, no two with the same id."""
    for serial, (content, operational) in enumerate(itertools.cycle(pairs), 1):
        key = b"req_%032x" % serial
        now_ms = time.time_ns() // NS_PER_MS
        yield Numbered(
            key,
            _join(content, key, now_ms - now_ms % MINUTE_MS),
            _join(operational, key, now_ms),
            (content.headers, operational.headers),
        )


def _cut(record: Outgoing) -> Cut:
    head, _, rest = record.value.partition(record.key)
    middle, mark, tail = rest.partition(_TIME_FIELD)
    assert mark, "the time stands behind the id"  # noqa: S101 - the policy's order of fields
    return Cut(head, middle + mark, tail[_TIME_CHARS:], record.headers)


def _join(cut: Cut, key: bytes, at_ms: int) -> bytes:
    return b"".join((cut.head, key, cut.middle, format_timestamp(at_ms).encode(), cut.tail))


class ArchiveFlow(Flow[Numbered]):
    """Keeps records flowing into an archive, and watches it."""

    stall_s = 120.0

    def done(self) -> int:
        """Return of how many events both records are stored, by what the archive has committed."""
        group = f"{self._job.group}-archive"
        try:
            found: dict[TopicPartition, int] = {
                at: said.offset for at, said in self._rig.admin.list_group_offsets({group: None})[group].items()
            }
        except KafkaError:  # its coordinator is only just loading
            return 0
        topics = (self._job.content, self._job.operational)
        return min(sum(max(0, n) for at, n in found.items() if at.topic == topic) for topic in topics)

    def _send_one(self, one: Numbered) -> None:
        self._producer.send(self._job.content, one.key, one.content, one.headers[0])
        self._producer.send(self._job.operational, one.key, one.operational, one.headers[1])


def main() -> None:
    """Print the samples and the summary."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=1_000_000)
    parser.add_argument("--backlog", type=int, default=40_000, help="events ahead of the archive")
    parser.add_argument("--samples", type=int, default=20)
    parser.add_argument("--peers-python", type=Path, default=PEERS_PYTHON)
    given = parser.parse_args()
    sys.path.append(str(peer_packages(given.peers_python)))
    pairs = make_pairs()
    print(f"{len(pairs):,} events with content, under new ids again and again", flush=True)
    with running_rig(time.time_ns() // NS_PER_MS, BROKER) as rig:
        job = rig.new_job(configs=TOPIC)
        with rig.start(COMMAND, job, {"LETHE_STORE": "chdb:./archive"}) as running:
            flow, samples, began_s = ArchiveFlow(rig, job, running, backlog=given.backlog), [], time.monotonic()
            for sample in flow.run(number(pairs), given.events, given.samples):
                samples.append(sample)
                now, high = sample.resident / MB, sample.highest / MB
                print(f"{sample.events:10,} events  {now:8,.1f} MB resident  {high:8,.1f} MB highest", flush=True)
            seconds = time.monotonic() - began_s
            print(f"{given.events:,} events in {seconds:,.0f} s: {given.events / seconds:,.0f} a second with start-up")
            print_summary(samples)


if __name__ == "__main__":
    main()
