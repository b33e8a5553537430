"""Signs of life: the worker's event loop writes them, threads read them (health server, watchdog).

Nothing here waits for anything: the loop writes plain attributes and dictionary items, which CPython does whole, and a
reader copies them in one step. So a thread can look while the loop is stuck.
"""

import threading
from collections.abc import Callable, Iterable
from typing import NamedTuple

GAP_S_MAX = 5.0
"""Time that passes unseen by any thread counts for this much at most; see `AwakeClock`."""


class AwakeClock:
    """Counts the time in which this process runs.

    A process that was stopped (SIGSTOP, a frozen container, a suspended machine) finds its clocks far ahead when it
    goes on, and would think that its loop had not ticked for hours. Here a step between two readings counts for
    `GAP_S_MAX` at most. The watchdog reads once a second, so while the process runs, nothing is lost.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._last_s = clock()
        self._awake_s = 0.0

    def __call__(self) -> float:
        """Return seconds awake since this clock was made."""
        with self._lock:
            now_s = self._clock()
            self._awake_s += min(max(0.0, now_s - self._last_s), GAP_S_MAX)
            self._last_s = now_s
            return self._awake_s


class Snapshot(NamedTuple):
    """The signs of life at one moment; durations in seconds awake.

    Attributes:
        tick_age_s: since the loop came round last.
        partitions: how many the worker owns; None before its first assignment. 0 is a member that stands by.
        rebalancing_s: since partitions were revoked, or since the start, and no assignment since; None when there is
            one.
        lag: records that wait, in all partitions.
        progress_age_s: of the partition that has waited longest: since records wait there and nothing was committed.
        stopping_s: since it was told to stop; None while it works.
        unheard_s: since a broker last answered how much waits; 0 without partitions, of which nobody asks.
    """

    tick_age_s: float = 0.0
    partitions: int | None = 0
    rebalancing_s: float | None = None
    lag: int = 0
    progress_age_s: float = 0.0
    stopping_s: float | None = None
    unheard_s: float = 0.0


class Vitals:
    """What the loop says about itself."""

    def __init__(self, clock: Callable[[], float]) -> None:
        """Begin, as a member that has no assignment yet.

        Args:
            clock: monotonic seconds. Ages are counted in seconds awake, see `AwakeClock`.
        """
        self._clock = AwakeClock(clock)
        now_s = self._clock()
        self._ticked_s = self._heard_s = now_s
        self._partitions: int | None = None
        self._revoked_s: float | None = now_s
        self._lags: dict[int, int] = {}
        self._progress_s: dict[int, float] = {}
        self._stopped_s: float | None = None

    def tick(self) -> None:
        """Say that the loop comes round; wanted about once a second, from a task of the loop itself."""
        self._ticked_s = self._clock()

    def assigned(self, partitions: Iterable[int]) -> None:
        """Say that a rebalance has ended, with these partitions: none of them is behind before `set_lag` says so."""
        owned = list(partitions)
        self._lags = dict.fromkeys(owned, 0)
        self._progress_s = dict.fromkeys(owned, self._clock())
        self._partitions = len(owned)
        self._revoked_s = None
        self._heard_s = self._clock()

    def revoked(self) -> None:
        """Say that a rebalance begins; what is behind is no longer this worker's."""
        if self._revoked_s is None:
            self._revoked_s = self._clock()
        self._lags, self._progress_s = {}, {}

    def committed(self, partitions: Iterable[int] | None = None) -> None:
        """Say that a commit was confirmed.

        Args:
            partitions: whose offsets it moved: one that is never among them is found stuck although others go on.
                None: all.
        """
        now_s = self._clock()
        for partition in list(self._lags) if partitions is None else partitions:
            if partition in self._lags:
                self._progress_s[partition] = now_s

    def set_lag(self, partition: int, records: int) -> None:
        """Say how many records of a partition wait; of one that is not owned (any more) it means nothing.

        Fewer than none is none: the position has moved on since the log's end was asked for.
        """
        self._heard_s = self._clock()
        before = self._lags.get(partition)
        if before is None:
            return
        records = max(0, records)
        if not before or not records:
            self._progress_s[partition] = self._clock()
        self._lags[partition] = records

    def stop(self) -> None:
        """Say that draining begins; it must end within the grace time."""
        if self._stopped_s is None:
            self._stopped_s = self._clock()

    def snapshot(self) -> Snapshot:
        """Return the signs of life as they are now. Any thread may ask."""
        now_s = self._clock()
        revoked_s, stopped_s = self._revoked_s, self._stopped_s
        lags, progress_s = self._lags.copy(), self._progress_s.copy()
        waiting = [now_s - progress_s.get(partition, now_s) for partition, lag in lags.items() if lag]
        return Snapshot(
            tick_age_s=max(0.0, now_s - self._ticked_s),
            partitions=self._partitions,
            rebalancing_s=None if revoked_s is None else now_s - revoked_s,
            lag=sum(lags.values()),
            progress_age_s=max(waiting, default=0.0),
            stopping_s=None if stopped_s is None else now_s - stopped_s,
            unheard_s=now_s - self._heard_s if lags else 0.0,
        )
