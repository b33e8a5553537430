"""Which rows are counted together, so that no group is small: not in a cell, and not in what cells leave over. Pure.

Rows are never looked at here. A day consists of **atoms**, the rows of one hour, model, region and status; a *grouping*
says which atoms are counted together, and a judge says of each group how many accounts it has and how much of it the
largest one makes. docs/aggregates.md says why the rules are what they are, and what they do not hold.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

OTHER = "other"
WHOLE_DAY = -1


class Cell(NamedTuple):
    """What is counted together; as an atom, with the values that its rows have.

    Attributes:
        hour: of the day, in UTC, or `WHOLE_DAY`.
        model, region, status: as in the records, or ``other``.
    """

    hour: int
    model: str
    region: str
    status: str


_LAST = Cell(WHOLE_DAY, OTHER, OTHER, OTHER)


class Share(NamedTuple):
    """How a sum is spread over accounts.

    Attributes:
        accounts: how many add to it, at least: an account whose key epoch changed counts once, where it adds most.
        total: the sum.
        largest: what the largest account adds, at most.
    """

    accounts: int
    total: int
    largest: int


Group = tuple[Share, ...]
"""The shares of one group: of its requests first, then of each sum of tokens."""
Judge = Callable[[Mapping[Cell, Cell]], Mapping[Cell, Group]]
"""Takes the cell of each atom; returns the group of each cell."""


@dataclass(frozen=True, slots=True)
class Rules:
    """When a group may be shown.

    Attributes:
        accounts_min: fewest accounts.
        share_max: largest share of one account, in percent.
    """

    accounts_min: int = 10
    share_max: int = 80

    def allow(self, group: Group) -> bool:
        """Return whether a group may be shown.

        Tokens that few accounts have are a small group too, in whatever company; those that nobody has are none.
        """
        requests, *tokens = group
        return all(self._allow_share(share) for share in (requests, *(share for share in tokens if share.total)))

    def _allow_share(self, share: Share) -> bool:
        return share.accounts >= self.accounts_min and share.largest * 100 <= share.total * self.share_max


@dataclass(frozen=True, slots=True)
class Folding:
    """The cell of each atom; an atom without one is left out.

    Attributes:
        daily: in the table of days.
        hourly: in the table of hours.
    """

    daily: Mapping[Cell, Cell]
    hourly: Mapping[Cell, Cell]


def fold_day(atoms: Iterable[Cell], judge: Judge, rules: Rules) -> Folding:
    """Decide where each atom of a day is counted.

    Args:
        atoms: of the day.
        judge: asked some ten times, about ever fewer groups.
        rules: when a group may be shown.
    """
    daily = _fold_whole_day(list(atoms), judge, rules)
    return Folding(daily, _fold_hours(daily, judge, rules))


def _fold_whole_day(atoms: list[Cell], judge: Judge, rules: Rules) -> dict[Cell, Cell]:
    """Fold by status first, then all that is left: a cell's model and region say more than its status."""
    shown: dict[Cell, Cell] = {}
    for keep in (("model", "region", "status"), ("model", "region"), ()):
        rest = {atom: _fold(atom, keep) for atom in atoms if atom not in shown}
        groups = judge(rest) if rest else {}
        # The catalogue's own `other` can come to this cell before the last step does: it waits for the rest.
        good = {cell for cell, group in groups.items() if rules.allow(group) and (cell != _LAST or not keep)}
        shown |= {atom: cell for atom, cell in rest.items() if cell in good}
    return shown


def _fold(atom: Cell, keep: Iterable[str]) -> Cell:
    return Cell(WHOLE_DAY, *(getattr(atom, name) if name in keep else OTHER for name in ("model", "region", "status")))


def _fold_hours(daily: Mapping[Cell, Cell], judge: Judge, rules: Rules) -> dict[Cell, Cell]:
    """Show of each of the day's cells the hours that may be shown.

    Whoever takes a cell's hours from its day has its other hours: together these must be no small group either. Where
    they are one, more hours stay out, the smallest first. None of them goes into the hour's ``other``: taken from
    there, with the day's figures, they would be seen alone. So all that is shown consists of blocks, a cell in an hour
    or in its hours that are not shown, and no sum or difference of figures divides a block.
    """
    hourly = {atom: cell._replace(hour=atom.hour) for atom, cell in daily.items()}
    groups = judge(hourly) if hourly else {}
    shown = {cell for cell, group in groups.items() if rules.allow(group)}
    while True:
        withheld = {atom: daily[atom] for atom, cell in hourly.items() if cell not in shown}
        small = {day for day, group in judge(withheld).items() if not rules.allow(group)} if withheld else set()
        smallest: dict[Cell, Cell] = {}
        for cell in sorted(shown, key=lambda cell: (-groups[cell][0].total, cell)):
            if (day := cell._replace(hour=WHOLE_DAY)) in small:
                smallest[day] = cell
        if not smallest:
            return {atom: cell for atom, cell in hourly.items() if cell in shown}
        shown -= set(smallest.values())
