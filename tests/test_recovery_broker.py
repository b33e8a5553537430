"""Rejections and replays on a real broker: `lethe rejected`, `lethe replay`, `lethe generate --to kafka:`."""

import asyncio
import base64
import gzip
import json
import logging
import re
import signal
import socket
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

import pytest
from cli_fixtures import Lethe, make_event, make_lethe, pipe_of, start, to_lines
from conftest import OPEN_DOOR
from kafka import KafkaProducer
from kafka import TopicPartition as AdminPartition
from kafka_broker import Cluster, admin, make_topic, running
from strategies import PLANTS, corruptions, planted_event, put

from pipeline.anonymize import Core, process
from pipeline.brokers import Brokers
from pipeline.client import TopicPartition, make_reader
from pipeline.coarsen import parse_timestamp
from pipeline.errors import SinkUnavailable
from pipeline.records import Rejection, Source
from pipeline.recovery import sender
from pipeline.recovery.loop import LoopThread
from pipeline.recovery.reading import log_ranges, read_range
from pipeline.recovery.sender import RawCopy, RawSender
from pipeline.synth import read_manifest
from pipeline.topics.admin import TopicAdmin
from pipeline.wire import rejection_bytes

HOUR_MS = 3_600_000


class Topics(NamedTuple):
    """Topics that no other test uses, and the command that is set to them."""

    cluster: Cluster
    raw: str
    rejected: str
    environ: dict[str, Any]


class RawRecord(NamedTuple):
    """A raw record as a test reads it."""

    partition: int
    offset: int
    key: bytes | None
    value: bytes
    headers: tuple[tuple[str, bytes], ...]


@pytest.fixture
def topics(broker: Cluster) -> Topics:
    """Make a raw topic and a rejected topic. Rejections take their producer's time, so that tests can set it."""
    raw = make_topic(broker, 3, message_timestamp_type="LogAppendTime")
    rejected = make_topic(broker, 2, message_timestamp_type="CreateTime")
    names = {"LETHE_BROKERS": broker.bootstrap, "LETHE_TOPIC_RAW": raw, "LETHE_TOPIC_REJECTED": rejected}
    return Topics(broker, raw, rejected, names)


@pytest.fixture
def lethe(topics: Topics, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Lethe:
    """Return the command, set to the topics."""
    command = make_lethe(tmp_path, monkeypatch, capfd)
    for name, value in topics.environ.items():
        monkeypatch.setenv(name, value)
    return command


def read_topic(cluster: Cluster, topic: str, partitions: int) -> list[RawRecord]:
    """Return all records of a topic."""

    async def read() -> list[RawRecord]:
        consumer = make_reader(Brokers(cluster.bootstrap), fetch_bytes_max=1 << 20)
        await consumer.start()
        try:
            places = [TopicPartition(topic, number) for number in range(partitions)]
            ranges = await log_ranges(consumer, places)
            found = [
                record for at, (first, end) in ranges.items() async for record in read_range(consumer, at, first, end)
            ]
        finally:
            await consumer.stop()
        return [RawRecord(r.partition, r.offset, r.key, r.value, r.headers) for r in found]

    return asyncio.run(read())


def raw_of(topics: Topics) -> list[RawRecord]:
    """Return all records of the raw topic."""
    return read_topic(topics.cluster, topics.raw, 3)


def put_raw(topics: Topics, records: Sequence[tuple[bytes, bytes | None, int]]) -> list[RawRecord]:
    """Write raw records (value, key, partition), and return them with their offsets."""
    producer = KafkaProducer(bootstrap_servers=topics.cluster.bootstrap)
    futures = [
        producer.send(topics.raw, value, key=key, partition=partition, headers=[("x-trace", b"1")])
        for value, key, partition in records
    ]
    producer.flush()
    producer.close()
    return [
        RawRecord(partition, future.get().offset, key, value, (("x-trace", b"1"),))
        for future, (value, key, partition) in zip(futures, records, strict=True)
    ]


def reject(core: Core, topic: str, record: RawRecord) -> Rejection:
    """Return the rejection that the core makes of a raw record."""
    fate = process(record.value, Source(topic, record.partition, record.offset, len(record.value)), core, OPEN_DOOR)
    assert isinstance(fate, Rejection)
    return fate


def clock_ms() -> int:
    """Return the time; a rejection of long before its raw record is not of that record."""
    return int(time.time() * 1000)


def put_rejected(topics: Topics, records: Sequence[tuple[bytes, int]]) -> None:
    """Write records of the rejected topic (value, time), keyed by nothing, alternating between its partitions."""
    producer = KafkaProducer(bootstrap_servers=topics.cluster.bootstrap)
    for number, (value, time_ms) in enumerate(records):
        producer.send(topics.rejected, value, partition=number % 2, timestamp_ms=time_ms)
    producer.flush()
    producer.close()


def put_refused(topics: Topics, core: Core, values: Sequence[bytes]) -> list[RawRecord]:
    """Write raw events that are refused, and their rejections."""
    raw = put_raw(topics, [(value, f"key-{number}".encode(), number % 3) for number, value in enumerate(values)])
    put_rejected(topics, [(rejection_bytes(reject(core, topics.raw, record)), clock_ms()) for record in raw])
    return raw


def lines(text: str) -> list[dict[str, Any]]:
    """Read JSON lines."""
    return [json.loads(line) for line in text.splitlines()]


def sent(text: str) -> int:
    """Return how many events a report says were sent."""
    found = re.search(r"^([\d,]+) events → ", text, re.MULTILINE)
    assert found, text
    return int(found[1].replace(",", ""))


def test_replay_sends_every_line_as_it_is(lethe: Lethe, topics: Topics, tmp_path: Path) -> None:
    """Lines of plain and compressed files reach raw byte for byte, bad ones too, spread over all partitions."""
    good = to_lines(make_event(number) for number in range(40))
    odd = b'{"cut": \n\xff\xfe not text\r\n   \n\n[1,2]\nlast without an end'
    (tmp_path / "a.jsonl").write_bytes(good)
    (tmp_path / "b.jsonl.gz").write_bytes(gzip.compress(odd))
    done = lethe("replay", "a.jsonl", "b.jsonl.gz")
    found = raw_of(topics)
    expected = [*good.splitlines(), b'{"cut": ', b"\xff\xfe not text", b"[1,2]", b"last without an end"]
    assert (done.code, done.err, sent(done.out)) == (0, "", 44)
    assert Counter(expected) == Counter(record.value for record in found)
    assert {0, 1, 2} == {record.partition for record in found}
    assert re.search(r"blank lines +2\n", done.out)


def test_replay_refuses_long_lines_by_name(
    lethe: Lethe, topics: Topics, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A line longer than an event may be is named and not sent; the others are, and the command exits with 2."""
    monkeypatch.setenv("LETHE_EVENT_BYTES_MAX", "2000")
    (tmp_path / "a.jsonl").write_bytes(b"\n".join([b"a" * 2000, b"b" * 2001, b"c" * 5000, b"d"]))
    done = lethe("replay", "a.jsonl")
    assert (done.code, sent(done.out)) == (2, 2)
    assert sorted(record.value for record in raw_of(topics)) == [b"a" * 2000, b"d"]
    assert "a.jsonl: line 2 is too long" in done.err
    assert "a.jsonl: line 3 is too long" in done.err
    assert "2 lines are too long and were not sent" in done.err


def test_replay_takes_the_largest_events(lethe: Lethe, topics: Topics, tmp_path: Path) -> None:
    """A record larger than a batch goes alone, up to 15.9 MiB; a topic that takes none so large is one clear error."""
    large = make_topic(topics.cluster, 1, max_message_bytes=str(17 << 20))
    event = {"request": base64.b64encode(Random(1).randbytes(159 * (1 << 20) // 10 * 3 // 4 - 60)).decode()}
    data = to_lines([*(make_event(number) for number in range(2000)), event, make_event(2001)])
    (tmp_path / "a.jsonl").write_bytes(data)
    done = lethe("replay", "a.jsonl")
    assert (done.code, "max.message.bytes is too low" in done.err) == (2, True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LETHE_TOPIC_RAW", large)
        done = lethe("replay", "a.jsonl")
    assert (done.code, done.err, sent(done.out)) == (0, "", 2002)
    assert Counter(data.splitlines()) == Counter(record.value for record in read_topic(topics.cluster, large, 1))


def test_replay_of_a_pipe_is_prompt_and_ends_well(topics: Topics, tmp_path: Path) -> None:
    """What a slow pipe gives is in raw while the pipe is still open, and Ctrl-C ends the wait with a report."""
    process = start(tmp_path, ["replay", "-", "--rate", "1000"], **topics.environ)
    pipe_of(process, "stdin").write(b"one\ntwo\nthree\n")
    pipe_of(process, "stdin").flush()
    deadline = time.monotonic() + 30
    while len(found := raw_of(topics)) < 3:
        assert time.monotonic() < deadline
    process.send_signal(signal.SIGINT)
    out, err = (pipe_of(process, name).read().decode() for name in ("stdout", "stderr"))
    assert sorted(record.value for record in found) == [b"one", b"three", b"two"]
    assert (process.wait(30), err, sent(out)) == (130, "lethe: interrupted\n", 3)
    assert "(interrupted)" in out


def test_rejections_are_listed_once_the_newest_last(lethe: Lethe, topics: Topics, bare_core: Core) -> None:
    """Each raw record is listed once, by the time of its newest rejection; the filters do what they say."""
    bad = [RawRecord(number % 3, number, None, b"[" * (number + 1), ()) for number in range(6)]
    made = [rejection_bytes(reject(bare_core, topics.raw, record)) for record in bad]
    empty = rejection_bytes(reject(bare_core, topics.raw, RawRecord(1, 77, None, b"", ())))
    now_ms = clock_ms()
    times = [now_ms - HOUR_MS * (6 - number) for number in range(6)]
    stray = [(b"no rejection", now_ms), (b'{"topic": "x"}', now_ms)]
    put_rejected(topics, [*zip(made, times, strict=True), (made[0], now_ms - 1000), (empty, now_ms - 500), *stray])
    done = lethe("rejected")
    assert (done.code, done.err) == (0, f"lethe: 2 records of {topics.rejected} are no rejections; left out\n")
    assert [line["offset"] for line in lines(done.out)] == [1, 2, 3, 4, 5, 0, 77]
    named = {"topic": topics.raw, "partition": 1, "offset": 77, "last_offset": None, "size_bytes": 0}
    last = named | {"reason": "empty", "pointer": "", "rejected_at": lines(done.out)[-1]["rejected_at"]}
    assert last == lines(done.out)[-1]
    assert parse_timestamp(lines(done.out)[-1]["rejected_at"]) == now_ms - 500
    assert [line["offset"] for line in lines(lethe("rejected", "--reason", "empty").out)] == [77]
    assert [line["offset"] for line in lines(lethe("rejected", "--since", "150min").out)] == [4, 5, 0, 77]
    assert [line["offset"] for line in lines(lethe("rejected", "--at", f"{topics.raw}/0/3").out)] == [3]
    few = lethe("rejected", "--limit", "2")
    assert [line["offset"] for line in lines(few.out)] == [0, 77]
    assert "these are the newest 2" in few.err


def test_the_summary_counts_each_event_once(lethe: Lethe, topics: Topics, bare_core: Core) -> None:
    """Repeats are counted once, by reason and raw partition, and a range that expired as its events."""
    made = [
        rejection_bytes(reject(bare_core, topics.raw, RawRecord(partition, offset, None, value, ())))
        for partition, offset, value in [(0, 5, b"["), (0, 6, b"["), (0, 5, b"["), (2, 5, b"["), (0, 9, b"")]
    ]
    lost = json.loads(made[0]) | {"offset": 100, "last_offset": 109, "reason": "expired", "size_bytes": 0}
    put_rejected(topics, [(value, clock_ms()) for value in [*made, json.dumps(lost).encode()]])
    counts = [(each["reason"], each["partition"], each["events"]) for each in lines(lethe("rejected", "--summary").out)]
    assert counts == [("expired", 0, 10), ("not_json", 0, 2), ("empty", 0, 1), ("not_json", 2, 1)]


def test_show_prints_nothing_of_an_event(
    lethe: Lethe, topics: Topics, bare_core: Core, caplog: pytest.LogCaptureFixture
) -> None:
    """Of events with a canary in every leaf, key and undeclared name, no canary is printed or logged anywhere."""
    for name in ("", "aiokafka", "kafka"):
        caplog.set_level(logging.DEBUG, name)
    values = []
    for pointer, bad in corruptions("v1"):
        event = planted_event("v1") | {"zqundeclared": {"zqinner": ["zqdeep", 4111111111111111]}}
        put(event, pointer, bad)
        values.append(json.dumps(event).encode())
    values += [b"zqnojson 4111111111111111", b'{"zqcut', b'"zqscalar"', b"\xffzqbytes"]
    refused = [value for value in values if _is_refused(bare_core, value)]
    raw = put_refused(topics, bare_core, refused)
    caplog.clear()
    done = lethe("rejected", "--show")
    shown = lines(done.out)
    said = f"{done.out}\n{done.err}\n{caplog.text}".lower()
    needles = [plant.needle.lower() for plant in PLANTS["v1"].values() if "zq" in plant.needle.lower()]
    planted = ["zq", "4111111111111111", "918273645", "9182736455463728", "203.0.113.77"]
    assert (done.code, len(shown)) == (0, len(raw))
    assert len(raw) > 40
    assert [needle for needle in [*needles, *planted] if needle in said] == []
    assert {"found"} == {line["state"] for line in shown}
    assert any(line["event"] == "<25 bytes: not_json>" for line in shown)
    assert any(isinstance(line["event"], dict) and line["event"].get("status") == 418 for line in shown)


def _is_refused(core: Core, value: bytes) -> bool:
    return isinstance(process(value, Source("raw", 0, 0, len(value)), core, OPEN_DOOR), Rejection)


def test_show_says_what_is_gone(lethe: Lethe, topics: Topics, bare_core: Core) -> None:
    """What retention took, what lies beyond the log, and what another record took the place of is gone, not shown."""
    raw = put_refused(topics, bare_core, [b"[" * size for size in range(1, 10)])
    with admin(topics.cluster) as client:
        client.delete_records({AdminPartition(topics.raw, 0): 2})
    beyond = RawRecord(1, 500, None, b"[", ())
    other_size = RawRecord(2, raw[2].offset, None, b"[" * 40, ())
    elsewhere = rejection_bytes(reject(bare_core, "elsewhere", beyond))
    more = [rejection_bytes(reject(bare_core, topics.raw, record)) for record in (beyond, other_size)]
    put_rejected(topics, [(value, clock_ms() + 1) for value in [*more, elsewhere]])
    shown = lines(lethe("rejected", "--show").out)
    states = {(line["topic"], line["partition"], line["offset"]): line["state"] for line in shown}
    gone = {(0, 0), (0, 1), (1, 500), (2, 0)}
    assert {"gone: raw holds 1 d"} == {states[topics.raw, partition, offset] for partition, offset in gone}
    assert {"found"} == {states[topics.raw, *place] for place in {(0, 2), (1, 0), (1, 1), (1, 2), (2, 1), (2, 2)}}
    assert states["elsewhere", 1, 500] == "not of raw's topic"
    assert len(states) == 11


def test_raw_prints_one_refused_record_as_it_is(lethe: Lethe, topics: Topics, bare_core: Core, tmp_path: Path) -> None:
    """With a reason, the bytes of one refused record are printed exactly; nothing else can be had; all is audited."""
    values = [b'{"cut": \x1b[2J\xff\r\n', b"[1]", b""]
    raw = put_refused(topics, bare_core, values)
    accepted = put_raw(topics, [(json.dumps(make_event(1)).encode(), None, 0)])[0]
    at = f"{topics.raw}/{raw[0].partition}/{raw[0].offset}"
    why = ("--why", "incident", "--ticket", "INC-17")
    process = start(tmp_path, ["rejected", "--raw", "--at", at, *why], **topics.environ)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (0, values[0])
    assert err == b"lethe: privileged: an event as it is; it is in the audit log\n"
    done = lethe("rejected", "--raw", "--at", f"{topics.raw}/0/{accepted.offset}", *why)
    assert (done.code, done.out, done.err) == (2, "", "lethe: no rejection points to that record\n")
    with admin(topics.cluster) as client:
        client.delete_records({AdminPartition(topics.raw, 0): 1})
    done = lethe("rejected", "--raw", "--at", at, *why)
    assert (done.code, done.out) == (2, "")
    assert done.err.startswith("lethe: gone: raw holds 1 d")
    log = [line for path in (tmp_path / "lethe-audit").iterdir() for line in lines(path.read_text("utf-8"))]
    ended = [(entry["reason"], entry["ticket"], entry["outcome"], entry["counts"]) for entry in log[2::2]]
    assert ended == [
        ("incident", "INC-17", "done", {"records": 1, "bytes": len(values[0])}),
        *(("incident", "INC-17", "refused", {}),) * 2,
    ]
    assert [entry["action"] for entry in log[1:]] == ["read_raw"] * 6
    assert topics.raw not in json.dumps(log)
    assert lethe("audit-log", "verify").code == 0


def test_rejected_events_are_replayed_once(lethe: Lethe, topics: Topics, bare_core: Core) -> None:
    """Each refused record that raw has is sent once more, with key, headers and partition; what is gone is counted."""
    raw = put_refused(topics, bare_core, [b"[" * size for size in range(1, 10)])
    again = [rejection_bytes(reject(bare_core, topics.raw, record)) for record in raw[3:6]]
    put_raw(topics, [(json.dumps(make_event(1)).encode(), None, 1)])
    put_rejected(topics, [(value, clock_ms() + 5) for value in again])
    with admin(topics.cluster) as client:
        client.delete_records({AdminPartition(topics.raw, 0): 1})
    before = len(raw_of(topics))
    done = lethe("replay", "--rejected")
    expected = Counter((r.partition, r.key, r.value) for r in raw[1:])
    sent_again = [record for record in raw_of(topics) if "lethe_replay_of" in dict(record.headers)]
    assert (done.code, done.err, sent(done.out)) == (0, "", 8)
    assert re.search(r"gone: raw holds 1 d +1\n", done.out)
    assert expected == Counter((r.partition, r.key, r.value) for r in sent_again)
    assert {b"1"} == {dict(record.headers)["x-trace"] for record in sent_again}
    assert len(raw_of(topics)) == before + 8


def test_a_replay_that_is_refused_again_does_not_double(lethe: Lethe, topics: Topics, bare_core: Core) -> None:
    """After each of three replays that are all refused again, the next sends each event once, not twice as many."""
    put_refused(topics, bare_core, [b"[", b"[[", b"[[["])
    counts = []
    for _ in range(3):
        known = {(record.partition, record.offset) for record in raw_of(topics)}
        counts.append(sent(lethe("replay", "--rejected").out))
        new = [record for record in raw_of(topics) if (record.partition, record.offset) not in known]
        put_rejected(topics, [(rejection_bytes(reject(bare_core, topics.raw, r)), clock_ms() + 1) for r in new])
    assert counts == [3, 3, 3]


def test_only_what_was_asked_for_is_replayed(lethe: Lethe, topics: Topics, bare_core: Core) -> None:
    """--reason and --since choose, and a pointer into another topic is never followed."""
    raw = put_raw(topics, [(b"[", None, 0), (b"", None, 0), (b"[[", None, 0)])
    other = Topics(topics.cluster, make_topic(topics.cluster, 3), topics.rejected, {})
    foreign = put_raw(other, [(b"[secret", None, 0)])[0]
    made = [rejection_bytes(reject(bare_core, topics.raw, record)) for record in raw]
    elsewhere = rejection_bytes(reject(bare_core, other.raw, foreign))
    now_ms = clock_ms()
    times = [now_ms, now_ms, now_ms - 2 * HOUR_MS, now_ms]
    put_rejected(topics, [*zip([*made, elsewhere], times, strict=True)])
    done = lethe("replay", "--rejected", "--reason", "not_json", "--since", "1h")
    assert (done.code, sent(done.out)) == (0, 1)
    assert re.search(r"of another topic: not looked up +1\n", done.out)
    assert sorted(record.value for record in raw_of(topics)) == [b"", b"[", b"[", b"[["]


def test_generated_events_are_received_when_they_are_sent(lethe: Lethe, topics: Topics, tmp_path: Path) -> None:
    """`generate --to kafka:` sends at its rate, each event received at its sending, and its manifest names the same."""
    began_ms = int(time.time() * 1000)
    done = lethe("generate", "-n", "40", "--rate", "100", "--to", "kafka:", "--manifest", "canaries.jsonl")
    ended_ms = int(time.time() * 1000)
    events = [json.loads(record.value) for record in raw_of(topics)]
    received = sorted(parse_timestamp(event["received_at"]) or 0 for event in events)
    assert (done.code, done.err, sent(done.out), len(events)) == (0, "", 40, 40)
    assert began_ms <= received[0] <= received[-1] <= ended_ms
    assert received[-1] - received[0] >= 300  # 390 when nothing makes the first one late
    planted = {canary.request_id for canary in read_manifest(tmp_path / "canaries.jsonl")}
    assert planted == {event["request_id"] for event in events}


def _free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port: int = taken.getsockname()[1]
        return port


CALLS = [
    ("rejected",),
    ("rejected", "--show"),
    ("replay", "--rejected"),
    ("replay", "-"),
    ("generate", "-n", "1", "--to", "kafka:"),
]


@pytest.fixture(scope="module")
def generous() -> Iterator[Cluster]:
    """Run a broker that makes a topic of every name it is asked for."""
    with running(properties={"auto.create.topics.enable": "true"}) as cluster:
        yield cluster


def test_missing_topics_are_named_and_not_made(
    generous: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Without its topic every command says so in one line and what to do; asking for it makes none."""
    lethe = make_lethe(tmp_path, monkeypatch, capfd)
    monkeypatch.setenv("LETHE_BROKERS", generous.bootstrap)
    for call in CALLS:
        done = lethe(*call, stdin=b"{}\n")
        text = rf"lethe: there is no topic requests\.\w+ at {generous.bootstrap}: run `lethe topics apply`\n"
        assert (done.code, done.out, bool(re.fullmatch(text, done.err))) == (2, "", True), call
    with admin(generous) as client:
        assert [name for name in client.list_topics() if name.startswith("requests.")] == []


def test_a_broker_that_goes_away_ends_the_sending(generous: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    """When nothing is acknowledged any more, sending ends with one clear error instead of waiting for ever."""
    monkeypatch.setattr(sender, "PATIENCE_S", 1.0)
    monkeypatch.setattr(sender, "CLOSE_S", 0.5)
    topic, senders = make_topic(generous, 2), list[RawSender]()

    def send_on() -> None:
        with (
            LoopThread() as loop,
            RawSender(loop, Brokers(generous.bootstrap), topic, 2, batch_bytes_max=10_000) as sending,
        ):
            senders.append(sending)
            for number in range(1_000_000):
                sending.send(RawCopy(b"x" * 1000))
                if number == 100:
                    generous.nodes[0].kill()

    began_s = time.monotonic()
    with pytest.raises(SinkUnavailable, match="acknowledges nothing for 1 s"):
        send_on()
    assert time.monotonic() - began_s < 20
    assert senders[0].acknowledged <= 101


@pytest.mark.parametrize("call", [*CALLS, ("generate", "--to", "kafka://")], ids=" ".join)
def test_a_broker_that_is_away_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], call: tuple[str, ...]
) -> None:
    """Where no broker answers, every command says where it looked, in one line, and exits with 2."""
    lethe = make_lethe(tmp_path, monkeypatch, capfd)
    monkeypatch.setattr("pipeline.recovery.reading.TopicAdmin", partial(TopicAdmin, timeout_ms=500))
    address = f"127.0.0.1:{_free_port()}"
    if "kafka://" not in call[-1]:
        monkeypatch.setenv("LETHE_BROKERS", address)
    done = lethe(*call[:-1], call[-1].replace("//", f"//{address}"), stdin=b"{}\n")
    assert (done.code, done.out, done.err.count("\n")) == (2, "", 1)
    assert "no answer from Kafka at 127.0.0.1:" in done.err
