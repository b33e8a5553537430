"""A text made of another one, segment by segment, that knows where in the original its characters stand. Pure."""

from bisect import bisect_right
from dataclasses import dataclass, field


@dataclass(slots=True)
class Located:
    """A text, and where its characters stand in the original.

    Attributes:
        text: the text.
        starts: first code point of each segment, ascending; empty when the whole maps one to one.
        origins: the range of each segment in the original.
        linear: whether the segment's code points map one to one; if not, the segment counts whole.
    """

    text: str
    starts: list[int] = field(default_factory=list)
    origins: list[tuple[int, int]] = field(default_factory=list)
    linear: list[bool] = field(default_factory=list)

    def original(self, start: int, end: int) -> tuple[int, int]:
        """Return the range of the original that a range of the text, at least one long, covers."""
        if not self.starts:
            return start, end
        first = bisect_right(self.starts, start) - 1
        last = bisect_right(self.starts, end - 1) - 1
        begin, finish = self.origins[first][0], self.origins[last][1]
        if self.linear[first]:
            begin += start - self.starts[first]
        if self.linear[last]:
            finish = self.origins[last][0] + end - self.starts[last]
        return begin, finish


@dataclass(slots=True)
class Segments:
    """Collects the segments of such a text, in order."""

    _parts: list[str] = field(default_factory=list)
    _starts: list[int] = field(default_factory=list)
    _origins: list[tuple[int, int]] = field(default_factory=list)
    _linear: list[bool] = field(default_factory=list)
    _length: int = 0

    def add(self, piece: str, start: int, end: int, *, linear: bool) -> None:
        """Add what a range of the original reads as.

        Args:
            piece: as it reads; "" where it reads as nothing.
            start: first code point of the range.
            end: one past the last.
            linear: whether the code points of both map one to one.
        """
        if not piece:
            self._absorb(end)
            return
        self._parts.append(piece)
        self._starts.append(self._length)
        self._origins.append((start, end))
        self._linear.append(linear)
        self._length += len(piece)

    def located(self) -> Located:
        """Return the text."""
        return Located("".join(self._parts), self._starts, self._origins, self._linear)

    def _absorb(self, end: int) -> None:
        """Give what reads as nothing to the character before it, so that a span over that one covers both."""
        if not self._starts:
            return
        start, last_end = self._origins[-1]
        if self._linear[-1] and last_end - start > 1:
            self._origins[-1] = (start, last_end - 1)
            self._starts.append(self._length - 1)
            self._origins.append((last_end - 1, end))
            self._linear.append(False)
        else:
            self._origins[-1] = (start, end)
            self._linear[-1] = False
