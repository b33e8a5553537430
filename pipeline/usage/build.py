"""Builds the aggregates of whole days anew from the one-row views, and puts them in place a month at once."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime

from pipeline.coarsen import DAY_MS
from pipeline.errors import ConfigError, SinkUnavailable
from pipeline.store.bounds import due_before_ms
from pipeline.store.client import Store
from pipeline.store.holdings import read_bounds
from pipeline.store.scratch import BUILDING, drop_left_behind, scratch_name
from pipeline.store.tables import known_settings, read_comments
from pipeline.usage import day, tables
from pipeline.usage.folding import Folding, Rules, fold_day
from pipeline.usage.stale import read_marks, settle

_SOURCE = "operational"


@dataclass(slots=True)
class BuildReport:
    """What a build did.

    Attributes:
        days: days built.
        requests: operational records of them that have an account.
        hourly, daily: cells in the tables.
        hourly_requests, daily_requests: requests in those cells; the rest is left out, its groups being too small.
    """

    days: int = 0
    requests: int = 0
    hourly: int = 0
    daily: int = 0
    hourly_requests: int = 0
    daily_requests: int = 0


def build(
    store: Store,
    since_ms: int,
    until_ms: int,
    now_ms: int,
    rules: Rules,
    bound_ms: int | None = None,
    *,
    stale: bool = False,
) -> BuildReport:
    """Build the days from ``since_ms`` to before ``until_ms`` anew; what was in the tables for them is gone then.

    Safe to run again, and to kill: a table changes a whole month at once or not at all.

    Args:
        store: an open store.
        since_ms: UTC midnight of the first day, epoch milliseconds.
        until_ms: UTC midnight after the last one.
        now_ms: now, epoch milliseconds.
        rules: when a group may be shown.
        bound_ms: of the tables; that of the records where it is longer, or None.
        stale: also the days that lost their lines in an erasure, whenever they were.

    Raises:
        ConfigError: the store has no operational records, or the range is none, unfinished, or partly swept away.
        SinkUnavailable: the store did not answer, or refused; what is in place is whole.
    """
    bound_ms = _bound_ms(store, bound_ms)
    _check_range(since_ms, until_ms, now_ms, bound_ms)
    drop_left_behind(store)
    _ensure_tables(store, bound_ms)
    report = BuildReport()
    marks = read_marks(store)  # before any record is: what is marked later may have been counted
    chosen = {*range(since_ms, until_ms, DAY_MS)}
    if stale:
        chosen |= {mark.day_ms for mark in marks if _is_whole(mark.day_ms, now_ms, bound_ms)}
    for days in _by_month(sorted(chosen)):
        with _scratch(store, bound_ms) as scratch:
            _build_month(store, scratch, days, rules, report)
        settle(store, [mark for mark in marks if mark.day_ms in days])
    return report


def _bound_ms(store: Store, declared_ms: int | None) -> int:
    """Return the bound of the tables: none of their lines outlives the records that it is made of."""
    bound_ms = next((one.bound_ms for one in read_bounds(store) if one.sink == _SOURCE), None)
    if bound_ms is None:
        raise ConfigError(f"{store.label}: there are no operational records to build from")
    return bound_ms if declared_ms is None else min(bound_ms, declared_ms)


def _is_whole(day_ms: int, now_ms: int, bound_ms: int) -> bool:
    return due_before_ms(bound_ms, now_ms) <= day_ms < now_ms - now_ms % DAY_MS


def _check_range(since_ms: int, until_ms: int, now_ms: int, bound_ms: int) -> None:
    earliest_ms, latest_ms = due_before_ms(bound_ms, now_ms), now_ms - now_ms % DAY_MS
    if since_ms % DAY_MS or until_ms % DAY_MS or since_ms >= until_ms:
        raise ConfigError("--since and --until are days in UTC, and --until, which is not built, is the later one")
    if since_ms < earliest_ms:
        day_ = _date(earliest_ms)
        raise ConfigError(f"--since: records before {day_} are swept or due, so nothing before can be built anew")
    if until_ms > latest_ms:
        raise ConfigError(f"--until is at most {_date(latest_ms)}: a day is built when it is over, and shown once")


def _build_month(
    store: Store, scratch: Mapping[str, str], days: Sequence[int], rules: Rules, report: BuildReport
) -> None:
    for day_ms in days:
        source = day.Day(store, day_ms, scratch["accounts"], scratch["folding"])
        atoms = source.load()
        folding = fold_day(atoms, source.judge, rules)
        _fill(source, folding, scratch, rules)
        report.days += 1
        report.requests += sum(atoms.values())
        for name, cells in (("hourly", folding.hourly), ("daily", folding.daily)):
            setattr(report, name, getattr(report, name) + len(set(cells.values())))
            requests = sum(atoms[atom] for atom in cells)
            setattr(report, f"{name}_requests", getattr(report, f"{name}_requests") + requests)
    for name in tables.TABLES:
        _swap(store, name, scratch[name], days)


def _fill(source: day.Day, folding: Folding, scratch: Mapping[str, str], rules: Rules) -> None:
    for name, cells in zip(tables.TABLES, (folding.hourly, folding.daily), strict=True):
        source.fill(scratch[name], cells, rules)


def _swap(store: Store, table: str, built: str, days: Sequence[int]) -> None:
    """Put the built days of one month in place, with the month's other days as they are, in one statement."""
    month = datetime.fromtimestamp(days[0] / 1000, UTC).strftime("%Y%m")
    columns = ", ".join(f"`{name}`" for name in tables.column_types())
    midnight = f"toUnixTimestamp(toStartOfDay({tables.PERIOD}))"
    others = f"toYYYYMM({tables.PERIOD}) = {month} AND {midnight} NOT IN {{built:Array(Int64)}}"
    store.command(
        f"INSERT INTO {built} ({columns}) SELECT {columns} FROM {table} WHERE {others}",  # noqa: S608 - our own names
        {"built": [day_ms // 1000 for day_ms in days]},
    )
    rows = store.query(f"SELECT count() FROM {built}").rows[0][0]  # noqa: S608 - as above
    if rows:
        store.command(f"ALTER TABLE {table} REPLACE PARTITION ID '{month}' FROM {built}")
    else:
        store.command(f"ALTER TABLE {table} DROP PARTITION ID '{month}'")


def _ensure_tables(store: Store, bound_ms: int) -> None:
    known, comments = known_settings(store), read_comments(store)
    for name in tables.TABLES:
        if name not in comments:
            store.command(tables.create_table(name, bound_ms, known))
        elif comments[name] != tables.bounds_comment(bound_ms):
            for statement in tables.alter_bound(name, bound_ms):
                store.command(statement)


@contextmanager
def _scratch(store: Store, bound_ms: int) -> Iterator[dict[str, str]]:
    """Make the tables that a build works in. Those that hold accounts are in memory only, and never on a disk."""
    prefix = scratch_name(BUILDING)
    names = {name: f"{prefix}_{name}" for name in ("accounts", "folding", *tables.TABLES)}
    known = known_settings(store)
    try:
        store.command(day.create_accounts(names["accounts"]))
        store.command(day.create_folding(names["folding"]))
        for name in tables.TABLES:
            store.command(tables.create_table(names[name], bound_ms, known))
        yield names
    finally:
        for name in names.values():
            with suppress(SinkUnavailable):  # what cannot be dropped now, a later build drops
                store.command(f"DROP TABLE IF EXISTS {name} SYNC")


def _by_month(days: Iterable[int]) -> Iterator[list[int]]:
    months: dict[str, list[int]] = {}
    for day_ms in days:
        months.setdefault(_date(day_ms)[:7], []).append(day_ms)
    yield from months.values()


def _date(day_ms: int) -> str:
    return datetime.fromtimestamp(day_ms / 1000, UTC).strftime("%Y-%m-%d")
