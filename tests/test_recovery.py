"""Rejections, looking raw records up, redaction, pace and sending, without a broker."""

import asyncio
import io
import json
import re
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from cli_fixtures import Lethe, make_lethe
from conftest import base_event
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console
from strategies import PLANTS, SPEND_LOG, corruptions, json_values, planted_event, put

from pipeline.brokers import Brokers
from pipeline.cli import rejected_report
from pipeline.client import KafkaError, NoOffsetForPartitionError, OffsetOutOfRangeError, TopicPartition
from pipeline.errors import ConfigError, Reason, SinkUnavailable
from pipeline.inputs import Inputs
from pipeline.policy.load import Policy, load_policy
from pipeline.policy.model import Treatment
from pipeline.policy.shape import is_plain, split_pointer
from pipeline.records import Source
from pipeline.recovery import raw, reading, replay, sender
from pipeline.recovery.loop import LoopThread
from pipeline.recovery.pace import paced
from pipeline.recovery.pointers import Pointers
from pipeline.recovery.redacted import MEMBERS_MAX, Redactor
from pipeline.recovery.rejections import (
    REASONS,
    Newest,
    Rejected,
    by_partition,
    parse_place,
    parse_rejected,
    wanted_of,
)
from pipeline.recovery.replay import Skipped, lines_of, origin_of
from pipeline.recovery.sender import RawCopy, RawSender
from pipeline.rejects import make_rejection
from pipeline.wire import rejection_bytes

MARKER = re.compile(r"<((str|key) \d+|key \d+ #\d+|\d+ more|more|integer|number|boolean|null)>")
POLICIES = {"v1": load_policy(), "spend_log": load_policy(event=SPEND_LOG)}


def make_rejected(offset: int = 5, **changes: Any) -> Rejected:
    """Return a rejection."""
    return Rejected("raw", 0, offset, None, 10, "not_json", "", 1_000_000)._replace(**changes)


REJECTIONS = st.builds(
    make_rejected,
    st.integers(0, 8),
    partition=st.integers(0, 2),
    reason=st.sampled_from(REASONS[:3]),
    rejected_ms=st.integers(0, 30),
)


@pytest.mark.parametrize("reason", Reason)
def test_a_rejection_is_read_back(reason: Reason, policy: Policy) -> None:
    """What the worker writes of a refused event is read as its pointer, range included."""
    source = Source("requests.raw", 3, 17, 42)
    single = rejection_bytes(make_rejection(source, reason, "/status", policy))
    lost = rejection_bytes(make_rejection(source, reason, "", policy, last_offset=20))
    place = ("requests.raw", 3, 17)
    assert parse_rejected(single, 9) == Rejected(*place, None, 42, str(reason), "/status", 9)
    assert parse_rejected(lost, 9) == Rejected(*place, 20, 42, str(reason), "", 9)


@pytest.mark.parametrize(
    "changes",
    [
        {"topic": "zq canary"},
        {"topic": None},
        {"pointer": "/zq\x1b[2J"},
        {"pointer": 7},
        {"partition": "zq"},
        {"offset": -1},
        {"offset": True},
        {"offset": 1 << 63},
        {"size_bytes": 1.5},
        {"last_offset": 16},
        {"last_offset": ""},
        {"reason": ["zq"]},
    ],
    ids=str,
)
def test_what_is_no_rejection_is_not_shown(changes: dict[str, Any], policy: Policy) -> None:
    """A record with a field that is not of its form is no rejection: nothing of it can reach a terminal."""
    good = json.loads(rejection_bytes(make_rejection(Source("raw", 0, 17, 1), Reason.EMPTY, "", policy)))
    assert parse_rejected(json.dumps(good).encode(), 0) is not None
    assert parse_rejected(json.dumps(good | changes).encode(), 0) is None


def test_a_later_version_is_understood(policy: Policy) -> None:
    """A reason that this version does not know is `other`, and further fields are no fault."""
    good = json.loads(rejection_bytes(make_rejection(Source("raw", 0, 17, 1), Reason.EMPTY, "", policy)))
    found = parse_rejected(json.dumps(good | {"reason": "zq canary", "new": {}}).encode(), 0)
    assert found is not None
    assert found.reason == "other"
    assert [parse_rejected(value, 0) for value in (None, b"", b"[1]", b"zq")] == [None] * 4


@given(st.lists(REJECTIONS), st.integers(1, 4))
def test_the_newest_are_kept_once(rejections: list[Rejected], limit: int) -> None:
    """Whatever the order, the newest so many distinct raw records remain, each with its newest rejection."""
    newest = Newest(limit)
    latest: dict[Any, Rejected] = {}
    for rejected in rejections:
        newest.add(rejected)
        if rejected.place not in latest or rejected.rejected_ms >= latest[rejected.place].rejected_ms:
            latest[rejected.place] = rejected
    expected = sorted(latest.values(), key=lambda each: (each.rejected_ms, each.place))
    found = newest.in_order()
    assert [each.place for each in found] == [each.place for each in expected[-limit:]]
    assert [each.rejected_ms for each in found] == [each.rejected_ms for each in expected[-limit:]]
    assert newest.passed_over == (len(expected) > limit)


@given(st.lists(REJECTIONS))
def test_pointers_are_distinct_and_in_order(rejections: list[Rejected]) -> None:
    """Of the same raw record the last rejection counts; they come by offset, and a range counts its events."""
    pointers = Pointers()
    last = {}
    for rejected in rejections:
        pointers.add(rejected)
        last[rejected.place] = rejected
    lost = make_rejected(100, last_offset=109, reason="expired")
    pointers.add(lost)
    pointers.add(lost)
    counts = Counter((each.topic, each.partition, each.reason) for each in last.values())
    counts[lost.topic, lost.partition, "expired"] += 10
    assert pointers.counts() == dict(counts)
    assert pointers.expired() == 10
    taken = [each for place in pointers.partitions() for each in pointers.take(*place)]
    assert taken == [last[place] for place in sorted(last)]
    assert pointers.partitions() == []


def test_rejections_are_parted_by_raw_partition() -> None:
    """Single events of raw are looked up by offset; ranges and other topics are not."""
    mine = [make_rejected(offset, partition=partition) for partition, offset in [(1, 9), (0, 5), (1, 2)]]
    rest = [make_rejected(1, topic="elsewhere"), make_rejected(1, last_offset=3)]
    partitions, others = by_partition([*mine, *rest], "raw")
    assert partitions == {0: [mine[1]], 1: [mine[2], mine[0]]}
    assert sorted(others) == sorted(rest)


class Record(NamedTuple):
    """A consumed record."""

    offset: int
    value: bytes | None = b"x" * 10
    timestamp: int = 0
    timestamp_type: int = 1
    key: bytes | None = None
    headers: tuple[tuple[str, bytes | None], ...] = ()


class Log:
    """A partition as a consumer reads it: ``gives`` are answers of `getmany` besides the records."""

    def __init__(self, offsets: list[int], begin: int = 0, end: int | None = None) -> None:
        self.begin = begin
        self.end = offsets[-1] + 1 if end is None else end
        self.offsets = offsets
        self.failures: list[BaseException] = []
        self.at = 0
        self.seeks: list[int] = []

    def assign(self, _: object) -> None:
        """Do nothing."""

    def seek(self, _: object, offset: int) -> None:
        """Go to an offset."""
        self.seeks.append(offset)
        self.at = offset

    async def position(self, _: object) -> int:
        """Return the offset of the next record."""
        return self.at

    async def beginning_offsets(self, places: list[TopicPartition]) -> dict[TopicPartition, int]:
        """Return where the log begins."""
        return dict.fromkeys(places, self.begin)

    async def end_offsets(self, places: list[TopicPartition]) -> dict[TopicPartition, int]:
        """Return where the log ends."""
        return dict.fromkeys(places, self.end)

    async def getmany(self, at: TopicPartition, **_: object) -> dict[TopicPartition, list[Record]]:
        """Return up to three records, or fail."""
        if self.failures:
            raise self.failures.pop(0)
        if self.at < self.begin:
            raise OffsetOutOfRangeError({at: self.at})
        found = [Record(offset) for offset in self.offsets if offset >= self.at][:3]
        self.at = found[-1].offset + 1 if found else self.at
        return {at: found}


def read(log: Log, first: int, end: int) -> list[int]:
    """Return the offsets that are read of a range."""

    async def run() -> list[int]:
        return [record.offset async for record in reading.read_range(log, TopicPartition("raw", 0), first, end)]

    return asyncio.run(run())


def test_a_range_is_read_to_its_end() -> None:
    """Records from the first offset up to the end are read, with gaps, and none beyond."""
    assert read(Log([1, 2, 5, 6, 7, 8, 9]), 2, 8) == [2, 5, 6, 7]
    assert read(Log([1, 2, 3]), 3, 3) == []


def test_retention_that_overtakes_a_reader_is_no_error() -> None:
    """Reading goes on where the log begins now; one that was made anew and is shorter ends the range."""
    assert read(Log([6, 7, 8], begin=6), 2, 9) == [6, 7, 8]
    anew = Log([0, 1])
    anew.failures = [OffsetOutOfRangeError({})]
    assert read(anew, 20, 30) == []


def test_a_stale_answer_is_asked_again() -> None:
    """An error of the client from before the seek does not end the reading."""
    log = Log([1, 2, 3])
    log.failures = [NoOffsetForPartitionError(), NoOffsetForPartitionError()]
    assert read(log, 1, 4) == [1, 2, 3]


def test_a_silent_broker_ends_the_reading(monkeypatch: pytest.MonkeyPatch) -> None:
    """When nothing comes for long, the reading ends with what stood still, not with half an answer."""
    monkeypatch.setattr(reading, "PATIENCE_S", 0.0)
    with pytest.raises(SinkUnavailable, match="cannot read raw: Kafka gives nothing of partition 0"):
        read(Log([1, 2, 3], end=9), 1, 9)


def look_up(log: Log, rejections: list[Rejected], partition: int = 0) -> dict[int, bool]:
    """Return whether raw has the record of each rejection."""

    async def run() -> dict[int, bool]:
        found = raw.look_up(log, "raw", partition, 1, rejections)
        return {rejected.offset: record is not None async for rejected, record in found}

    return asyncio.run(run())


def test_raw_records_are_found_while_raw_has_them() -> None:
    """What lies before the log, beyond it, in a gap or in a partition that is not there is gone; the rest is found."""
    log = Log([10, 11, 13, 14, 2000, 2001], begin=10)
    wanted = [make_rejected(offset) for offset in (2, 10, 12, 14, 2000, 2001, 2002, 9000)]
    present = {10, 14, 2000, 2001}
    assert look_up(log, wanted) == {each.offset: each.offset in present for each in wanted}
    assert len(log.seeks) == 2
    assert look_up(log, wanted[:2], partition=1) == {2: False, 10: False}


def test_a_record_in_anothers_place_is_not_taken_for_it() -> None:
    """A raw record of another size, or appended after the rejection, is not the one that was refused."""
    rejected = make_rejected(size_bytes=10, rejected_ms=1_000_000)
    slack = raw.CLOCK_SLACK_MS
    assert raw.is_same(rejected, Record(5, b"x" * 10, 1_000_000 + slack))
    assert not raw.is_same(rejected, Record(5, b"x" * 11, 0))
    assert not raw.is_same(rejected, Record(5, b"x" * 10, 1_000_001 + slack))
    assert raw.is_same(rejected, Record(5, b"x" * 10, 1_000_001 + slack, timestamp_type=0))
    assert raw.is_same(rejected._replace(size_bytes=0), Record(5, None, 0))


def leaves(value: Any) -> Iterator[Any]:
    """Yield every leaf and every key."""
    if isinstance(value, dict):
        for key, member in value.items():
            yield key
            yield from leaves(member)
    elif isinstance(value, list):
        for member in value:
            yield from leaves(member)
    else:
        yield value


def declared_names(policy: Policy) -> set[str]:
    """Return the names that an event schema declares, at any depth."""
    return {key for key in leaves(policy.shape.tree) if isinstance(key, str)}


@pytest.mark.parametrize("shape", POLICIES)
def test_redaction_leaves_operational_figures_only(shape: str) -> None:
    """Of an event with a canary in every leaf, only the figures of operational leaves are shown; so with bad leaves."""
    redactor, rules = Redactor(POLICIES[shape]), POLICIES[shape].shape.rules
    events = [planted_event(shape)]
    for pointer, bad in corruptions(shape):
        events.append(planted_event(shape) | {"zqundeclared": {"zqinner": ["zqdeep", 4111111111111111]}})
        put(events[-1], pointer, bad)
    figures = {
        PLANTS[shape][name].value
        for name, rule in rules.items()
        if rule.treatment is Treatment.OPERATIONAL and not isinstance(PLANTS[shape][name].value, str)
        if is_plain(split_pointer(rule.pointer))
    }
    shown: set[Any] = set()
    for event in events:
        redacted = redactor.redact(json.dumps(event).encode())
        for leaf in leaves(redacted):
            if isinstance(leaf, str):
                assert MARKER.fullmatch(leaf) or leaf in declared_names(POLICIES[shape])
            else:
                shown.add(leaf)
    times = {PLANTS[shape][name].value for name, rule in rules.items() if rule.unit == "epoch"}
    assert len(events) > 40
    assert shown - {None} <= figures - times
    assert {value for value in figures - times if value is not True} <= shown


@given(st.dictionaries(st.text(max_size=5), json_values(), max_size=6), st.sampled_from(sorted(POLICIES)))
def test_redaction_of_anything_shows_no_text(event: dict[str, Any], shape: str) -> None:
    """Whatever an event holds, each string and each undeclared name is a marker."""
    declared = declared_names(POLICIES[shape])
    redacted = Redactor(POLICIES[shape]).redact(json.dumps(event).encode())
    if isinstance(redacted, str):
        assert re.fullmatch(r"<\d+ bytes: (too_deep|number_out_of_range)>", redacted)
        return
    for leaf in leaves(redacted):
        assert not isinstance(leaf, str) or MARKER.fullmatch(leaf) or leaf in declared


def test_redaction_says_what_helps(policy: Policy) -> None:
    """A shape shows which leaf is of what kind and length, numbers repeated markers, and cuts long lists."""
    event = base_event() | {"status": 4_111_111_111_111_111, "stream": None, "latency_ms": "fast", "node": None}
    event |= {"abc": 1, "def": True, "request": {"messages": list(range(MEMBERS_MAX + 1234))}}
    shown = Redactor(policy).redact(json.dumps(event).encode())
    assert isinstance(shown, dict)
    body = shown["request"]
    assert isinstance(body, dict)
    assert (shown["status"], shown["stream"], shown["latency_ms"], shown["node"]) == (
        "<integer>",
        None,
        "<str 4>",
        None,
    )
    assert (shown["<key 3>"], shown["<key 3 #2>"]) == ("<integer>", "<boolean>")
    assert (shown["queue_ms"], shown["usage"]) == (3.1, event["usage"])
    assert body["<key 8>"] == ["<integer>"] * MEMBERS_MAX + ["<1200 more>"]
    assert shown["account"] == {"id": "<str 21>", "email": "<str 30>", "name": "<str 13>", "organization": "<str 18>"}


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (b"", "<0 bytes: empty>"),
        (b"zq" * 617, "<1200 bytes: not_json>"),
        (b'"zqscalar"', "<10 bytes: not_an_object>"),
        (b"\xff", "<1 bytes: not_utf8>"),
        (b'{"zq":1e999}', "<12 bytes: number_out_of_range>"),
        (b'{"a":' * 70 + b"1" + b"}" * 70, "<420 bytes: too_deep>"),
    ],
    ids=["empty", "text", "scalar", "bytes", "number", "deep"],
)
def test_what_cannot_be_read_is_its_size(value: bytes, expected: str, policy: Policy) -> None:
    """Bytes that are no event are shown as their size, to two digits, and the reason."""
    assert Redactor(policy).redact(value) == expected


class Clock:
    """Time that passes in sleep alone."""

    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        """Return the time."""
        return self.now_s

    def sleep(self, seconds: float) -> None:
        """Let time pass."""
        self.now_s += seconds


def test_items_come_at_their_rate() -> None:
    """The first item comes at once, each further one a fraction of a second later, and no wait follows the last."""
    clock = Clock()
    times = [clock.now_s for _ in paced(range(5), 4.0, clock, clock.sleep)]
    assert times == [100.0, 100.25, 100.5, 100.75, 101.0]
    assert clock.now_s == 101.0
    assert list(paced(range(3), None, clock, clock.sleep)) == [0, 1, 2]
    assert clock.now_s == 101.0


def test_a_pause_is_caught_up_for_a_second_only() -> None:
    """After a long pause at most a second's worth comes at once, and then the rate holds again."""
    clock, times = Clock(), []
    for number in paced(range(30), 10.0, clock, clock.sleep):
        times.append(clock.now_s)
        clock.now_s += 60.0 if number == 0 else 0.0
    assert sum(time_s == 160.0 for time_s in times) == 11
    assert times[-1] == pytest.approx(160.0 + 18 * 0.1)


def test_lines_are_taken_as_they_are(tmp_path: Path) -> None:
    """Blank lines and lines beyond the limit are counted, the first of the latter by place; all else is a copy."""
    path = tmp_path / "a.jsonl"
    path.write_bytes(b"\n".join([b"x" * 50, b"", b"x" * 51, b"\xff{", b"  \t", b"y" * 900]))
    skipped = Skipped()
    inputs = Inputs([str(path)], line_bytes_max=50)
    copies = list(lines_of(inputs, event_bytes_max=50, skipped=skipped))
    assert copies == [RawCopy(b"x" * 50), RawCopy(b"\xff{")]
    assert (skipped.blank, skipped.oversize) == (2, 2)
    assert [(inputs.topics[topic], line) for topic, line in skipped.oversize_lines] == [(str(path), 3), (str(path), 6)]
    assert repr(copies[0]) == "RawCopy(50 bytes)"


def test_a_replay_names_its_origin() -> None:
    """The header of a replay says which record it was first; what does not is no replay."""
    assert origin_of([("x", b"1/2"), (replay.ORIGIN, b"3/44")]) == (3, 44)
    assert [origin_of([(replay.ORIGIN, value)]) for value in (None, b"", b"3/", b"a/b", b"1/2/3")] == [None] * 5


def test_what_is_asked_for_is_checked() -> None:
    """Reasons, durations and places are read, and an error repeats nothing of them."""
    assert wanted_of("empty", "2h", 10_000_000) == ("empty", 2_800_000, None)
    assert wanted_of("", "30d", 1000) == (None, 0, None)
    assert parse_place("requests.raw/3/17") == ("requests.raw", 3, 17)
    for ask in (
        lambda: wanted_of("zqreason", "", 0),
        lambda: wanted_of("", "zqtime", 0),
        lambda: parse_place("zq/1"),
        lambda: parse_place("zq/1/2\n"),
    ):
        with pytest.raises(ConfigError) as caught:
            ask()
        assert "zq" not in str(caught.value)


class Producer:
    """Stands for Kafka's producer: keeps batches until they are let go, or fails."""

    def __init__(self) -> None:
        self.sent: list[tuple[int, list[bytes]]] = []
        self.failure: BaseException | None = None
        self.stopped = False
        self.late_s = 0.0
        self.in_flight: list[int] = []
        self.most_in_flight = 0
        self.held: asyncio.Event | None = None

    def create_batch(self) -> Any:
        """Return a batch of at most 1,000 bytes, or of one record."""
        values: list[bytes] = []

        class Batch:
            def append(self, *, value: bytes, **_: object) -> object:
                if values and sum(map(len, values)) + len(value) > 1000:
                    return None
                values.append(value)
                return values

            def close(self) -> None:
                """Do nothing."""

        batch: Any = Batch()
        batch.values = values
        return batch

    async def send_batch(self, batch: Any, _: str, *, partition: int) -> "asyncio.Future[None]":
        """Send a batch, or fail with its future."""
        if self.held is not None:
            await self.held.wait()
        await asyncio.sleep(0)  # as the client does: it waits for the batch before
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.sent.append((partition, batch.values))
        self.in_flight.append(sum(map(len, batch.values)))
        self.most_in_flight = max(self.most_in_flight, sum(self.in_flight))
        asyncio.get_running_loop().call_later(self.late_s, self._acknowledge, future)
        return future

    def _acknowledge(self, future: "asyncio.Future[None]") -> None:
        self.in_flight.pop(0)
        if self.failure is None:
            future.set_result(None)
        else:
            future.set_exception(self.failure)


@pytest.fixture
def producer(monkeypatch: pytest.MonkeyPatch) -> Producer:
    """Put a producer of the test's in the place of Kafka's."""
    made = Producer()

    @asynccontextmanager
    async def producing(*_: object, **__: object) -> AsyncIterator[Producer]:
        yield made
        made.stopped = True

    monkeypatch.setattr(sender, "producing", producing)
    return made


def test_all_that_is_handed_over_is_acknowledged(producer: Producer) -> None:
    """Records are spread over the partitions, none larger than a batch allows unless alone, and all are counted."""
    values = [bytes([65 + number % 20]) * (90 if number % 10 else 3000) for number in range(100)]
    with LoopThread() as loop, RawSender(loop, Brokers("b:1"), "raw", 3, batch_bytes_max=1000) as sending:
        for value in values:
            sending.send(RawCopy(value))
        sending.send(RawCopy(b"placed", partition=7))
    sent = [value for _, batch in producer.sent for value in batch]
    by_partition = Counter(number for number, batch in producer.sent for _ in batch)
    assert Counter(sent) == Counter([*values, b"placed"])
    assert all(sum(map(len, batch)) <= 1000 or len(batch) == 1 for _, batch in producer.sent)
    assert by_partition == {0: 34, 1: 33, 2: 33, 7: 1}
    assert (sending.acknowledged, sending.acknowledged_bytes) == (101, sum(map(len, values)) + 6)
    assert producer.stopped


def test_sending_waits_while_too_much_waits(producer: Producer, monkeypatch: pytest.MonkeyPatch) -> None:
    """What waits to be sent is bounded: the one who hands over is held up until some of it is on its way."""
    monkeypatch.setattr(sender, "WAITING_BYTES_MAX", 2000)
    handed: list[int] = []
    with LoopThread() as loop, RawSender(loop, Brokers("b:1"), "raw", 1, batch_bytes_max=1000) as sending:

        async def hold() -> None:
            producer.held = asyncio.Event()

        async def release() -> None:
            assert producer.held is not None
            producer.held.set()

        loop.call(hold())
        wait_for = sending._changed.wait_for

        def release_first(ready: Callable[[], bool], timeout: float | None = None) -> bool:
            if not ready() and len(handed) < 50:
                waits.append(len(handed))
                loop.start(release())
            return wait_for(ready, timeout)

        waits: list[int] = []
        monkeypatch.setattr(sending._changed, "wait_for", release_first)
        for number in range(50):
            sending.send(RawCopy(bytes([number]) * 500))
            handed.append(number)
        loop.call(release())
    assert waits
    assert waits[0] < 10
    assert sending.acknowledged == 50


def test_what_is_on_its_way_is_bounded(producer: Producer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Batches of many partitions wait for each other when they are large, and one beyond the bound goes alone."""
    monkeypatch.setattr(sender, "IN_FLIGHT_BYTES_MAX", 2000)
    producer.late_s = 0.01
    with LoopThread() as loop, RawSender(loop, Brokers("b:1"), "raw", 20, batch_bytes_max=1000) as sending:
        for _ in range(20):
            sending.send(RawCopy(b"x" * 600))
    assert producer.most_in_flight == 1800
    with LoopThread() as loop, RawSender(loop, Brokers("b:1"), "raw", 20, batch_bytes_max=1000) as sending:
        for number in range(20):
            sending.send(RawCopy(b"x" * (5000 if number == 7 else 600)))
    assert producer.most_in_flight == 5000
    assert sending.acknowledged == 20


@pytest.mark.parametrize(
    ("name", "error", "text"),
    [
        ("KafkaTimeoutError", SinkUnavailable, "cannot send to raw: no answer from Kafka at b:1"),
        ("MessageSizeTooLargeError", ConfigError, "its max.message.bytes is too low"),
    ],
)
def test_a_batch_that_is_not_taken_is_an_error(
    producer: Producer, name: str, error: type[Exception], text: str
) -> None:
    """When Kafka does not acknowledge, the one who hands over learns it, is not held up, and nothing is counted."""
    producer.failure = type(name, (KafkaError,), {})("zq whole request")
    sent: list[RawSender] = []

    def send_many() -> None:
        with LoopThread() as loop, RawSender(loop, Brokers("b:1"), "raw", 1, batch_bytes_max=1000) as sending:
            sent.append(sending)
            for _ in range(100_000):
                sending.send(RawCopy(b"x" * 500))

    with pytest.raises(error, match=re.escape(text)) as caught:
        send_many()
    assert sent[0].acknowledged == 0
    assert (caught.value.__cause__, caught.value.__context__) == (None, None)
    assert producer.stopped


def test_the_last_acknowledgement_is_awaited(producer: Producer) -> None:
    """A batch that fails after everything was handed over is an error all the same."""
    producer.failure, producer.late_s = KafkaError(), 0.1
    with (
        pytest.raises(SinkUnavailable, match="cannot send to raw"),
        LoopThread() as loop,
        RawSender(loop, Brokers("b:1"), "raw", 1, batch_bytes_max=1000) as sending,
    ):
        sending.send(RawCopy(b"x"))
    assert sending.acknowledged == 0


def test_an_interrupted_sender_keeps_what_it_was_given(producer: Producer) -> None:
    """When Ctrl-C ends the work, what was handed over before is acknowledged all the same."""
    sent: list[RawSender] = []

    def send_some() -> None:
        with LoopThread() as loop, RawSender(loop, Brokers("b:1"), "raw", 1, batch_bytes_max=1000) as sending:
            sent.append(sending)
            for _ in range(10):
                sending.send(RawCopy(b"x"))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        send_some()
    assert (sent[0].acknowledged, producer.stopped) == (10, True)


def test_a_loop_in_a_thread_hands_items_and_errors_over() -> None:
    """What an asynchronous iterator yields comes in order, its error comes too, and one left early is closed."""
    closed = []

    async def numbers(fails: bool) -> AsyncIterator[int]:
        try:
            for number in range(3):
                yield number
            if fails:
                raise SinkUnavailable("away")
        finally:
            closed.append(fails)

    with LoopThread() as loop:
        assert list(loop.iterate(numbers(fails=False))) == [0, 1, 2]
        found = loop.iterate(numbers(fails=True))
        with pytest.raises(SinkUnavailable):
            list(found)
        early = loop.iterate(numbers(fails=False))
        assert next(early) == 0
    assert closed == [False, True, False]


def terminal() -> tuple[Console, io.StringIO]:
    """Return a console that is a terminal, and what is written to it."""
    out = io.StringIO()
    return Console(file=out, force_terminal=True, width=140, highlight=False, markup=False, no_color=True), out


def test_people_see_tables(capfd: pytest.CaptureFixture[str]) -> None:
    """On a terminal, rejections, counts and shapes are laid out; with --json they are lines all the same."""
    console, out = terminal()
    listing = [make_rejected(1), make_rejected(7, last_offset=1234, reason="expired", pointer="/[x]")]
    rejected_report.show_listing(console, listing, as_json=False)
    rejected_report.show_listing(console, [], as_json=False)
    rejected_report.show_counts(console, {("raw", 3, "empty"): 1, ("raw", 4, "too_deep"): 12_345}, as_json=False)
    rejected_report.show_event(console, listing[0], "found", {"status": 200}, as_json=False)
    rejected_report.show_event(console, listing[1], "gone: raw holds 1 d", None, as_json=False)
    text = out.getvalue()
    for expected in ("2 rejections, the newest last", "no rejections", "7-1234", "/[x]", "1970-01-01T00:16:40.000Z"):
        assert expected in text
    assert re.search(r"12,346 rejected events.*too_deep.*12,345.*empty", text, re.DOTALL)
    assert "raw/0/1: not_json at /, 10 bytes" in text
    assert '"status": 200' in text
    assert "gone: raw holds 1 d" in text
    rejected_report.show_counts(console, {("raw", 3, "empty"): 1}, as_json=True)
    expected_line = {"reason": "empty", "topic": "raw", "partition": 3, "events": 1}
    assert json.loads(capfd.readouterr().out) == expected_line


def test_a_terminal_finds_nothing_to_obey() -> None:
    """Raw bytes on a terminal lose their control characters, and keep their lines."""
    assert rejected_report.printable(b"a\x1b[2J\xff\r\n\tb\xc2\x9b") == "a\ufffd[2J\ufffd\ufffd\n\tb\ufffd"


@pytest.fixture
def lethe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Lethe:
    """Return the command."""
    return make_lethe(tmp_path, monkeypatch, capfd)


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ("rejected --raw --at raw/0/1", "a reason with --why"),
        ("rejected --raw --at raw/0/1 --why", "a reason with --why"),
        ("rejected --raw --why because", "needs --at TOPIC/PARTITION/OFFSET"),
        ("rejected --raw --show --at raw/0/1 --why because", "--raw only with --at and --why"),
        ("rejected --summary --show", "--summary goes with neither"),
        ("rejected --raw --at raw/0/1 --why because", "one of abuse_report, account_request"),
        ("rejected --raw --at raw/0/1 --why incident", "it needs a --ticket, such as ABUSE-17"),
        ("rejected --why because", "--why and --ticket go with --raw"),
        ("rejected --ticket INC-1", "--why and --ticket go with --raw"),
        ("rejected --at raw/0", "--at takes TOPIC/PARTITION/OFFSET"),
        ("rejected --reason dull", "--reason is one of empty, too_large"),
        ("rejected --since yesterday", "--since must be a duration"),
        ("replay", "nothing to send"),
        ("replay --rejected a.jsonl", "files or --rejected, not both"),
        ("replay --reason empty a.jsonl", "--reason and --since go with --rejected"),
        ("replay missing.jsonl", "missing.jsonl: cannot be opened"),
        ("generate --to kafka", "--to takes kafka:"),
        ("generate --to kafka:host", "--to takes kafka:"),
        ("generate --to kafka: --start-ms 5", "--start-ms is for standard output"),
        ("generate --to kafka://nohost", "brokers (LETHE_BROKERS) must be host:port"),
    ],
)
def test_arguments_that_do_not_go_together_are_refused(lethe: Lethe, arguments: str, text: str) -> None:
    """Before Kafka is asked anything, what cannot be meant is refused in one line that says what is."""
    words = arguments.split()
    done = lethe(*words, *([" "] if words[-1] == "--why" else []))
    assert (done.code, done.out, done.err.count("\n")) == (2, "", 1)
    assert text in done.err
