"""What a worker says to be in force is: works that are waited for, entries that are caught up with, and the lease."""

import asyncio
from typing import Any

import pytest
from kafka import errors as kafka_errors

from pipeline.applied import Applied, decode_applied, encode_applied, reader_of
from pipeline.brokers import Brokers
from pipeline.client import TopicPartition
from pipeline.errors import ConfigError, SinkUnavailable
from pipeline.policy.load import Policy
from pipeline.topics.admin import TopicAdmin
from pipeline.worker.control import ControlReader
from pipeline.worker.lease import Lease
from pipeline.worker.reporting import Reporter, encoder
from pipeline.worker.route import Outgoing
from pipeline.worker.works import Works

MEMBER = "faust-1-0192f0c1-a2b3-7c4d-8e5f-60718293a4b5"


class Log:
    """A consumer of one partition whose end is set by hand."""

    def __init__(self) -> None:
        self.end = self.at = 0

    async def end_offsets(self, places: list[TopicPartition]) -> dict[TopicPartition, int]:
        """Return the end."""
        return dict.fromkeys(places, self.end)


def control() -> tuple[ControlReader, Log]:
    """Return a reader that has applied five entries of six."""
    log: Any = Log()
    reader = ControlReader(log, "control", 1, lambda _: pytest.fail("nothing is read here"))
    reader.applied, log.end = {0: 5}, 6
    return reader, log


def test_nothing_is_said_before_what_was_begun_is_delivered(policy: Policy) -> None:
    """What a worker began before it had an entry delays its word; what it began later does not."""
    said: list[Outgoing] = []

    async def run() -> list[int]:
        works, (reader, _) = Works(), control()
        before = works.begin()

        async def deliver(records: Any) -> None:
            said.extend(records)

        async def member_id() -> str:
            return MEMBER

        encode = encoder("applied", policy.applied)
        reporter = Reporter(reader, works, member_id, deliver, encode, lambda: 1_795_428_000_123)
        task = asyncio.create_task(reporter.keep_reporting())
        reporter.want()
        await asyncio.sleep(0.02)
        works.begin()
        counts = [len(said)]
        works.end(before)
        await asyncio.sleep(0.02)
        counts.append(len(said))
        reporter.want()  # nothing new is said twice
        await asyncio.sleep(0.02)
        task.cancel()
        return [*counts, len(said)]

    assert asyncio.run(run()) == [0, 1, 1]
    assert decode_applied(said[0].value, policy.applied) == (reader_of(MEMBER), 0, 5)
    assert MEMBER[-36:] not in repr(said[0].value)


def test_a_worker_that_joins_waits_for_all_that_is_published() -> None:
    """Catching up ends when the last entry that was there is applied, and not before."""

    async def run() -> list[bool]:
        reader, _ = control()
        task = asyncio.create_task(reader.catch_up())
        await asyncio.sleep(0.02)
        early = task.done()
        reader.applied = {0: 6}
        reader._moved.set()
        await asyncio.sleep(0.02)
        return [early, task.done()]

    assert asyncio.run(run()) == [False, True]


def test_a_lease_ends_a_session_after_the_last_heartbeat_was_sent() -> None:
    """It also ends when a rebalance has lasted too long, and once lost it holds only after the group is joined anew."""
    now = [100.0]
    lease = Lease(6, 60, clock=lambda: now[0])

    async def held() -> bool:
        try:
            async with asyncio.timeout(0.01):
                await lease.held()
        except TimeoutError:
            return False
        return True

    assert not asyncio.run(held())
    lease.renew(100, settled=True)
    now[0] = 105.9
    assert asyncio.run(held())
    now[0] = 106.0
    assert not asyncio.run(held())
    lease.renew(158, settled=False)
    now[0] = 160.0  # the group has waited for 60 s since it was settled
    assert not asyncio.run(held())
    lease.lose()
    with pytest.raises(SinkUnavailable, match="the group went on without this worker"):
        asyncio.run(held())
    lease.begin()
    lease.renew(160, settled=True)
    assert asyncio.run(held())


@pytest.mark.parametrize("raw", [b"", b"{}", b"[1]", b'{"reader":"ola nordmann"}'])
def test_what_is_no_record_confirms_nothing(policy: Policy, raw: bytes) -> None:
    """Whoever writes something else there makes no erasure go on."""
    assert decode_applied(raw, policy.applied) is None
    good = encode_applied(Applied(reader_of(MEMBER), "worker", 0, 7, 0), policy.applied)
    assert decode_applied(good, policy.applied) == (reader_of(MEMBER), 0, 7)


class Coordinator:
    """A client whose coordinator gives one answer, or none."""

    def __init__(self, error: str | None = None, raises: type[Exception] | None = None) -> None:
        self._error, self._raises = error, raises

    def describe_groups(self, groups: list[str]) -> dict[str, dict[str, Any]]:
        """Return what kafka-python makes of the answer."""
        if self._raises is not None:
            raise self._raises("group workers of ola@mail.example.com")
        members = [] if self._error else [{"member_id": MEMBER}]
        return {group: {"group_state": "Stable", "error": self._error, "members": members} for group in groups}


@pytest.mark.parametrize(
    ("coordinator", "found"),
    [
        (Coordinator(), [MEMBER]),
        (Coordinator("[Error 69] GroupIdNotFoundError: Group workers not found."), []),
        (Coordinator("[Error 30] GroupAuthorizationFailedError"), ConfigError),
        (Coordinator(raises=kafka_errors.GroupAuthorizationFailedError), ConfigError),
        (Coordinator("[Error 16] NotCoordinatorError"), SinkUnavailable),
        (Coordinator("[Error 14] CoordinatorLoadInProgressError"), SinkUnavailable),
        (Coordinator("[Error 99] UnknownError"), SinkUnavailable),
        (Coordinator(raises=kafka_errors.CoordinatorNotAvailableError), SinkUnavailable),
        (Coordinator(raises=kafka_errors.NodeNotReadyError), SinkUnavailable),
        (Coordinator(raises=kafka_errors.KafkaTimeoutError), SinkUnavailable),
    ],
)
def test_what_a_coordinator_does_not_say_is_never_taken_for_nobody(coordinator: Any, found: Any) -> None:
    """Only a group that does not exist has no members without an answer; all else is an error, without its text."""
    connection = TopicAdmin.__new__(TopicAdmin)
    connection._address, connection._client = Brokers("192.0.2.7:9092"), coordinator
    if isinstance(found, list):
        assert connection.members_of("workers") == found
        return
    with pytest.raises(found, match=r"^cannot describe the group: .*192\.0\.2\.7") as caught:
        connection.members_of("workers")
    assert "ola" not in str(caught.value)
    assert "ola" not in repr(caught.value.__context__)


def test_entries_of_an_empty_topic_are_in_force_at_once() -> None:
    """A worker that joins before the first poll of an empty control topic has nothing to catch up with."""

    async def run() -> None:
        log: Any = EmptyLog()
        reader = ControlReader(log, "control", 2, lambda _: pytest.fail("nothing is read here"))
        await reader.read_to_end(lambda: None)
        async with asyncio.timeout(1):
            await reader.catch_up()

    asyncio.run(run())


class EmptyLog:
    """A consumer of partitions that have nothing."""

    def assign(self, _: list[TopicPartition]) -> None:
        """Take partitions."""

    async def seek_to_beginning(self, *_: TopicPartition) -> None:
        """Go to the start."""

    async def end_offsets(self, places: list[TopicPartition]) -> dict[TopicPartition, int]:
        """Return that all ends at its start."""
        return dict.fromkeys(places, 0)

    async def position(self, _: TopicPartition) -> int:
        """Return the start."""
        return 0
