"""Ends a worker that is stuck: a thread that looks at its signs of life, which works while the event loop does not."""

import threading
from collections.abc import Callable

from pipeline.errors import describe
from pipeline.worker.health import liveness
from pipeline.worker.vitals import Snapshot

INTERVAL_S = 1.0


def verdict(snapshot: Snapshot, stuck_s: float, grace_s: float) -> str:
    """Say why a worker must end now, or "" when it may go on.

    Args:
        snapshot: its signs of life.
        stuck_s: as for `pipeline.worker.health.liveness`.
        grace_s: how long it may drain.
    """
    if snapshot.stopping_s is not None and snapshot.stopping_s >= grace_s:
        return f"did not drain within {grace_s:g} s"
    return liveness(snapshot, stuck_s)


class Watchdog:
    """Looks at a worker's signs of life until it is closed, or has ended the worker.

    A reason must stand in two looks. A process that was stopped (SIGSTOP) can find every age grown by
    `pipeline.worker.vitals.GAP_S_MAX`, and its loop gets the time between two looks to come round. Ages are counted by
    the clock of the vitals, which each look reads.

    It cannot look while one call holds the interpreter for good. Then nothing in this process can; the probes do not
    answer, and the orchestrator ends it.
    """

    def __init__(
        self,
        look: Callable[[], Snapshot],
        end: Callable[[str], None],
        *,
        stuck_s: float,
        grace_s: float,
        interval_s: float = INTERVAL_S,
    ) -> None:
        """Begin to look.

        Args:
            look: returns the signs of life, see `pipeline.worker.vitals.Vitals.snapshot`.
            end: ends the process for a reason. It is called once, on the watchdog's thread.
            stuck_s: as for `verdict`.
            grace_s: as for `verdict`.
            interval_s: time between two looks.
        """
        self._look = look
        self._end = end
        self._stuck_s = stuck_s
        self._grace_s = grace_s
        self._interval_s = interval_s
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="watchdog", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Look no more."""
        self._closed.set()
        if threading.current_thread() is not self._thread:
            self._thread.join()

    def _watch(self) -> None:
        before = ""
        while not self._closed.wait(self._interval_s):
            reason = self._judge()
            if before and reason:
                self._end(reason)
                return
            before = reason

    def _judge(self) -> str:
        try:
            return verdict(self._look(), self._stuck_s, self._grace_s)
        except Exception as error:  # noqa: BLE001 - a watchdog that died in silence would be worse than none
            return f"the watchdog cannot look: {describe(error)}"
