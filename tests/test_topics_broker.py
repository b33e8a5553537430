"""`lethe topics` on a real broker: what apply makes and verify sees, and that records and their bytes are gone in time.

The proof scales the bound to seconds: the broker looks for expired segments twice a second and unlinks a second later.
"""

import json
import logging
import os
import re
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NamedTuple

import pytest
from kafka import KafkaProducer
from kafka_broker import Cluster, admin, make_topic, running
from test_topics_derive import make_basis
from typer.testing import CliRunner

from pipeline.brokers import Brokers
from pipeline.cli import topics
from pipeline.errors import ConfigError, PipelineError, SinkUnavailable
from pipeline.policy.files import default_schemas_dir
from pipeline.policy.load import Policy
from pipeline.retention import Verdict, worst
from pipeline.topics.admin import TopicAdmin
from pipeline.topics.derive import derive_topics
from pipeline.topics.held import hold_topics
from pipeline.topics.life import Basis, Life, Wishes
from pipeline.topics.live import CHECK_INTERVAL, DELETE_DELAY
from pipeline.topics.plan import Action, Change, make_plan
from pipeline.topics.verify import Outcome, verify_topics

QUICK = {
    CHECK_INTERVAL: "500",
    DELETE_DELAY: "1000",
    "log.initial.task.delay.ms": "500",
}
BOUND_MS = 14_000
ADMISSION_MS = 3000
SLACK_MS = 2000
DAY_MS = 86_400_000
RUN_S = 23.0
TICK_S = 0.1
SCAN_S = 1.0  # how far apart two looks at the disk may be on a busy machine
TRICKLE_TICKS = 25
MARKER = re.compile(rb"marker-([0-9]+)-[0-9a-f]{8}")
INDEXES = ("index", "index.deleted")  # ten empty megabytes each
CONTENT = "requests.content"


@pytest.fixture(scope="module")
def quick() -> Iterator[Cluster]:
    """Run one broker that deletes within seconds what others delete within minutes."""
    with running(properties=QUICK) as cluster:
        yield cluster


class Done(NamedTuple):
    """What a command did."""

    code: int
    out: str
    err: str
    error: PipelineError | None


@pytest.fixture
def lethe(quick: Cluster, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Callable[..., Done]:
    """Return ``lethe topics``, on the module's broker, with topics that no other test uses."""
    monkeypatch.setenv("LETHE_BROKERS", quick.bootstrap)
    monkeypatch.setenv("LETHE_TOPIC_PREFIX", f"{re.sub(r'[^a-z_]', '', request.node.name)}.")
    return run_topics


def run_topics(*arguments: str) -> Done:
    """Run the command in this process."""
    result = CliRunner().invoke(topics.app, list(arguments))
    error = result.exception if isinstance(result.exception, PipelineError) else None
    if result.exception is not None and error is None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return Done(result.exit_code, result.stdout, result.stderr, error)


def tiny_basis(policy: Policy, connection: TopicAdmin, topic: str) -> Basis:
    """Return the content sink with a bound of seconds, under a name of its own."""
    wishes = Wishes(ADMISSION_MS, SLACK_MS, archive=False, segment_ms_min=1000)
    basis = make_basis(wishes, connection.read_brokers(), policy, content={"retention_ms": BOUND_MS})
    return replace(basis, sinks={"content": basis.sinks["content"]}, names={"content": topic})


def make_derived(policy: Policy, cluster: Cluster, topic: str) -> Life:
    """Plan and apply a topic of one partition whose bound is seconds; return the life that was derived."""
    with TopicAdmin(Brokers(cluster.bootstrap)) as connection:
        basis = tiny_basis(policy, connection, topic)
        derived = derive_topics(replace(basis, wishes=replace(basis.wishes, partitions=1)))
        plan = make_plan(derived, connection.read_topics([topic]), basis.facts.check_ms)
        connection.apply(plan.changes)
        connection.wait_for(plan.changes)
        return derived[0].life


@dataclass
class Lane:
    """One topic of the proof.

    Attributes:
        topic: its name.
        every: a record each so many ticks; 0 is one record and then nothing.
        age_ms: how old its records say they are; below zero is in the future.
        sent_s: when each marker was sent.
        seen_s: when each marker was last on the disk.
        oldest_ms: the greatest age of a record that could be read.
    """

    topic: str
    every: int
    age_ms: int = 0
    sent_s: dict[bytes, float] = field(default_factory=dict)
    seen_s: dict[bytes, float] = field(default_factory=dict)
    oldest_ms: int = 0

    def lives_s(self, before_s: float) -> dict[bytes, float]:
        """Return how long each marker that was sent before a moment stayed on the disk."""
        return {marker: self.seen_s[marker] - sent for marker, sent in self.sent_s.items() if sent < before_s}


class Proof(NamedTuple):
    """The finished run: its lanes by name, the life that was derived, and when the run ended."""

    lanes: dict[str, Lane]
    life: Life
    end_s: float

    @property
    def limit_s(self) -> float:
        """Longest time from append to the bytes being gone that the bound allows."""
        return (BOUND_MS - ADMISSION_MS) / 1000


def send_due(producer: KafkaProducer, lane: Lane, tick: int) -> None:
    """Send the record that a lane has for this tick, if any."""
    if tick and (not lane.every or tick % lane.every):
        return
    number = len(lane.sent_s)
    marker = b"marker-%d-%08x" % (number, hash((lane.topic, number)) & 0xFFFFFFFF)
    lane.sent_s[marker] = time.monotonic()
    timestamp_ms = int(time.time() * 1000) - lane.age_ms if lane.age_ms else None
    producer.send(lane.topic, b"(%s)" % marker, timestamp_ms=timestamp_ms)


def look_at_disk(log_dir: Path, lane: Lane) -> None:
    """Note which of a lane's markers are in any file of its partition, deleted or not, but its indexes of numbers."""
    for folder in log_dir.glob(f"{lane.topic}-0*"):
        for file in [path for path in folder.iterdir() if not path.name.endswith(INDEXES)]:
            with suppress(FileNotFoundError):
                data = file.read_bytes()
                now_s = time.monotonic()
                lane.seen_s.update((match[0], now_s) for match in MARKER.finditer(data))


def look_at_oldest(connection: TopicAdmin, lanes: dict[str, Lane]) -> None:
    """Note the greatest age of each lane's oldest record."""
    by_topic = {lane.topic: lane for lane in lanes.values()}
    found = connection.read_topics(by_topic, deep=True)
    now_ms = int(time.time() * 1000)
    for name, live in found.items():
        if (oldest_ms := live.partitions[0].oldest_ms) is not None:
            by_topic[name].oldest_ms = max(by_topic[name].oldest_ms, now_ms - oldest_ms)


@pytest.fixture(scope="module")
def proof(policy: Policy, quick: Cluster) -> Proof:
    """Let traffic of every kind flow into derived and into naive topics at once, and watch the disk."""
    lanes = {name: Lane(f"proof.{name}", every) for name, every in
             (("continuous", 1), ("trickle", TRICKLE_TICKS), ("idle", 0), ("replay", 1))}  # fmt: skip
    lanes["replay"].age_ms = 10 * DAY_MS
    (life,) = {make_derived(policy, quick, lane.topic) for lane in lanes.values()}
    retention_ms = str(life.retention_ms)  # all else as Kafka has it: segments of a week, a client's clock
    lanes["naive continuous"] = Lane(make_topic(quick, retention_ms=retention_ms), 1)
    lanes["naive future"] = Lane(make_topic(quick, retention_ms=retention_ms), 0, age_ms=-DAY_MS // 48)
    lanes["naive replay"] = Lane(make_topic(quick, retention_ms=retention_ms), 0, age_ms=10 * DAY_MS)
    clock = threading.Event()
    producer = KafkaProducer(bootstrap_servers=quick.bootstrap, acks="all")
    with TopicAdmin(Brokers(quick.bootstrap)) as connection:
        begin_s = time.monotonic()
        tick = 0
        while (now_s := time.monotonic()) < begin_s + RUN_S:
            for lane in lanes.values():
                send_due(producer, lane, tick)
            producer.flush()
            for lane in lanes.values():
                look_at_disk(quick.nodes[0].log_dir, lane)
            if tick % 5 == 0:
                look_at_oldest(connection, lanes)
            tick += 1
            clock.wait(max(0.0, now_s + TICK_S - time.monotonic()))
    producer.close()
    return Proof(lanes, life, time.monotonic())


DERIVED_LANES = ["continuous", "trickle", "idle", "replay"]


@pytest.mark.parametrize("lane", DERIVED_LANES)
def test_bytes_are_gone_from_the_disk_within_the_bound(proof: Proof, lane: str) -> None:
    """Whatever the traffic, no byte of a record stays longer than the bound less admission."""
    lives = proof.lanes[lane].lives_s(proof.end_s - proof.limit_s - SCAN_S)
    assert lives
    assert max(lives.values()) <= proof.limit_s


@pytest.mark.parametrize("lane", DERIVED_LANES)
def test_records_stay_for_the_retention_derived(proof: Proof, lane: str) -> None:
    """No record goes early, not even one whose client says that it is ten days old: the worker must have read it."""
    lives = proof.lanes[lane].lives_s(proof.end_s - proof.limit_s - SCAN_S)
    assert min(lives.values()) >= proof.life.retention_ms / 1000 - SCAN_S


@pytest.mark.parametrize("lane", DERIVED_LANES)
def test_records_are_unreadable_a_delete_delay_before(proof: Proof, lane: str) -> None:
    """The oldest record that a reader could get was never so old that its bytes would stay past the bound."""
    assert 0 < proof.lanes[lane].oldest_ms <= BOUND_MS - ADMISSION_MS - proof.life.delete_ms


def test_kafkas_default_segment_breaks_the_bound(proof: Proof) -> None:
    """With retention.ms alone, the first record stays for as long as traffic lasts: its segment never rolls."""
    lane = proof.lanes["naive continuous"]
    first = next(iter(lane.sent_s))
    assert lane.seen_s[first] - lane.sent_s[first] > RUN_S - SCAN_S > proof.limit_s
    assert lane.oldest_ms > BOUND_MS


def test_a_clients_clock_in_the_future_breaks_the_bound(proof: Proof) -> None:
    """With CreateTime, a record that says it is half an hour young never expires, although nothing follows it."""
    (life_s,) = proof.lanes["naive future"].lives_s(proof.end_s).values()
    assert life_s > RUN_S - SCAN_S > proof.limit_s


def test_a_clients_old_clock_loses_records(proof: Proof) -> None:
    """With CreateTime, a replayed event is gone before its time: nobody may have read it."""
    (life_s,) = proof.lanes["naive replay"].lives_s(proof.end_s).values()
    assert life_s < proof.life.retention_ms / 1000 - SCAN_S


@pytest.mark.parametrize(("lane", "failed"), [("continuous", set()), ("naive continuous", {"bound", "oldest record"})])
def test_verify_tells_the_kept_bound_from_the_broken_one(
    policy: Policy, quick: Cluster, proof: Proof, lane: str, failed: set[str]
) -> None:
    """On the topics of the proof, verify passes the derived one and fails the naive one by settings and by age."""
    topic = proof.lanes[lane].topic
    with TopicAdmin(Brokers(quick.bootstrap)) as connection:
        basis = tiny_basis(policy, connection, topic)
        live = connection.read_topics([topic], deep=True)
    now_ms = int(time.time() * 1000)
    checks = verify_topics(basis, live, now_ms)
    assert (worst(hold_topics(basis, live, now_ms)) is Verdict.BROKEN) == bool(failed)
    assert failed <= {check.check for check in checks if check.outcome is Outcome.FAILS}
    assert failed or not [check for check in checks if check.outcome is Outcome.FAILS]


def test_plan_apply_plan_verify(lethe: Callable[..., Done]) -> None:
    """On an empty cluster: changes are pending, apply makes them, then nothing is left to do and every bound holds."""
    codes = [lethe(command).code for command in ("verify", "plan", "apply", "plan", "verify")]
    assert codes == [1, 3, 0, 0, 0]


def test_a_plan_changes_nothing(lethe: Callable[..., Done], quick: Cluster) -> None:
    """Planning is free of effects."""
    with admin(quick) as client:
        before = set(client.list_topics())
        lethe("plan")
        assert set(client.list_topics()) == before


def test_another_life_needs_consent(lethe: Callable[..., Done]) -> None:
    """Without --yes nothing at all is altered, and with it the plan is."""
    lethe("apply")
    shorter = ("--slack", "1h", "--partitions", "9")
    refused = lethe("apply", *shorter)
    pending = json.loads(lethe("plan", *shorter, "--json").out)
    done = lethe("apply", *shorter, "--yes")
    left = lethe("plan", *shorter)
    assert (refused.code, done.code, left.code) == (3, 0, 0)
    assert "nothing was changed" in refused.err
    assert "shortens life" in refused.out
    assert {(c["setting"], c["effect"]) for c in pending["changes"]} == {
        ("partitions", ""),
        ("retention.ms", "shortens"),
        ("segment.ms", "shortens"),
    }


def test_altering_touches_no_other_setting(
    lethe: Callable[..., Done], quick: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Settings that nobody derived, such as compression, survive an apply on a topic that was there."""
    name = make_topic(quick, compression_type="zstd", retention_ms="1000")
    monkeypatch.setenv("LETHE_TOPIC_AUDIT", name)
    assert lethe("apply", "--yes").code == 0
    with TopicAdmin(Brokers(quick.bootstrap)) as connection:
        settings = connection.read_topics([name])[name].settings
    assert (settings["compression.type"], settings["message.timestamp.type"]) == ("zstd", "LogAppendTime")


def test_an_unmanaged_topic_is_left_alone_and_judged(
    lethe: Callable[..., Done], quick: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another team's topic keeps its settings, and verify fails for it alone."""
    schemas = tmp_path / "schemas"
    shutil.copytree(default_schemas_dir(), schemas)
    raw = schemas / "topics" / "raw.json"
    raw.write_text(raw.read_text("utf-8").replace('"managed": true', '"managed": false'), "utf-8")
    name = make_topic(quick)
    monkeypatch.setenv("LETHE_TOPIC_RAW", name)
    monkeypatch.setenv("LETHE_SCHEMAS", str(schemas))
    applied = lethe("apply")
    with TopicAdmin(Brokers(quick.bootstrap)) as connection:
        settings = connection.read_topics([name])[name].settings
    checks = json.loads(lethe("verify", "--json").out)["checks"]
    assert applied.code == 0
    assert f"{name} is unmanaged: left alone" in applied.out
    assert (settings["retention.ms"], settings["message.timestamp.type"]) == ("604800000", "CreateTime")
    assert {check["topic"] for check in checks if check["outcome"] == "fails"} == {name}


def test_what_relies_on_encrypted_disks_is_said(lethe: Callable[..., Done], monkeypatch: pytest.MonkeyPatch) -> None:
    """Raw events always; content where it is not sealed, which is a warning."""
    lethe("apply")

    def at_rest() -> dict[str, tuple[str, str]]:
        checks = json.loads(lethe("verify", "--json").out)["checks"]
        found = [one for one in checks if one["check"] == "encryption at rest"]
        return {one["topic"].rpartition(".")[2]: (one["outcome"], one["found"]) for one in found}

    assert at_rest() == {"raw": ("ok", "not sealed: relies on the disks"), "content": ("ok", "sealed by its writers")}
    monkeypatch.setenv("LETHE_SEAL", "false")
    assert at_rest()["content"] == ("warns", "not sealed (LETHE_SEAL=false)")


def test_a_refused_bound_changes_nothing(lethe: Callable[..., Done], quick: Cluster) -> None:
    """A plan that cannot be met is an error with its arithmetic, before anything is created."""
    with admin(quick) as client:
        before = set(client.list_topics())
        done = lethe("apply", "--admission", "30d", "--yes")
        assert set(client.list_topics()) == before
    assert "content: 30 d bound - 30 d admission - 15 min slack leave -15 min on disk" in str(done.error)


def test_a_change_that_the_cluster_refuses_stops_them_all(quick: Cluster) -> None:
    """Everything is validated first: one bad line, and no topic is created. The broker's reason is told."""
    existing = make_topic(quick)
    new = [Change("never.made", name, "", "1", "", Action.CREATE) for name in ("partitions", "replication.factor")]
    bad = Change(existing, "retention.ms", "", "-5", "", Action.ALTER)
    with TopicAdmin(Brokers(quick.bootstrap)) as connection:
        with pytest.raises(ConfigError, match=f"refuses to alter {existing}: .*must be at least -1"):
            connection.apply([*new, bad])
        assert connection.read_topics(["never.made"]) == {}


def test_a_replica_too_many_is_refused_in_one_line(lethe: Callable[..., Done]) -> None:
    """A wish that the cluster cannot fulfil names the option."""
    error = str(lethe("plan", "--replication", "3").error)
    assert error == "--replication must be from 1 to the number of brokers, which is 1"


def test_what_the_brokers_show_is_not_assumed(quick: Cluster) -> None:
    """An assumption fills a gap and never overrides the cluster's own word."""
    with TopicAdmin(Brokers(quick.bootstrap)) as connection:
        facts = connection.read_brokers({CHECK_INTERVAL: "1", DELETE_DELAY: "1"})
    assert (facts.check_ms, facts.delete_ms, facts.assumed) == (500, 1000, frozenset())


@pytest.mark.parametrize("given", ["retention.ms=1", CHECK_INTERVAL, f"{CHECK_INTERVAL}=soon"])
def test_an_assumption_of_anything_else_is_refused(lethe: Callable[..., Done], given: str) -> None:
    """Only the two broker settings of the arithmetic can be assumed, in milliseconds."""
    assert "--assume takes NAME=MILLISECONDS" in str(lethe("plan", "--assume", given).error)


def test_verify_looks_into_the_brokers_folder(lethe: Callable[..., Done], tmp_path: Path) -> None:
    """On the broker's host, a stray replica is found that no client can see."""
    lethe("apply")
    (tmp_path / f"{os.environ['LETHE_TOPIC_PREFIX']}raw-0").mkdir()
    well = lethe("verify", "--log-dir", str(tmp_path))
    (tmp_path / f"{os.environ['LETHE_TOPIC_PREFIX']}raw-1.c0ffee-stray").mkdir()
    found = lethe("verify", "--log-dir", str(tmp_path))
    assert (well.code, found.code) == (0, 1)
    assert "c0ffee-stray" in found.out


@pytest.mark.parametrize("level", [logging.NOTSET, logging.WARNING])
def test_no_broker_is_said_in_one_line(capfd: pytest.CaptureFixture[str], level: int) -> None:
    """The message has the address and what to check, and the client itself prints nothing."""
    logging.getLogger("kafka").setLevel(level)
    with pytest.raises(SinkUnavailable, match=r"^cannot connect: no answer from Kafka at 127\.0\.0\.1:1\. Check that"):
        TopicAdmin(Brokers("127.0.0.1:1"), timeout_ms=500)
    assert capfd.readouterr() == ("", "")


def test_three_brokers_get_three_replicas_and_a_dead_one_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    """Topics survive a broker; while it is down nothing is deleted there, so verify fails and names the partitions."""
    with running(3) as cluster:
        monkeypatch.setenv("LETHE_BROKERS", cluster.bootstrap)
        applied = [run_topics(command).code for command in ("apply", "verify")]
        with TopicAdmin(Brokers(cluster.bootstrap)) as connection:
            live = connection.read_topics([CONTENT])[CONTENT]
        cluster.nodes[2].kill()
        down = wait_until_down(cluster)
        planned = run_topics("plan").code
    failed = {c["check"] for c in down["checks"] if c["outcome"] == "fails" and c["topic"] == CONTENT}
    assert applied == [0, 0]
    assert (live.replication, live.settings["min.insync.replicas"]) == (3, "2")
    assert failed == {"offline replicas", "replicas behind"}
    assert planned == 0


def wait_until_down(cluster: Cluster) -> dict[str, list[dict[str, str]]]:
    """Verify until the cluster has noticed that a broker is gone; return that last answer."""
    clock = threading.Event()
    deadline_s = time.monotonic() + 30
    while time.monotonic() < deadline_s:
        said = run_topics("verify", "--json").out  # nothing while a leader is being elected
        answer: dict[str, list[dict[str, str]]] = json.loads(said or '{"checks": []}')
        failed = {check["check"] for check in answer["checks"] if check["outcome"] == "fails"}
        if failed >= {"offline replicas", "replicas behind"}:
            return answer
        clock.wait(0.2)
    raise AssertionError(f"nobody noticed at {cluster.bootstrap}")
