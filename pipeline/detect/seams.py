"""Identifiers that are split over neighbouring texts: chunks of a streamed answer, keys and values. Pure.

Neighbouring short texts are looked at as one. A finding across a seam counts for types that are told by their form,
and, where the texts are few, only if none of them holds one of that type by itself: the first of ``contact`` and
``lena@example.com`` is a word of its own.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from itertools import accumulate
from typing import NamedTuple

from pipeline.detect.spans import Span

SHORT_CHARS = 48
STREAM_TEXTS_MIN = 6
STREAM_CHARS_MEAN_MAX = 12
JOINED_CHARS_MAX = 1 << 14
ENTITIES = frozenset({"EMAIL_ADDRESS", "CREDIT_CARD", "IBAN_CODE", "SECRET", "PHONE_NUMBER", "CRYPTO", "US_SSN"})
SCORE_MIN = 0.75


class Run(NamedTuple):
    """Neighbouring short texts as one.

    Attributes:
        first: number of the first text.
        joined: all of them, with nothing between.
        starts: where each begins in it.
        sizes: how long each is.
    """

    first: int
    joined: str
    starts: tuple[int, ...]
    sizes: tuple[int, ...]

    @property
    def is_stream(self) -> bool:
        """Whether these are chunks of one text rather than texts."""
        return len(self.starts) >= STREAM_TEXTS_MIN and len(self.joined) <= STREAM_CHARS_MEAN_MAX * len(self.starts)


def runs(texts: Sequence[str]) -> Iterator[Run]:
    """Yield the runs of at least two short texts, and those of at least two numbers once more, with spaces between."""
    first, size = 0, 0
    for number, text in enumerate([*texts, "\0" * (SHORT_CHARS + 1)]):
        if len(text) <= SHORT_CHARS and size + len(text) <= JOINED_CHARS_MAX:
            size += len(text)
            continue
        some = texts[first:number]
        if len(some) > 1:
            yield _run(first, some, "")
            if sum(any(char.isdigit() for char in one) for one in some) > 1:
                yield _run(first, some, " ")
        is_short = len(text) <= SHORT_CHARS
        first, size = (number, len(text)) if is_short else (number + 1, 0)


def _run(first: int, texts: Sequence[str], between: str) -> Run:
    starts = accumulate((len(text) + len(between) for text in texts[:-1]), initial=0)
    return Run(first, between.join(texts), tuple(starts), tuple(map(len, texts)))


def split(run: Run, span: Span) -> list[tuple[int, Span]]:
    """Return (number of a text, its part of a span of the joined text), for each text that the span touches."""
    parts = []
    first = max(0, bisect_right(run.starts, span.start) - 1)
    for offset in range(first, bisect_left(run.starts, span.end)):
        start = run.starts[offset]
        end = start + run.sizes[offset]
        if span.start < end:
            part = Span(max(span.start, start) - start, min(span.end, end) - start, span.entity, span.score, span.rule)
            parts.append((run.first + offset, part))
    return parts


def counts(run: Run, span: Span, parts: Sequence[tuple[int, Span]], found: Sequence[Sequence[Span] | None]) -> bool:
    """Say whether a finding in a joined text counts: it crosses a seam, and says something new."""
    if len(parts) < 2 or span.entity not in ENTITIES or span.score < SCORE_MIN:  # noqa: PLR2004 - two sides of a seam
        return False
    if run.is_stream:
        return True
    return not any(known.entity == span.entity for number, _ in parts for known in found[number] or ())
