"""Stops the worker when rejections flood: a bad deploy must not drain the topic into them (design §5). Pure."""

from collections import Counter, deque
from dataclasses import dataclass, field
from typing import NamedTuple

WINDOW_S = 60.0
BREADTH = 2
KEYS_BREADTH = 8
REST_SHARE = 0.1
"""Of the fewest rejections that can open the breaker: so many there must be beside the worst partition or key."""
_STEP_S = 1.0
_KEYS_KEPT = 64


class Flood(NamedTuple):
    """Why the breaker opened: counts only."""

    events: int
    rejections: int
    partitions: int


@dataclass(slots=True)
class _Step:
    """What one step of the window saw, by partition; rejections by the hash of their key besides."""

    began_s: float
    events: Counter[int] = field(default_factory=Counter)
    rejections: Counter[int] = field(default_factory=Counter)
    keys: Counter[int] = field(default_factory=Counter)
    keyless: int = 0

    def add_keys(self, rejected_keys: list[bytes | None]) -> None:
        """Count keys, the commonest of the slice first: there is room for a few."""
        for key, count in Counter(rejected_keys).most_common():
            if key is None:
                self.keyless += count
            elif (hashed := hash(key)) in self.keys or len(self.keys) < _KEYS_KEPT:
                self.keys[hashed] += count


class Breaker:
    """Watches the share of rejections over the last minute, which moves on in steps of a second.

    It opens when the share and the number of rejections are high, and broad: one customer's bad events must not stop
    everyone's stream. Broad is: a high share in two partitions or more (raw may be keyed by account, and then a
    partition is a group of accounts), or, where this worker has a single partition, records of eight keys or without
    one, and a high share without the worst key too. A few rejections elsewhere are not broad: beside the worst
    partition or key there must be a tenth of the number that can open it.
    """

    def __init__(self, share_max: float, count_min: int) -> None:
        """Set the limits.

        Args:
            share_max: highest share of rejections, 0 to 1; from 1 on the breaker never opens.
            count_min: fewest rejections within the window that can open it.
        """
        self._share_max = share_max
        self._count_min = count_min
        self._window: deque[_Step] = deque()
        self._events: Counter[int] = Counter()
        self._rejections: Counter[int] = Counter()

    def add(
        self, now_s: float, partition: int, events: int, rejected_keys: list[bytes | None], *, assigned: int
    ) -> Flood | None:
        """Take note of a slice, and say whether rejections flood.

        Args:
            now_s: monotonic seconds.
            partition: that the slice is of.
            events: how many it has.
            rejected_keys: the keys of the records that were rejected; only their hashes are kept.
            assigned: how many partitions this worker has.
        """
        if self._share_max >= 1:
            return None
        self._note(now_s, partition, events, rejected_keys)
        rejections, total = self._rejections.total(), self._events.total()
        if rejections < self._count_min or not self._is_high(rejections, total) or not self._is_broad(assigned):
            return None
        return Flood(total, rejections, len(self._rejections))

    def _is_high(self, rejections: int, events: int) -> bool:
        return rejections > events * self._share_max

    def _is_broad(self, assigned: int) -> bool:
        rest_min = self._count_min * REST_SHARE
        if assigned > 1:
            high = sorted(count for at, count in self._rejections.items() if self._is_high(count, self._events[at]))
            return len(high) >= BREADTH and sum(high[:-1]) >= rest_min
        keys: Counter[int] = Counter()
        for step in self._window:
            keys.update(step.keys)
        worst = max(keys.values(), default=0)
        rest = self._rejections.total() - worst
        breadth = len(keys) + sum(step.keyless for step in self._window)
        return breadth >= KEYS_BREADTH and rest >= rest_min and self._is_high(rest, self._events.total() - worst)

    def _note(self, now_s: float, partition: int, events: int, rejected_keys: list[bytes | None]) -> None:
        while self._window and self._window[0].began_s < now_s - WINDOW_S:
            gone = self._window.popleft()
            self._events -= gone.events  # this also forgets partitions that have none left
            self._rejections -= gone.rejections
        if not self._window or now_s - self._window[-1].began_s >= _STEP_S:
            self._window.append(_Step(now_s))
        step = self._window[-1]
        step.add_keys(rejected_keys)
        step.events[partition] += events
        self._events[partition] += events
        if rejected_keys:
            step.rejections[partition] += len(rejected_keys)
            self._rejections[partition] += len(rejected_keys)
