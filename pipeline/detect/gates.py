"""Which finder is to look at which text: the gates of all of them, put together for few and cheap scans. Pure.

A finder's gate is a list of ways; it may find something in a text only if one of them is open there. A way is a
pattern, or a pattern together with a word of a list, anywhere in the text.

Scanning for hundreds of patterns at once is slow, scanning for thousands of literals is not. So the first scan looks
for what a pattern's matches must hold, for literals above all (`pipeline.detect.literals`), and only where that is
there, the pattern itself is looked for.
"""

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from re import escape
from typing import NamedTuple, Protocol

from pipeline.detect.budget import Allowance
from pipeline.detect.literals import Told, is_literal, tell
from pipeline.detect.scan import ScanPattern
from pipeline.detect.spans import Span

DIGIT = ScanPattern(r"\d")


class Alternative(NamedTuple):
    """One way through a gate.

    Attributes:
        pattern: may match in the text.
        words: one of these, in any case, stands in the text; empty when none is needed.
        closer: a pattern that matches in fewer texts, for a second look; None for the first one again.
        group: ways of one group are given that second look together; one that is in none has it by itself.
        beside: one of these matches in the text too; empty when none is needed. A finder has thousands of such ways,
            all with the same patterns beside, and they are one way to the scans.
    """

    pattern: ScanPattern
    words: tuple[str, ...] = ()
    closer: ScanPattern | None = None
    group: str = ""
    beside: tuple[ScanPattern, ...] = ()


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

    def find(
        self,
        text: str,
        parts: Sequence[Range] | None = None,
        found: Collection[Span] = (),
        allowance: Allowance | None = None,
    ) -> Iterable[Span]:
        """Yield spans, which may overlap.

        Args:
            text: the text.
            parts: outside these, the finder has nothing to find; None for the whole text. It may look beyond them.
            found: what the finders before this one found; it need not find again what lies in a better finding.
            allowance: what all finders may spend on the event together; None for as much as they like.

        Raises:
            DetectionFailed: the text has more to look at than the budget; it is to be redacted whole.
        """
        ...


class Way(NamedTuple):
    """An alternative of a finder, as the scans see it.

    Attributes:
        finder: its number.
        pattern: what to look for when the first scan opened this way; None where that scanned for all there is.
        is_sure: whether the first scan looked for the pattern itself.
        group: as of its alternative.
    """

    finder: int
    pattern: ScanPattern | None
    is_sure: bool
    group: str = ""


@dataclass(frozen=True, slots=True)
class ScanPlan:
    """What to scan for, and which ways that opens.

    Attributes:
        first: the patterns of the first scan.
        digits: the patterns of the second, which is made where there is a digit; numbered behind those of the first.
        ways: by their number.
        opens: a mask of the ways that a pattern opens, by its number.
        helps: a mask of the ways that need this pattern besides the one that opens them, by its number.
        unaided: a mask of the ways that need no such second pattern.
    """

    first: tuple[ScanPattern, ...]
    digits: tuple[ScanPattern, ...]
    ways: tuple[Way, ...]
    opens: tuple[int, ...]
    helps: tuple[int, ...]
    unaided: int

    @property
    def digit(self) -> int:
        """Return the number of the pattern that asks for the second scan; -1 when there is none."""
        return self.first.index(DIGIT) if DIGIT in self.first else -1

    def open(self, hits: Iterable[int]) -> int:
        """Return a mask of the ways that are open where these patterns may match."""
        opened, helped = 0, self.unaided
        for hit in hits:
            opened |= self.opens[hit]
            helped |= self.helps[hit]
        return opened & helped


class _Planner:
    """Collects patterns and ways; see `plan_scan`."""

    def __init__(self, told: Callable[[str], Told]) -> None:
        self._told = told
        self.ways: list[Way] = []
        self.opens: dict[ScanPattern, int] = {}
        self.helps: dict[ScanPattern, int] = {}
        self.digits: dict[ScanPattern, None] = {}
        self.unaided = 0
        self._plain: dict[tuple[int, tuple[ScanPattern, ...]], int] = {}

    def add(self, finder: int, alternative: Alternative) -> None:
        """Add one way through a finder's gate."""
        pattern, words, closer, group, beside = alternative
        if beside or (not words and not closer and is_literal(pattern.regex)):
            self._add_plain(finder, pattern, beside)
            return
        held, is_number = self._told(pattern.regex)
        if words and closer and is_number and not held and pattern != DIGIT:  # a pattern made for the scan
            self._add_number(pattern)
            way = self._way(Way(finder, closer, is_sure=False, group=group), [pattern])
            self._help(way, [ScanPattern(escape(word), "i") for word in sorted(set(words))])
        elif words:
            either = [ScanPattern(escape(word), "i") for word in sorted(set(words))]
            way = self._way(Way(finder, closer or pattern, is_sure=False, group=group), either)
            self._help(way, held or ((DIGIT,) if is_number else ()))
        elif held:
            self._help(
                self._way(Way(finder, closer or pattern, is_sure=False, group=group), held),
                (DIGIT,) if is_number else (),
            )
        else:
            if is_number and pattern != DIGIT:  # which asks for the second scan, and is in the first
                self._add_number(pattern)
            self._way(Way(finder, closer or pattern, is_sure=closer is None, group=group), [pattern])

    def _add_plain(self, finder: int, pattern: ScanPattern, beside: tuple[ScanPattern, ...]) -> None:
        """Add a literal. There are thousands; those of a finder are one way, and share its mask."""
        mask = self._plain.get((finder, beside))
        if mask is None:
            way = self._way(Way(finder, None, is_sure=True), [])
            mask = self._plain[finder, beside] = 1 << way
            for other in beside:
                held, is_number = self._told(other.regex)
                if not held and is_number and other != DIGIT:
                    self._add_number(other)
                self._help(way, held or (other,))
        known = self.opens.get(pattern, 0)
        self.opens[pattern] = known | mask if known else mask

    def _add_number(self, pattern: ScanPattern) -> None:
        self.digits[pattern] = None
        self.opens.setdefault(DIGIT, 0)

    def _way(self, way: Way, patterns: Iterable[ScanPattern]) -> int:
        bit = 1 << len(self.ways)
        self.ways.append(way)
        self.unaided |= bit
        for pattern in patterns:
            self.opens[pattern] = self.opens.get(pattern, 0) | bit
        return len(self.ways) - 1

    def _help(self, way: int, patterns: Sequence[ScanPattern]) -> None:
        for pattern in patterns:
            self.opens.setdefault(pattern, 0)
            self.helps[pattern] = self.helps.get(pattern, 0) | 1 << way
        if patterns:
            self.unaided &= ~(1 << way)


def plan_scan(gates: Sequence[Sequence[Alternative]], told: Callable[[str], Told] = tell) -> ScanPlan:
    """Put gates together.

    Args:
        gates: of the finders, by their number; one without an alternative is in no plan.
        told: tells of a pattern's matches.
    """
    planner = _Planner(told)
    for finder, gate in enumerate(gates):
        for alternative in gate:
            planner.add(finder, alternative)
    first = [pattern for pattern in planner.opens if pattern not in planner.digits]
    patterns = [*first, *planner.digits]
    return ScanPlan(
        tuple(first),
        tuple(planner.digits),
        tuple(planner.ways),
        tuple(planner.opens[pattern] for pattern in patterns),
        tuple(planner.helps.get(pattern, 0) for pattern in patterns),
        planner.unaided,
    )
