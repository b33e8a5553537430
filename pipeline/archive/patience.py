"""Calls of the store from the event loop: in a thread of their own, and again for a bounded time when they fail."""

import asyncio
import random
import time
from collections.abc import Callable
from concurrent.futures import Executor
from typing import TypeVar

from pipeline.errors import SinkUnavailable

_DELAY_S_MIN, _DELAY_S_MAX = 0.5, 15.0

T = TypeVar("T")


class Patience:
    """Calls a store that may be down."""

    def __init__(self, aside: Executor, retry_s: float, log: Callable[[str], None], failed: Callable[[], None]) -> None:
        """Prepare.

        Args:
            aside: runs the calls, one at a time.
            retry_s: how long a call that fails is tried again.
            log: writes a line for operators.
            failed: called at each failure.
        """
        self._aside, self._retry_s, self._log, self._failed = aside, retry_s, log, failed

    async def once(self, action: Callable[[], T]) -> T:
        """Call, and only once.

        Raises:
            SinkUnavailable: it failed.
        """
        return await asyncio.get_running_loop().run_in_executor(self._aside, action)

    async def call(self, action: Callable[[], T]) -> T:
        """Call, and call again after a failure, with growing pauses.

        Raises:
            SinkUnavailable: it failed for too long; the text names the store.
        """
        began_s, delay_s = time.monotonic(), _DELAY_S_MIN
        while True:
            try:
                return await self.once(action)
            except SinkUnavailable as error:
                problem = str(error)
            self._failed()
            left_s = began_s + self._retry_s - time.monotonic()
            if left_s <= 0:
                raise SinkUnavailable(f"{problem}, for {self._retry_s:g} s now. What is not stored will be read again")
            self._log(f"{problem}; trying again, for {left_s:.0f} s more")
            await asyncio.sleep(min(left_s, delay_s * random.uniform(0.8, 1.2)))  # noqa: S311 - spreads retries
            delay_s = min(2 * delay_s, _DELAY_S_MAX)
