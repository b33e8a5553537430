"""Hands on items at a rate."""

import time
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

BEHIND_MAX_S = 1.0
"""What was missed is caught up, up to so much; a longer pause moves all that follows."""

T = TypeVar("T")


def paced(
    items: Iterable[T],
    rate_per_s: float | None,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> Iterator[T]:
    """Yield items at a rate: item ``i`` not before ``i / rate_per_s`` seconds after the first.

    Args:
        items: each is taken before its time is waited for.
        rate_per_s: items a second; None is as fast as it goes.
        clock: seconds, never going back.
        sleep: waits seconds.
    """
    if rate_per_s is None:
        yield from items
        return
    due_s = clock()
    for item in items:
        wait_s = due_s - clock()
        if wait_s > 0:
            sleep(wait_s)
        due_s = max(due_s, clock() - BEHIND_MAX_S) + 1 / rate_per_s
        yield item
