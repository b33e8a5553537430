"""Faust's service that has the consumer fetch, as one that may be stopped at any time."""

from typing import Any, cast

from faust import Service
from faust.transport import consumer as base


class Fetcher(base.Fetcher):
    """Fetches until it is stopped.

    Faust's takes it for a crash of the whole app when it is stopped during a rebalance. Whatever still has to be
    committed then waits for a thread that has ended.
    """

    @Service.task
    async def _fetcher(self) -> None:
        try:
            await cast("Any", self.app.consumer)._drain_messages(self)  # noqa: SLF001 - as Faust does
        finally:
            self.set_shutdown()
