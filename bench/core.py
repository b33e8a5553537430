"""Events and megabytes a second of the core on one core, beside its floor, on the generated mix.

The floor is what no anonymizer can save: one orjson.loads of the event and one dumps of each half. Runs are interleaved
and the best of each is kept, so that a busy machine slows both sides alike.
"""

import argparse
import gc
import time
from collections.abc import Callable, Sequence

import orjson

from pipeline.anonymize import Admission, Core, make_core, process
from pipeline.cli.edge import cache_dir, settings, tune_collector
from pipeline.coarsen import DAY_MS, day_of
from pipeline.detect.detector import make_detector
from pipeline.detect.engine import Engine
from pipeline.detect.spans import Detector, Span
from pipeline.keys.daykeys import DayKey, DayKeys
from pipeline.keys.envelope import EnvelopeKeys, EnvelopeSealer
from pipeline.keys.keyring import KeyEpoch, Keyring
from pipeline.keys.sealing import DaySealer
from pipeline.policy.load import load_policy
from pipeline.records import Anonymized, Source
from pipeline.synth import generate_events
from pipeline.wire import content_bytes, operational_bytes

START_MS = 1_763_900_000_000
ADMISSION = Admission(latest_ms=START_MS * 2)


class NoDetector:
    """Finds nothing: what is left is the core itself. Lives here, where no worker can reach it."""

    def find_spans(self, texts: Sequence[str], _own: object = ()) -> list[Sequence[Span] | None]:
        """Return no spans."""
        return [()] * len(texts)


def measure(run: Callable[[bytes], object], raws: list[bytes]) -> float:
    """Return seconds for one pass."""
    gc.collect()
    start = time.process_time()
    for raw in raws:
        run(raw)
    return time.process_time() - start


def floor(raw: bytes) -> None:
    """Parse the event, write both halves: bodies, and the rest."""
    event = orjson.loads(raw)
    orjson.dumps({"request": event.pop("request", None), "response": event.pop("response", None)})
    orjson.dumps(event)


def through(core: Core) -> Callable[[bytes], object]:
    """Return one event's way through a core, to bytes."""

    def run(raw: bytes) -> None:
        fate = process(raw, Source("bench", 0, 0, len(raw)), core, ADMISSION)
        assert isinstance(fate, Anonymized)  # noqa: S101 - a rejection would be fast and wrong
        operational_bytes(fate.operational)
        if fate.content is not None:
            content_bytes(fate.content)

    return run


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=20_000)
    parser.add_argument("--detected-events", type=int, default=2_000)
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    policy = load_policy()
    keys = Keyring((KeyEpoch("e1", 0, b"k" * 32),), {}, b"s" * 32)
    engine: Engine = make_detector(policy, cache_dir(settings()))
    detectors: dict[str, Detector] = {"detection off": NoDetector(), "detection on": engine}
    raws = [
        orjson.dumps(s.event) for s in generate_events(seed=7, count=arguments.events, start_ms=START_MS, rate_per_s=50)
    ]
    sample = raws[:: max(1, len(raws) // arguments.detected_events)]
    runs: dict[str, tuple[Callable[[bytes], object], list[bytes]]] = {"floor": (floor, raws)}
    days = [day_of(START_MS), day_of(START_MS + DAY_MS)]
    sealer = DaySealer(DayKeys([DayKey(day, f"{n:08x}", bytes([n + 1]) * 32) for n, day in enumerate(days)]))
    envelopes = EnvelopeKeys([b"e" * 32])
    gateway = EnvelopeSealer(envelopes.publics[0])
    for name, detector in detectors.items():
        some = raws if name == "detection off" else sample
        runs[name] = (through(make_core(policy, detector, keys)), some)
        runs[f"{name}, sealed"] = (through(make_core(policy, detector, keys, sealer)), some)
    opening = through(make_core(policy, engine, keys, sealer, envelopes))
    runs["... and in envelopes"] = (opening, [gateway.seal(raw) for raw in sample])
    tune_collector()
    best: dict[str, float] = {}
    for _ in range(arguments.rounds):
        for name, (run, some) in runs.items():
            engine.forget()  # what a round remembers of its texts is its own
            best[name] = min(best.get(name, 1e9), measure(run, some) / len(some))
    print(f"{len(raws):,} events, mean {mean(raws):,.0f} bytes; best CPU time of {arguments.rounds} rounds")
    print(f"{'':24}{'events':>8}{'events/s':>12}{'MB/s':>10}{'µs/event':>10}{'x floor':>10}")
    for name, seconds in best.items():
        some = runs[name][1]
        rates = f"{len(some):8,}{1 / seconds:12,.0f}{mean(some) / seconds / 1e6:10.1f}{seconds * 1e6:10.1f}"
        print(f"{name:24}{rates}{seconds / best['floor']:10.1f}")


def mean(raws: list[bytes]) -> float:
    """Return the mean size of events in bytes."""
    return sum(map(len, raws)) / len(raws)


if __name__ == "__main__":
    main()
