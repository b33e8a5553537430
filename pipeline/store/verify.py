"""The retention proof of a store: everything it holds, judged by its oldest. Reads only; whoever sweeps is another.

What counts as still there (design §4): rows under a mask, outdated and detached parts, what an unfinished mutation has
yet to change, and of an embedded store all files, spooled inserts included.
"""

import time
from collections.abc import Iterator

from pipeline.coarsen import DAY_MS
from pipeline.retention import Holding, Kind, Verdict, judge
from pipeline.store.bounds import SLACK_MS
from pipeline.store.client import Store
from pipeline.store.files import FolderFiles
from pipeline.store.holdings import (
    Bounds,
    Part,
    active_bytes,
    detached_parts,
    outdated_parts,
    read_bounds,
    unfinished_mutations_ms,
    wait_for_parts,
)

GRACE_MS = 2 * 3_600_000
"""A sweep runs every hour: what is due for two has been missed once and more."""
_SETTLE_S = 5.0
_POLL_S = 0.1
# A lightweight delete hides a row and leaves its bytes: the proof looks under the mask.
_UNMASKED = "SETTINGS apply_deleted_mask = 0"


def late_after_ms(bound_ms: int) -> int:
    """Return the age from which a record is late: it was due a slack before its bound, and no sweep came."""
    return bound_ms - SLACK_MS + GRACE_MS


def verify_store(store: Store, now_ms: int, files: FolderFiles | None = None) -> list[Holding]:
    """Judge all that the tables of a store hold.

    Args:
        store: open, and of an embedded one not swept.
        now_ms: now, epoch milliseconds.
        files: of an embedded store, what lay in its folder before it was opened.

    Raises:
        SinkUnavailable: the store did not answer, or refused.
    """
    holdings: list[Holding] = []
    tables = read_bounds(store)
    for bounds in tables:
        if files is not None:  # a server has been up for long, and its user may have no right but to read
            wait_for_parts(store, bounds)
        holdings.append(_rows(store, bounds, now_ms))
        holdings += [_field(store, bounds, name, now_ms) for name in bounds.null_after_ms]
        holdings.append(_settled(store, bounds, now_ms))
        holdings.append(_parts(Kind.DETACHED, detached_parts(store, bounds), bounds, now_ms))
        holdings.append(_mutations(store, bounds, now_ms))
    if files is not None:
        holdings += _files(files, tables, now_ms)
    return holdings


def _rows(store: Store, bounds: Bounds, now_ms: int) -> Holding:
    count, age_ms = _oldest(store, bounds, "1", now_ms)
    return judge(
        bounds.sink,
        Kind.ROWS,
        age_ms=age_ms,
        late_ms=late_after_ms(bounds.bound_ms),
        bound_ms=bounds.bound_ms,
        count=count,
        size_bytes=active_bytes(store, bounds),
    )


def _field(store: Store, bounds: Bounds, name: str, now_ms: int) -> Holding:
    bound_ms = bounds.null_after_ms[name]
    count, age_ms = _oldest(store, bounds, f"`{name}` IS NOT NULL", now_ms)
    late_ms = late_after_ms(bound_ms)
    return judge(bounds.sink, Kind.FIELD, age_ms=age_ms, late_ms=late_ms, bound_ms=bound_ms, count=count, field=name)


def _oldest(store: Store, bounds: Bounds, where: str, now_ms: int) -> tuple[int, int | None]:
    """Return how many rows there are, and the age of the oldest."""
    oldest = f"toUnixTimestamp64Milli(toDateTime64(min({bounds.time}), 3, 'UTC'))"
    count, oldest_ms = store.query(f"SELECT count(), {oldest} FROM {bounds.table} WHERE {where} {_UNMASKED}").rows[0]  # noqa: S608 - checked names
    return count, now_ms - oldest_ms if count else None


def _settled(store: Store, bounds: Bounds, now_ms: int) -> Holding:
    """Judge outdated parts after a few seconds at most: every merge leaves some, for about a second."""
    deadline = time.monotonic() + _SETTLE_S
    while True:
        holding = _parts(Kind.OUTDATED, outdated_parts(store, bounds), bounds, now_ms)
        if holding.verdict is Verdict.HOLDS or time.monotonic() > deadline:
            return holding
        time.sleep(_POLL_S)


def _parts(kind: Kind, parts: list[Part], bounds: Bounds, now_ms: int) -> Holding:
    dated = [now_ms - part.oldest_ms for part in parts if part.oldest_ms is not None]
    return judge(
        bounds.sink,
        kind,
        age_ms=max(dated, default=None),
        late_ms=late_after_ms(bounds.first_bound_ms),
        bound_ms=bounds.first_bound_ms,
        count=len(parts),
        size_bytes=sum(part.size_bytes for part in parts),
        undated=len(parts) - len(dated),
    )


def _mutations(store: Store, bounds: Bounds, now_ms: int) -> Holding:
    """Judge what waits to be changed: a sweep and an erasure both have the slack for it."""
    ordered_ms = unfinished_mutations_ms(store, bounds)
    age_ms = max(0, now_ms - ordered_ms[0]) if ordered_ms else None
    count = len(ordered_ms)
    return judge(bounds.sink, Kind.MUTATIONS, age_ms=age_ms, late_ms=GRACE_MS, bound_ms=SLACK_MS, count=count)


def _files(files: FolderFiles, tables: list[Bounds], now_ms: int) -> Iterator[Holding]:
    for bounds in tables:
        if found := files.tables.get(bounds.table):
            yield judge(
                bounds.sink,
                Kind.FILES,
                age_ms=None if found.oldest_ms is None else now_ms - found.oldest_ms,
                late_ms=late_after_ms(bounds.bound_ms),
                bound_ms=bounds.bound_ms,
                count=found.parts,
                size_bytes=found.size_bytes,
                undated=found.undated,
            )
    # What was admitted is two days younger than its bound, so a day in the spool is within it.
    yield judge(
        "",
        Kind.SPOOL,
        age_ms=files.spooled_age_ms,
        late_ms=GRACE_MS,
        bound_ms=DAY_MS,
        count=files.spooled,
        size_bytes=files.spooled_bytes,
    )
