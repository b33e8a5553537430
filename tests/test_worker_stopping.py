"""A worker that is told to stop: it ends in good order and soon, whatever its group or its brokers are at."""

import asyncio
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import uvloop
from kafka import KafkaConsumer
from kafka.coordinator.assignors.roundrobin import RoundRobinPartitionAssignor
from kafka_broker import Cluster, admin
from local_kafka.certificates import Authority
from worker_harness import SESSION_S, Bench, Worker, ending, make_event, wait_until

from pipeline import closing
from pipeline.closing import end_soon
from pipeline.worker import leaving
from pipeline.worker.agent import HEARTBEATS
from pipeline.worker.fetcher import Fetcher

SLOW_JOIN_S = 60
"""How long the group waits for the member that does not join, unless the test ends before."""
SOON_S = 15.0
"""A worker that waits for others, or for a goodbye, takes 25 s, its whole grace time, and ends with 2."""


@contextmanager
def member(bench: Bench) -> Iterator[KafkaConsumer]:
    """Yield a consumer in the workers' group that takes part in it only while it is polled."""
    consumer = KafkaConsumer(
        bench.topic("raw"),
        bootstrap_servers=bench.cluster.bootstrap,
        group_id=f"{bench.prefix}workers",
        enable_auto_commit=False,
        partition_assignment_strategy=[RoundRobinPartitionAssignor],
        session_timeout_ms=SLOW_JOIN_S * 1000,
        max_poll_interval_ms=SLOW_JOIN_S * 1000,
        request_timeout_ms=2 * SLOW_JOIN_S * 1000,
    )
    try:
        yield consumer
    finally:
        consumer.close(autocommit=False)


def group_state(bench: Bench) -> str:
    """Return what the group is at, as Kafka names it."""
    group = f"{bench.prefix}workers"
    with admin(bench.cluster) as client:
        return str(client.describe_groups([group])[group]["group_state"])


def joined(consumer: KafkaConsumer) -> bool:
    """Take part, and say whether the consumer has partitions."""
    consumer.poll(timeout_ms=200, max_records=1)
    return bool(consumer.assignment())


def wait_joined(consumer: KafkaConsumer, worker: Worker) -> None:
    """Take part until both have partitions."""
    wait_until(lambda: joined(consumer) and worker.said().count("assigned ") >= 2)


@pytest.mark.parametrize("instance", ["", "i0"])
def test_a_worker_leaves_in_the_middle_of_a_rebalance(broker: Cluster, tmp_path: Path, instance: str) -> None:
    """Another member keeps the group waiting; a worker that is told to stop does not wait as well."""
    bench = Bench(broker, tmp_path, f"leaving{instance}.", {"LETHE_INSTANCE_ID": instance}).prepare(partitions=3)
    bench.send([make_event(number) for number in range(20)])
    worker = bench.worker().wait_assigned()
    with ending(worker):
        bench.wait_done()
        with member(bench) as slow, member(bench) as third:
            wait_joined(slow, worker)
            calling = threading.Thread(target=lambda: wait_until(lambda: joined(third)), daemon=True)
            calling.start()
            wait_until(lambda: group_state(bench) == "PreparingRebalance")
            time.sleep(2 * SESSION_S / HEARTBEATS)  # it learns of it by a heartbeat
            assert worker.stop(SOON_S) == 0
            wait_until(lambda: joined(slow) and not calling.is_alive())  # the group goes on
    assert "stopped: what was taken up is delivered" in worker.said()
    assert "Crashed" not in worker.said()
    assert sum(bench.committed().values()) == 20


def test_a_fetcher_that_is_stopped_in_a_rebalance_has_not_crashed() -> None:
    """Faust would mark the whole app as crashed, and what is committed after that waits for ever."""

    async def stop_one() -> Fetcher:
        app: Any = SimpleNamespace(
            rebalancing=True, consumer=SimpleNamespace(_drain_messages=lambda _: asyncio.sleep(60))
        )
        fetcher = Fetcher(app)
        await fetcher.start()
        await asyncio.sleep(0)
        await fetcher.stop()
        return fetcher

    fetcher = asyncio.run(stop_one())
    assert (fetcher.crashed, fetcher.crash_reason) == (False, None)


class Coordinator:
    """A group's coordinator as the client has it, amid a join; the broker answers, or not."""

    def __init__(self, *, silent: bool = False, stubborn: int = 0) -> None:
        self.coordinator_id, self.member_id, self.group_id = 7, "member", "group"
        self._group_instance_id = None
        self._silent, self._stubborn = silent, stubborn
        self.left: list[Any] = []
        self.is_reset = False
        self._client = self
        self._coordination_task = asyncio.ensure_future(self._join())

    async def _join(self) -> None:
        for _ in range(self._stubborn):
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:  # it was for another task that this one was waiting for
                continue
        await asyncio.sleep(60)

    async def send(self, node_id: int, request: Any) -> None:
        """Take a request."""
        if self._silent:
            await asyncio.sleep(60)
        self.left.append((node_id, request))

    def reset_generation(self) -> None:
        """Be no member."""
        self.is_reset = True


@pytest.mark.parametrize(("silent", "stubborn"), [(False, 0), (False, 2), (True, 0)])
def test_leaving_ends_the_join_and_waits_for_no_broker(
    monkeypatch: pytest.MonkeyPatch, *, silent: bool, stubborn: int
) -> None:
    """The join is cancelled, as often as it takes; a broker that says nothing is not waited for."""
    monkeypatch.setattr(leaving, "LEAVE_S", 0.5)
    monkeypatch.setattr(leaving, "_TRY_S", 0.01)

    async def leave_one() -> Coordinator:
        coordinator = Coordinator(silent=silent, stubborn=stubborn)
        await asyncio.sleep(0)
        async with asyncio.timeout(20):
            await leaving.leave(coordinator)
        return coordinator

    left = asyncio.run(leave_one())
    assert (left._coordination_task.done(), len(left.left), left.is_reset) == (True, not silent, True)


class Client:
    """A client with one connection over TLS, which is gone when the loop says so."""

    def __init__(self, writer: asyncio.StreamWriter) -> None:
        self._writer = writer
        self._conns = {0: self}
        self.gone = False

    async def close(self) -> None:
        """Say goodbye and wait until the connection is gone, as aiokafka does."""
        self._writer.close()
        with suppress(OSError):  # it was cut
            await self._writer.wait_closed()
        self.gone = True


@pytest.mark.parametrize("loop", [uvloop.new_event_loop, asyncio.new_event_loop])
def test_a_connection_whose_other_side_says_no_goodbye_is_cut(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, loop: Any
) -> None:
    """A server that reads nothing never answers the end of TLS: the client is gone soon all the same."""
    monkeypatch.setattr(closing, "GOODBYE_S", 0.2)
    authority = Authority(tmp_path)
    pair = authority.sign("server", usage="server")
    served = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    served.load_cert_chain(pair.certificate, pair.key)
    held: list[Any] = []

    def accept(listening: Any) -> None:
        held.append(served.wrap_socket(listening.accept()[0], server_side=True))

    async def close_one() -> bool:
        with socket.create_server(("127.0.0.1", 0)) as listening:
            threading.Thread(target=accept, args=(listening,), daemon=True).start()
            context = ssl.create_default_context(cafile=str(authority.certificate))
            _, writer = await asyncio.open_connection("127.0.0.1", listening.getsockname()[1], ssl=context)
            client = Client(writer)
            end_soon(client)
            async with asyncio.timeout(SOON_S):
                await client.close()
            return client.gone

    with asyncio.Runner(loop_factory=loop) as runner:
        assert runner.run(close_one())
    for each in held:
        each.close()


def test_a_connection_that_is_never_gone_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """Cutting it did not help either: closing ends."""
    monkeypatch.setattr(closing, "GOODBYE_S", 0.05)

    async def close_one() -> None:
        client: Any = SimpleNamespace(_conns={}, close=lambda: asyncio.sleep(60))
        end_soon(client)
        async with asyncio.timeout(SOON_S):
            await client.close()

    asyncio.run(close_one())
