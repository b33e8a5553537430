"""The worker on a real broker: the records that it makes, where it begins, what it honours, and how it says no."""

import base64
import json
import re
import signal
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

import pytest
from conftest import RECEIVED_AT, base_event
from kafka import KafkaProducer, TopicPartition
from kafka_broker import Cluster, PortClaims, admin, running
from test_golden import FOLDER, raw_of
from worker_harness import SINKS, Bench, ending, make_event, now_ms, partition_of, read_all, wait_until

from pipeline.anonymize import make_core, process
from pipeline.coarsen import format_timestamp
from pipeline.detect.spans import Detector
from pipeline.keys.keyfile import load_keyring, roll_keyfile
from pipeline.policy.load import Policy
from pipeline.records import Anonymized, Sealed, Source
from pipeline.suppress import Action, ControlRecord, Subject, encode_entry
from pipeline.wire import content_bytes, operational_bytes
from pipeline.worker.admit import admit, age_limits

EVENT_BYTES_MAX = 16 << 20
# A worker whose transform computes without a pause for longer than the session.
BUSY = """
import sys, time
import pipeline.worker.slices as slices
process = slices.process
def slow(*arguments):
    end = time.monotonic() + 8
    while time.monotonic() < end:
        pass
    return process(*arguments)
slices.process = slow
sys.argv[1:] = ["worker"]
from pipeline.cli import main
main()
"""
# Names the heavy modules that a worker holds once it works.
HEAVY = """
import signal, sys
def look(*_):
    heavy = {"chdb", "pandas", "pyarrow", "clickhouse_connect", "faker", "spacy", "aiohttp", "requests"}
    print("heavy:", sorted(heavy & set(sys.modules)), flush=True)
signal.signal(signal.SIGUSR1, look)
sys.argv[1:] = ["worker"]
from pipeline.cli import main
main()
"""


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    """Run one broker for these tests."""
    with running() as started:
        yield started


@pytest.fixture
def bench(cluster: Cluster, tmp_path: Path, request: pytest.FixtureRequest) -> Bench:
    """Return topics and keys of this test alone."""
    return Bench(cluster, tmp_path, re.sub(r"[^a-z]", "", request.node.name)[4:40] + ".").prepare(partitions=2)


def golden_events() -> list[bytes]:
    """Return the raw event of every golden case of the shipped shape, received now and with an id of its own."""
    now, same_id = format_timestamp(now_ms()).encode(), base_event()["request_id"].encode()
    events = []
    for number, path in enumerate(sorted(FOLDER.glob("*.json"))):
        case = json.loads(path.read_text("utf-8"))
        if not {"shape", "limits"} & set(case):
            raw = raw_of(case).replace(RECEIVED_AT.encode(), now)
            events.append(raw.replace(same_id, f"req_{number:032x}".encode()))
    return [raw for raw in events if len(raw) <= EVENT_BYTES_MAX]  # the topic takes no larger one


def send_entries(bench: Bench, policy: Policy, *entries: ControlRecord) -> None:
    """Write entries to the control topic."""
    producer = KafkaProducer(bootstrap_servers=bench.cluster.bootstrap, acks="all")
    for entry in entries:
        value = encode_entry(entry, policy.control)
        producer.send(bench.topic("control"), value, key=entry.pseudonym.encode(), partition=0).get(30)
    producer.close()


def entry(bench: Bench, action: Action, subject: Subject, value: str, until_ms: int | None = None) -> ControlRecord:
    """Return an entry about someone."""
    keys = load_keyring(bench.folder / "lethe.keys.json")
    pseudonym = keys.suppression(str(subject), value)
    return ControlRecord(str(uuid.uuid4()), action, subject, pseudonym, now_ms(), until_ms)


def work_off(bench: Bench, *arguments: str, **environ: str) -> str:
    """Let a worker read raw to its end; return what it printed."""
    worker = bench.worker(*arguments, **environ)
    with ending(worker):
        bench.wait_done()
        assert worker.stop() == 0
    return worker.said()


def operational(bench: Bench) -> dict[str, Any]:
    """Return the operational records, by request id."""
    found = [json.loads(record.value) for record in read_all(bench.cluster, bench.topic("operational"))]
    return {fields["request_id"]: fields for fields in found}


def content_ids(bench: Bench) -> set[str]:
    """Return the request ids of the content records."""
    return {record.key.decode() for record in read_all(bench.cluster, bench.topic("content"))}


def test_the_golden_events_become_exactly_their_records(bench: Bench, policy: Policy, detector: Detector) -> None:
    """Key, value, headers and partition of each record are what the core makes of its event, and nothing else is there.

    Raw is keyed, timed and headed by its producer; none of that is in a record.
    """
    events = golden_events()
    bench.send(events, partition=1)
    said = work_off(bench, LETHE_REJECTION_SHARE_MAX="100")
    core = make_core(policy, detector, load_keyring(bench.folder / "lethe.keys.json"), bench.sealer())
    admission = admit(now_ms(), now_ms(), age_limits(policy, None, archive=True), None)
    expected: dict[str, dict[str, bytes]] = {sink: {} for sink in SINKS}
    for offset, raw in enumerate(events):
        fate = process(raw, Source(bench.topic("raw"), 1, offset, len(raw)), core, admission)
        if isinstance(fate, Anonymized):
            if fate.content is not None:
                expected["content"][fate.content.request_id] = content_bytes(fate.content)
            expected["operational"][fate.operational.request_id] = operational_bytes(fate.operational)
        else:
            place = f"{bench.topic('raw')}/1/{offset}"
            expected["rejected"][place] = json.dumps(fate.fields, separators=(",", ":")).encode()
    assert len(expected["content"]) > 100
    assert len(expected["rejected"]) > 30
    headers = {"content": 4, "operational": 4, "rejected": 3}
    for sink in SINKS:
        records = list(read_all(bench.cluster, bench.topic(sink)))
        assert {record.key.decode(): record.value for record in records} == expected[sink]
        count = len(bench.live()[sink].partitions)
        assert {record.partition == partition_of(record.key, count) for record in records} == {True}
        assert {len(record.headers) for record in records} == {headers[sink]}
        assert dict(records[0].headers)["policy_digest"] == policy.digest.encode()
    assert "kari@shop" not in said


def test_a_first_start_and_expired_offsets(bench: Bench) -> None:
    """A group without offsets begins at the log's start; one that came back too late says which offsets it missed."""
    bench.send([make_event(number) for number in range(10)], partition=0)
    with admin(bench.cluster) as client:
        client.delete_records({TopicPartition(bench.topic("raw"), 0): 4})
    work_off(bench)
    assert content_ids(bench) == {f"req_{number:032x}" for number in range(4, 10)}
    bench.send([make_event(number) for number in range(10, 20)], partition=0)
    with admin(bench.cluster) as client:
        client.delete_records({TopicPartition(bench.topic("raw"), 0): 15})
    said = work_off(bench)
    (rejection,) = [json.loads(record.value) for record in read_all(bench.cluster, bench.topic("rejected"))]
    assert (rejection["offset"], rejection["last_offset"], rejection["reason"]) == (10, 14, "expired")
    assert "offsets 10 to 14 expired in raw before they were read" in said
    assert content_ids(bench) == {f"req_{number:032x}" for number in [*range(4, 10), *range(15, 20)]}


def test_a_remade_topic_is_read_from_its_start(bench: Bench) -> None:
    """Raw is deleted and made anew while the group's offsets stay: no event of the new log is passed over."""
    bench.send([make_event(number) for number in range(20)], partition=0)
    work_off(bench)
    topic = bench.topic("raw")
    with admin(bench.cluster) as client:
        client.delete_topics([topic])
        wait_until(lambda: topic not in client.list_topics())
    bench.prepare(partitions=2)
    bench.send([make_event(number) for number in range(20, 25)], partition=0)
    work_off(bench)
    assert content_ids(bench) == {f"req_{number:032x}" for number in range(25)}


def test_restrictions_and_erasures_hold_before_the_first_event(bench: Bench, policy: Policy) -> None:
    """What the control topic holds at the start counts for the first event; what comes later counts soon."""
    bench.send([make_event(number, account=number) for number in range(4)])
    accounts = [f"acct_{number:016x}" for number in range(4)]
    send_entries(
        bench,
        policy,
        entry(bench, Action.RESTRICT, Subject.ACCOUNT, accounts[0]),
        entry(bench, Action.ERASE, Subject.ACCOUNT, accounts[1], now_ms() + 60_000),
        entry(bench, Action.ERASE, Subject.REQUEST, f"req_{2:032x}", now_ms() - 60_000),
    )
    worker = bench.worker()
    with ending(worker):
        bench.wait_done()
        send_entries(bench, policy, entry(bench, Action.RESTRICT, Subject.ACCOUNT, accounts[3]))
        time.sleep(1.5)
        bench.send([make_event(100, account=3)])
        bench.wait_done()
        assert worker.stop() == 0
    records = operational(bench)
    assert content_ids(bench) == {f"req_{number:032x}" for number in (2, 3)}
    assert {int(name[4:], 16) for name, fields in records.items() if fields["account"] is None} == {1}
    assert records[f"req_{1:032x}"]["client_network"] is None
    assert len(records) == 5


def test_an_entry_that_cannot_be_read_stops_the_worker(bench: Bench) -> None:
    """A malformed entry might be an erasure: the worker names its place, nothing of it, and does not go on."""
    producer = KafkaProducer(bootstrap_servers=bench.cluster.bootstrap, acks="all")
    producer.send(bench.topic("control"), b'{"secret": "canary-7f3a"}', partition=0).get(30)
    producer.close()
    worker = bench.worker()
    with ending(worker):
        assert worker.wait() == 2
    assert f"{bench.topic('control')}/0/0 is not of schema version 1" in worker.said()
    assert "canary-7f3a" not in worker.said()


def test_the_largest_event_passes(bench: Bench) -> None:
    """15.9 MiB between small events: it goes alone, nothing is lost, and the group does not stall.

    Its letters do not compress, so that what is sealed is as long as it can be.
    """
    event = json.loads(make_event(1000))
    letters = "ghijklmnopqrstuvwxyzGHIJKLMNOPQRSTUVWXYZ "
    noise = Random(3).randbytes(16 << 20).translate(bytes(ord(letters[n % len(letters)]) for n in range(256))).decode()
    leaves = [noise[at : at + (1 << 20)] for at in range(0, len(noise), 1 << 20)]
    event["request"] = {"messages": [{"role": "user", "content": leaf} for leaf in leaves[:15]]}
    raw = json.dumps(event, separators=(",", ":")).encode()
    event["request"]["messages"].append({"role": "user", "content": leaves[15][: int(15.9 * (1 << 20)) - len(raw)]})
    raw = json.dumps(event, separators=(",", ":")).encode()
    assert int(15.85 * (1 << 20)) < len(raw) < EVENT_BYTES_MAX
    bench.send([make_event(1), raw, make_event(2)], partition=0)
    said = work_off(bench)
    bodies = {r.key.decode(): r.value for r in read_all(bench.cluster, bench.topic("content"))}
    assert set(bodies) == set(operational(bench)) == {f"req_{number:032x}" for number in (1, 2, 1000)}
    sealed = json.loads(bodies[f"req_{1000:032x}"])
    body = Sealed(sealed["body_encoding"], base64.b64decode(sealed["body"]))
    opened = bench.sealer().open(body, request_id=f"req_{1000:032x}", schema_version=1)
    assert len(opened) > (15 << 20)
    assert said.count("assigned ") == 1


def test_a_long_computation_keeps_the_session(bench: Bench) -> None:
    """A worker that computes for longer than the session without a pause stays in its group: heartbeats go on."""
    bench.send([make_event(1)], partition=0)
    worker = bench.worker(code=BUSY)
    with ending(worker):
        bench.wait_done()
        assert worker.stop() == 0
    assert worker.said().count("assigned ") == 1


def test_a_flood_of_rejections_stops_the_worker(bench: Bench) -> None:
    """After a bad deploy the worker stops with its own exit code, and raw is not drained into rejections."""
    for partition in (0, 1):
        bench.send([b"{}"] * 3000, partition=partition)
    worker = bench.worker(LETHE_SLICE_MS="5")
    with ending(worker):
        assert worker.wait() == 4
    assert "stopped by a flood of rejections" in worker.said()
    assert sum(bench.committed().values()) < 6000


def test_a_shadow_writes_and_commits_nothing(bench: Bench) -> None:
    """A shadow measures in a group of its own; sinks stay empty, and the workers' offsets are not touched."""
    bench.send([make_event(number) for number in range(50)])
    port = free_port()
    worker = bench.worker("--shadow", LETHE_METRICS_PORT=str(port))
    with ending(worker):
        worker.wait_assigned()
        wait_until(lambda: metric(port, "lethe_events_total", fate="records") == 50)
        assert worker.stop() == 0
    assert (bench.committed(), {sink: sum(bench.ends(sink).values()) for sink in SINKS}) == (
        {},
        dict.fromkeys(SINKS, 0),
    )


def free_port() -> int:
    """Return a port that is free now."""
    claims = PortClaims()
    port = int(claims.take_any())
    claims.close()
    return port


def fetch(port: int, path: str) -> str:
    """Return a page of a worker, whatever its status."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5) as answer:
            return str(answer.read().decode())
    except urllib.error.HTTPError as error:
        return str(error.read().decode())


def metric(port: int, name: str, **labels: str) -> float:
    """Return the sum of a metric's samples that have these labels."""
    wanted = {f'{key}="{value}"' for key, value in labels.items()}
    lines = [line for line in fetch(port, "/metrics").splitlines() if re.match(rf"{name}[{{ ]", line)]
    return sum(float(line.rsplit(" ", 1)[1]) for line in lines if wanted <= set(re.findall(r'\w+="[^"]*"', line)))


def test_several_processes_answer_as_one(bench: Bench) -> None:
    """Two workers under a supervisor share the partitions, and one port shows the metrics and probes of both."""
    bench.send([make_event(number) for number in range(200)])
    bench.send([b"{", b"{}"])
    port = free_port()
    group = bench.worker("--processes", "2", LETHE_METRICS_PORT=str(port), LETHE_INSTANCE_ID="node-1")
    with ending(group):
        group.wait_said("worker 0 is ready").wait_said("worker 1 is ready")
        bench.wait_done()
        wait_until(lambda: metric(port, "lethe_records_written_total", sink="operational") == 200)
        wait_until(lambda: (fetch(port, "/healthz"), fetch(port, "/readyz")) == ("ok\n", "ok\n"))
        roll_keyfile(bench.folder / "lethe.keys.json", now_ms() + 86_400_000)
        group.wait_said("keys have changed and are in force")
        text = fetch(port, "/metrics")
        assert metric(port, "lethe_rejections_total", reason="not_json") == 1
        assert metric(port, "lethe_partitions") == 2
        assert metric(port, "lethe_workers_up") == 2
        newest = metric(port, "lethe_keys_newest_day_timestamp_seconds", keys="seal", worker="0") * 1000
        assert 2 <= (newest - now_ms()) / 86_400_000 + 1 <= 3
        assert group.stop() == 0
    assert "kari@shop" not in text
    assert len(content_ids(bench)) == 200


def test_the_check_says_what_is_wrong(bench: Bench) -> None:
    """The check passes where a worker can start, and names setting and fix where it cannot; it consumes nothing."""
    good = bench.lethe("worker", "--check")
    wrong = bench.lethe("worker", "--check", check=False, LETHE_TOPIC_CONTENT="nowhere", LETHE_ADMISSION="60d")
    assert wrong.returncode == 2
    assert "nowhere does not exist (run `lethe topics apply`)" in wrong.stderr
    assert "lower LETHE_ADMISSION" in wrong.stderr
    assert "a worker can start" in good.stdout
    assert bench.committed() == {}


def test_the_worker_holds_no_store(bench: Bench) -> None:
    """A worker that has done work has imported no embedded store and what comes with it, no spaCy, no HTTP client."""
    worker = bench.worker(code=HEAVY)
    with ending(worker):
        worker.wait_assigned()
        bench.send([make_event(1)])
        bench.wait_done()
        worker.signal(signal.SIGUSR1)
        worker.wait_said("heavy: []")
