"""How much longer texts made to be slow take than benign ones of the same size: the worst of a few thousand.

Every shape (`tests/adversaries.py`: for each finder what its patterns like and nearly find) is made short, the worst of
these longer, the worst of those a megabyte. CPU time of one process; benign text (the benign corpus, repeated) takes
turns with them. A text that takes too long is given up, and counts as what it had taken by then. A detector that gives
up by its budget redacts the text whole; those texts are marked.
"""

import argparse
import json
import signal
import statistics
import sys
import time
import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from adversaries import Shape, shapes  # noqa: E402 - of the tests
from corpus_loader import BENIGN, load_labelled  # noqa: E402 - of the tests
from test_detect_presidio import FOUND, WITH_CONTEXT  # noqa: E402 - of the tests

from pipeline.cli.edge import cache_dir, settings, tune_collector  # noqa: E402
from pipeline.detect import budget, columns, names, rules, views  # noqa: E402
from pipeline.detect.detector import make_detector  # noqa: E402
from pipeline.detect.engine import Engine  # noqa: E402
from pipeline.detect.recognizer import Recognizer  # noqa: E402
from pipeline.policy.load import load_policy  # noqa: E402

STAGES = ((1 << 14, 240), (1 << 17, 40), (1 << 20, 0))
"""Sizes in bytes, and how many of the worst go on to the next."""
PAUSE = 20
"""Benign text is measured again after so many shapes."""
ROUNDS = 3
LIMIT_RATIO = 40
BUDGETS = (
    *((budget, name) for name in ("MATCHES_MIN", "ENHANCED_MIN", "DEAR_CHARS_MIN")),
    *((rules, "MATCHES_MIN"), (names, "CUES_MIN"), (views, "RUNS_MIN"), (columns, "CELLS_MAX")),
)
"""Counts that a text of any length may have; the rest of the budgets grows with the text."""
LINE_RATIO = 5.0


class GivenUp(BaseException):
    """A text takes too long. No `Exception`, which the engine would take for a finder's."""


class Measured(NamedTuple):
    """What a shape took.

    Attributes:
        shape: the shape.
        seconds: of CPU.
        ratio: to benign text of the same size.
        outcome: ``found`` (spans or none), ``whole`` (redacted whole) or ``given up``.
    """

    shape: Shape
    seconds: float
    ratio: float
    outcome: str


def take(engine: Engine, texts: Sequence[str], own: Sequence[object], limit_s: float) -> tuple[float, str]:
    """Return the CPU seconds that texts take, and how it ended."""

    def give_up(_signal: int, _frame: object) -> None:
        raise GivenUp

    outcome = "given up"
    signal.signal(signal.SIGPROF, give_up)
    start = time.process_time()
    try:
        signal.setitimer(signal.ITIMER_PROF, limit_s)
        found = engine.find_spans(texts, own)  # type: ignore[arg-type]
        signal.setitimer(signal.ITIMER_PROF, 0)
        outcome = "whole" if None in found else "found"
    except GivenUp:
        pass
    return time.process_time() - start, outcome


@contextmanager
def budgets_of(engine: Engine, size: int) -> Iterator[None]:
    """Give short texts budgets as much smaller, or a budget that ends a megabyte early hides in them.

    Benign text keeps its own: it is to be looked at to its end.
    """
    whole = STAGES[-1][0]
    kept, finders = {(module, name): getattr(module, name) for module, name in BUDGETS}, engine._finders
    for (module, name), count in kept.items():
        setattr(module, name, max(1, count * size // whole))
    engine._finders = tuple(
        replace(finder, rule=replace(finder.rule, text_chars_max=finder.rule.text_chars_max * size // whole))
        if isinstance(finder, Recognizer)
        else finder
        for finder in finders
    )
    yield
    engine._finders = finders
    for (module, name), count in kept.items():
        setattr(module, name, count)


def benign_texts(size: int) -> Iterator[str]:
    """Yield texts of the benign corpus of one size, each beginning elsewhere, without end."""
    whole = "\n".join(document.text for document in load_labelled(BENIGN))
    start = 0
    while True:
        text = whole[start:] + whole * (size // len(whole) + 1)
        yield text.encode()[:size].decode("utf-8", "ignore")
        start = (start + size) % len(whole)


class Base:
    """What benign text takes, of one size, in one text or cut as short as a shape's texts are."""

    def __init__(self, engine: Engine, size: int) -> None:
        self._engine, self._texts = engine, benign_texts(size)
        self._times: dict[int, list[float]] = {}

    def again(self, chars: int) -> None:
        """Measure once more."""
        text = next(self._texts)
        step = chars or len(text)
        texts = [text[start : start + step] for start in range(0, len(text), step)]
        self._times.setdefault(chars, []).append(take(self._engine, texts, (), 600)[0])

    def seconds(self, chars: int) -> float:
        """Return the median."""
        while len(self._times.get(chars, ())) < ROUNDS:
            self.again(chars)
        return statistics.median(self._times[chars])


def measure(engine: Engine, some: Sequence[Shape], size: int) -> list[Measured]:
    """Return what the shapes take at one size, the worst first."""
    base = Base(engine, size)
    taken = []
    for number, shape in enumerate(some):
        if number % PAUSE == 0:
            base.again(shape.chars)
        limit_s = LIMIT_RATIO * base.seconds(shape.chars)
        with budgets_of(engine, size):
            taken.append((shape, *take(engine, shape.texts(size), shape.own, limit_s)))
    print(
        f"{size:,} bytes: {len(some):,} shapes, benign text takes {base.seconds(0) / size * 1e6:.2f} s/MB", flush=True
    )
    made = [Measured(shape, seconds, seconds / base.seconds(shape.chars), outcome) for shape, seconds, outcome in taken]
    return sorted(made, key=lambda one: -one.ratio)


def chosen(measured: Sequence[Measured], count: int, each_max: int) -> list[Shape]:
    """Return the worst shapes, of one finder's no more than so many."""
    kept: list[Shape] = []
    seen: dict[str, int] = {}
    for one in measured:
        family = one.shape.name.split()[0] if not one.shape.name.startswith("generic") else one.shape.name
        seen[family] = seen.get(family, 0) + 1
        if seen[family] <= each_max and len(kept) < count:
            kept.append(one.shape)
    return kept


def print_worst(measured: Iterable[Measured], size: int, count: int) -> None:
    """Print a row a shape."""
    print(f"{'x benign':>9}{'s/MB':>9}  {'outcome':9} shape")
    for one in list(measured)[:count]:
        figures = f"{one.ratio:9.2f}{one.seconds / size * 1e6:9.2f}"
        print(f"{figures}  {one.outcome:9} {one.shape.name}  {one.shape.unit[:40]!a}")
    sys.stdout.flush()


def main() -> None:
    """Print the worst of each stage; the exit status says whether the last has one above the line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default="", help="shapes whose name has this in it")
    parser.add_argument("--rows", type=int, default=40)
    parser.add_argument("--each", type=int, default=4, help="shapes of one finder that go on")
    parser.add_argument("--stages", type=int, default=len(STAGES), help="how many of the sizes")
    parser.add_argument("--out", type=Path, help="write all measurements as JSON")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    engine = make_detector(load_policy(), cache_dir(settings()))
    tune_collector()
    examples: dict[str, list[str]] = {name: [text] for name, text in WITH_CONTEXT.items()}
    for text, entity, _ in FOUND:
        examples.setdefault(entity, []).append(text)
    some = [shape for shape in shapes(engine, examples) if arguments.only in shape.name]
    kept = []
    worst: list[Measured] = []
    for size, count in STAGES[: arguments.stages]:
        worst = measure(engine, some, size)
        print_worst(worst, size, arguments.rows)
        kept += [[size, *one.shape[:3], one.seconds, one.ratio, one.outcome] for one in worst]
        some = chosen(worst, count, arguments.each)
    if arguments.out:
        arguments.out.write_text(json.dumps(kept))
    sys.exit(1 if worst and worst[0].ratio > LINE_RATIO else 0)


if __name__ == "__main__":
    main()
