"""What is found and what is redacted in vain, on the corpus: lethe beside stock Presidio, in one run, as Markdown.

Both get the same texts. Stock Presidio has the recognizers that lethe has of it, and no model; lethe has the one that
`LETHE_NER_MODEL` names. `--misses` lists what
lethe missed or redacted in vain; nothing of the corpus is anybody's.
"""

import argparse
import logging
import sys
import warnings
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from accuracy import FORMATTED, Find, Score, score  # noqa: E402 - of the tests
from corpus_loader import BENIGN, load_labelled  # noqa: E402
from stock_presidio import Stock  # noqa: E402

from pipeline.cli.edge import cache_dir, model_of, policy_of, settings  # noqa: E402
from pipeline.detect.detector import add_model, make_detector  # noqa: E402
from pipeline.detect.recognizer import Recognizer  # noqa: E402
from pipeline.detect.spans import Span  # noqa: E402


def measure(find: Find) -> tuple[Score, Score]:
    """Return the scores on the labelled and on the benign corpus."""
    return score(load_labelled(), find), score(load_labelled(BENIGN), find)


def row(name: str, lethe: Score, stock: Score, *entities: str) -> str:
    """Return a row of the table of recall."""
    total = sum(lethe.labelled[entity] for entity in entities)
    found = sum(lethe.found[entity] for entity in entities)
    return f"| {name} | {total} | {found} | {lethe.recall(*entities):.3f} | {stock.recall(*entities):.3f} |"


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--misses", action="store_true")
    arguments = parser.parse_args()
    logging.disable(logging.WARNING)
    warnings.simplefilter("ignore")
    chosen = settings()
    policy = policy_of(chosen)
    detector = make_detector(policy, cache_dir(chosen))
    asked = add_model(detector, policy, model_of(chosen), chosen.ner_processes)
    stock = Stock([finder for finder in detector._finders if isinstance(finder, Recognizer)])

    def find_by_stock(text: str) -> list[Span]:
        return [Span(found.start, found.end, found.entity_type, found.score, "") for found in stock.analyze(text)]

    lethe = measure(lambda text: asked.find_spans([text])[0])
    peer = measure(find_by_stock)
    print("| type | labelled | found | recall | stock Presidio |\n|---|---|---|---|---|")
    for entity in sorted(lethe[0].labelled):
        print(row(f"`{entity}`", lethe[0], peer[0], entity))
    print(row("all with a format", lethe[0], peer[0], *FORMATTED))
    print(row("all", lethe[0], peer[0], *lethe[0].labelled))
    print("\n| redactions for 10,000 characters | lethe | stock Presidio |\n|---|---|---|")
    print(f"| of benign text | {lethe[1].spurious_per_10k():.3f} | {peer[1].spurious_per_10k():.3f} |")
    print(
        f"| of labelled text, outside labels | {lethe[0].spurious_per_10k():.3f} | {peer[0].spurious_per_10k():.3f} |"
    )
    if arguments.misses:
        for missed in lethe[0].missed:
            print("missed", *missed)
        for spurious in (*lethe[1].spurious, *lethe[0].spurious):
            print("in vain", *spurious)


if __name__ == "__main__":
    main()
