"""One worker process from its start to its end: app, engine, control reader and signs of life on one loop."""

import asyncio
import signal
import time
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, cast

from pipeline.client import KafkaError, keep_metadata, make_producer, reading
from pipeline.errors import Reason, SinkUnavailable
from pipeline.records import Source
from pipeline.rejects import make_rejection
from pipeline.suppress import decode_entry
from pipeline.worker.admit import age_limits
from pipeline.worker.agent import REBALANCE_S, Wiring, WorkerApp, make_app
from pipeline.worker.breaker import Breaker
from pipeline.worker.control import ControlReader
from pipeline.worker.delivery import Delivery
from pipeline.worker.engine import Edges, Engine
from pipeline.worker.lease import Lease
from pipeline.worker.parts import Parts
from pipeline.worker.reporting import Reporter, encoder
from pipeline.worker.route import Outgoing, Router
from pipeline.worker.slices import CoreTransform, Transform
from pipeline.worker.versions import note_of

CONTROL_FETCH_BYTES = 1 << 20
LOOK_S = 1.0
"""How often the loop says that it comes round and looks at the key file, and asks how far behind it is."""
WARN_EVERY_S = 300.0


async def run_worker(parts: Parts, transform: Transform | None = None) -> None:
    """Read the control topic to its end, then work until SIGTERM or SIGINT, and drain.

    Args:
        parts: what it is made from.
        transform: in place of the core, for measurements.

    Raises:
        ConfigError, SinkUnavailable, ControlFault: it cannot start. What fails later ends the process.
    """
    bounds = {name: sink.retention_ms for name, sink in parts.policy.sinks.items()}
    models = parts.policy.catalogues.get("models")
    known = frozenset(models.mapping.values()) if models else frozenset()
    parts.metrics.describe_policy(parts.policy.version, parts.policy.digest, bounds, known)
    parts.metrics.keys_age.set(parts.now_ms() / 1000)
    schema = parts.policy.control
    async with reading(parts.brokers, fetch_bytes_max=CONTROL_FETCH_BYTES) as consumer:
        control = ControlReader(
            consumer, parts.topics["control"], parts.control_partitions, lambda raw: decode_entry(raw, schema)
        )
        await control.read_to_end(parts.vitals.tick)
        parts.log(f"read {control.entries} entries of {parts.topics['control']}")
        await _Runtime(parts, control, transform).run()


class _Runtime:
    """One worker at work."""

    def __init__(self, parts: Parts, control: ControlReader, transform: Transform | None) -> None:
        settings = parts.settings
        self._parts = parts
        self._control = control
        self._stopped = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._warned_s = -WARN_EVERY_S
        self._router = Router(parts.policy, parts.topics)
        delivery = Delivery(settings.delivery_s)
        self._lease = Lease(settings.session_s, REBALANCE_S)
        edges = Edges(
            deliver=_deliver_nowhere if parts.shadow else delivery.deliver,
            expired=self._expired,
            catch_up=control.catch_up,
            joined=lambda: self._reporter.want(),  # noqa: PLW0108 - it is made last
            wall_ms=parts.now_ms,
            end=parts.end,
            log=parts.log,
        )
        self._engine = Engine(
            transform or self._core_transform(),
            Breaker(settings.rejection_share_max / 100, settings.rejection_count_min),
            edges,
            parts.metrics,
            parts.vitals,
            slice_s=settings.slice_ms / 1000,
            aside=ThreadPoolExecutor(1, thread_name_prefix="core") if settings.ner_model else None,
        )
        self._app: WorkerApp = make_app(self._wiring())
        self._app.finalize()
        self._producer = cast("Any", self._app.producer)  # pipeline.worker.transport.Producer
        delivery.connect(lambda: self._producer.client)
        self._consumer = cast("Any", self._app.consumer)  # pipeline.worker.transport.Consumer
        self._engine.attach(self._consumer)
        self._reporter = Reporter(
            control,
            self._engine.works,
            self._consumer.membership.member_id,
            delivery.deliver,
            encoder(parts.topics["applied"], parts.policy.applied),
            parts.now_ms,
        )

    async def run(self) -> None:
        """Work until told to stop, then drain."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop)
        for work in (self._keep_ticking, self._keep_measuring, self._keep_reading):
            self._spawn(work)
        if not self._parts.shadow:
            self._spawn(self._engine.keep_committing)
            self._spawn(self._reporter.keep_reporting)
        await self._start()
        await self._stopped.wait()
        for task in self._tasks:
            task.cancel()
        await self._app.stop()

    async def _start(self) -> None:
        """Start the app, which takes until the first assignment. Told to stop before, there is nothing to drain."""
        starting = asyncio.ensure_future(self._app.start())
        stopping = asyncio.ensure_future(self._stopped.wait())
        await asyncio.wait({starting, stopping}, return_when=asyncio.FIRST_COMPLETED)
        if not starting.done():
            self._parts.leave()
        stopping.cancel()
        await starting

    def _stop(self) -> None:
        """Begin to drain: no more is taken up, what is in the works is delivered and committed."""
        if self._stopped.is_set():
            return
        self._parts.log("stopping: what is in the works is delivered and committed first")
        self._parts.vitals.stop()
        self._engine.stop()
        self._stopped.set()

    def _core_transform(self) -> CoreTransform:
        parts = self._parts
        settings, policy = parts.settings, parts.policy
        return CoreTransform(
            parts.core,
            self._router,
            parts.topics["raw"],
            age_limits(policy, settings.admission_ms(policy.sinks), archive=settings.archive),
            lambda: self._control.suppressions,
            now_ms=parts.now_ms,
            monotonic_s=time.monotonic,
        )

    def _wiring(self) -> Wiring:
        parts, settings = self._parts, self._parts.settings
        return Wiring(
            brokers=parts.brokers,
            group=f"{settings.group}-shadow" if parts.shadow else settings.group,
            raw_topic=parts.topics["raw"],
            datadir=parts.datadir,
            session_s=settings.session_s,
            batch_bytes_max=settings.batch_bytes_max,
            instance_id=settings.instance_id,
            observer=self._engine,
            lease=self._lease,
            in_flight=self._engine.in_flight,
            commits=not parts.shadow,
            note=note_of(parts.policy),
            make_producer=lambda: make_producer(
                parts.brokers,
                batch_bytes_max=settings.batch_bytes_max,
                delivery_ms=settings.delivery_s * 1000,
                idempotent=not parts.shadow,
                gate=self._hold_back,
            ),
            handle=self._engine.handle,
        )

    def _spawn(self, work: Callable[[], Awaitable[None]]) -> None:
        """Run a task whose failure ends the process: none of them may end in silence."""

        async def guarded() -> None:
            try:
                await work()
            except asyncio.CancelledError:
                raise
            except BaseException as error:  # noqa: BLE001 - whatever it is, the worker cannot go on without it
                self._parts.end(error)

        self._tasks.append(asyncio.create_task(guarded()))

    async def _keep_reading(self) -> None:
        await self._control.keep_reading(self._reporter.want)

    async def _keep_ticking(self) -> None:
        parts = self._parts
        while True:
            parts.vitals.tick()
            parts.metrics.suppressed.set(self._control.entries)
            if parts.reload():
                parts.metrics.keys_age.set(parts.now_ms() / 1000)
                parts.log("keys have changed and are in force")
            await asyncio.sleep(LOOK_S)

    async def _keep_measuring(self) -> None:
        while True:
            await asyncio.sleep(LOOK_S)
            if self._consumer.membership.has_started:
                await self._consumer.membership.check()
            if self._engine.owned:
                keep_metadata(self._producer.client)
                await self._measure()

    async def _measure(self) -> None:
        """Ask how many records wait in each partition; while brokers are away, the last answer stands."""
        parts, now_ms = self._parts, self._parts.now_ms()
        try:
            lags = await self._consumer.lags()
        except KafkaError:  # the watchdog sees to it when this lasts
            return
        for partition, records in lags.items():
            appended_ms = self._engine.appended_ms.setdefault(partition, now_ms)
            if not records:
                self._engine.appended_ms[partition] = now_ms  # what comes next is no older
            oldest_s = max(0, now_ms - appended_ms) / 1000 if records else 0.0
            parts.vitals.set_lag(partition, records)
            parts.metrics.behind(partition, records, oldest_s)
            self._warn(partition, oldest_s)

    def _warn(self, partition: int, oldest_s: float) -> None:
        """Warn once in a while of a partition that is further behind than half of raw's bound."""
        half_s = self._parts.policy.sinks["raw"].retention_ms / 2000
        if oldest_s > half_s and time.monotonic() - self._warned_s >= WARN_EVERY_S:
            self._warned_s = time.monotonic()
            self._parts.log(
                f"partition {partition} is {oldest_s / 3600:.1f} h behind, more than half of raw's bound: beyond the "
                "bound, events are lost. Start more workers, or find out why these are slow"
            )

    async def _hold_back(self) -> None:
        """Let records of events out only while this worker is surely a member.

        It ends the process by itself: the client would take an error for one of its own.
        """
        if not self._engine.in_flight():
            return
        try:
            await self._lease.held()
        except SinkUnavailable as error:
            self._parts.end(error)

    def _expired(self, partition: int, first: int, last: int) -> Sequence[Outgoing]:
        """Make the rejection of a range of offsets that nobody has read."""
        source = Source(self._parts.topics["raw"], partition, first, 0)
        rejection = make_rejection(source, Reason.EXPIRED, "", self._parts.policy, last_offset=last)
        return [*self._router.route(rejection)]


async def _deliver_nowhere(_: Sequence[Outgoing]) -> None:
    """Deliver nothing: a shadow."""
