"""When a stored record is due: pure arithmetic, shared by table TTLs, the writer and the sweep.

A bound is the longest time from a request to its bytes being gone (design §4). The store removes whole UTC days, so
that a day is rewritten or dropped once. A day D is **due** from ``D + bound - slack``: at that moment its oldest
record, of midnight, is exactly one slack short of the bound, and the sweep has that slack to remove the bytes (one day:
enough for an hourly timer that failed 22 times, and for outdated parts to leave the disk). The day's newest record is
one day younger. So a record lives between ``bound - slack - 1 day`` and ``bound``, never longer.
"""

import re
from datetime import UTC, datetime

from pipeline.coarsen import DAY_MS
from pipeline.errors import PolicyError

SLACK_MS = DAY_MS

_PARTITION_ID = re.compile(r"(\d{4})(\d{2})(\d{2})?", re.ASCII)


def check_bound(name: str, bound_ms: int) -> None:
    """Refuse a bound that a store of whole days cannot meet.

    Raises:
        PolicyError: the bound leaves no time in which a record could be read.
    """
    if bound_ms <= DAY_MS + SLACK_MS:
        raise PolicyError(f"{name}: a bound of {bound_ms} ms is too short for a store, which needs more than two days")


def due_after_ms(bound_ms: int) -> int:
    """Return how long after its beginning (UTC midnight) a day is due."""
    return bound_ms - SLACK_MS


def due_before_ms(bound_ms: int, now_ms: int) -> int:
    """Return the UTC midnight before which every record is due at ``now_ms`` (both epoch milliseconds)."""
    last_due = now_ms - due_after_ms(bound_ms)
    return last_due - last_due % DAY_MS + DAY_MS


def hold_ms(bound_ms: int) -> int:
    """Return the age up to which a store admits a record: none so young is due yet.

    It is two days less than the bound, not one. A record of 23:59 shares a partition with one of 00:00 and goes with
    it, so of the bound's last two days one belongs to the slack and one to the width of the partition.
    """
    return due_after_ms(bound_ms) - DAY_MS


def partition_range_ms(partition_id: str) -> tuple[int, int] | None:
    """Return begin and end (exclusive, epoch milliseconds) of a daily or monthly partition.

    Args:
        partition_id: ``YYYYMMDD`` or ``YYYYMM``, as ClickHouse names partitions by toDate and toYYYYMM.

    Returns:
        The range, or None when the id is neither.
    """
    match = _PARTITION_ID.fullmatch(partition_id)
    if match is None or not 1 <= int(match[2]) <= 12:  # noqa: PLR2004 - months of a year
        return None
    year, month = int(match[1]), int(match[2])
    if match[3] is None:
        following = (year + 1, 1) if month == 12 else (year, month + 1)  # noqa: PLR2004 - as above
        return _midnight_ms(year, month, 1), _midnight_ms(*following, 1)
    begin = _midnight_ms(year, month, int(match[3]))
    return begin, begin + DAY_MS


def _midnight_ms(year: int, month: int, day: int) -> int:
    return int(datetime(year, month, day, tzinfo=UTC).timestamp()) * 1000
