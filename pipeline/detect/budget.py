"""What a recognizer may spend on one text, counted in matches and characters, never in time. Pure.

A text that would take more is redacted whole: no finder skips what it has no budget for.
"""

from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any, NamedTuple

from pipeline.errors import DetectionFailed

MATCHES_MIN = 1000
CHARS_A_MATCH = 32
"""A text may have 1,000 matches of a pattern, or one in 32 characters if that is more; beyond, it is redacted whole."""

ENHANCED_MIN = 4000
CHARS_AN_ENHANCED_ONE = 32
DEAR_CHARS_MIN = 20_000
CHARS_A_DEAR_ONE = 64
"""An event may have so many, or one in so many characters if that is more; its texts beyond are redacted whole."""


def matches_max(text: str) -> int:
    """Return how many matches of a recognizer a text may have."""
    return max(MATCHES_MIN, len(text) // CHARS_A_MATCH)


class Budget:
    """What may be spent on one text."""

    def __init__(self, count: int) -> None:
        self._left = count

    def spend(self, count: int) -> None:
        """Spend some of it.

        Raises:
            DetectionFailed: there is not so much left.
        """
        self._left -= count
        if self._left < 0:
            raise DetectionFailed("a text has too much to look at")


class Cost(NamedTuple):
    """What of an event's allowance a text takes.

    Attributes:
        enhanced: findings whose context is looked at.
        dear: characters that a recognizer is shown that takes a hundred times as long as others.
    """

    enhanced: int = 0
    dear: int = 0


class Allowance:
    """What all finders may spend together on one event: what takes 50 microseconds and more a time.

    Once something was wanted that was not left, nothing is. So what becomes of a text depends on the texts before it
    alone, and not on whether they were looked at or remembered.
    """

    def __init__(self, chars: int) -> None:
        """Take the characters of all texts of the event."""
        self._most = Cost(
            max(ENHANCED_MIN, chars // CHARS_AN_ENHANCED_ONE), max(DEAR_CHARS_MIN, chars // CHARS_A_DEAR_ONE)
        )
        self._is_spent = False
        self.cost = Cost()

    def spend(self, enhanced: int = 0, dear: int = 0) -> None:
        """Spend some of it.

        Raises:
            DetectionFailed: there is not so much left.
        """
        if not enhanced and not dear:
            return
        self.cost = Cost(self.cost.enhanced + enhanced, self.cost.dear + dear)
        if self.cost.enhanced > self._most.enhanced or self.cost.dear > self._most.dear:
            self._is_spent = True
        if self._is_spent:
            raise DetectionFailed("an event has too much to look at")


class StrictRegex:
    """A pattern that says when it ran out of time; Presidio would log that and skip the pattern.

    What Presidio does with a match takes 50 microseconds, so a text may not have them without end.
    """

    def __init__(self, compile_regex: Callable[[], Any], timeout_s: float) -> None:
        """Take what compiles the pattern, for when the first text comes: of most recognizers none ever does."""
        self._compile = compile_regex
        self._compiled: Any = None
        self._timeout_s = timeout_s

    def finditer(self, text: str, timeout: float | None = None) -> Iterator[Any]:  # noqa: ARG002 - Presidio's call
        """Yield the matches, as the compiled pattern does.

        Raises:
            DetectionFailed: the pattern ran out of time, or has more matches than the budget.
            Exception: it is no pattern.
        """
        timed_out = is_spent = False
        if self._compiled is None:  # two threads may both compile it, to the same
            self._compiled = self._compile()
        matches = self._compiled.finditer(text, timeout=self._timeout_s)
        try:
            yield from islice(matches, matches_max(text))
            is_spent = next(matches, None) is not None
        except TimeoutError:
            timed_out = True
        if timed_out:
            raise DetectionFailed("a pattern ran out of time")
        if is_spent:
            raise DetectionFailed("a text has too much to look at")
