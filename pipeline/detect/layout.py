"""How the scans of a sieve are laid out, as it is kept: all that the gates come to, but for their patterns. Pure.

To put tens of thousands of patterns together takes half a second, and only the databases need them. So a sieve is kept
as numbers, beside its databases. Masks of ways are thousands of bits, and nearly all of them the same few.
"""

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from functools import cached_property
from typing import Any, NamedTuple, overload

from pipeline.detect.gates import Alternative, ScanPlan, Way


class LongGate(Sequence[Alternative]):
    """A gate of thousands of ways, which are put together when they are asked for.

    Attributes:
        digest: of all that they are made of, but for code.
    """

    def __init__(self, digest: str, make: Callable[[], Sequence[Alternative]]) -> None:
        self.digest = digest
        self._make = make

    @cached_property
    def _ways(self) -> Sequence[Alternative]:
        return self._make()

    @overload
    def __getitem__(self, index: int) -> Alternative: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Alternative]: ...
    def __getitem__(self, index: int | slice) -> Alternative | Sequence[Alternative]:
        return self._ways[index]

    def __len__(self) -> int:
        return len(self._ways)

    def __iter__(self) -> Iterator[Alternative]:
        return iter(self._ways)

    def __repr__(self) -> str:
        return f"LongGate({self.digest})"


class Layout(NamedTuple):
    """What a sieve is made of, besides its databases.

    Attributes:
        plan: what hits open; without patterns.
        always: numbers of the finders that look at every text.
        groups: the ways that are looked at closely together, by their numbers.
        first: patterns of the first scan, by their numbers in the plan, in the order of its database.
        digits: the same of the second scan.
        wide: the same of the scan for text beyond ASCII; -1 for the marker.
        digit: the pattern that asks for the second scan; -1 for none.
        files: names of the databases: of the groups, of the groups beyond ASCII, of the first two scans, of the third.
    """

    plan: ScanPlan
    always: list[int]
    groups: list[list[int]]
    first: list[int]
    digits: list[int]
    wide: list[int]
    digit: int
    files: list[str]


def dump_layout(layout: Layout) -> bytes:
    """Return a layout, to be kept."""
    plan = layout.plan
    masks = list(dict.fromkeys([*plan.opens, *plan.helps, plan.unaided]))
    places = {mask: place for place, mask in enumerate(masks)}
    kept = {
        "masks": [f"{mask:x}" for mask in masks],
        "opens": [places[mask] for mask in plan.opens],
        "helps": [places[mask] for mask in plan.helps],
        "unaided": places[plan.unaided],
        "ways": [[way.finder, way.is_sure] for way in plan.ways],
        "rest": layout[1:],
    }
    return json.dumps(kept, separators=(",", ":")).encode()


def read_layout(kept: bytes | None) -> Layout | None:
    """Return what `dump_layout` was given; None for what is no such thing."""
    with suppress(ValueError, TypeError, KeyError, IndexError):
        data = json.loads(kept or b"")
        masks = [int(mask, 16) for mask in data["masks"]]
        ways = tuple(Way(finder, None, is_sure=is_sure) for finder, is_sure in data["ways"])
        opens, helps = _masks(masks, data["opens"]), _masks(masks, data["helps"])
        plan = ScanPlan((), (), ways, opens, helps, masks[data["unaided"]])
        return Layout(plan, *data["rest"])
    return None


def _masks(masks: Sequence[int], places: Any) -> tuple[int, ...]:
    return tuple([masks[place] for place in places])
