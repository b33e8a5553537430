"""Sends raw events from a thread that may block: each is acknowledged by all in-sync replicas, and awaited."""

import asyncio
import threading
import time
from collections import deque
from collections.abc import Sequence
from contextlib import AsyncExitStack, suppress
from functools import partial
from types import TracebackType
from typing import Any, NamedTuple, Self

from pipeline.brokers import Brokers
from pipeline.client import KafkaError, from_kafka, producing
from pipeline.errors import ConfigError, PipelineError, SinkUnavailable
from pipeline.recovery.loop import LoopThread

WAITING_BYTES_MAX = 8 << 20
"""How much may wait to be sent. One larger event goes beyond it."""
IN_FLIGHT_BYTES_MAX = 32 << 20
"""How much may be on its way. The client puts batches of all partitions that a broker leads into one request, and the
broker closes the connection when that is larger than socket.request.max.bytes, 100 MiB."""
PATIENCE_S = 40.0
"""How long nothing may be acknowledged while something waits for it."""
CLOSE_S = 5.0
_LOOK_S = 0.5
_FRAMING_BYTES = 128
_TOO_LARGE = {"MessageSizeTooLargeError", "RecordListTooLargeError"}

Headers = Sequence[tuple[str, bytes | None]]


class RawCopy(NamedTuple):
    """A raw record to send.

    Attributes:
        value: its bytes, as they are.
        key: its key, or None.
        headers: its headers.
        partition: where it goes; None spreads over all.
    """

    value: bytes
    key: bytes | None = None
    headers: Headers = ()
    partition: int | None = None

    def __repr__(self) -> str:
        return f"RawCopy({len(self.value)} bytes)"


class RawSender:
    """A way into the raw topic. Use it as a context manager: it connects, and at the end all is acknowledged.

    What is handed over is sent at once, in batches of what has come meanwhile; `send` waits while too much is waiting.

    Attributes:
        acknowledged: how many records every in-sync replica has.
        acknowledged_bytes: of their values.
    """

    def __init__(
        self, loop: LoopThread, brokers: Brokers, topic: str, partitions: int, *, batch_bytes_max: int
    ) -> None:
        """Prepare.

        Args:
            loop: where Kafka's client runs.
            brokers: how Kafka is reached.
            topic: the raw topic, which exists.
            partitions: how many it has.
            batch_bytes_max: bytes of a batch; a larger record goes alone.
        """
        self.acknowledged = 0
        self.acknowledged_bytes = 0
        self._loop = loop
        self._brokers, self._topic, self._partitions = brokers, topic, partitions
        self._batch_bytes_max = batch_bytes_max
        self._changed = threading.Condition()
        self._waiting: deque[RawCopy] = deque()
        self._waiting_bytes = 0
        self._idle = False
        self._complete = False
        self._ended = False
        self._turn = 0
        self._wake: asyncio.Event
        self._pending: set[asyncio.Future[Any]] = set()
        self._pending_bytes = 0
        self._failure: BaseException | None = None
        self._moved_s = 0.0

    def __enter__(self) -> Self:
        """Connect.

        Raises:
            ConfigError, SinkUnavailable: Kafka refuses, or is not there.
        """
        stack = AsyncExitStack()
        producer = self._loop.call(self._connect(stack))
        self._done = self._loop.start(self._work(stack, producer))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Wait until what was handed over is acknowledged, whatever ended the work.

        Raises:
            ConfigError, SinkUnavailable: Kafka did not take some of it.
        """
        with self._changed:
            self._complete = True
        self._loop.loop.call_soon_threadsafe(self._wake.set)
        self._done.result()

    def send(self, copy: RawCopy) -> None:
        """Hand a record over; wait while too much is waiting.

        Raises:
            ConfigError, SinkUnavailable: Kafka did not take one that was handed over before.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._ended or self._waiting_bytes < WAITING_BYTES_MAX)
            ended, idle, self._idle = self._ended, self._idle, False
            self._waiting.append(copy)
            self._waiting_bytes += _weight(copy)
        if ended:
            self._done.result()
        elif idle:
            self._loop.loop.call_soon_threadsafe(self._wake.set)

    async def _connect(self, stack: AsyncExitStack) -> Any:
        self._wake = asyncio.Event()
        return await stack.enter_async_context(producing(self._brokers, batch_bytes_max=self._batch_bytes_max))

    async def _work(self, stack: AsyncExitStack, producer: Any) -> None:
        problem: PipelineError | None = None
        feeding = asyncio.create_task(self._feed(producer))
        try:
            await self._watch(feeding)
        except KafkaError as error:
            problem = self._explain(error)
        finally:
            feeding.cancel()
            with self._changed:
                self._ended = True
                self._changed.notify_all()
            with suppress(TimeoutError):  # the client waits for ever for what it could not send
                await asyncio.wait_for(stack.aclose(), CLOSE_S)
        if problem is not None:  # outside the handler: the client's own text can hold whole requests
            raise problem

    async def _watch(self, feeding: "asyncio.Task[None]") -> None:
        """Wait for the end, but not for ever: an idempotent client tries again until its broker is back."""
        while not feeding.done():
            await asyncio.wait({feeding}, timeout=_LOOK_S)
            if self._pending and time.monotonic() - self._moved_s > PATIENCE_S:
                raise SinkUnavailable(
                    f"cannot send to {self._topic}: Kafka at {self._brokers} acknowledges nothing for {PATIENCE_S:g} "
                    "s. Check its brokers; some of what is not counted as acknowledged may be there all the same"
                )
        await feeding

    async def _feed(self, producer: Any) -> None:
        while copies := await self._take():
            await self._post(producer, copies)
        if self._pending:
            await asyncio.wait(self._pending)
        self._raise_failure()

    async def _take(self) -> list[RawCopy]:
        """Wait for records, and take all that are there; none is the end."""
        while True:
            self._raise_failure()
            with self._changed:
                taken = list(self._waiting)
                self._waiting.clear()
                self._waiting_bytes = 0
                self._changed.notify_all()
                if taken or self._complete:
                    return taken
                self._idle = True
                self._wake.clear()
            await self._wake.wait()

    async def _post(self, producer: Any, copies: list[RawCopy]) -> None:
        """Hand records to the client in batches of each partition; it takes one when the one before is on its way."""
        batches: dict[int, list[RawCopy]] = {}
        for copy in copies:
            number = copy.partition
            if number is None:
                number, self._turn = self._turn % self._partitions, self._turn + 1
            batches.setdefault(number, []).append(copy)
        for number, batch in batches.items():
            builder = producer.create_batch()
            sent: list[int] = []
            for copy in batch:
                if not _append(builder, copy):
                    await self._submit(producer, builder, number, sent)
                    builder, sent = producer.create_batch(), []
                    _append(builder, copy)
                sent.append(len(copy.value))
            await self._submit(producer, builder, number, sent)

    async def _submit(self, producer: Any, builder: Any, number: int, sizes: list[int]) -> None:
        while self._pending and self._pending_bytes + sum(sizes) > IN_FLIGHT_BYTES_MAX:
            await asyncio.wait(self._pending, return_when=asyncio.FIRST_COMPLETED)
        self._raise_failure()
        builder.close()
        future = await producer.send_batch(builder, self._topic, partition=number)
        if not self._pending:
            self._moved_s = time.monotonic()
        self._pending.add(future)
        self._pending_bytes += sum(sizes)
        future.add_done_callback(partial(self._acknowledge, len(sizes), sum(sizes)))

    def _acknowledge(self, count: int, size_bytes: int, future: "asyncio.Future[Any]") -> None:
        self._pending.discard(future)
        self._pending_bytes -= size_bytes
        self._moved_s = time.monotonic()
        error = None if future.cancelled() else future.exception()
        if error is not None:
            self._failure = self._failure or error
            self._wake.set()
        elif not future.cancelled():
            self.acknowledged += count
            self.acknowledged_bytes += size_bytes

    def _raise_failure(self) -> None:
        if self._failure is not None:
            raise self._failure

    def _explain(self, error: BaseException) -> PipelineError:
        if type(error).__name__ in _TOO_LARGE:
            return ConfigError(
                f"{self._topic} takes no batch as large as one of these: its max.message.bytes is too low. Run "
                "`lethe topics apply`, or lower LETHE_BATCH_BYTES_MAX, and LETHE_EVENT_BYTES_MAX where one event is it"
            )
        return from_kafka(f"send to {self._topic}", self._brokers, error)


def _append(builder: Any, copy: RawCopy) -> bool:
    """Append; False when the batch is full. An empty one takes a record of any size."""
    headers = list(copy.headers)
    return builder.append(timestamp=None, key=copy.key, value=copy.value, headers=headers) is not None


def _weight(copy: RawCopy) -> int:
    return len(copy.value) + _FRAMING_BYTES
