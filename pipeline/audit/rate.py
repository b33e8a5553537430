"""How often someone may look behind pseudonyms and into content: counted from the audit log itself. Pure.

The log is what survives a restart and what nobody can write without a trace. An action is on record before it is
judged, so of two at the same moment neither is passed over.
"""

from collections.abc import Sequence
from typing import NamedTuple

from pipeline.audit.entry import Action, Entry, Operator, Outcome
from pipeline.coarsen import DAY_MS, format_timestamp

RATED = frozenset({
    *(Action.FIND, Action.RESOLVE, Action.PSEUDONYM, Action.SEARCH, Action.OPEN, Action.RESCRUB, Action.PURGE),
})  # fmt: skip
"""The actions that share one budget."""
WINDOW_MS = DAY_MS
_HOUR_MS = 3_600_000


class Rates(NamedTuple):
    """What one operator may do.

    Attributes:
        hour_max: actions within an hour.
        day_max: actions within 24 hours.
        ids_day_max: ids whose pseudonyms are asked for within 24 hours.
    """

    hour_max: int
    day_max: int
    ids_day_max: int


def find_excess(entries: Sequence[Entry], operator: Operator, rates: Rates, now_ms: int) -> str:
    """Say which bound an operator has gone beyond, "" for none.

    An action is an operator's when the actor or the login is the same: another LETHE_ACTOR gives no other budget.
    What was refused does not count, so that it does not keep itself refused.

    Args:
        entries: of the last `WINDOW_MS`, in any order; that which begins the action is among them.
        operator: who acts.
        rates: the bounds.
        now_ms: now, epoch milliseconds.
    """
    refused = {entry["started"] for entry in entries if entry["outcome"] == Outcome.REFUSED}
    begun = [
        entry
        for entry in entries
        if entry["outcome"] == Outcome.STARTED
        and entry["action"] in RATED
        and entry["sequence"] not in refused
        and (entry["actor"] == operator.actor or entry["login"] == operator.login)
    ]
    hour_ago = format_timestamp(now_ms - _HOUR_MS)  # timestamps of entries have one form, so they compare as text
    if sum(entry["at"] >= hour_ago for entry in begun) > rates.hour_max:
        return f"more than {rates.hour_max:,} privileged look-ups within an hour (LETHE_DESK_HOUR_MAX)"
    if len(begun) > rates.day_max:
        return f"more than {rates.day_max:,} privileged look-ups within a day (LETHE_DESK_DAY_MAX)"
    if sum(entry["counts"].get("ids", 0) for entry in begun) > rates.ids_day_max:
        return f"pseudonyms of more than {rates.ids_day_max:,} ids within a day (LETHE_DESK_IDS_DAY_MAX)"
    return ""
