r"""Says which finders may find something in a text, by scans that get closer: literals, numbers, single finders.

The first scan looks for literals above all, and is the only one that most texts get. Where there is a digit, a second
one looks for patterns that are told by their digits. What they open is looked at once more, finder by finder, with the
finder's own patterns: a scan for one of them takes two millionths of a second, a look of the finder itself a hundred
times that.

`\b`, `\w` and `\d` of Python know all of Unicode (design §6). A database compiled for that is several times slower, so
only what needs it is in one: patterns with `\w`, or with a letter beyond ASCII. A text beyond ASCII goes through it
first, and then, with its digits and spaces made those of ASCII, as bytes through the others.
"""

import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from threading import Lock

from pipeline.detect.cache import ALL_MODULES, cache_path, read_whole, write_whole
from pipeline.detect.gates import Alternative
from pipeline.detect.layout import Layout, LongGate, dump_layout, read_layout
from pipeline.detect.scan import Matcher, kept_matchers, plain, to_bytes, version
from pipeline.detect.sievemaker import Matchers, lay_out


class Sieve:
    """The scans in front of finders. Safe for threads, which take turns.

    Attributes:
        plan: what hits of the scans open; without the patterns.
        always: numbers of the finders that cannot be scanned for, and are to look at every text.
    """

    def __init__(self, gates: Sequence[Sequence[Alternative]], cache_dir: Path | None = None) -> None:
        """Compile the scans.

        Args:
            gates: of the finders, by their number.
            cache_dir: where compiled databases are kept; None for nowhere.
        """
        path = cache_path(cache_dir, "sieve", _key(gates), ALL_MODULES)
        layout = read_layout(read_whole(path))
        matchers = _kept(layout, cache_dir) if layout and cache_dir else None
        if layout is None or matchers is None:
            layout, matchers = lay_out(gates, cache_dir)
            write_whole(path, dump_layout(layout))
        self.plan = layout.plan
        self.always = layout.always
        self._groups = layout.groups
        self._masks = [sum(1 << number for number in group) for group in layout.groups]
        self._group_of = {number: index for index, group in enumerate(layout.groups) for number in group}
        self._sure = sum(1 << number for number, way in enumerate(layout.plan.ways) if way.is_sure)
        self._close, wide, scans, wide_scans = matchers
        self._close_wide = [better or matcher for better, matcher in zip(wide, self._close, strict=True)]
        self._scans = _Scans(layout, *scans, *wide_scans)
        self._lock = Lock()

    def ways_of(self, finders: Iterable[int]) -> int:
        """Return a mask of the ways of some finders."""
        some = frozenset(finders)
        return sum(1 << number for number, way in enumerate(self.plan.ways) if way.finder in some)

    def finders(self, text: str) -> list[int]:
        """Return the numbers of the finders that may find something in a text, in order."""
        with self._lock:
            hits, data = self._scans.hits(text)
            return sorted({*self.always, *self._confirmed(self.plan.open(hits), data, is_ascii=text.isascii())})

    def finders_by_block(
        self, text: str, blocks: Iterable[tuple[int, int]], far: int
    ) -> tuple[dict[int, list[int]], list[int]]:
        """Return where in a long text which finders may find something.

        Args:
            text: the text.
            blocks: ranges that cover it and overlap.
            far: a mask of the ways that may be open only when the whole text is looked at.

        Returns:
            The numbers of blocks, by finder, and the finders that are to look at the whole text.
        """
        seen: set[int] = set()
        near: dict[int, list[int]] = {}
        with self._lock:
            for number, (start, end) in enumerate(blocks):
                block = text[start:end]
                hits, data = self._scans.hits(block)
                seen.update(hits)
                ways = self.plan.open(hits) & ~far
                for finder in dict.fromkeys(self._confirmed(ways, data, is_ascii=block.isascii())):
                    near.setdefault(finder, []).append(number)
            data = self._scans.data(text)
            whole = self._confirmed(self.plan.open(seen) & far, data, is_ascii=text.isascii())
            return near, sorted({*self.always, *whole})

    def _confirmed(self, ways: int, data: bytes, *, is_ascii: bool) -> Iterator[int]:
        """Yield the finders of which one of these ways stays open when it is looked at closely."""
        close = self._close if is_ascii else self._close_wide
        unsure = ways & ~self._sure
        sure = ways ^ unsure
        while sure:
            number = sure.bit_length() - 1
            sure ^= 1 << number
            yield self.plan.ways[number].finder
        while unsure:
            index = self._group_of[unsure.bit_length() - 1]
            matcher, group = close[index], self._groups[index]
            for hit in matcher.numbers(data) if matcher else ():
                if unsure >> group[hit] & 1:
                    yield self.plan.ways[group[hit]].finder
            unsure &= ~self._masks[index]


class _Scans:
    """The scans for all finders at once."""

    def __init__(self, layout: Layout, first: Matcher | None, digits: Matcher | None, wide: Matcher | None) -> None:
        self._first, self._digits, self._wide = first, digits, wide
        self._first_numbers, self._digit_numbers, self._wide_numbers = layout.first, layout.digits, layout.wide
        self._digit = layout.digit

    def hits(self, text: str) -> tuple[list[int], bytes]:
        """Return the numbers of the patterns that may match in a text, and its bytes as others are to scan them."""
        data = to_bytes(text)
        hits: list[int] = []
        if not text.isascii():
            hits = _hits(self._wide, data, self._wide_numbers)
            if -1 in hits:
                hits.remove(-1)
                data = to_bytes(plain(text))
        hits += _hits(self._first, data, self._first_numbers)
        if self._digit in hits:
            hits += _hits(self._digits, data, self._digit_numbers)
        return hits, data

    def data(self, text: str) -> bytes:
        """Return a text's bytes, with its digits and spaces made those of ASCII."""
        return to_bytes(text if text.isascii() else plain(text))


def _key(gates: Sequence[Sequence[Alternative]]) -> tuple[object, ...]:
    """Return all that a layout is made of, but for code."""
    made_of = [gate if isinstance(gate, LongGate) else tuple(gate) for gate in gates]
    return sys.version, version(), made_of


def _kept(layout: Layout, cache_dir: Path) -> Matchers | None:
    """Return the matchers of a layout that is kept; None where one of their files is not."""
    counts = (len(layout.groups), len(layout.groups), 2, 1)
    found = [kept_matchers(cache_dir / name, count) for name, count in zip(layout.files, counts, strict=True)]
    return None if None in found else [matchers for matchers in found if matchers is not None]


def _hits(matcher: Matcher | None, data: bytes, numbers: Sequence[int]) -> list[int]:
    return [numbers[hit] for hit in matcher.numbers(data)] if matcher else []
