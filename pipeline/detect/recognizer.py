"""One recognizer under the rule that governs it: what it is shown, and which of its findings count. Pure.

Presidio's objects come in as arguments: `pipeline.detect.presidio` alone imports them.
"""

from bisect import bisect_left
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from copy import copy
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

from pipeline.detect.budget import Allowance, Budget, matches_max
from pipeline.detect.context import CONTEXT_CHARS, Context
from pipeline.detect.entities import RecognizerRule
from pipeline.detect.gates import Alternative, Range
from pipeline.detect.spans import Span

_MARGIN = 2
_YIELDING_SCORE = 0.4  # of a phone number: Presidio's own, without context
_CONTEXT_BONUS = 0.35  # of Presidio's enhancer
_OPENING = frozenset("+([\uff0b")  # a number may begin with one
_BESIDE_CHARS = 32


class PlusFirst:
    """A phone recognizer that asks few of its regions.

    A number with a plus sign is the same in every region: when one region's only finding is such a number, and no
    digit stands outside it, every other region finds just that. Otherwise those regions are asked in which a number
    of the text may be valid, and one for numbers with a plus sign.
    """

    def __init__(self, recognizer: Any, regions_for: Callable[[str], Sequence[str]]) -> None:
        self._recognizer = recognizer
        self._regions_for = regions_for
        self.context = recognizer.context
        self.id = recognizer.id
        self.name = recognizer.name

    def analyze(self, text: str, entities: list[str], artifacts: Any) -> Any:
        """Find phone numbers, as the recognizer of all regions does."""
        regions = self._regions_for(text)
        if "+" in text or "\uff0b" in text:
            first = self._recognizer.supported_regions[0]
            regions = tuple(dict.fromkeys((first, *regions)))
            results = self._of((first,)).analyze(text, entities, artifacts)
            if len(results) == 1:
                found = results[0]
                rest = text[: found.start] + text[found.end :]
                if text[found.start] in "+\uff0b" and not any(char.isdigit() for char in rest):
                    return results
        return self._of(regions).analyze(text, entities, artifacts)

    def _of(self, regions: Sequence[str]) -> Any:
        asked = copy(self._recognizer)
        asked.supported_regions = regions
        return asked


class Better:
    """Findings above a score, by their places: there may be thousands."""

    def __init__(self, found: Collection[Span], score: float) -> None:
        self._spans = sorted(span for span in found if span.score > score)
        self._starts = [span.start for span in self._spans]
        self._ends = list(accumulate((span.end for span in self._spans), max))

    def beside(self, start: int, end: int) -> Iterator[Span]:
        """Yield those that overlap a range."""
        number = bisect_left(self._starts, end) - 1
        while number >= 0 and self._ends[number] > start:
            if self._spans[number].end > start:
                yield self._spans[number]
            number -= 1


@dataclass(frozen=True, slots=True)
class Recognizer:
    """One recognizer with the rule that governs it.

    Attributes:
        gate: what the scan asks for.
        inner: found in every run with a finding, compiled, or None; ``inner_alone`` where no context word is near.
        piece: the runs, compiled, or None; ``piece_before`` matches backwards.
    """

    rule: RecognizerRule
    score_min: float
    recognizer: Any
    context: Context
    gate: tuple[Alternative, ...]
    inner: Any = None
    inner_alone: Any = None
    piece: Any = None
    piece_before: Any = None

    def find(
        self,
        text: str,
        parts: Sequence[Range] | None = None,
        found: Collection[Span] = (),
        allowance: Allowance | None = None,
    ) -> Iterator[Span]:
        """Yield the findings that count; a run too long to look at closely is one finding.

        Raises:
            DetectionFailed: a pattern ran out of time, or the text has more to look at than the budget.
        """
        ranges = self._lines(text, parts) if parts and self.rule.lines else (Range(0, len(text)),)
        matches = Budget(matches_max(text))  # of the whole text: each look has its pattern's, and they may be many
        spent = allowance or Allowance(len(text))
        if self.piece is None:
            for start, end in ranges:
                yield from self._spans(text, self._analyze(text, start, end), matches, spent)
            return
        shown = Budget(self.rule.text_chars_max)
        better = Better(found, _YIELDING_SCORE) if found and self.rule.yields else None
        for start, end in self._runs(text, ranges):
            if end - start > self.rule.piece_chars_max:
                yield Span(start, end, self.rule.entity, 1.0, self.rule.name)
                continue
            if better and self._is_told(text, start, end, better):
                continue
            shown.spend(end - start)
            if self.rule.yields:
                spent.spend(dear=end - start)
            results = self._analyze(text, max(0, start - _MARGIN), min(len(text), end + _MARGIN))
            yield from self._spans(text, results, matches, spent)

    def _is_told(self, text: str, start: int, end: int, better: "Better") -> bool:
        """Say whether all digits of a run lie in one finding that is better than any this recognizer could make."""
        best = _YIELDING_SCORE + (_CONTEXT_BONUS if self._is_context_near(text, start, end) else 0)
        for span in better.beside(start, end):
            if span.score > best and text[span.start - 1 : span.start] not in _OPENING:
                rest = text[start : span.start] + text[span.end : end]
                if not any(char.isdigit() for char in rest):
                    return True
        return False

    def _analyze(self, text: str, start: int, end: int) -> list[Any]:
        results: list[Any] = self.recognizer.analyze(text[start:end], [], None)
        for result in results:
            result.start += start
            result.end += start
        return results

    @staticmethod
    def _lines(text: str, parts: Sequence[Range]) -> Iterator[Range]:
        """Yield the whole lines that the parts touch, each once."""
        done = -1
        for start, end in parts:
            if end <= done:
                continue
            first = text.rfind("\n", 0, max(start, done, 0)) + 1
            last = text.find("\n", end)
            done = len(text) if last < 0 else last
            yield Range(first, done)

    def _spans(self, text: str, results: Sequence[Any], matches: Budget, spent: Allowance) -> Iterator[Span]:
        matches.spend(len(results))
        for result in results:
            enhanced = result
            if self._is_context_near(text, result.start, result.end):
                spent.spend(enhanced=1)
                enhanced = self.context.enhance(text, result, self.recognizer)
            has_context = bool(enhanced.analysis_explanation.supportive_context_word)
            if enhanced.score >= self.score_min and self._counts(text, result.start, result.end, has_context):
                yield Span(result.start, result.end, self.rule.entity, float(enhanced.score), self.rule.name)

    def _runs(self, text: str, ranges: Iterable[Range]) -> Iterator[Range]:
        """Yield the runs that pass the gate. A gate begins inside its run, so the runs are found from the gates."""
        for first, last in ranges:
            match = self.inner.search(text, first, last)
            if match and not self._has_evidence(text, first, last):
                continue
            while match:
                start = self.piece_before.match(text, first, match.start() + 1).start()
                end = self.piece.match(text, match.start(), last).end()
                if self.inner.search(text, start, end) and self._has_evidence(text, start, end):
                    yield Range(start, end)
                match = self.inner.search(text, end, last)

    def _has_evidence(self, text: str, start: int, end: int) -> bool:
        if self.inner_alone is None or self.inner_alone.search(text, start, end):
            return True
        return self._is_context_near(text, start, end)

    def _is_context_near(self, text: str, start: int, end: int) -> bool:
        near = text[max(0, start - CONTEXT_CHARS) : end + 1].lower()
        return any(word in near for word in self.recognizer.context or ())

    def _counts(self, text: str, start: int, end: int, has_context: bool) -> bool:
        rule, found = self.rule, text[start:end]
        before, after = text[max(0, start - _BESIDE_CHARS) : start], text[end : end + _BESIDE_CHARS]
        if (
            (rule.ignore and rule.ignore.search(found))
            or (rule.ignore_before and rule.ignore_before.search(before))
            or (rule.ignore_after and rule.ignore_after.search(after))
        ):
            return False
        if has_context or not (rule.context_required or rule.alone):
            return True
        return any(
            shape.text.fullmatch(found) and shape.before.search(before) and shape.after.search(after)
            for shape in rule.alone
        )
