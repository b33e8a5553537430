"""What is in the works, so that one can wait for all that was begun before a moment, and for nothing after it."""

import asyncio


class Works:
    """An account of pieces of work; everything happens on one loop."""

    def __init__(self) -> None:
        self._last = 0
        self._open: set[int] = set()
        self._ended = asyncio.Event()

    def begin(self) -> int:
        """Take note of a piece that begins, and return its number."""
        self._last += 1
        self._open.add(self._last)
        return self._last

    def end(self, number: int) -> None:
        """Take note that a piece is over: delivered, or dropped with nothing of it sent. Once more changes nothing."""
        self._open.discard(number)
        self._ended.set()

    async def passed(self) -> None:
        """Return when every piece is over that has begun by now."""
        last = self._last
        while self._open and min(self._open) <= last:
            self._ended.clear()
            await self._ended.wait()
