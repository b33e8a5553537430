"""Says on the topic ``applied`` how far this worker has applied the control topic: an erasure waits for that.

What is said is true for good. Entries are in force first; then everything is awaited that was begun before and may have
been judged without them, until it is acknowledged; only then it is said. What is begun later is judged by them.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from pipeline.applied import WORKER, Applied, encode_applied, reader_of
from pipeline.policy.model import RecordSchema
from pipeline.worker.control import ControlReader
from pipeline.worker.route import Outgoing
from pipeline.worker.works import Works


class Reporter:
    """Reports after each assignment and after each batch of entries. Everything happens on the worker's loop."""

    def __init__(
        self,
        control: ControlReader,
        works: Works,
        member_id: Callable[[], Awaitable[str]],
        deliver: Callable[[Sequence[Outgoing]], Awaitable[None]],
        encode: Callable[[Applied], Outgoing],
        now_ms: Callable[[], int],
    ) -> None:
        """Prepare.

        Args:
            control: reads the entries.
            works: what this worker has in the works.
            member_id: returns what its group calls it, "" while it is no member.
            deliver: sends records, and returns when all are acknowledged.
            encode: makes a record of what is to be said.
            now_ms: the clock, epoch milliseconds.
        """
        self._control, self._works = control, works
        self._member_id, self._deliver, self._encode = member_id, deliver, encode
        self._now_ms = now_ms
        self._wanted = asyncio.Event()
        self._said: tuple[str, dict[int, int]] = ("", {})

    def want(self) -> None:
        """Have it said: entries came, or the group may call this worker by another name since a rebalance."""
        self._wanted.set()

    async def keep_reporting(self) -> None:
        """Report whenever it is wanted, until cancelled.

        Raises:
            Exception: of the delivery: whoever waits for this worker would wait in vain.
        """
        while True:
            await self._wanted.wait()
            self._wanted.clear()
            await self._report()

    async def _report(self) -> None:
        applied = dict(self._control.applied)
        await self._works.passed()
        member_id = await self._member_id()
        if member_id and self._said != (member_id, applied):
            reader, now_ms = reader_of(member_id), self._now_ms()
            records = [Applied(reader, WORKER, number, offset, now_ms) for number, offset in applied.items()]
            await self._deliver([self._encode(record) for record in records])
            self._said = member_id, applied


def encoder(topic: str, schema: RecordSchema) -> Callable[[Applied], Outgoing]:
    """Return what makes records of the topic ``applied``."""
    headers = [("schema", f"{schema.name}/{schema.version}".encode())]

    def encode(record: Applied) -> Outgoing:
        return Outgoing("applied", topic, record.reader.encode(), encode_applied(record, schema), headers)

    return encode
