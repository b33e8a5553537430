"""Aggregates: what the store counts is what plain Python counts, and nothing small is shown or left over."""

import json
import random
import re
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from hashlib import sha256
from operator import itemgetter
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from store_fixtures import DAY_MS, NOW_MS, holds, to_iso
from typer.testing import CliRunner

from pipeline.cli import aggregates
from pipeline.coarsen import HOUR_MS
from pipeline.errors import ConfigError
from pipeline.keys.keyring import KeyEpoch, Keyring
from pipeline.policy.load import Policy
from pipeline.records import Anonymized, Facts, OperationalRecord
from pipeline.retention import Kind, Verdict
from pipeline.rights.erase import Erased, Named, Operational, StoreEraser
from pipeline.store import Store, StoreSink, open_store, sweep
from pipeline.store.verify import verify_store
from pipeline.suppress import Subject
from pipeline.usage import tables
from pipeline.usage.build import build
from pipeline.usage.folding import OTHER, WHOLE_DAY, Cell, Group, Rules, Share, fold_day

TODAY_MS = NOW_MS - NOW_MS % DAY_MS
DAY_0_MS = TODAY_MS - 2 * DAY_MS
RULES = Rules(accounts_min=5, share_max=80)
KEYS = Keyring((KeyEpoch("e1", 0, b"1" * 32),), {}, b"s" * 32)
TOKENS = ("prompt_tokens", "completion_tokens", "total_tokens")
Row = dict[str, Any]


@pytest.fixture
def store(folder: Path, request: pytest.FixtureRequest) -> Iterator[Store]:
    """Return a store on a database of the test's own."""
    database = re.sub(r"\W", "_", request.node.name)[:60]
    with open_store(f"chdb:{folder}", now_ms=NOW_MS, database=database) as opened:
        yield opened


@pytest.fixture
def write(store: Store, policy: Policy) -> Callable[[Iterable[Row]], None]:
    """Return what writes operational rows into the store."""
    return write_into(store, policy)


def write_into(store: Store, policy: Policy) -> Callable[[Iterable[Row]], None]:
    """Return what writes operational rows into a store, as the shipped policy has them."""
    records = {"content": policy.content, "operational": policy.operational, "rejected": policy.rejection}
    schemas = {policy.sinks[name].schema: schema for name, schema in records.items()}
    sink = StoreSink(store, schemas, policy.sinks, lambda: NOW_MS)
    base = dict.fromkeys(field.name for field in policy.operational.fields)
    constants = {
        "schema_version": 1,
        "policy_version": 1,
        "policy_digest": "d" * 16,
        "endpoint": "/v1/chat/completions",
    }

    def write_rows(rows: Iterable[Row]) -> None:
        made = []
        for row in rows:
            fields = {**base, **constants, **row, "received_at": to_iso(row["received_at"])}
            made.append(Anonymized(None, OperationalRecord(row["request_id"], fields), Facts()))
        sink.write(made)

    return write_rows


def pseudonym(account: int, epoch: int = 1) -> str:
    """Return an account's pseudonym, as long and as random as a real one: a file of the store shows it as it is."""
    return f"e{epoch}:{sha256(str(account).encode()).hexdigest()}"


def make_rows(seed: int, count: int, days: int = 1) -> list[Row]:
    """Return generated operational rows: popular and rare models, one greedy account, gaps, two key epochs, nights."""
    chance = random.Random(seed)
    rows = []
    models = ["llama-3.1-8b-instruct"] * 12 + ["deepseek-v3"] * 5 + ["bge-m3"] * 2 + [OTHER]
    for number in range(count):
        hour = min(23, int(abs(chance.gauss(12, 4))))
        at_ms = DAY_0_MS + chance.randrange(days) * DAY_MS + hour * HOUR_MS + chance.randrange(HOUR_MS)
        account = min(int(chance.expovariate(1 / 12)), 60)
        tokens = chance.choice([None, chance.randrange(500)]) if account % 3 else chance.randrange(20_000)
        model = chance.choice(models)
        answered = None if tokens is None or model == "bge-m3" else chance.randrange(900)
        rows.append(
            {
                "request_id": f"req_{seed:08x}{number:024x}",
                "received_at": at_ms,
                "account": None if chance.random() < 0.02 else pseudonym(account, 1 + (hour > 14)),
                "model": model,
                "region": chance.choice(["eu-west-1", "eu-west-1", "us-east-1", None]),
                "status": chance.choices([200, 429, 400, 500], [90, 5, 4, 1])[0],
                "latency_ms": chance.choice([None, round(chance.expovariate(1 / 800), 1), 250.0]),
                "time_to_first_token_ms": None if account % 2 else round(chance.uniform(1, 300), 3),
                **dict(
                    zip(TOKENS, (tokens, answered, None if tokens is None else tokens + (answered or 0)), strict=True)
                ),
            }
        )
    return rows


# --- the same by plain Python, row by row ---------------------------------------------------------------------------


def spread(rows: Iterable[Row], value: Callable[[Row], int]) -> Share:
    """Return how a sum is spread over the accounts of rows, over key epochs as carefully as can be."""
    sums: dict[str, Counter[str]] = defaultdict(Counter)
    for row in rows:
        sums[row["account"].split(":")[0]][row["account"]] += value(row)
    accounts = max(sum(amount > 0 for amount in counts.values()) for counts in sums.values())
    return Share(accounts, sum(counts.total() for counts in sums.values()), sum(max(c.values()) for c in sums.values()))


def tokens_of(name: str, row: Row) -> int:
    """Return a row's tokens of a kind; none given are none."""
    return row[name] or 0


def may_show(rows: list[Row], rules: Rules) -> bool:
    """Return whether rows may be shown as a group: enough accounts, and none that makes most of it."""
    shares = [spread(rows, lambda _: 1), *(spread(rows, partial(tokens_of, name)) for name in TOKENS)]
    return all(
        share.accounts >= rules.accounts_min and share.largest <= share.total * rules.share_max / 100
        for share in (shares[0], *(share for share in shares[1:] if share.total))
    )


def atom_of(row: Row) -> Cell:
    """Return where a row stands."""
    hour = (row["received_at"] - DAY_0_MS) % DAY_MS // HOUR_MS
    return Cell(hour, row["model"], row["region"] or "none", str(row["status"]))


def grouped(rows: Iterable[Any], key: Callable[[Any], Any]) -> dict[Any, list[Any]]:
    """Return rows by key."""
    groups: dict[Any, list[Any]] = defaultdict(list)
    for row in rows:
        groups[key(row)].append(row)
    return groups


def fold_plainly(rows: list[Row], rules: Rules) -> tuple[dict[Cell, list[Row]], dict[Cell, list[Row]]]:
    """Return the rows of each daily and of each hourly cell."""
    daily: dict[Cell, list[Row]] = {}
    rest = rows
    for keep in (4, 3):
        left = []
        named = [(row, Cell(WHOLE_DAY, *atom_of(row)[1:3], atom_of(row)[3] if keep == 4 else OTHER)) for row in rest]
        for cell, pairs in grouped(named, itemgetter(1)).items():
            group = [row for row, _ in pairs]
            if may_show(group, rules) and cell[1:] != (OTHER,) * 3:
                daily[cell] = group
            else:
                left += group
        rest = left
    everything_else = Cell(WHOLE_DAY, OTHER, OTHER, OTHER)
    if rest and may_show(rest, rules):
        daily[everything_else] = rest
    hourly: dict[Cell, list[Row]] = {}
    for cell, group in daily.items():
        hourly |= split_by_hour(group, cell, rules)
    return daily, hourly


def split_by_hour(rows: list[Row], cell: Cell, rules: Rules) -> dict[Cell, list[Row]]:
    """Return the hours of a cell that may be shown, such that those withheld together are no small group."""
    hours = {cell._replace(hour=hour): group for hour, group in grouped(rows, lambda row: atom_of(row).hour).items()}
    shown = {one: group for one, group in hours.items() if may_show(group, rules)}
    while True:
        withheld = [row for one, group in hours.items() if one not in shown for row in group]
        if not withheld or not shown or may_show(withheld, rules):
            return shown
        del shown[min(shown, key=lambda one: (len(shown[one]), -one.hour))]


def summed(rows: list[Row], rules: Rules) -> tuple[Any, ...]:
    """Return the figures of a cell."""
    errors = sum(row["status"] >= 400 for row in rows)
    figures = [len(rows), errors, errors / len(rows), *(sum(row[name] or 0 for row in rows) for name in TOKENS)]
    for name in ("latency_ms", "time_to_first_token_ms"):
        timed = [row for row in rows if row[name] is not None]
        values = sorted(row[name] for row in timed)
        share = spread(timed, lambda _: 1) if timed else Share(0, 0, 0)
        good = share.accounts >= rules.accounts_min and share.largest <= share.total * rules.share_max / 100
        for percent in (50, 90, 99):
            tail = len(values) * (100 - percent) >= 1000
            figures.append(int(values[int(percent / 100 * len(values))]) if good and tail else None)
    return tuple(figures)


def read(store: Store, table: str) -> dict[tuple[Any, ...], tuple[Any, ...]]:
    """Return a table's figures by period and cell."""
    columns = ", ".join(name for name in tables.column_types() if name != "period")
    found = store.query(f"SELECT toUnixTimestamp(period) * 1000, {columns} FROM {table}")  # noqa: S608 - ours
    rows = {row[:4]: row[4:] for row in found.rows}
    assert len(rows) == len(found.rows)
    return rows


def plainly(rows: list[Row], rules: Rules) -> list[dict[tuple[Any, ...], tuple[Any, ...]]]:
    """Return what both tables must hold, the hourly one first."""
    expected: list[dict[tuple[Any, ...], tuple[Any, ...]]] = [{}, {}]
    counted = [row for row in rows if row["account"] is not None]
    for day_ms, of_day in grouped(counted, lambda row: row["received_at"] // DAY_MS * DAY_MS).items():
        daily, hourly = fold_plainly(of_day, rules)
        for table, cells in zip(expected, (hourly, daily), strict=True):
            for cell, group in cells.items():
                table[day_ms + max(cell.hour, 0) * HOUR_MS, *cell[1:]] = summed(group, rules)
    return expected


# --- tests ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", [1, 2])
def test_the_store_counts_what_plain_python_counts(
    store: Store, write: Callable[[Iterable[Row]], None], seed: int
) -> None:
    """Cells, sums, error rates and quantiles of both tables are those of a plain computation with the same rules."""
    rows = make_rows(seed, 4000, days=2)
    write(rows)
    write(rows[:500])  # repeats: a reader counts them once
    report = build(store, DAY_0_MS, TODAY_MS, NOW_MS, RULES)
    expected = plainly(rows, RULES)
    assert [read(store, name) for name in tables.TABLES] == expected
    counted = sum(row["account"] is not None for row in rows)
    assert (report.days, report.requests, report.hourly, report.daily) == (2, counted, *map(len, expected))
    assert report.daily_requests == sum(figures[0] for figures in expected[1].values())
    statuses = {key[3] for key in expected[1]}
    assert {"200", "429", OTHER} <= statuses  # the rows are such that all of it happens
    assert any(figures[6] is not None for figures in expected[0].values())


class Person(NamedTuple):
    """What one account did in one atom."""

    account: int
    atom: Cell


def judge_of(people: list[Person]) -> Callable[[Mapping[Cell, Cell]], dict[Cell, Group]]:
    """Return a judge over people, each with one request and no tokens."""

    def judge(grouping: Mapping[Cell, Cell]) -> dict[Cell, Group]:
        counts: dict[Cell, Counter[int]] = defaultdict(Counter)
        for person in people:
            if person.atom in grouping:
                counts[grouping[person.atom]][person.account] += 1
        return {cell: (Share(len(c), c.total(), max(c.values())),) for cell, c in counts.items()}

    return judge


def in_span(vectors: list[list[int]], wanted: list[int]) -> bool:
    """Return whether a vector is a combination of others, by elimination modulo a large prime."""
    prime, rows = 2_147_483_647, [list(vector) for vector in vectors]
    target = list(wanted)
    for column in range(len(wanted)):
        pivot = next((row for row in rows if row[column] % prime and not any(v % prime for v in row[:column])), None)
        if pivot is None:
            continue
        inverse = pow(pivot[column], -1, prime)
        for row in (*(row for row in rows if row is not pivot), target):
            factor = row[column] * inverse
            row[:] = [(a - factor * b) % prime for a, b in zip(row, pivot, strict=True)]
    return not any(value % prime for value in target)


ATOMS = st.builds(
    Cell, st.integers(0, 2), st.sampled_from(["a", "b", OTHER]), st.just("r"), st.sampled_from(["200", "500"])
)


@settings(max_examples=80, deadline=None)
@given(st.lists(st.builds(Person, st.integers(0, 6), ATOMS), min_size=1, max_size=40), st.integers(40, 90))
def test_no_sum_or_difference_of_figures_is_of_a_small_group(people: list[Person], share_max: int) -> None:
    """Whatever is added to or taken from what, across hours and day: a group that comes out may be shown itself."""
    rules = Rules(3, share_max)
    atoms = sorted({person.atom for person in people})[:9]
    people = [person for person in people if person.atom in atoms]
    judge = judge_of(people)
    folding = fold_day(atoms, judge, rules)
    cells = [(mapping, cell) for mapping in (folding.daily, folding.hourly) for cell in set(mapping.values())]
    vectors = [[int(mapping.get(atom) == cell) for atom in atoms] for mapping, cell in cells]
    anything = Cell(WHOLE_DAY, "any", "any", "any")
    for chosen in range(1, 1 << len(atoms)):
        group = [atom for bit, atom in enumerate(atoms) if chosen >> bit & 1]
        if not rules.allow(judge(dict.fromkeys(group, anything))[anything]):
            assert not in_span(vectors, [int(atom in group) for atom in atoms]), (group, folding)


MAIN, RARE = "llama-3.1-8b-instruct", "bge-m3"


def usual(number: int, who: int, /, **changes: Any) -> Row:
    """Return a row of the first day's noon."""
    row = {
        "request_id": f"req_{number:032x}",
        "received_at": DAY_0_MS + 12 * HOUR_MS + number,
        "account": pseudonym(who),
        "model": MAIN,
        "region": "eu-west-1",
        "status": 200,
        **dict.fromkeys(TOKENS, 10),
    }
    return row | changes


def cells_of(store: Store, table: str = "usage_daily") -> dict[tuple[str, str], int]:
    """Return the requests of a table's cells, by model and status."""
    return {(key[1], key[3]): figures[0] for key, figures in read(store, table).items()}


def rare(first: int, last: int, **changes: Callable[[int], Any]) -> list[Row]:
    """Return rows of a model that nobody else uses, an account each; a change is made of the row's number."""
    return [
        usual(n, n, **{"model": RARE} | {name: change(n) for name, change in changes.items()})
        for n in range(first, last)
    ]


GROUPS: dict[str, tuple[list[Row], dict[tuple[str, str], int]]] = {
    "enough": (rare(100, 105), {(RARE, "200"): 5}),
    "too few": (rare(100, 104), {}),
    "folded": (rare(100, 106, model=lambda n: [RARE, "deepseek-v3"][n % 2], status=lambda _: 500), {(OTHER, OTHER): 6}),
    "folded by status": (rare(100, 106, model=lambda _: MAIN, status=lambda n: 400 + n % 2), {(MAIN, OTHER): 6}),
    "folded with the catalogue's own": (
        rare(100, 106, model=lambda _: OTHER, region=lambda _: OTHER, status=lambda n: 400 + n % 2) + rare(200, 203),
        {(OTHER, OTHER): 9},
    ),
    "most requests of one": (rare(100, 131, account=lambda n: pseudonym(max(n, 126))), {}),
    "most tokens of one": (rare(100, 120, total_tokens=lambda n: 10_000 if n == 100 else 1), {}),
    "tokens of few": (rare(100, 120, prompt_tokens=lambda n: 1 if n < 103 else None), {}),
    "two epochs of few": (rare(100, 108, account=lambda n: pseudonym(n // 2, n % 2)), {}),
    "of nobody": (rare(100, 120, account=lambda _: None), {}),
}


@pytest.mark.parametrize(("extra", "shown"), GROUPS.values(), ids=list(GROUPS))
def test_a_small_group_is_never_a_cell(
    store: Store, write: Callable[[Iterable[Row]], None], extra: list[Row], shown: dict[tuple[str, str], int]
) -> None:
    """Too few accounts, or one that makes most of it: the group folds into `other`, or is in no table at all."""
    write([*(usual(n, n) for n in range(20)), *extra])
    build(store, DAY_0_MS, DAY_0_MS + DAY_MS, NOW_MS, RULES)
    expected = {(MAIN, "200"): 20} | shown
    assert (cells_of(store), cells_of(store, "usage_hourly")) == (expected, expected)


def tables_holding(data: Path, needles: list[bytes]) -> set[str]:
    """Return the tables of a database in whose files any of the needles is."""
    return {table.name for table in data.iterdir() if any(holds(table.resolve(), needle) for needle in needles)}


def test_a_build_replaces_its_days_whole_and_an_erased_account_is_gone(
    store: Store, write: Callable[[Iterable[Row]], None], folder: Path
) -> None:
    """Built again it is the same; after an erasure it is what it would be had the account never been there."""
    rows = make_rows(3, 2000, days=2)
    write(rows)
    build(store, DAY_0_MS, TODAY_MS, NOW_MS, RULES)
    first = [read(store, name) for name in tables.TABLES]
    build(store, DAY_0_MS, DAY_0_MS + DAY_MS, NOW_MS, RULES)
    assert [read(store, name) for name in tables.TABLES] == first
    gone = {pseudonym(7, epoch) for epoch in (1, 2)}
    store.command(f"ALTER TABLE operational_rows UPDATE account = NULL WHERE account IN {sorted(gone)}")
    build(store, DAY_0_MS, DAY_0_MS + DAY_MS, NOW_MS, RULES)
    left = plainly([row for row in rows if row["account"] not in gone], RULES)
    second_day_ms = DAY_0_MS + DAY_MS
    expected = [
        {key: value for key, value in table.items() if key[0] < second_day_ms}
        | {key: value for key, value in before.items() if key[0] >= second_day_ms}
        for table, before in zip(left, first, strict=True)
    ]
    assert [read(store, name) for name in tables.TABLES] == expected != first
    sweep(store, NOW_MS)
    accounts = [pseudonym(number).encode() for number in range(20)]
    data = folder / "data" / store.database
    assert tables_holding(data, accounts) == {"operational_rows"}
    assert {path.name for path in data.iterdir()} == {
        "content_rows",
        "operational_rows",
        "rejected_rows",
        *tables.TABLES,
    }


def erase_one(store: Store, policy: Policy, number: int, operational: Operational) -> Erased:
    """Erase the only request of an account."""
    eraser = StoreEraser(store, policy, KEYS)
    return eraser.erase(Named(Subject.REQUEST, f"req_{number:032x}"), NOW_MS, NOW_MS, operational)


@pytest.mark.parametrize("operational", [Operational.UNLINK, Operational.DELETE])
def test_after_an_erasure_no_line_is_of_too_few(
    store: Store, write: Callable[[Iterable[Row]], None], policy: Policy, operational: Operational
) -> None:
    """The day loses its lines at once, bytes of other days none; the next build has them without the account."""
    later = [usual(n, n, received_at=TODAY_MS - 1) for n in range(200, 220)]
    write([*(usual(n, n) for n in range(20)), *rare(100, 105), *later])
    build(store, DAY_0_MS, TODAY_MS, NOW_MS, RULES)
    before = read(store, "usage_hourly")
    assert (erase_one(store, policy, 100, Operational.KEEP).days, read(store, "usage_hourly")) == (0, before)
    assert erase_one(store, policy, 100, operational).days == 1
    assert {key[0] for key in read(store, "usage_hourly")} == {TODAY_MS - HOUR_MS}
    assert cells_of(store) == {(MAIN, "200"): 20}
    report = build(store, TODAY_MS - DAY_MS, TODAY_MS, NOW_MS, RULES)  # a range is a range
    assert (report.days, {key[0] for key in read(store, "usage_daily")}) == (1, {TODAY_MS - DAY_MS})
    report = build(store, TODAY_MS - DAY_MS, TODAY_MS, NOW_MS, RULES, stale=True)
    assert (report.days, report.requests) == (2, 44)
    assert {key: value for key, value in read(store, "usage_hourly").items() if key[1] == RARE} == {}
    assert {key[0]: figures[0] for key, figures in read(store, "usage_daily").items()} == {
        DAY_0_MS: 20, TODAY_MS - DAY_MS: 20
    }  # fmt: skip
    assert build(store, TODAY_MS - DAY_MS, TODAY_MS, NOW_MS, RULES, stale=True).days == 1
    assert erase_one(store, policy, 100, operational).days == 0


def test_a_build_beside_an_erasure_brings_nothing_back(
    store: Store, write: Callable[[Iterable[Row]], None], policy: Policy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What it had counted before is taken out when it ends; the day waits, and the next build has it right."""
    write([*(usual(n, n) for n in range(20)), *rare(100, 105)])
    build(store, DAY_0_MS, DAY_0_MS + DAY_MS, NOW_MS, RULES)
    command = store.command

    def erased_meanwhile(sql: str, parameters: Mapping[str, Any] | None = None) -> None:
        if "REPLACE PARTITION" in sql and "usage_hourly" in sql:
            monkeypatch.undo()
            erase_one(store, policy, 100, Operational.UNLINK)
        command(sql, parameters)

    monkeypatch.setattr(store, "command", erased_meanwhile)
    build(store, DAY_0_MS, DAY_0_MS + DAY_MS, NOW_MS, RULES)
    assert [read(store, name) for name in tables.TABLES] == [{}, {}]
    build(store, TODAY_MS - DAY_MS, TODAY_MS, NOW_MS, RULES, stale=True)
    assert cells_of(store) == {(MAIN, "200"): 20}
    assert verify_store(store, NOW_MS)
    assert {one.verdict for one in verify_store(store, NOW_MS)} == {Verdict.HOLDS}


def test_no_pseudonym_is_in_a_file_of_aggregates(
    store: Store, write: Callable[[Iterable[Row]], None], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not in the tables, and not in those that a build works in, at the moment when they are fullest."""
    write([usual(n, n) for n in range(20)])
    accounts = [pseudonym(n).encode() for n in range(20)]
    seen: list[set[str]] = []
    command = store.command

    def watched(sql: str, parameters: Mapping[str, Any] | None = None) -> None:
        if "REPLACE PARTITION" in sql:
            seen.append(tables_holding(folder / "data" / store.database, accounts))
        command(sql, parameters)

    monkeypatch.setattr(store, "command", watched)
    build(store, DAY_0_MS, DAY_0_MS + DAY_MS, NOW_MS, RULES)
    seen.append(tables_holding(folder / "data" / store.database, accounts))
    assert seen == [{"operational_rows"}] * 3


def test_a_build_that_ends_in_the_middle_leaves_whole_tables(
    store: Store, write: Callable[[Iterable[Row]], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed between the tables, one is new and one is old, each whole; the next build completes and tidies up."""
    write([usual(n, n) for n in range(20)])
    build(store, DAY_0_MS, DAY_0_MS + DAY_MS, NOW_MS, RULES)
    write([usual(n, n) for n in range(20, 40)])
    command = store.command

    class Killed(BaseException):
        """Ends everything, as a signal does."""

    def killed(sql: str, parameters: Mapping[str, Any] | None = None) -> None:
        if "DROP TABLE" in sql or ("REPLACE PARTITION" in sql and "usage_daily" in sql):
            raise Killed
        command(sql, parameters)

    monkeypatch.setattr(store, "command", killed)
    with pytest.raises(Killed):
        build(store, DAY_0_MS, DAY_0_MS + DAY_MS, NOW_MS, RULES)
    monkeypatch.undo()
    assert (cells_of(store, "usage_hourly"), cells_of(store)) == ({(MAIN, "200"): 40}, {(MAIN, "200"): 20})
    monkeypatch.setattr("pipeline.store.scratch.LEFT_BEHIND_S", 0)
    time.sleep(1.1)
    build(store, DAY_0_MS, DAY_0_MS + DAY_MS, NOW_MS, RULES)
    assert cells_of(store) == {(MAIN, "200"): 40}
    assert store.query(
        "SELECT count() FROM system.tables WHERE name LIKE 'usage_build%' AND database = currentDatabase()"
    ).rows == [(0,)]


def test_the_declared_sink_is_these_tables(
    store: Store, write: Callable[[Iterable[Row]], None], policy: Policy
) -> None:
    """The policy names both tables and their clause; its bound is theirs, unless records go before."""
    declared = policy.stores[tables.DECLARED]
    assert declared.tables == tables.TABLES
    assert policy.clauses().items() >= dict.fromkeys(tables.TABLES, declared.clause).items()
    write([usual(n, n) for n in range(20)])
    found = []
    for bound_ms in (90 * DAY_MS, 999 * DAY_MS):
        build(store, DAY_0_MS, DAY_0_MS + DAY_MS, NOW_MS, RULES, bound_ms)
        found.append({one.bound_ms for one in verify_store(store, NOW_MS) if one.sink in tables.TABLES})
    assert found == [{90 * DAY_MS, DAY_MS}, {400 * DAY_MS, DAY_MS}]  # a mutation's is a day


def test_aggregates_expire_and_are_proved_like_the_rest(store: Store, write: Callable[[Iterable[Row]], None]) -> None:
    """Their bound is the operational records'; a day that lost its last group loses its cells."""
    write([usual(n, n) for n in range(20)])
    build(store, DAY_0_MS, DAY_0_MS + DAY_MS, NOW_MS, RULES)
    late_ms = DAY_0_MS + 400 * DAY_MS + 1
    rows = [one for one in verify_store(store, late_ms) if one.kind is Kind.ROWS]
    broken = {one.sink for one in rows if one.verdict is Verdict.BROKEN}
    assert broken == {"usage_daily"}  # what is of noon has until noon
    assert {one.sink for one in rows if one.verdict is Verdict.LATE} == {"operational", "usage_hourly"}
    sweep(store, late_ms)
    assert (cells_of(store), cells_of(store, "usage_hourly")) == ({}, {})
    write([usual(n, n) for n in range(20)])
    build(store, DAY_0_MS, DAY_0_MS + DAY_MS, NOW_MS, RULES)
    store.command("TRUNCATE TABLE operational_rows")
    build(store, DAY_0_MS, DAY_0_MS + DAY_MS, NOW_MS, RULES)
    assert (cells_of(store), cells_of(store, "usage_hourly")) == ({}, {})


@pytest.mark.parametrize(
    ("since_ms", "until_ms", "said"),
    [
        (DAY_0_MS, DAY_0_MS, "the later one"),
        (DAY_0_MS + 1, TODAY_MS, "days in UTC"),
        (DAY_0_MS, TODAY_MS + DAY_MS, "--until is at most"),
        (TODAY_MS - 400 * DAY_MS, TODAY_MS, "swept or due"),
    ],
)
def test_only_whole_days_that_are_there_are_built(
    store: Store, write: Callable[[Iterable[Row]], None], since_ms: int, until_ms: int, said: str
) -> None:
    """A day that is not over would be shown twice, and one that is partly swept would lose what it had."""
    write([])
    with pytest.raises(ConfigError, match=said):
        build(store, since_ms, until_ms, NOW_MS, RULES)


def test_the_command_builds_and_says_what(
    folder: Path, policy: Policy, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Two days by default, ten accounts at least; a store without records, and a date that is none, are errors."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LETHE_STORE", f"chdb:{folder}")
    call = partial(CliRunner().invoke, aggregates.app)
    assert "there are no operational records" in str(call(["build"]).exception)
    with open_store(f"chdb:{folder}", now_ms=NOW_MS) as opened:
        writer = write_into(opened, policy)
        writer([usual(n, n % 9) for n in range(50)])
        writer([usual(n, n % 10, received_at=TODAY_MS - 1) for n in range(50, 150)])
    assert json.loads(call(["build", "--json"]).output) == {
        "days": 2, "requests": 150, "hourly": 1, "daily": 1, "hourly_requests": 100, "daily_requests": 100
    }  # fmt: skip
    lines = call(["build", "--since", to_iso(DAY_0_MS)[:10], "--until", to_iso(TODAY_MS)[:10]]).output.splitlines()
    assert lines[-1].split() == ["usage_daily", "1", "100", "50"]
    assert "--since takes a day" in str(call(["build", "--since", "2026-02-30"]).exception)
