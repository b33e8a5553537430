"""What the libraries of a worker may say: warnings, without tracebacks, and the same one once in a while.

A traceback or a message with its arguments filled in by someone else can hold what an event held. aiokafka's and
Faust's warnings name brokers, topics, offsets and error codes; exceptions are named by their type and place alone.
"""

import logging
import sys
import time
from collections.abc import Callable
from types import TracebackType

from pipeline.client import quiet_clients
from pipeline.errors import describe

REPEAT_S = 60.0
_KEPT_MAX = 256


class PlainFormatter(logging.Formatter):
    """One line a message; of an exception its type and place."""

    def formatException(  # noqa: N802 - the base class's name
        self,
        ei: tuple[type[BaseException], BaseException, TracebackType | None] | tuple[None, None, None],
    ) -> str:
        """Name an exception without its message and frames."""
        return "" if ei[1] is None else describe(ei[1])


class OnceInAWhile(logging.Filter):
    """Lets a message of a place in the code through once in `REPEAT_S`: a broker that is away causes hundreds."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._clock = clock
        self._said_s: dict[tuple[str, int], float] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Say whether a message may pass."""
        place, now_s = (record.pathname, record.lineno), self._clock()
        if now_s - self._said_s.get(place, -REPEAT_S) < REPEAT_S:
            return False
        if len(self._said_s) >= _KEPT_MAX:
            self._said_s.clear()
        self._said_s[place] = now_s
        return True


def listen_to_libraries() -> None:
    """Send warnings of every library to standard error, as this module says; nothing below them is said."""
    quiet_clients()
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(PlainFormatter("%(name)s: %(message)s"))
    handler.addFilter(OnceInAWhile())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
