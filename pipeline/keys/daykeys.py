"""The keys that seal content: one a UTC day of received_at, random, destroyed when the day is due. Pure.

With the key goes whatever it sealed: what a backup, a snapshot or a stray segment still has of a day is unreadable
from ``day + bound`` on, whoever keeps it (policy §5, design §5). Nothing here shows a key.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NoReturn

from pipeline.coarsen import DAY_MS, HOUR_MS, begin_ms, day_of
from pipeline.errors import KeyringError
from pipeline.keys.cipher import KEY_BYTES

DAYS_AHEAD = 2
LEAD_MS = 2 * HOUR_MS
"""How long before the end of its life a key is destroyed."""

_ID = re.compile(r"[0-9a-f]{8}", re.ASCII)


@dataclass(frozen=True, slots=True)
class DayKey:
    """The key of one day.

    Attributes:
        day: ``2026-11-23``.
        tag: 8 random hex digits: another key of the same day has others.
        key: 32 secret bytes.
    """

    day: str
    tag: str
    key: bytes = field(repr=False)

    def __post_init__(self) -> None:
        """Refuse what is of another form."""
        check_name(self.day, self.tag)
        if len(self.key) != KEY_BYTES:
            raise KeyringError(f"the key of day {self.day} is not {KEY_BYTES} bytes long")

    @property
    def name(self) -> str:
        """Return what records carry: day and tag."""
        return f"{self.day}.{self.tag}"

    def __reduce__(self) -> NoReturn:
        """Refuse to be pickled or copied."""
        raise KeyringError("keys are never pickled: every process loads the keyring itself")


class DayKeys:
    """The days' keys that a process has."""

    def __init__(self, keys: Iterable[DayKey]) -> None:
        """Take the keys.

        Raises:
            KeyringError: two are of one day, or the same: to destroy one would destroy nothing.
        """
        of_day: dict[str, DayKey] = {}
        for one in keys:
            if one.day in of_day:
                raise KeyringError(f"day {one.day} has two keys")
            of_day[one.day] = one
        if len({one.key for one in of_day.values()}) < len(of_day):
            raise KeyringError("a key is there twice: removing one would not remove it")
        self._of_day = of_day
        self._of_name = {one.name: one for one in of_day.values()}

    @property
    def days(self) -> tuple[str, ...]:
        """Return the days, in order."""
        return tuple(sorted(self._of_day))

    def at(self, received_at_ms: int) -> DayKey:
        """Return the key that seals what was received at a time.

        Raises:
            KeyringError: there is none. The process must stop: nothing goes out unsealed for want of a key.
        """
        known = self._of_day.get(day_of(received_at_ms))
        if known is None:
            raise KeyringError("the keyring has no key of an event's day: run 'lethe keys roll'")
        return known

    def named(self, name: str) -> DayKey | None:
        """Return the key of a name that a record carries; None where there is none, or no more."""
        return self._of_name.get(name)

    def __repr__(self) -> str:
        """Name the days."""
        return f"DayKeys({', '.join(self.days)})"

    def __reduce__(self) -> NoReturn:
        """Refuse to be pickled or copied."""
        raise KeyringError("keys are never pickled: every process loads the keyring itself")


def check_name(day: str, tag: str) -> None:
    """Refuse a day or tag of another form.

    Raises:
        KeyringError: it is one.
    """
    if begin_ms(day) is None:
        raise KeyringError("the day of a day key is not YYYY-MM-DD")
    if _ID.fullmatch(tag) is None:
        raise KeyringError(f"the id of the key of day {day} is not 8 hex digits")


def life_ms(bound_ms: int) -> int:
    """Return how long after its day's beginning a key may be there.

    A day's oldest record is of midnight, so that is the bound. Where the bound is shorter than two days it would leave
    too little to read: the key then lives a day longer, and it is topics and stores alone that keep the bound.

    Args:
        bound_ms: of content, from the request to its bytes being gone.
    """
    return bound_ms + (DAY_MS if _is_short(bound_ms) else 0)


def held_ms(bound_ms: int) -> int:
    """Return how long after its day's beginning a key is kept.

    That is two hours less than its life, so that an hourly timer may fail once; of one that lives longer than the bound
    anyway, its life.

    Args:
        bound_ms: as in `life_ms`.
    """
    return life_ms(bound_ms) - (0 if _is_short(bound_ms) else LEAD_MS)


def due_ms(day: str, bound_ms: int) -> int:
    """Return from when on the key of a day is to be destroyed, epoch milliseconds.

    Args:
        day: ``2026-11-23``.
        bound_ms: as in `life_ms`.
    """
    return (begin_ms(day) or 0) + held_ms(bound_ms)


def living_days(now_ms: int, bound_ms: int) -> list[str]:
    """Return the days that have a key at a time, in order: all that are not due, and the next two."""
    today_ms = now_ms - now_ms % DAY_MS
    first_ms = today_ms - life_ms(bound_ms) // DAY_MS * DAY_MS
    days = [day_of(at_ms) for at_ms in range(first_ms, today_ms + DAYS_AHEAD * DAY_MS + 1, DAY_MS)]
    return [day for day in days if due_ms(day, bound_ms) > now_ms]


def _is_short(bound_ms: int) -> bool:
    return bound_ms < 2 * DAY_MS
