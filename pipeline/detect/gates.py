"""Which finder is to look at which text: the patterns of all of them, put together for one scan. Pure.

A finder's gate is a list of alternatives; it may find something in a text only if one of them holds there. An
alternative is a pattern, or a pattern together with a word of a list, anywhere in the text.
"""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from re import escape
from typing import NamedTuple, Protocol

from pipeline.detect.loosen import needs_digit
from pipeline.detect.scan import ScanPattern
from pipeline.detect.spans import Span

DIGIT = ScanPattern(r"\d")


class Alternative(NamedTuple):
    """One way through a gate.

    Attributes:
        pattern: may match in the text.
        words: one of these, in any case, stands in the text; empty when none is needed.
    """

    pattern: ScanPattern
    words: tuple[str, ...] = ()


class Range(NamedTuple):
    """A part of a text, in code points."""

    start: int
    end: int


class Finder(Protocol):
    """Finds spans in one text."""

    @property
    def gate(self) -> Sequence[Alternative]:
        """Return the ways through its gate; none means that it looks at every text."""
        ...

    def find(self, text: str, parts: Sequence[Range] | None = None, found: Collection[Span] = ()) -> Iterable[Span]:
        """Yield spans, which may overlap.

        Args:
            text: the text.
            parts: outside these, the finder has nothing to find; None for the whole text. It may look beyond them.
            found: what the finders before this one found; it need not find again what lies in a better finding.

        Raises:
            DetectionFailed: the text has more to look at than the budget; it is to be redacted whole.
        """
        ...


@dataclass(frozen=True, slots=True)
class ScanPlan:
    """What to scan for, and whom to ask.

    Attributes:
        patterns: of the scan.
        asked: the finders' numbers, by the number of a pattern.
        paired: (number of the pattern of words, finders' numbers), by the number of a pattern that needs a word.
        always: numbers of the finders that look at every text.
    """

    patterns: tuple[ScanPattern, ...]
    asked: Mapping[int, tuple[int, ...]]
    paired: Mapping[int, tuple[tuple[int, tuple[int, ...]], ...]]
    always: tuple[int, ...]

    def finders(self, hits: Sequence[int]) -> set[int]:
        """Return the numbers of the finders to ask where these patterns may match."""
        finders = set(self.always)
        for hit in hits:
            finders.update(self.asked.get(hit, ()))
            for words, some in self.paired.get(hit, ()):
                if words in hits:
                    finders.update(some)
        return finders


def plan_scan(
    gates: Sequence[Sequence[Alternative]], scannable: Callable[[Sequence[ScanPattern]], Sequence[bool]]
) -> ScanPlan:
    """Put the gates of all finders together.

    Args:
        gates: of the finders, by their number.
        scannable: says which patterns the scan can stand in for; a finder with another one is always asked.
    """
    lighter = [[_lighten(alternative) for alternative in gate] for gate in gates]
    wanted = list(dict.fromkeys(alternative.pattern for gate in lighter for alternative in gate))
    can = dict(zip(wanted, scannable(wanted), strict=True))
    numbers: dict[ScanPattern, int] = {}
    asked: dict[int, list[int]] = {}
    paired: dict[int, dict[int, list[int]]] = {}
    always = []
    for finder, gate in enumerate(lighter):
        if not gate or not all(can[alternative.pattern] for alternative in gate):
            always.append(finder)
            continue
        for pattern, words in gate:
            number = numbers.setdefault(pattern, len(numbers))
            if not words:
                asked.setdefault(number, []).append(finder)
                continue
            either = ScanPattern("|".join(escape(word) for word in sorted(set(words))), "i")
            words_number = numbers.setdefault(either, len(numbers))
            paired.setdefault(number, {}).setdefault(words_number, []).append(finder)
    return ScanPlan(
        tuple(numbers),
        {number: tuple(finders) for number, finders in asked.items()},
        {number: tuple((w, tuple(some)) for w, some in pairs.items()) for number, pairs in paired.items()},
        tuple(always),
    )


def _lighten(alternative: Alternative) -> Alternative:
    """Ask for any digit where a word is asked for too: hundreds of patterns of digits would slow the scan."""
    is_light = alternative.words and needs_digit(alternative.pattern.regex)
    return alternative._replace(pattern=DIGIT) if is_light else alternative
