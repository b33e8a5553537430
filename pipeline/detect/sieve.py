r"""Says which finders may find something in a text, by scans that get closer: literals, numbers, single finders.

The first scan looks for literals above all, and is the only one that most texts get. Where there is a digit, a second
one looks for patterns that are told by their digits. What they open is looked at once more, finder by finder, with the
finder's own patterns: a scan for one of them takes two millionths of a second, a look of the finder itself a hundred
times that.

`\b`, `\w` and `\d` of Python know all of Unicode (design §6). A database compiled for that is several times slower, so
only what needs it is in one: patterns with `\w`, or with a letter beyond ASCII. A text beyond ASCII goes through it
first, and then, with its digits and spaces made those of ASCII, as bytes through the others.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from threading import Lock

from pipeline.detect.cache import cache_path, read_private, write_private
from pipeline.detect.gates import Alternative, ScanPlan, plan_scan
from pipeline.detect.literals import Told, tell
from pipeline.detect.loosen import is_wide
from pipeline.detect.scan import (
    MARKER,
    Matcher,
    ScanPattern,
    make_matchers,
    plain,
    relocatable,
    to_bytes,
)
from pipeline.detect.traits import needs_wide


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
        known = [gate if all(relocatable([way.pattern for way in gate])) else () for gate in gates]
        told = _told(known, cache_dir)
        plan = plan_scan(known, told)
        groups, close = _closely(plan, cache_dir)
        if refused := _refused(plan, groups, close):
            known = [() if finder in refused else gate for finder, gate in enumerate(known)]
            plan = plan_scan(known, told)
            groups, close = _closely(plan, cache_dir)
        # Tens of thousands of patterns, which only the databases need from here on.
        self.plan = replace(plan, first=(), digits=())
        self.always = [finder for finder, gate in enumerate(known) if not gate]
        self._groups = groups
        self._masks = [sum(1 << number for number in group) for group in groups]
        self._group_of = {number: index for index, group in enumerate(groups) for number in group}
        self._close = close
        patterns = [[plan.ways[number].pattern for number in group] for group in groups]
        has_wide = [any(pattern and is_wide(pattern.regex) for pattern in some) for some in patterns]
        chosen = [
            [pattern for pattern in some if pattern] if wide else []
            for some, wide in zip(patterns, has_wide, strict=True)
        ]
        wide = make_matchers(chosen, cache_dir, "wide bytes")
        self._close_wide = [better or matcher for better, matcher in zip(wide, close, strict=True)]
        self._sure = sum(1 << number for number, way in enumerate(plan.ways) if way.is_sure)
        self._scans = _Scans(plan, cache_dir)
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

    def __init__(self, plan: ScanPlan, cache_dir: Path | None) -> None:
        patterns = (*plan.first, *plan.digits)
        narrow = [number for number, pattern in enumerate(patterns) if not needs_wide(pattern.regex)]
        wide = [number for number, pattern in enumerate(patterns) if is_wide(pattern.regex)]
        first = [number for number in narrow if number < len(plan.first)]
        digits = [number for number in narrow if number >= len(plan.first)]
        chosen = [[patterns[number] for number in some] for some in (first, digits)]
        marked = [*(patterns[number] for number in wide), MARKER]
        self._first, self._digits = make_matchers(chosen, cache_dir)
        (self._wide,) = make_matchers([marked], cache_dir, "unicode")
        self._first_numbers, self._digit_numbers, self._wide_numbers = first, digits, [*wide, -1]
        self._digit = plan.digit

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


def _told(gates: Sequence[Sequence[Alternative]], cache_dir: Path | None) -> Callable[[str], Told]:
    """Return what can be told of the gates' patterns. Telling takes seconds, so it is kept in the cache too."""
    ways = [way for gate in gates for way in gate if not way.beside]
    beside = {pattern for gate in gates for way in gate[-1:] for pattern in way.beside}
    regexes = sorted({way.pattern.regex for way in ways} | {pattern.regex for pattern in beside})
    path = cache_path(cache_dir, "json", regexes)
    told = _read_told(read_private(path), len(regexes))
    if told is None:
        told = [tell(regex) for regex in regexes]
        write_private(path, json.dumps(told).encode())
    known = dict(zip(regexes, told, strict=True))
    return lambda regex: known[regex] if regex in known else tell(regex)


def _read_told(saved: bytes | None, count: int) -> list[Told] | None:
    """Return what was kept; None for what is no such file."""
    with suppress(ValueError, TypeError):
        told = [
            Told(tuple(ScanPattern(str(regex), str(flags)) for regex, flags in held), bool(is_number))
            for held, is_number in json.loads(saved or b"")
        ]
        return told if len(told) == count else None
    return None


def _hits(matcher: Matcher | None, data: bytes, numbers: Sequence[int]) -> list[int]:
    return [numbers[hit] for hit in matcher.numbers(data)] if matcher else []


def _closely(plan: ScanPlan, cache_dir: Path | None) -> tuple[list[list[int]], list[Matcher | None]]:
    """Return groups of ways, by their numbers, and a matcher for each."""
    groups: dict[str, list[int]] = {}
    for number, way in enumerate(plan.ways):
        if way.pattern is not None:
            groups.setdefault(way.group or f" {number}", []).append(number)
    numbers = list(groups.values())
    patterns = [[plan.ways[number].pattern for number in group] for group in numbers]
    return numbers, make_matchers([[pattern for pattern in some if pattern] for some in patterns], cache_dir)


def _refused(plan: ScanPlan, groups: Sequence[Sequence[int]], close: Sequence[Matcher | None]) -> set[int]:
    """Return the finders that have a pattern for which the scan cannot stand in."""
    doubtful = [
        plan.ways[number] for group, matcher in zip(groups, close, strict=True) if not matcher for number in group
    ]
    alone = make_matchers([[way.pattern] if way.pattern else [] for way in doubtful])
    return {way.finder for way, matcher in zip(doubtful, alone, strict=True) if not matcher}
