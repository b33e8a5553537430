"""Slices on their way out: what comes while deliveries are under way goes together with the next one.

At low rates a fetch brings a few records of each partition, and a round trip for each of them would be all that the
worker does. So only a few deliveries are under way at once, and each takes all that waits.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import NoReturn

from pipeline.worker.route import Outgoing
from pipeline.worker.slices import Slice

DELIVERIES_MAX = 2
SLICES_MAX = 64
"""Slices that wait or are on their way; beyond it whoever has one more waits."""
BYTES_MAX = 32 << 20
"""Likewise their bytes, unless one slice has more: a broker refuses a request of more than 100 MiB."""


class Outbox:
    """Delivers slices, in the order in which they come."""

    def __init__(
        self,
        deliver: Callable[[Sequence[Outgoing]], Awaitable[None]],
        done: Callable[[Sequence[Slice], float], None],
        end: Callable[[BaseException], NoReturn],
    ) -> None:
        """Prepare.

        Args:
            deliver: sends records, and returns when all are acknowledged.
            done: takes note of slices that are delivered, and of how many seconds that took.
            end: ends the process for a reason: whatever it is, records may not be there.
        """
        self._deliver = deliver
        self._done = done
        self._end = end
        self._waiting: list[Slice] = []
        self._slices = self._bytes = 0
        self._room = asyncio.Event()
        self._deliveries: set[asyncio.Task[None]] = set()

    def __len__(self) -> int:
        """Return how many slices are not delivered yet."""
        return self._slices

    async def put(self, made: Slice) -> None:
        """Take a slice, as soon as there is room for it."""
        while self._slices and (self._slices >= SLICES_MAX or self._bytes + made.outgoing_bytes > BYTES_MAX):
            self._room.clear()
            await self._room.wait()
        self._slices += 1
        self._bytes += made.outgoing_bytes
        self._waiting.append(made)
        self._send()

    def _send(self) -> None:
        if self._waiting and len(self._deliveries) < DELIVERIES_MAX:
            slices, self._waiting = self._waiting, []
            task = asyncio.create_task(self._pass_on(slices))
            self._deliveries.add(task)
            task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._deliveries.discard(task)
        self._send()

    async def _pass_on(self, slices: Sequence[Slice]) -> None:
        began_s = time.monotonic()
        try:
            await self._deliver([record for made in slices for record in made.outgoing])
            self._done(slices, time.monotonic() - began_s)
        except asyncio.CancelledError:
            raise
        except BaseException as error:  # noqa: BLE001 - whatever it is, the records may not be there
            self._end(error)
        finally:
            self._slices -= len(slices)
            self._bytes -= sum(made.outgoing_bytes for made in slices)
            self._room.set()
