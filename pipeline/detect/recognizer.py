"""One recognizer under the rule that governs it: what it is shown, and which of its findings count. Pure.

Presidio's objects come in as arguments: `pipeline.detect.presidio` alone imports them.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from copy import copy
from dataclasses import dataclass
from typing import Any

from pipeline.detect.entities import RecognizerRule
from pipeline.detect.gates import Alternative, Range
from pipeline.detect.spans import Span
from pipeline.errors import DetectionFailed

CONTEXT_CHARS = 256
"""How far before a finding a context word may stand, in characters (and within Presidio's five words)."""
LANGUAGE = "en"
WORD = r"[A-Z]+(?![^\W\d_A-Z])|[A-Z]?[^\W\d_A-Z]+|\d+|\S"
"""Tokens of a context: words as written, parted at camel case, digits and underscores."""
_MARGIN = 2
_YIELDING_SCORE = 0.4  # of a phone number: Presidio's own, without context
_CONTEXT_BONUS = 0.35  # of Presidio's enhancer
_OPENING = frozenset("+([\uff0b")  # a number may begin with one
_BESIDE_CHARS = 32


class StrictRegex:
    """A compiled pattern that says when it ran out of time; Presidio would log that and skip the pattern."""

    def __init__(self, compiled: Any, timeout_s: float) -> None:
        self._compiled = compiled
        self._timeout_s = timeout_s

    def finditer(self, text: str, timeout: float | None = None) -> Iterator[Any]:  # noqa: ARG002 - Presidio's call
        """Yield the matches, as the compiled pattern does.

        Raises:
            DetectionFailed: the pattern ran out of time.
        """
        timed_out = False
        try:
            yield from self._compiled.finditer(text, timeout=self._timeout_s)
        except TimeoutError:
            timed_out = True
        if timed_out:
            raise DetectionFailed("a pattern ran out of time")


class _Words:
    """What Presidio asks of an NLP engine to find context: every token with a letter or digit is a keyword."""

    @staticmethod
    def is_stopword(word: str, language: str) -> bool:  # noqa: ARG004 - Presidio's interface
        return False

    @staticmethod
    def is_punct(word: str, language: str) -> bool:  # noqa: ARG004 - Presidio's interface
        return not word[0].isalnum()


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


class _Ours(list[Any]):
    """Results that the enhancer may change in place: copying them deeply, as it does, is most of its time."""

    def __deepcopy__(self, memo: object) -> "_Ours":
        return self


@dataclass(frozen=True, slots=True)
class Context:
    """Raises the score of findings that have a context word before them, by Presidio's enhancer."""

    enhancer: Any
    artifacts: Any
    word: Any

    def enhance(self, text: str, result: Any, recognizer: Any) -> Any:
        """Return the result with the score that its context gives it."""
        start = max(0, result.start - CONTEXT_CHARS)
        tokens, indices = [], []
        for match in self.word.finditer(text, start, min(len(text), result.end + 1)):
            tokens.append(match.group())
            indices.append(match.start())
        artifacts = self.artifacts(
            entities=[],
            tokens=tokens,
            tokens_indices=indices,
            lemmas=[token.lower() for token in tokens],
            nlp_engine=_Words(),
            language=LANGUAGE,
        )
        return self.enhancer.enhance_using_context(text, _Ours([result]), artifacts, [recognizer])[0]


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

    def find(self, text: str, parts: Sequence[Range] | None = None, found: Collection[Span] = ()) -> Iterator[Span]:
        """Yield the findings that count; a run too long to look at closely is one finding.

        Raises:
            DetectionFailed: a pattern ran out of time, or the text has more to look at than the budget.
        """
        ranges = self._lines(text, parts) if parts and self.rule.lines else (Range(0, len(text)),)
        if self.piece is None:
            for start, end in ranges:
                yield from self._spans(text, self._analyze(text, start, end))
            return
        shown = 0
        for start, end in self._runs(text, ranges):
            if end - start > self.rule.piece_chars_max:
                yield Span(start, end, self.rule.entity, 1.0, self.rule.name)
                continue
            if found and self.rule.yields and self._is_told(text, start, end, found):
                continue
            shown += end - start
            if shown > self.rule.text_chars_max:
                raise DetectionFailed("a text has too much to look at")
            yield from self._spans(text, self._analyze(text, max(0, start - _MARGIN), min(len(text), end + _MARGIN)))

    def _is_told(self, text: str, start: int, end: int, found: Collection[Span]) -> bool:
        """Say whether all digits of a run lie in one finding that is better than any this recognizer could make."""
        best = _YIELDING_SCORE + (_CONTEXT_BONUS if self._is_context_near(text, start, end) else 0)
        for span in found:
            if (
                span.score > best
                and span.end > start
                and span.start < end
                and text[span.start - 1 : span.start] not in _OPENING
            ):
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

    def _spans(self, text: str, results: Iterable[Any]) -> Iterator[Span]:
        for result in results:
            enhanced = result
            if self._is_context_near(text, result.start, result.end):
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
