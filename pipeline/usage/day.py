"""One day of operational records, counted in the store: by account to judge groups, by cell to fill the tables."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pipeline.coarsen import DAY_MS
from pipeline.store.client import Store
from pipeline.usage import tables
from pipeline.usage.folding import Cell, Group, Rules, Share

TAIL_MIN = 10
"""A quantile is shown where so many requests lie beyond it: one that few lie beyond is the figure of one of them."""
NO_REGION = "none"

_ATOM = {"hour": "Int8", "model": "String", "region": "String", "status": "String"}
_ATOM_OF_ROW = {
    "hour": "toInt8(toHour(received_at))",
    "model": "toString(model)",
    "region": f"toString(ifNull(region, '{NO_REGION}'))",
    "status": "toString(status)",
}
_MEASURES = ("requests", *tables.TOKENS)
_TIMED = tuple(f"has_{duration}" for duration in tables.DURATIONS)
# An account that an erasure took out is nobody who could be counted: such rows are left out, as if they were deleted.
_OF_THE_DAY = (
    "received_at >= fromUnixTimestamp64Milli({begin:Int64}, 'UTC') "
    "AND received_at < fromUnixTimestamp64Milli({end:Int64}, 'UTC') AND account IS NOT NULL"
)
_CELL = ("cell_hour", "cell_model", "cell_region", "cell_status")


def create_accounts(name: str) -> str:
    """Return the statement that makes the table of what each account did: in memory, since it has pseudonyms."""
    columns = {**_ATOM, "account": "String", **dict.fromkeys((*_MEASURES, *_TIMED), "UInt64")}
    return f"CREATE TABLE {name} ({_declare(columns)}) ENGINE = Memory"


def create_folding(name: str) -> str:
    """Return the statement that makes the table of which cell each atom is in."""
    columns = {**_ATOM, **dict(zip(_CELL, _ATOM.values(), strict=True)), **dict.fromkeys(_TIMED, "UInt8")}
    return f"CREATE TABLE {name} ({_declare(columns)}) ENGINE = Memory"


def _declare(columns: Mapping[str, str]) -> str:
    return ", ".join(f"{name} {kind}" for name, kind in columns.items())


@dataclass(frozen=True, slots=True)
class Day:
    """A day in UTC, and the two scratch tables in which it is counted.

    Attributes:
        store: an open store.
        begin_ms: its midnight, epoch milliseconds.
        accounts: table made by `create_accounts`.
        folding: table made by `create_folding`.
    """

    store: Store
    begin_ms: int
    accounts: str
    folding: str

    def load(self) -> Counter[Cell]:
        """Count what each account did, and return the requests of each atom.

        Raises:
            SinkUnavailable: the store did not answer, or refused; so do all others here.
        """
        self.store.command(f"TRUNCATE TABLE {self.accounts}")
        atom = ", ".join(f"{sql} AS atom_{name}" for name, sql in _ATOM_OF_ROW.items())
        sums = ", ".join(
            ["count()", *(f"sum(ifNull({name}, 0))" for name in tables.TOKENS)]
            + [f"count({duration})" for duration in tables.DURATIONS]
        )
        groups = ", ".join(f"atom_{name}" for name in _ATOM)
        self.store.command(
            f"INSERT INTO {self.accounts} SELECT {atom}, assumeNotNull(account) AS who, {sums} "  # noqa: S608 - our own names
            f"FROM operational WHERE {_OF_THE_DAY} GROUP BY {groups}, who",
            self._range(),
        )
        names = ", ".join(_ATOM)
        found = self.store.query(f"SELECT {names}, sum(requests) FROM {self.accounts} GROUP BY {names}")  # noqa: S608 - as above
        return Counter({Cell(*atom): int(requests) for *atom, requests in found.rows})

    def judge(self, grouping: Mapping[Cell, Cell]) -> dict[Cell, Group]:
        """Return the shares of each group, as `pipeline.usage.folding.Judge`."""
        return self._shares(grouping, _MEASURES)

    def fill(self, table: str, cells: Mapping[Cell, Cell], rules: Rules) -> None:
        """Add the day's cells to a table of aggregates.

        Args:
            table: its name.
            cells: of each atom; one without is left out.
            rules: a duration is shown where the requests that have one would be shown by themselves.
        """
        if not cells:
            return
        timed = self._shares(cells, _TIMED)
        shown = {cell: tuple(rules.allow((share,)) for share in group) for cell, group in timed.items()}
        self._set_folding(cells, shown)
        on = " AND ".join(f"{sql} = {self.folding}.{name}" for name, sql in _ATOM_OF_ROW.items())
        self.store.command(
            f"INSERT INTO {table} SELECT {', '.join(_columns())} FROM operational "  # noqa: S608 - as above
            f"INNER JOIN {self.folding} ON {on} WHERE {_OF_THE_DAY} GROUP BY {', '.join(_CELL)}",
            self._range(),
        )

    def _shares(self, grouping: Mapping[Cell, Cell], measures: tuple[str, ...]) -> dict[Cell, Group]:
        self._set_folding(grouping, {})
        cell, names = ", ".join(_CELL), ", ".join(_ATOM)
        sums = ", ".join(f"sum({self.accounts}.{name}) AS m_{name}" for name in measures)
        spread = ", ".join(
            f"countIf(m_{name} > 0) AS n_{name}, sum(m_{name}) AS s_{name}, max(m_{name}) AS l_{name}"
            for name in measures
        )
        # Over key epochs: at least as many accounts as in the one with most, at most the largest of each together.
        whole = ", ".join(f"max(n_{name}), sum(s_{name}), sum(l_{name})" for name in measures)
        by_account = (
            f"SELECT {cell}, account, {sums} FROM {self.accounts} "  # noqa: S608 - as above
            f"INNER JOIN {self.folding} USING ({names}) GROUP BY {cell}, account"
        )
        by_epoch = (
            f"SELECT {cell}, splitByChar(':', account)[1] AS epoch, {spread} FROM ({by_account}) "  # noqa: S608 - as above
            f"GROUP BY {cell}, epoch"
        )
        found = self.store.query(f"SELECT {cell}, {whole} FROM ({by_epoch}) GROUP BY {cell}")  # noqa: S608 - as above
        return {Cell(*row[:4]): _to_group(row[4:]) for row in found.rows}

    def _set_folding(self, cells: Mapping[Cell, Cell], shown: Mapping[Cell, tuple[bool, ...]]) -> None:
        self.store.command(f"TRUNCATE TABLE {self.folding}")
        types = {**_ATOM, **dict(zip(_CELL, _ATOM.values(), strict=True)), **dict.fromkeys(_TIMED, "UInt8")}
        none = (False,) * len(_TIMED)
        rows = [(*atom, *cell, *shown.get(cell, none)) for atom, cell in cells.items()]
        self.store.insert(self.folding, dict(zip(types, zip(*rows, strict=True), strict=True)), types)

    def _range(self) -> dict[str, Any]:
        return {"begin": self.begin_ms, "end": self.begin_ms + DAY_MS}


def _to_group(values: tuple[int, ...]) -> Group:
    return tuple(Share(*values[begin : begin + 3]) for begin in range(0, len(values), 3))


def _columns() -> list[str]:
    """Return an expression for each column of a table of aggregates."""
    hours = "if(cell_hour < 0, 0, cell_hour) * 3600"
    quantiles = [
        f"if(any({timed}) AND count({duration}) * {100 - percent} >= {100 * TAIL_MIN}, "
        f"toUInt32(floor(quantileExactIf({percent / 100})(assumeNotNull({duration}), {duration} IS NOT NULL))), NULL)"
        for timed, duration in zip(_TIMED, tables.DURATIONS, strict=True)
        for percent in tables.PERCENTS
    ]
    return [
        f"toDateTime(intDiv({{begin:Int64}}, 1000) + {hours}, 'UTC')",
        *_CELL[1:],
        *("count()", "countIf(toUInt16(operational.status) >= 400)"),
        "countIf(toUInt16(operational.status) >= 400) / count()",
        *(f"sum(ifNull({name}, 0))" for name in tables.TOKENS),
        *quantiles,
    ]
