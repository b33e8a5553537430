"""Findings equal a stock AnalyzerEngine's, over generated texts: `make differential`, and a sample in the tests.

Texts are put together from examples of every entity, cut, doubled and joined by what stands at boundaries: letters,
digits, separators, invisible and full-width characters, letters of many scripts, random bytes. Every difference is
printed with the seed that makes it again. What is compared are the merged findings, because the engine drops a finding
inside a better one of its type, and lethe merges later; a phone number inside a better finding need not be found.
"""

import argparse
import sys
import time
from collections.abc import Iterator, Sequence
from random import Random
from typing import NamedTuple

from stock_presidio import Stock

from pipeline.detect.engine import Engine
from pipeline.detect.entities import EntityTable
from pipeline.detect.presidio import make_recognizers
from pipeline.detect.spans import Span, merge_spans
from pipeline.policy.load import load_policy

BOUNDARIES = (
    *("", "", "", " ", " ", "\n", "\t", "\r\n", ", ", ". ", ": ", "; ", '"', "'", "(", ")", "[", "]", "<", ">", "{"),
    *(
        "}",
        "-",
        "_",
        "/",
        "\\",
        "\\n",
        "=",
        "+",
        "@",
        "#",
        "0",
        "1",
        "9",
        "a",
        "Z",
        "x",
        ".",
        "..",
        "%20",
        "&",
        "|",
        "*",
        "~",
    ),
    *("\u00e9", "\u00df", "\u0131", "\u017f", "\u212a", "\u0301", "\u200b", "\u00ad", "\u00a0", "\u3000", "\uff10"),
    *("\uff1a", "\u0661", "\u0967", "\u4e2d", "\u3042", "\uac00", "\u0639", "\u05d0", "\u0905", "\u0e01", "\U0001f600"),
    *("\x1c", "\x1f", "\x85", "\x00", "\u2028", "\ud800", "\ufeff"),
)
WORDS = (
    *(
        "the",
        "my",
        "phone",
        "ssn",
        "passport",
        "number",
        "is",
        "and",
        "card",
        "tax",
        "id",
        "call",
        "ip",
        "mail",
        "iban",
    ),
    *("version", "v", "order", "at", "10:00:00", "2026-11-23", "3.14", "1234567890", "00", "git", "id=", "ISBN", "+"),
)


class Difference(NamedTuple):
    """A text on which the two differ: what only one of them found."""

    text: str
    stock_only: list[Span]
    lethe_only: list[Span]


def texts(examples: Sequence[str], seed: int) -> Iterator[str]:
    """Yield texts without end."""
    random = Random(seed)
    while True:
        parts = []
        for _ in range(random.randint(1, 6)):
            kind = random.random()
            if kind < 0.55:
                parts.append(_mutated(random.choice(examples), random))
            elif kind < 0.85:
                parts.append(random.choice(WORDS))
            else:
                parts.append(random.randbytes(random.randint(1, 12)).decode("utf-8", "replace"))
            parts.append(random.choice(BOUNDARIES))
        yield "".join(parts)


def _mutated(example: str, random: Random) -> str:
    for _ in range(random.choice((0, 0, 0, 1, 1, 2))):
        at = random.randint(0, len(example))
        change = random.randint(0, 3)
        if change == 0:
            example = example[:at] + random.choice(BOUNDARIES) + example[at:]
        elif change == 1:
            example = example[:at] + example[at + 1 :]
        elif change == 2:
            example = example[:at] + str(random.randint(0, 9)) + example[at + 1 :]
        else:
            example = example[at:] + example[:at]
    return example


def compare(engine: Engine, stock: Stock, text: str) -> Difference | None:
    """Return how the two differ on a text, or None."""
    try:
        theirs = merge_spans(stock.find(text))
    except Exception:  # noqa: BLE001 - a recognizer of stock's that fails has no findings to compare; lethe redacts
        return None
    found = engine.find_spans([text])[0] or ()
    ours = merge_spans([span for span in found if span.rule in stock.names])
    if [span[:3] for span in theirs] == [span[:3] for span in ours]:
        return None
    return Difference(
        text, [span for span in theirs if span not in ours], [span for span in ours if span not in theirs]
    )


def main() -> None:
    """Compare until the count or the time is reached, and print what differs."""
    from test_detect_presidio import FOUND, WITH_CONTEXT, engine_of  # noqa: PLC0415 - those of the tests

    examples = [*(text for text, _, _ in FOUND), *WITH_CONTEXT.values()]

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--texts", type=int, default=100_000)
    parser.add_argument("--seconds", type=float, default=1500)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    recognizers = make_recognizers(EntityTable.from_json(load_policy().entities))
    engine, stock = engine_of(recognizers), Stock(recognizers)
    end, differing, done = time.monotonic() + arguments.seconds, 0, 0
    for text in texts(examples, arguments.seed):
        if done >= arguments.texts or time.monotonic() >= end:
            break
        done += 1
        difference = compare(engine, stock, text)
        if difference:
            differing += 1
            print(f"{difference.text!r}\n  stock only: {difference.stock_only}\n  lethe only: {difference.lethe_only}")
    print(f"seed {arguments.seed}: {done:,} texts, {differing} differ, {len(stock.names)} recognizers")
    sys.exit(1 if differing else 0)


if __name__ == "__main__":
    main()
