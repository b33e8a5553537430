"""One recognizer under the rule that governs it: what it is shown, and which of its findings count. Pure.

Presidio's objects come in as arguments: `pipeline.detect.presidio` alone imports them.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from pipeline.detect.entities import RecognizerRule
from pipeline.detect.spans import Span
from pipeline.errors import DetectionFailed

CONTEXT_CHARS = 256
"""How far before a finding a context word may stand, in characters (and within Presidio's five words)."""
LANGUAGE = "en"
WORD = r"[A-Z]+(?![^\W\d_A-Z])|[A-Z]?[^\W\d_A-Z]+|\d+|\S"
"""Tokens of a context: words as written, parted at camel case, digits and underscores."""
_MARGIN = 2
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
    """A phone recognizer that asks one region before it asks all.

    A number with a plus sign is the same in every region: when one region's only finding is such a number, and no
    digit stands outside it, every other region finds just that.
    """

    def __init__(self, one_region: Any, all_regions: Any) -> None:
        self._one_region = one_region
        self._all_regions = all_regions
        self.context = all_regions.context
        self.id = all_regions.id
        self.name = all_regions.name

    def analyze(self, text: str, entities: list[str], artifacts: Any) -> Any:
        """Find phone numbers, as the recognizer of all regions does."""
        results = self._one_region.analyze(text, entities, artifacts)
        if len(results) == 1:
            found = results[0]
            rest = text[: found.start] + text[found.end :]
            if text[found.start] in "+\uff0b" and not any(char.isdigit() for char in rest):
                found.recognition_metadata[found.RECOGNIZER_IDENTIFIER_KEY] = self.id  # context is looked up by it
                return results
        return self._all_regions.analyze(text, entities, artifacts)


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
        return self.enhancer.enhance_using_context(text, [result], artifacts, [recognizer])[0]


@dataclass(frozen=True, slots=True)
class Recognizer:
    """One recognizer with the rule that governs it.

    Gates and pieces are compiled, or None; ``piece_before`` matches backwards.
    """

    rule: RecognizerRule
    score_min: float
    recognizer: Any
    context: Context
    gate: Any
    gate_alone: Any
    piece: Any
    piece_before: Any

    def find(self, text: str) -> Iterator[Span]:
        """Yield the findings that count; a run too long to look at closely is one finding.

        Raises:
            DetectionFailed: a pattern ran out of time, or the text has more to look at than the budget.
        """
        if self.piece is None:
            yield from self._spans(text, self.recognizer.analyze(text, [], None))
            return
        shown = 0
        for start, end in self._pieces(text) if self._has_evidence(text, 0, len(text)) else ():
            if end - start > self.rule.piece_chars_max:
                yield Span(start, end, self.rule.entity, 1.0, self.rule.name)
                continue
            shown += end - start
            if shown > self.rule.text_chars_max:
                raise DetectionFailed("a text has too much to look at")
            left = max(0, start - _MARGIN)
            results = self.recognizer.analyze(text[left : end + _MARGIN], [], None)
            for result in results:
                result.start += left
                result.end += left
            yield from self._spans(text, results)

    def _spans(self, text: str, results: Iterable[Any]) -> Iterator[Span]:
        for result in results:
            enhanced = result
            if self._is_context_near(text, result.start, result.end):
                enhanced = self.context.enhance(text, result, self.recognizer)
            has_context = bool(enhanced.analysis_explanation.supportive_context_word)
            if enhanced.score >= self.score_min and self._counts(text, result.start, result.end, has_context):
                yield Span(result.start, result.end, self.rule.entity, float(enhanced.score), self.rule.name)

    def _pieces(self, text: str) -> Iterator[tuple[int, int]]:
        """Yield the runs that pass the gate. A gate begins inside its run, so the runs are found from the gates."""
        match = self.gate.search(text)
        while match:
            start = self.piece_before.match(text, 0, match.start() + 1).start()
            end = self.piece.match(text, match.start()).end()
            if self.gate.search(text, start, end) and self._has_evidence(text, start, end):
                yield start, end
            match = self.gate.search(text, end)

    def _has_evidence(self, text: str, start: int, end: int) -> bool:
        if self.gate_alone is None or self.gate_alone.search(text, start, end):
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
