"""An event loop in a thread of its own, so that a command may wait for its input while Kafka's client goes on.

Reading standard input blocks, and Ctrl-C reaches the main thread only: so the command reads there, and the client,
which needs a loop, runs here.
"""

import asyncio
import threading
from collections.abc import AsyncIterator, Coroutine, Iterator
from concurrent.futures import Future
from types import TracebackType
from typing import Any, Self, TypeVar

T = TypeVar("T")

_SWEEPS = 3
"""Kafka's client begins new tasks while it is being stopped; once is not enough."""


class LoopThread:
    """A running event loop. Use it as a context manager: at the end, what still runs is cancelled and waited for."""

    def __init__(self) -> None:
        self._started = threading.Event()
        # A daemon, so that a second Ctrl-C ends the process even when Kafka does not answer.
        self._thread = threading.Thread(target=lambda: asyncio.run(self._main()), name="lethe-kafka", daemon=True)
        self.loop: asyncio.AbstractEventLoop
        self._stop: asyncio.Event

    async def _main(self) -> None:
        self.loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        self._started.set()
        await self._stop.wait()
        for _ in range(_SWEEPS):
            left = asyncio.all_tasks() - {asyncio.current_task()}
            for task in left:
                task.cancel()
            if left:
                await asyncio.wait(left)

    def __enter__(self) -> Self:
        self._thread.start()
        self._started.wait()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()

    def start(self, work: Coroutine[Any, Any, T]) -> "Future[T]":
        """Begin some work on the loop."""
        return asyncio.run_coroutine_threadsafe(work, self.loop)

    def call(self, work: Coroutine[Any, Any, T]) -> T:
        """Do some work on the loop, and wait for it."""
        return self.start(work).result()

    def iterate(self, items: AsyncIterator[T]) -> Iterator[T]:
        """Yield what an asynchronous iterator yields. One that is left early ends with the loop."""
        end = object()

        async def step() -> T | object:
            return await anext(items, end)

        while (item := self.call(step())) is not end:
            yield item  # type: ignore[misc]  # the only other object is the end
