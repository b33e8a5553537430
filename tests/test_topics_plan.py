"""What `lethe topics` would change, and what it thinks of the topics that are there: judged without a broker."""

import json
import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console
from test_topics_derive import DAY_MS, FACTS, HOUR_MS, MINUTE_MS, derived, make_basis, values

from pipeline.cli import topics_report
from pipeline.errors import ConfigError, SinkUnavailable
from pipeline.policy.load import Policy
from pipeline.topics.derive import DerivedTopic
from pipeline.topics.folders import check_folder
from pipeline.topics.life import Basis
from pipeline.topics.live import (
    AUTO_CREATE,
    CHECK_INTERVAL,
    DELETE_DELAY,
    BrokerFacts,
    LivePartition,
    LiveTopic,
    left_over_replicas,
    slowest_settings,
)
from pipeline.topics.plan import Action, Effect, Plan, effect_of, first_not_done, make_plan
from pipeline.topics.trouble import to_error
from pipeline.topics.verify import Check, Outcome, files_end_ms, has_failed, verify_topics

NOW_MS = 1_795_428_000_000
CHECK_MS = 5 * MINUTE_MS


@pytest.fixture
def basis(policy: Policy) -> Basis:
    """Return the shipped policy on three brokers."""
    return make_basis(policy=policy)


def partition(number: int = 0, **changes: object) -> LivePartition:
    """Return a partition on three brokers that is well."""
    return replace(LivePartition(number, 1, (1, 2, 3), (1, 2, 3)), **changes)  # type: ignore[arg-type]  # a test's own fields


def as_derived(topic: DerivedTopic, **changes: str) -> LiveTopic:
    """Return a live topic that is as derived, but for the settings given, with ``_`` for each dot."""
    settings = values(topic) | {name.replace("_", "."): value for name, value in changes.items()}
    return LiveTopic(topic.name, settings, tuple(partition(number) for number in range(topic.partitions)))


def all_live(basis: Basis) -> dict[str, LiveTopic]:
    """Return every topic as derived."""
    return {topic.name: as_derived(topic) for topic in derived(basis).values()}


def plan_of(basis: Basis, live: LiveTopic, sink: str = "content") -> Plan:
    """Return the plan for one sink's topic."""
    return make_plan([derived(basis)[sink]], {live.name: live}, CHECK_MS)


def lines(plan: Plan) -> list[tuple[str, str, str, str, str]]:
    """Return a plan's lines without topic and reason."""
    return [(c.setting, c.live, c.derived, c.action, c.effect) for c in plan.changes]


def test_nothing_to_do_where_all_is_as_derived(basis: Basis) -> None:
    """A second run after an apply has nothing to say."""
    plan = make_plan(list(derived(basis).values()), all_live(basis), CHECK_MS)
    assert plan == Plan((), ())


def test_a_topic_that_is_missing_is_created_whole(basis: Basis) -> None:
    """Every setting, the partitions and the replicas are lines of the plan, and no consent is needed."""
    topic = derived(basis)["raw"]
    plan = make_plan([topic], {}, CHECK_MS)
    expected = {"partitions": "8", "replication.factor": "3", **values(topic)}
    assert {c.setting: c.derived for c in plan.changes} == expected
    assert {c.action for c in plan.changes} == {Action.CREATE}
    assert not plan.needs_consent


def test_only_what_differs_is_altered(basis: Basis) -> None:
    """A line names the setting, both values, and what it does to the time that records live."""
    live = as_derived(derived(basis)["content"], retention_ms="604800000", max_message_bytes="1048588")
    assert lines(plan_of(basis, live)) == [
        ("retention.ms", "604800000", "155160000", "alter", "shortens"),
        ("max.message.bytes", "1048588", "17825792", "alter", ""),
    ]


@pytest.mark.parametrize(
    ("name", "live", "wanted", "effect"),
    [
        ("retention.ms", "604800000", "1000", Effect.SHORTENS),
        ("retention.ms", "1000", "604800000", Effect.WIDENS),
        ("retention.ms", "-1", "604800000", Effect.SHORTENS),
        ("segment.ms", "604800000", "1000", Effect.SHORTENS),
        ("file.delete.delay.ms", "60000", "120000", Effect.WIDENS),
        ("retention.bytes", "1000000", "-1", Effect.WIDENS),
        ("cleanup.policy", "compact", "delete", Effect.MOVES),
        ("message.timestamp.type", "CreateTime", "LogAppendTime", Effect.MOVES),
        ("max.message.bytes", "1", "2", Effect.NONE),
        ("min.insync.replicas", "1", "2", Effect.NONE),
        ("segment.jitter.ms", "5", "0", Effect.NONE),
    ],
)
def test_what_moves_the_life_of_records_is_named(name: str, live: str, wanted: str, effect: Effect) -> None:
    """Shortening, widening and another clock are told apart from settings that move no record's end."""
    assert effect_of(name, live, wanted) == effect


def test_a_move_gives_both_lives(basis: Basis) -> None:
    """The longest life is told before and after; a topic with a client's clock has no end."""
    topic = derived(basis)["content"]
    week = plan_of(basis, as_derived(topic, retention_ms="604800000"))
    endless = plan_of(basis, as_derived(topic, message_timestamp_type="CreateTime"))
    before_ms = 604_800_000 + topic.life.segment_ms + CHECK_MS + MINUTE_MS
    assert [(m.before_ms, m.after_ms) for m in (*week.moves, *endless.moves)] == [
        (before_ms, 2 * DAY_MS),
        (None, 2 * DAY_MS),
    ]
    assert week.needs_consent
    assert endless.needs_consent


def test_partitions_are_added_and_never_taken_away(basis: Basis) -> None:
    """Fewer than derived grow; more than derived stay, because Kafka cannot take one away."""
    topic = derived(basis)["content"]
    few, many = (replace(as_derived(topic), partitions=tuple(map(partition, range(n)))) for n in (3, 20))
    assert lines(plan_of(basis, few)) == [("partitions", "3", "8", "grow", "")]
    assert plan_of(basis, many).changes == ()


def test_missing_replicas_are_work_by_hand(basis: Basis) -> None:
    """Reassigning replicas is the operator's; until then min.insync.replicas fits those there are, or writes stop."""
    topic = derived(basis)["content"]
    single = tuple(partition(n, replicas=(1,), in_sync=(1,)) for n in range(8))
    live = replace(as_derived(topic), partitions=single)
    plan = plan_of(basis, live)
    assert lines(plan) == [
        ("replication.factor", "1", "3", "by hand", ""),
        ("min.insync.replicas", "2", "1", "alter", ""),
    ]
    assert [c.setting for c in plan.to_do] == ["min.insync.replicas"]
    assert [c.setting for c in plan.by_hand] == ["replication.factor"]


def test_a_broker_that_is_down_lowers_no_safety(policy: Policy) -> None:
    """A cluster that shows two of its three brokers gets no smaller min.insync.replicas for topics on three."""
    two = replace(FACTS, brokers=(1, 2))
    live = as_derived(derived(make_basis(policy=policy))["content"])
    assert plan_of(make_basis(facts=two, policy=policy), live).changes == ()


def test_tiered_storage_is_ended_by_hand(basis: Basis) -> None:
    """Switching it off deletes what it holds or leaves it behind: nothing that apply should choose."""
    live = as_derived(derived(basis)["content"], remote_storage_enable="true")
    plan = plan_of(basis, live)
    assert lines(plan) == [("remote.storage.enable", "true", "false", "by hand", "")]
    assert not plan.needs_consent


def test_a_broker_without_tiered_storage_is_not_asked_for_it(basis: Basis) -> None:
    """A topic that does not show the setting has none."""
    live = as_derived(derived(basis)["content"])
    bare = replace(live, settings={k: v for k, v in live.settings.items() if k != "remote.storage.enable"})
    assert plan_of(basis, bare).changes == ()


def test_a_line_that_does_not_show_yet_is_named(basis: Basis) -> None:
    """After an apply, a topic counts as done when every line reads back and every partition has a leader."""
    topic = derived(basis)["applied"]
    plan = make_plan([topic], {}, CHECK_MS)
    done = as_derived(topic)
    leaderless = replace(done, partitions=(partition(leader=-1),))
    other = as_derived(topic, segment_ms="1")
    found = [first_not_done(plan.changes, {t.name: t}) for t in (done, leaderless, other)]
    assert found == ["", "requests.applied: partitions", "requests.applied: segment.ms"]
    assert first_not_done(plan.changes, {}) == "requests.applied: partitions"


def failures(checks: list[Check]) -> list[tuple[str, str]]:
    """Return topic and name of the checks that failed."""
    return [(check.topic, check.check) for check in checks if check.outcome is Outcome.FAILS]


def judge(basis: Basis, sink: str, live: LiveTopic) -> list[Check]:
    """Return what verify says when one sink's topic is as given and the others are as derived."""
    return verify_topics(basis, all_live(basis) | {basis.names[sink]: live}, NOW_MS)


def test_topics_as_derived_pass(basis: Basis) -> None:
    """What apply makes, verify accepts."""
    checks = verify_topics(basis, all_live(basis), NOW_MS)
    assert failures(checks) == []
    assert not has_failed(checks)
    assert {check.topic for check in checks} == {"", *basis.names.values()}


@pytest.mark.parametrize(
    ("setting", "value", "failed"),
    [
        ("cleanup.policy", "compact", ["cleanup.policy", "bound"]),
        ("cleanup.policy", "compact,delete", ["cleanup.policy"]),
        ("message.timestamp.type", "CreateTime", ["message.timestamp.type", "bound"]),
        ("remote.storage.enable", "true", ["remote.storage.enable", "bound"]),
        ("retention.bytes", "1000", ["retention.bytes"]),
        ("unclean.leader.election.enable", "true", ["unclean.leader.election.enable"]),
        ("retention.ms", "-1", ["bound"]),
        ("retention.ms", str(30 * DAY_MS), ["bound"]),
        ("segment.ms", str(29 * DAY_MS), ["bound"]),
        ("file.delete.delay.ms", str(28 * DAY_MS), ["bound"]),
        ("max.message.bytes", "1048588", ["max.message.bytes"]),
        ("min.insync.replicas", "1", ["min.insync.replicas"]),
        ("min.insync.replicas", "3", ["min.insync.replicas"]),
    ],
)
def test_each_setting_that_breaks_a_promise_fails(basis: Basis, setting: str, value: str, failed: list[str]) -> None:
    """One wrong setting fails its own check, and the bound where that is broken."""
    live = as_derived(derived(basis)["content"], **{setting.replace(".", "_"): value})
    assert failures(judge(basis, "content", live)) == [("requests.content", name) for name in failed]


def test_the_bound_is_judged_to_the_millisecond(basis: Basis) -> None:
    """Admission and the four terms may reach the bound and not pass it."""
    topic = derived(basis)["content"]
    rest_ms = DAY_MS + topic.life.segment_ms + CHECK_MS + MINUTE_MS
    just, over = (as_derived(topic, retention_ms=str(30 * DAY_MS - rest_ms + more)) for more in (0, 1))
    assert failures(judge(basis, "content", just)) == []
    assert failures(judge(basis, "content", over)) == [("requests.content", "bound")]


def test_the_brokers_check_interval_counts(policy: Policy) -> None:
    """Settings that were right break their bound when somebody makes the brokers look once a month."""
    live = all_live(make_basis(policy=policy))
    slow = BrokerFacts((1, 2, 3), {**FACTS.settings, CHECK_INTERVAL: str(30 * DAY_MS)})
    broken = {topic for topic, check in failures(verify_topics(make_basis(facts=slow, policy=policy), live, NOW_MS))
              if check == "bound"}  # fmt: skip
    expected = {f"requests.{n}" for n in ("raw", "content", "operational", "rejected", "applied", "audit")}
    assert broken == expected


def test_an_unmanaged_topic_is_judged_too(policy: Policy) -> None:
    """Another team's raw topic with Kafka's defaults does not keep raw's bound, and verify says why."""
    basis = make_basis(policy=policy, raw={"managed": False})
    defaults = {
        "cleanup.policy": "delete", "message.timestamp.type": "CreateTime", "retention.ms": "604800000",
        "segment.ms": "604800000", "file.delete.delay.ms": "60000", "min.insync.replicas": "2",
    }  # fmt: skip
    live = all_live(basis) | {"requests.raw": LiveTopic("requests.raw", defaults, (partition(),))}
    failed = failures(verify_topics(basis, live, NOW_MS))
    assert failed == [("requests.raw", "message.timestamp.type"), ("requests.raw", "bound")]


def test_a_missing_topic_fails(basis: Basis) -> None:
    """A sink without a topic is no sink."""
    live = all_live(basis)
    del live["requests.audit"]
    assert failures(verify_topics(basis, live, NOW_MS)) == [("requests.audit", "exists")]


@pytest.mark.parametrize(
    ("changes", "failed"),
    [
        ({"offline": (3,), "in_sync": (1, 2)}, ["offline replicas", "replicas behind"]),
        ({"leader": -1}, ["offline replicas"]),
        ({"in_sync": (1, 2)}, ["replicas behind"]),
        ({"replicas": (1, 2), "in_sync": (1, 2)}, ["replicas"]),
        ({"left_over": (7,)}, ["left-over replicas"]),
        ({}, []),
    ],
)
def test_replicas_that_keep_or_lose_records_fail(
    basis: Basis, changes: Mapping[str, object], failed: list[str]
) -> None:
    """Offline ones delete nothing, ones behind hold records back, left-over ones keep what nobody sees."""
    live = as_derived(derived(basis)["content"])
    partitions = (*live.partitions[:-1], partition(7, **changes))
    checks = judge(basis, "content", replace(live, partitions=partitions))
    assert failures(checks) == [("requests.content", name) for name in failed]
    assert all("partitions 7" in c.found for c in checks if c.outcome is Outcome.FAILS and c.check != "replicas")


def test_brokers_that_hide_their_folders_are_a_warning(basis: Basis) -> None:
    """A check that could not be made does not count as passed, nor as failed."""
    live = replace(as_derived(derived(basis)["content"]), hidden_by=(2,))
    outcomes = [c.outcome for c in judge(basis, "content", live) if c.check == "left-over replicas"]
    assert outcomes.count(Outcome.WARNS) == 1


def test_left_over_replicas_are_those_on_other_brokers() -> None:
    """A partition on a broker that does not own it is left over, each broker named once; owners' ones are not."""
    at, other = ("requests.raw", 0), ("requests.raw", 1)
    held = {1: [at, other], 2: [at], 4: [at, at]}
    assert left_over_replicas(held, {at: (1, 2), other: (2, 3)}) == {at: {4}, other: {1}}


def test_of_several_brokers_the_slowest_counts() -> None:
    """Numbers are compared as numbers, switched on beats switched off, and other settings are left out."""
    shown = [{CHECK_INTERVAL: "300000", AUTO_CREATE: "true", "num.io.threads": "8"}, {CHECK_INTERVAL: "60000"}]
    assert slowest_settings([*shown, {AUTO_CREATE: "false"}]) == {CHECK_INTERVAL: "300000", AUTO_CREATE: "true"}


def test_topics_that_make_themselves_are_a_warning(policy: Policy) -> None:
    """With auto.create.topics.enable, a mistyped name makes a topic with Kafka's own retention."""
    facts = BrokerFacts((1, 2, 3), {**FACTS.settings, AUTO_CREATE: "true"})
    basis = make_basis(facts=facts, policy=policy)
    warned = [c.check for c in verify_topics(basis, all_live(basis), NOW_MS) if c.outcome is Outcome.WARNS]
    assert warned == [AUTO_CREATE]


@pytest.mark.parametrize(
    ("sink", "limit_ms"),
    [
        ("content", 30 * DAY_MS - DAY_MS),
        ("operational", 30 * DAY_MS - DAY_MS),
        ("raw", DAY_MS),
        ("control", 401 * DAY_MS + CHECK_MS + MINUTE_MS),
    ],
)
def test_the_oldest_record_is_judged_with_its_delete_delay(basis: Basis, sink: str, limit_ms: int) -> None:
    """A record that can still be read stays on disk for the delete delay after that; the oldest partition decides."""
    live = as_derived(derived(basis)[sink])

    def with_oldest(age_ms: int) -> LiveTopic:
        aged = replace(live.partitions[-1], oldest_ms=NOW_MS - age_ms)
        return replace(live, partitions=(*live.partitions[:-1], aged))

    assert failures(judge(basis, sink, with_oldest(limit_ms - MINUTE_MS))) == []
    assert failures(judge(basis, sink, with_oldest(limit_ms - MINUTE_MS + 1))) == [(live.name, "oldest record")]


def test_control_must_be_held_long_enough(basis: Basis) -> None:
    """For the topic of erasures, too short a life is the failure."""
    live = as_derived(derived(basis)["control"], retention_ms=str(400 * DAY_MS - 1))
    assert failures(judge(basis, "control", live)) == [("requests.control", "held")]


def write_segment(folder: Path, name: str, age_ms: int, text: str = "records") -> None:
    """Write a file of records that was last written some time ago."""
    folder.mkdir(exist_ok=True)
    file = folder / name
    file.write_text(text, "utf-8")
    written_s = (NOW_MS - age_ms) / 1000
    os.utime(file, (written_s, written_s))


def folder_failures(folder: Path) -> list[str]:
    """Return what the check of a broker's folder finds wrong with a topic whose files end after an hour."""
    checks = check_folder(folder, {"requests.raw": HOUR_MS}, NOW_MS)
    return [check.found for check in checks if check.outcome is Outcome.FAILS]


def test_a_brokers_folder_is_looked_into(tmp_path: Path) -> None:
    """Old files of records fail wherever they lie, also those that wait for deletion; young and empty ones pass."""
    write_segment(tmp_path / "requests.raw-0", "00000000000000000000.log", HOUR_MS)
    write_segment(tmp_path / "requests.raw-1", "00000000000000000000.log", HOUR_MS + 1)
    write_segment(tmp_path / "requests.raw-2", "00000000000000000000.log.deleted", 2 * HOUR_MS)
    write_segment(tmp_path / "requests.raw-3", "00000000000000000000.log", 2 * HOUR_MS, text="")
    write_segment(tmp_path / "requests.raw-4", "00000000000000000000.index", 2 * HOUR_MS)
    write_segment(tmp_path / "requests.raw-5.0a1b-delete", "00000000000000000000.log", 2 * HOUR_MS)
    write_segment(tmp_path / "others.raw-0", "00000000000000000000.log", 2 * HOUR_MS)
    assert [found.partition(":")[0] for found in folder_failures(tmp_path)] == [
        "requests.raw-1",
        "requests.raw-2",
        "requests.raw-5.0a1b-delete",
    ]


def test_a_stray_folder_fails_whatever_its_age(tmp_path: Path) -> None:
    """A replica that a broker brought back after its topic moved on is kept for ever, and no client sees it."""
    write_segment(tmp_path / "requests.raw-0.c0ffee-stray", "00000000000000000000.log", 0)
    assert folder_failures(tmp_path) == ["requests.raw-0.c0ffee-stray"]


@pytest.mark.parametrize("name", ["missing", "."])
def test_a_folder_that_is_no_brokers_is_refused(tmp_path: Path, name: str) -> None:
    """A check of the wrong folder would pass without having looked at anything."""
    with pytest.raises(ConfigError, match="--log-dir"):
        check_folder(tmp_path / name, {"requests.raw": HOUR_MS}, NOW_MS)


def test_files_end_before_the_limit_by_their_span(basis: Basis) -> None:
    """A file's first record is a segment older than its last write."""
    topic = derived(basis)["content"]
    assert files_end_ms(basis, all_live(basis))["requests.content"] == 29 * DAY_MS - topic.life.segment_ms


class KafkaTimeoutError(Exception):
    """As the client's, by name."""


class TopicAuthorizationFailedError(Exception):
    """As the client's, by name."""


class SomethingElseError(Exception):
    """An error of the client's that nobody foresaw."""


@pytest.mark.parametrize(
    ("kind", "ours", "said"),
    [
        (KafkaTimeoutError, SinkUnavailable, "no answer from Kafka at 192.0.2.7:9092. Check that a broker runs there"),
        (
            TopicAuthorizationFailedError,
            ConfigError,
            "this user lacks a right to a topic of Kafka at 192.0.2.7:9092; docs/access.md",
        ),
        (SomethingElseError, SinkUnavailable, "Kafka at 192.0.2.7:9092 answers SomethingElseError"),
    ],
)
def test_the_clients_errors_become_one_line(kind: type[Exception], ours: type[Exception], said: str) -> None:
    """What failed, where, and what to check; never the client's own text, which holds whole requests."""
    error = to_error("describe topics", "192.0.2.7:9092", kind)
    assert type(error) is ours
    assert said in str(error)
    assert str(error).startswith("cannot describe topics: ")


def test_a_plan_is_shown_as_a_diff_with_its_reasons(basis: Basis, capsys: pytest.CaptureFixture[str]) -> None:
    """Arithmetic, both values in people's units, the effect and the reason stand in the table."""
    topic = derived(basis)["content"]
    plan = plan_of(basis, as_derived(topic, retention_ms="604800000"))
    topics_report.show_plan(Console(width=300), basis, [topic], plan)
    shown = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    expected = (
        "~ requests.content retention.ms 604800000 (7 d) 155160000 (1 d 19 h 6 min) shortens life "
        "2 d hold - 4 h 48 min segment - 5 min check - 1 min delete delay"
    )
    assert expected in shown
    assert "requests.content 30 d 1 d 15 min 2 d 1 d 19 h 6 min 4 h 48 min 5 min 1 min" in shown
    assert "requests.content: records live 7 d 4 h 54 min now, 2 d then, at most" in shown


def test_checks_are_shown_short_for_people_and_whole_for_programs(
    basis: Basis, capsys: pytest.CaptureFixture[str]
) -> None:
    """People see bounds, ages and failures; JSON has every check, and whether all passed."""
    live = as_derived(derived(basis)["content"], cleanup_policy="compact,delete")
    checks = judge(basis, "content", live)
    topics_report.show_checks(Console(width=300), checks)
    shown = capsys.readouterr().out
    document = json.loads(topics_report.checks_json(checks))
    assert shown.count("cleanup.policy") == 1
    assert shown.count("oldest record") == len(basis.sinks)
    assert "1 failed" in shown
    assert (document["passed"], len(document["checks"])) == (False, len(checks))


def test_a_plan_is_json_for_programs(basis: Basis) -> None:
    """Everything a tool needs: what is derived, what would change, and whether consent is needed."""
    topic = derived(basis)["content"]
    plan = plan_of(basis, as_derived(topic, retention_ms="604800000"))
    document = json.loads(topics_report.plan_json(basis, [topic], plan))
    assert document["topics"][0]["life"]["hold_ms"] == 2 * DAY_MS
    assert document["topics"][0]["settings"]["segment.ms"]["value"] == str(topic.life.segment_ms)
    assert document["needs_consent"]
    assert document["changes"] == [
        {
            "topic": "requests.content",
            "setting": "retention.ms",
            "live": "604800000",
            "derived": "155160000",
            "why": "2 d hold - 4 h 48 min segment - 5 min check - 1 min delete delay",
            "action": "alter",
            "effect": "shortens",
        }
    ]


def test_assumed_settings_are_marked(policy: Policy) -> None:
    """Whoever reads the checks sees which figures the cluster did not give itself."""
    facts = BrokerFacts((1, 2, 3), {CHECK_INTERVAL: "300000", DELETE_DELAY: "60000"}, frozenset({DELETE_DELAY}))
    basis = make_basis(facts=facts, policy=policy)
    topics = {name: as_derived(topic, file_delete_delay_ms="60000") for name, topic in
              ((t.name, t) for t in derived(basis).values())}  # fmt: skip
    found = {c.check: c.found for c in verify_topics(basis, topics, NOW_MS) if not c.topic}
    assert found == {CHECK_INTERVAL: "5 min", DELETE_DELAY: "1 min (assumed)"}
