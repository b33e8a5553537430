"""Makes a sieve of gates: the layout of its scans, and their databases."""

import json
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from pipeline.detect.cache import cache_path, read_private, write_private
from pipeline.detect.gates import Alternative, ScanPlan, plan_scan
from pipeline.detect.layout import Layout
from pipeline.detect.literals import Told, tell
from pipeline.detect.loosen import is_wide
from pipeline.detect.scan import MARKER, Form, Matcher, ScanPattern, make_matchers, matchers_path, relocatable
from pipeline.detect.traits import needs_wide

Matchers = list[list[Matcher | None]]
"""In the order of `Layout.files`."""


def lay_out(gates: Sequence[Sequence[Alternative]], cache_dir: Path | None) -> tuple[Layout, Matchers]:
    """Put gates together, and compile what they are scanned for."""
    known = [gate if all(relocatable([way.pattern for way in gate])) else () for gate in gates]
    told = _told(known, cache_dir)
    plan = plan_scan(known, told)
    groups, close = _closely(plan, cache_dir)
    if refused := _refused(plan, groups, close):
        known = [() if finder in refused else gate for finder, gate in enumerate(known)]
        plan = plan_scan(known, told)
        groups, close = _closely(plan, cache_dir)
    patterns = [[pattern for number in group if (pattern := plan.ways[number].pattern)] for group in groups]
    wide = [some if any(is_wide(pattern.regex) for pattern in some) else [] for some in patterns]
    every = (*plan.first, *plan.digits)
    first, digits, marked = _scanned(plan, every)
    asked: list[tuple[list[list[ScanPattern]], Form]] = [
        (patterns, "bytes"),
        (wide, "wide bytes"),
        ([[every[number] for number in some] for some in (first, digits)], "bytes"),
        ([[*(every[number] for number in marked), MARKER]], "unicode"),
    ]
    matchers = [close, *(make_matchers(some, cache_dir, form) for some, form in asked[1:])]
    paths = [matchers_path(some, cache_dir, form) for some, form in asked]
    # Without their patterns, tens of thousands, which only the databases need from here on.
    bare = replace(plan, first=(), digits=(), ways=tuple(way._replace(pattern=None) for way in plan.ways))
    always = [finder for finder, gate in enumerate(known) if not gate]
    names = [path.name if path else "" for path in paths]
    return Layout(bare, always, groups, first, digits, [*marked, -1], plan.digit, names), matchers


def _scanned(plan: ScanPlan, patterns: Sequence[ScanPattern]) -> tuple[list[int], list[int], list[int]]:
    """Return the numbers of the patterns of the first scan, of that for digits, and of that for text beyond ASCII."""
    narrow = [number for number, pattern in enumerate(patterns) if not needs_wide(pattern.regex)]
    wide = [number for number, pattern in enumerate(patterns) if is_wide(pattern.regex)]
    first = [number for number in narrow if number < len(plan.first)]
    digits = [number for number in narrow if number >= len(plan.first)]
    return first, digits, wide


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
