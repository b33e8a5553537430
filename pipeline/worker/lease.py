"""For how long this process is surely a member of its group, and what it may do after that: send nothing.

An erasure waits for the members of the group, and for nobody else. A member that was stopped or cut off past its
session is none any more, and would go on with records that it made before, without the erasure. So it sends a record
only while it knows itself a member: until one session after the sending of the last heartbeat that was answered well.
"""

import asyncio
import time
from collections.abc import Callable

from pipeline.errors import SinkUnavailable

_POLL_S = 0.05
EVICTED = (
    "the group went on without this worker, which was stopped or cut off for longer than LETHE_SESSION_S: what it had "
    "in the works is not sent, and is read again"
)


def awake_or_not_s() -> float:
    """Return seconds that also count a suspended machine's, where the system has such a clock."""
    clock = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
    return time.clock_gettime(clock)


class Lease:
    """Is renewed on the client's thread and asked on the worker's loop: plain attributes, which CPython writes whole.

    A lost one stays lost until the process has joined its group anew, which it does when nothing of before is in the
    works.
    """

    def __init__(self, session_s: float, rebalance_s: float, clock: Callable[[], float] = awake_or_not_s) -> None:
        """Begin without one.

        Args:
            session_s: how long the group waits for a silent member.
            rebalance_s: how long it waits for a member that heartbeats, and does not join a rebalance.
            clock: seconds.
        """
        self._session_s, self._rebalance_s = session_s, rebalance_s
        self.clock = clock
        self._settled_s = self._until_s = clock()
        self._lost = False

    def renew(self, sent_s: float, *, settled: bool) -> None:
        """Take note of a heartbeat that was answered well.

        Args:
            sent_s: when it was sent, by this lease's clock: the group counts from later.
            settled: whether the group does not rebalance.
        """
        self._settled_s = sent_s if settled else self._settled_s
        self._until_s = min(sent_s + self._session_s, self._settled_s + self._rebalance_s)

    def begin(self) -> None:
        """Take note that the group is joined anew: what was lost before is over."""
        self._lost = False

    def lose(self) -> None:
        """Take note that the group does not know this member any more."""
        self._lost = True
        self._until_s = self.clock() - self._session_s

    async def held(self) -> None:
        """Return as soon as this process is surely a member.

        Raises:
            SinkUnavailable: it is none any more.
        """
        while self.clock() >= self._until_s:
            if self._lost:
                raise SinkUnavailable(EVICTED)
            await asyncio.sleep(_POLL_S)
