"""Where to begin in a partition (design §4): nothing of a log is passed over in silence. Pure."""

from typing import NamedTuple


class Start(NamedTuple):
    """Where reading begins.

    Attributes:
        offset: of the first record to read.
        expired: the range of offsets (first, last) that was not read before retention took it, or None.
        restarted: the committed offset lies beyond the log's end: the topic was made anew, or its log was cut.
    """

    offset: int
    expired: tuple[int, int] | None = None
    restarted: bool = False


def choose_start(committed: int | None, log_start: int, log_end: int) -> Start:
    """Decide where to begin.

    Args:
        committed: offset that the group committed, None where there is none: a first start, or a new partition.
        log_start: first offset that the broker still has.
        log_end: offset that the next record will get.
    """
    if committed is None:
        return Start(log_start)
    if committed > log_end:
        return Start(log_start, restarted=True)
    if committed < log_start:
        return Start(log_start, expired=(committed, log_start - 1))
    return Start(committed)
