"""Megabytes a second of detection, side by side in one process: lethe, stock Presidio, datafog, and scans alone.

Clean text is the benign corpus (code, logs, markdown, conversation); the mix is the texts of generated events, a third
of which hold identifiers. Every side gets the same texts; the slow ones a sample of them, evenly spaced. Runs are
interleaved and the best of each is kept.
"""

import argparse
import logging
import os
import resource
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median

import orjson

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from corpus_loader import BENIGN, load_labelled  # noqa: E402 - of the tests
from stock_presidio import Stock  # noqa: E402

from pipeline.anonymize import Admission, make_core, process  # noqa: E402
from pipeline.cli.edge import cache_dir, settings, tune_collector  # noqa: E402
from pipeline.detect.detector import make_detector  # noqa: E402
from pipeline.detect.engine import Engine  # noqa: E402
from pipeline.detect.gates import ScanPlan, plan_scan  # noqa: E402
from pipeline.detect.recognizer import Recognizer  # noqa: E402
from pipeline.detect.scan import Matcher, make_matchers, to_bytes  # noqa: E402
from pipeline.detect.spans import Span  # noqa: E402
from pipeline.keys.keyring import KeyEpoch, Keyring  # noqa: E402
from pipeline.policy.load import Policy, load_policy  # noqa: E402
from pipeline.records import Source  # noqa: E402
from pipeline.synth import generate_events  # noqa: E402

START_MS = 1_763_900_000_000
SAMPLE_CHARS = {"stock Presidio": 40_000, "datafog": 400_000}
START = """
import time
start = time.perf_counter()
import sys
from pathlib import Path
from pipeline.detect.detector import make_detector
from pipeline.policy.load import load_policy
make_detector(load_policy(), Path(sys.argv[1]))
print(time.perf_counter() - start)
"""

TURNS = 8

Find = Callable[[Sequence[str]], object]


def mix_texts(policy: Policy, count: int) -> list[list[str]]:
    """Return the texts of generated events, as the core hands them to the detector."""
    seen: list[list[str]] = []

    class Keep:
        def find_spans(self, texts: Sequence[str], _own: object = ()) -> list[Sequence[Span] | None]:
            seen.append(list(texts))
            return [()] * len(texts)

    core = make_core(policy, Keep(), Keyring((KeyEpoch("e1", 0, b"k" * 32),), {}, b"s" * 32))
    for synthetic in generate_events(seed=7, count=count, start_ms=START_MS, rate_per_s=50):
        raw = orjson.dumps(synthetic.event)
        process(raw, Source("bench", 0, 0, len(raw)), core, Admission(latest_ms=START_MS * 2))
    return seen


def conversations(batches: Sequence[Sequence[str]]) -> list[list[str]]:
    """Return the texts of conversations of eight turns, of which each is sent with all turns before it."""
    talks = [batches[first : first + TURNS] for first in range(0, len(batches) - TURNS, TURNS)]
    return [[text for turn in talk[: last + 1] for text in turn] for talk in talks for last in range(TURNS)]


def plan_of(engine: Engine) -> ScanPlan:
    """Return what an engine scans for, which it lets go of."""
    return plan_scan([*(finder.gate for finder in engine._finders), *(viewer.gate for viewer in engine._viewers)])


def start_s(cache: Path) -> float:
    """Return how long a fresh process takes from its first import to its detector, in seconds; median of five."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    program = [sys.executable, "-c", START, str(cache)]
    taken = [
        float(subprocess.run(program, capture_output=True, check=True, cwd=ROOT, env=environment).stdout)  # noqa: S603 - this interpreter, a fixed program
        for _ in range(6)  # the first one may compile modules
    ]
    return median(taken[1:])


def scan_for_all(plan: ScanPlan, cache: Path | None) -> Matcher:
    """Return one database of the patterns of all finders, as they are: what Hyperscan alone would cost."""
    patterns = [way.pattern for way in plan.ways if way.pattern]
    literals = [pattern for pattern in plan.first if pattern.regex.endswith(" ") and not pattern.flags]
    (matcher,) = make_matchers([[*dict.fromkeys(patterns), *literals]], cache)
    if matcher is None:
        raise SystemExit("the patterns cannot be compiled together")
    return matcher


def sides(engine: Engine, plan: ScanPlan, cache: Path | None) -> dict[str, Find]:
    """Return what is compared, by name."""
    from datafog.processing.text_processing.regex_annotator import RegexAnnotator  # noqa: PLC0415 - only here

    logging.disable(logging.WARNING)
    stock = Stock([finder for finder in engine._finders if isinstance(finder, Recognizer)])
    annotator = RegexAnnotator()
    one_scan = scan_for_all(plan, cache)
    return {
        "lethe": engine.find_spans,
        "its scans alone": lambda texts: [engine._sieve.finders(text) for text in texts],
        "one scan for all": lambda texts: one_scan.numbers(to_bytes("\n".join(texts))),
        "datafog": lambda texts: [annotator.annotate(text) for text in texts],
        "stock Presidio": lambda texts: [stock.analyze(text) for text in texts],
    }


def forgetting(engine: Engine) -> Find:
    """Return a search that remembers nothing from one event to the next."""

    def find(texts: Sequence[str]) -> object:
        engine.forget()
        return engine.find_spans(texts)

    return find


def sampled(name: str, batches: Sequence[Sequence[str]]) -> list[Sequence[str]]:
    """Return the batches that a side gets: all, or evenly spaced ones up to its share."""
    total = sum(len(text) for batch in batches for text in batch)
    step = max(1, round(total / SAMPLE_CHARS.get(name, total)))
    return list(batches[::step])


def rates(
    batches: Sequence[Sequence[str]], finds: dict[str, Find], rounds: int, forget: Callable[[], object]
) -> dict[str, float]:
    """Return bytes a second of CPU time by side; what lethe remembers of one round is not there in the next."""
    best: dict[str, float] = {}
    for _ in range(rounds):
        for name, find in finds.items():
            some = sampled(name, batches)
            size = sum(len(text.encode()) for batch in some for text in batch)
            forget()
            start = time.process_time()
            for batch in some:
                find(batch)
            best[name] = max(best.get(name, 0.0), size / (time.process_time() - start))
    return best


def print_rates(title: str, found: dict[str, float]) -> None:
    """Print a row a side, and lethe's ratio to it."""
    print(f"\n{title}\n{'':18}{'MB/s':>10}{'lethe is':>12}")
    for name, rate in found.items():
        print(f"{name:18}{rate / 1e6:10.2f}{found['lethe'] / rate:11.2f}x")


def print_lengths(texts: Sequence[str], engine: Engine) -> None:
    """Print the rate for texts of 1 KB to 4 MB."""
    print("\ncost by length of one clean text")
    whole = "\n".join(texts)
    while len(whole) < 1 << 22:
        whole += "\n" + whole
    for size in (1 << 10, 1 << 14, 1 << 18, 1 << 22):
        some = [[whole[start : start + size]] for start in range(0, min(len(whole), max(size, 1 << 19)), size)]
        rate = rates(some, {"lethe": engine.find_spans}, 2, engine.forget)["lethe"]
        print(f"{size:12,} characters {rate / 1e6:8.2f} MB/s")


def main() -> None:
    """Print all of it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=3000)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    policy, cache = load_policy(), cache_dir(settings())
    engine = make_detector(policy, cache)
    resident_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    finds = sides(engine, plan_of(engine), cache)
    tune_collector()
    clean = [[document.text] for document in load_labelled(BENIGN)]
    for find in finds.values():
        find(clean[0])
    print_rates("clean text", rates(clean, finds, arguments.rounds, engine.forget))
    mix = mix_texts(policy, arguments.events)
    print_rates("generated mix", rates(mix, finds, arguments.rounds, engine.forget))
    talks = conversations(mix[: arguments.events // 4])
    found = rates(talks, {"lethe": engine.find_spans, "without memory": forgetting(engine)}, 2, engine.forget)
    print_rates(f"conversations of {TURNS} turns", found)
    print_lengths([batch[0] for batch in clean], engine)
    print(f"\nstart-up with a warm cache {start_s(cache):.2f} s; peak memory when made {resident_mb:.0f} MB")


if __name__ == "__main__":
    main()
