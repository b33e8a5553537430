"""Resident memory of a run over a large input, at even intervals: flat, or it leaks.

A block of generated events is written again and again, each time under new request ids, through a pipe into `run` and
from there into files, detection left out (it holds no state from one event to the next; the core, the batches and the
list of what was written do). The files are thrown away. Memory is sampled from /proc, so Linux only.
"""

import argparse
import os
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import orjson

from pipeline.anonymize import Admission, make_core
from pipeline.cli.edge import tune_collector
from pipeline.detect.spans import Span
from pipeline.inputs import Inputs
from pipeline.keys.keyring import KeyEpoch, Keyring
from pipeline.metrics import Metrics
from pipeline.policy.load import load_policy
from pipeline.run import Summary, run
from pipeline.sinks.files import FileSink
from pipeline.synth import generate_events

MB = 1_000_000
START_MS = 1_763_900_000_000
PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


class NoDetector:
    """Finds nothing. Lives here, where no worker can reach it."""

    def find_spans(self, texts: Sequence[str], _own: object = ()) -> list[Sequence[Span] | None]:
        """Return no spans."""
        return [()] * len(texts)


def write_input(target: int, size: int, block_events: int) -> None:
    """Write JSON lines of at least ``size`` bytes to a file descriptor: the same block, each time with other ids."""
    events = generate_events(seed=7, count=block_events, start_ms=START_MS, rate_per_s=50)
    parts = [orjson.dumps(one.event).split(one.event["request_id"].encode(), 1) for one in events]
    written = serial = 0
    with os.fdopen(target, "wb", buffering=1 << 20) as out:
        while written < size:
            for head, tail in parts:
                serial += 1
                written += out.write(b"%breq_%032x%b\n" % (head, serial, tail))


def resident_bytes() -> int:
    """Return the resident memory of this process, now."""
    return int(Path("/proc/self/statm").read_text("ascii").split()[1]) * PAGE_BYTES


class Watch:
    """Samples memory each time a share of the input has been read, and throws away what the files have grown by."""

    def __init__(self, folder: Path, size: int, samples: int) -> None:
        self.samples: list[tuple[int, int]] = []
        self._folder = folder
        self._step = size // samples
        self._next = self._step

    def __call__(self, summary: Summary) -> None:
        """Sample where it is time to."""
        if summary.bytes_read >= self._next:
            self._next += self._step
            self.samples.append((summary.bytes_read, resident_bytes()))
            for path in self._folder.glob("*.partial"):
                os.truncate(path, 0)  # the sink goes on at its own offset; what it left behind becomes a hole
            read, resident = (figure / MB for figure in self.samples[-1])
            print(f"{read:8,.0f} MB read {summary.events:10,} events {resident:8,.1f} MB resident", flush=True)


def measure(size: int, samples: int, block_events: int) -> list[tuple[int, int]]:
    """Run an input of ``size`` bytes; return (bytes read, bytes resident) at each sample."""
    core = make_core(load_policy(), NoDetector(), Keyring((KeyEpoch("e1", 0, b"k" * 32),), {}, b"s" * 32))
    reading, writing = os.pipe()
    if os.fork() == 0:
        os.close(reading)
        write_input(writing, size, block_events)
        os._exit(0)
    os.close(writing)
    tune_collector()
    with tempfile.TemporaryDirectory() as folder:
        watch = Watch(Path(folder), size, samples)
        sink = FileSink(Path(folder))
        inputs = Inputs([f"/dev/fd/{reading}"], line_bytes_max=16 << 20)
        admission = Admission(latest_ms=START_MS * 2)
        started = time.monotonic()
        summary = run(inputs.events(), core, sink, lambda: admission, batch_max=5000, metrics=Metrics(), progress=watch)
        seconds = time.monotonic() - started
    os.wait()
    assert summary.accepted == summary.events == summary.written.content  # noqa: S101 - else it measured something else
    print(f"{summary.events:,} events, {summary.bytes_read / MB:,.0f} MB in {seconds:,.0f} s: "
          f"{summary.events / seconds:,.0f} events/s")  # fmt: skip
    return watch.samples


def main() -> None:
    """Print the samples, and how the last tenth compares to the first."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--megabytes", type=int, default=2000)
    parser.add_argument("--samples", type=int, default=20)
    parser.add_argument("--block-events", type=int, default=4000)
    arguments = parser.parse_args()
    samples = measure(arguments.megabytes * MB, arguments.samples, arguments.block_events)
    tenth = max(1, len(samples) // 10)
    early = max(resident for _, resident in samples[:tenth])
    late = max(resident for _, resident in samples[-tenth:])
    print(f"resident: {early / MB:,.1f} MB early, {late / MB:,.1f} MB at the end, ratio {late / early:.2f}")


if __name__ == "__main__":
    main()
