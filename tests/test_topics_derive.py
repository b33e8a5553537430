"""Topic settings follow from the retention bound: the arithmetic, the wishes, the names, and what is refused."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from pipeline.config import load_settings
from pipeline.errors import ConfigError, PolicyError
from pipeline.policy.load import Policy, load_policy
from pipeline.policy.model import FieldType, RecordField, RecordSchema, SinkPolicy
from pipeline.topics.derive import DerivedTopic, derive_topics
from pipeline.topics.duration import format_ms, parse_ms
from pipeline.topics.life import Basis, Wishes, life_of
from pipeline.topics.live import CHECK_INTERVAL, DELETE_DELAY, TIERED, BrokerFacts
from pipeline.topics.settings import TopicSettings

MINUTE_MS = 60_000
HOUR_MS = 60 * MINUTE_MS
DAY_MS = 24 * HOUR_MS
FACTS = BrokerFacts((1, 2, 3), {CHECK_INTERVAL: str(5 * MINUTE_MS), DELETE_DELAY: str(MINUTE_MS), TIERED: "false"})


def make_basis(
    wishes: Wishes | None = None,
    facts: BrokerFacts = FACTS,
    policy: Policy | None = None,
    **changes: Mapping[str, object],
) -> Basis:
    """Return a basis of the shipped policy, with the changes given to its sinks."""
    shipped = policy or load_policy()
    sinks = {name: replace(sink, **changes.get(name, {})) for name, sink in shipped.sinks.items()}  # type: ignore[arg-type]  # a test's own fields
    names = {name: TopicSettings().topic_of(sink) for name, sink in sinks.items()}
    return Basis(sinks, shipped.operational, names, facts, wishes or Wishes())


def derived(basis: Basis) -> dict[str, DerivedTopic]:
    """Return the derived topics by sink."""
    return {topic.sink.name: topic for topic in derive_topics(basis)}


def values(topic: DerivedTopic) -> dict[str, str]:
    """Return a topic's settings without their reasons."""
    return {name: setting.value for name, setting in topic.settings.items()}


def without_ending_fields(basis: Basis) -> Basis:
    """Return a basis whose operational record has no field that ends before the record."""
    kept = tuple(f for f in basis.operational.fields if f.null_after_ms is None)
    return replace(basis, operational=replace(basis.operational, fields=kept))


def test_settings_of_a_topic_written_out(policy: Policy) -> None:
    """With an archive, the content topic holds 48 h in all, and every setting that the bound rests on is set."""
    topic = derived(make_basis(policy=policy))["content"]
    retention_ms = 48 * HOUR_MS - 4 * HOUR_MS - 48 * MINUTE_MS - 5 * MINUTE_MS - MINUTE_MS
    expected = {
        "retention.ms": str(retention_ms),
        "segment.ms": str(4 * HOUR_MS + 48 * MINUTE_MS),
        "file.delete.delay.ms": "60000",
        "message.timestamp.type": "LogAppendTime",
        "cleanup.policy": "delete",
        "segment.jitter.ms": "0",
        "retention.bytes": "-1",
        "remote.storage.enable": "false",
        "max.message.bytes": str(17 * 1024 * 1024),
        "min.insync.replicas": "2",
        "unclean.leader.election.enable": "false",
    }
    assert expected == values(topic)
    assert (topic.name, topic.partitions, topic.replication) == ("requests.content", 8, 3)


def test_the_reason_is_the_arithmetic(policy: Policy) -> None:
    """The reason given for retention.ms shows each term."""
    why = derived(make_basis(policy=policy))["content"].settings["retention.ms"].why
    assert why == "2 d hold - 4 h 48 min segment - 5 min check - 1 min delete delay"


@pytest.mark.parametrize("archive", [True, False])
def test_no_topic_holds_longer_than_its_bound_allows(policy: Policy, *, archive: bool) -> None:
    """For every sink, admission and the four terms add up to no more than the bound, less the slack."""
    basis = without_ending_fields(make_basis(Wishes(archive=archive), policy=policy))
    topics = derived(basis)
    assert set(topics) == set(policy.sinks)
    for name, topic in topics.items():
        life = topic.life
        assert life.hold_ms == life.retention_ms + life.segment_ms + life.check_ms + life.delete_ms
        if name != "control":
            assert life.admission_ms + life.hold_ms + 15 * MINUTE_MS <= policy.sinks[name].retention_ms


def test_without_an_archive_content_holds_the_bound_less_admission_and_slack(policy: Policy) -> None:
    """A replayed event may be as old as admission when append time restarts its clock."""
    basis = without_ending_fields(make_basis(Wishes(archive=False), policy=policy))
    assert derived(basis)["content"].life.hold_ms == 30 * DAY_MS - DAY_MS - 15 * MINUTE_MS


def test_admission_is_raws_bound_unless_wished_otherwise(policy: Policy) -> None:
    """Content may be made of whatever raw can still hold."""
    raw_two_days = make_basis(policy=policy, raw={"retention_ms": 2 * DAY_MS})
    wished = make_basis(Wishes(admission_ms=HOUR_MS), policy=policy)
    assert [life_of(b.sinks["content"], b).admission_ms for b in (raw_two_days, wished)] == [2 * DAY_MS, HOUR_MS]


@pytest.mark.parametrize("name", ["raw", "control", "applied", "audit"])
def test_admission_goes_off_only_where_requests_arrive_late(policy: Policy, name: str) -> None:
    """Raw's clock is its own append time, and entries of control, applied and audit are made when they are written."""
    assert derived(make_basis(policy=policy))[name].life.admission_ms == 0


def test_control_is_held_at_least_as_long_as_what_it_erases(policy: Policy) -> None:
    """An erasure that expired before the record it erases would bring that record back."""
    retention_ms = int(values(derived(make_basis(policy=policy))["control"])["retention.ms"])
    assert retention_ms >= max(sink.retention_ms for sink in policy.sinks.values())


@pytest.mark.parametrize(
    ("bound_ms", "segment_ms"),
    [(9 * MINUTE_MS, MINUTE_MS), (10 * HOUR_MS, HOUR_MS), (300 * DAY_MS, DAY_MS)],
    ids=["not_under_a_minute", "a_tenth", "not_over_a_day"],
)
def test_a_segment_is_a_tenth_of_the_hold_within_limits(policy: Policy, bound_ms: int, segment_ms: int) -> None:
    """Short bounds do not make a file a second, and long ones do not make a record wait for weeks."""
    basis = make_basis(Wishes(slack_ms=0), policy=policy, audit={"retention_ms": bound_ms})
    assert derived(basis)["audit"].life.segment_ms == segment_ms


def test_an_operational_topic_ends_with_its_first_ending_field(policy: Policy) -> None:
    """Fields of the operational record end after 30 days, so the topic's limit is 30 days, not the record's 400."""
    basis = make_basis(policy=policy)
    assert basis.limit_ms(basis.sinks["operational"]) == 30 * DAY_MS
    assert set(basis.ending_fields(basis.sinks["operational"])) == {"client_ip", "client_network"}


def test_without_an_archive_ending_fields_are_refused(policy: Policy) -> None:
    """A topic cannot make a field null: without a store behind it, it must not hold such a record for 400 days."""
    with pytest.raises(PolicyError, match=r"(?s)operational: .*client_network, client_ip.*--archive.*2592000000"):
        derived(make_basis(Wishes(archive=False), policy=policy))


@pytest.mark.parametrize("way_out", ["lower_the_bound", "take_the_fields_out"])
def test_both_ways_out_of_that_refusal_work(policy: Policy, way_out: str) -> None:
    """What the refusal proposes is accepted."""
    wishes = Wishes(archive=False)
    lowered = make_basis(wishes, policy=policy, operational={"retention_ms": 30 * DAY_MS})
    bare = without_ending_fields(make_basis(wishes, policy=policy))
    hold_ms = derived({"lower_the_bound": lowered, "take_the_fields_out": bare}[way_out])["operational"].life.hold_ms
    days = {"lower_the_bound": 30, "take_the_fields_out": 400}[way_out]
    assert hold_ms == days * DAY_MS - DAY_MS - 15 * MINUTE_MS


def test_a_bound_that_cannot_be_met_is_refused_with_the_arithmetic(policy: Policy) -> None:
    """The text names the sink, every term, and a bound that would do."""
    with pytest.raises(PolicyError) as refused:
        derived(make_basis(policy=policy, raw={"retention_ms": 20 * MINUTE_MS}))
    assert str(refused.value) == (
        "a bound cannot be met:\n"
        "  raw: 20 min bound - 0 s admission - 15 min slack leave 5 min on disk; less 1 min segment.ms, "
        "5 min log.retention.check.interval.ms and 1 min file.delete.delay.ms, -2 min are left for retention.ms, "
        "which must be no less than segment.ms. Raise retention_ms in topics/raw.json to 1380000, or lower admission, "
        "or the brokers' log.retention.check.interval.ms"
    )


@pytest.mark.parametrize("check_ms", [1000, 5 * MINUTE_MS, HOUR_MS])
def test_the_bound_that_a_refusal_proposes_is_the_lowest(policy: Policy, check_ms: int) -> None:
    """With the number from the text the topic can be had, and with ten milliseconds less it cannot."""
    facts = BrokerFacts((1,), {CHECK_INTERVAL: str(check_ms), DELETE_DELAY: "60000"})
    with pytest.raises(PolicyError) as refused:
        derived(make_basis(facts=facts, policy=policy, audit={"retention_ms": MINUTE_MS}))
    lowest_ms = int(str(refused.value).partition("audit.json to ")[2].partition(",")[0])
    assert derived(make_basis(facts=facts, policy=policy, audit={"retention_ms": lowest_ms}))["audit"].life.limit_ms
    with pytest.raises(PolicyError):
        derived(make_basis(facts=facts, policy=policy, audit={"retention_ms": lowest_ms - 10}))


def test_every_refusal_is_told_at_once(policy: Policy) -> None:
    """Whoever mends one bound learns of the other in the same run."""
    with pytest.raises(PolicyError, match=r"(?s)  applied: .*  audit: "):
        derived(make_basis(policy=policy, audit={"retention_ms": 1}, applied={"retention_ms": 1}))


def test_an_unmanaged_sink_is_left_out(policy: Policy) -> None:
    """Nothing is derived for a topic that is another team's, not even a refusal."""
    basis = make_basis(policy=policy, raw={"managed": False, "retention_ms": 1}, content={"retention_ms": 40 * DAY_MS})
    assert set(policy.sinks) - {"raw"} == set(derived(basis))


@pytest.mark.parametrize(("brokers", "replication", "in_sync"), [(1, 1, 1), (2, 2, 1), (3, 3, 2), (7, 3, 2)])
def test_replicas_follow_the_number_of_brokers(policy: Policy, brokers: int, replication: int, in_sync: int) -> None:
    """Three replicas of which two must be in sync, or what fewer brokers allow."""
    facts = replace(FACTS, brokers=tuple(range(brokers)))
    topic = derived(make_basis(facts=facts, policy=policy))["content"]
    assert (replication, str(in_sync)) == (topic.replication, values(topic)["min.insync.replicas"])


@pytest.mark.parametrize("replication", [4, 0])
def test_more_replicas_than_brokers_are_refused(policy: Policy, replication: int) -> None:
    """The message gives the number of brokers."""
    with pytest.raises(ConfigError, match="number of brokers, which is 3"):
        derived(make_basis(Wishes(replication=replication), policy=policy))


def test_wished_partitions_are_for_the_traffic_only(policy: Policy) -> None:
    """Control and audit are read in order, so they keep their one partition."""
    counts = {
        name: topic.partitions for name, topic in derived(make_basis(Wishes(partitions=12), policy=policy)).items()
    }
    assert counts == {
        **dict.fromkeys(("raw", "content", "operational", "rejected"), 12),
        **dict.fromkeys(("control", "applied", "audit"), 1),
    }


def test_message_size_follows_the_event_limit(policy: Policy) -> None:
    """Topics that events pass take the largest event and its framing; the others keep Kafka's default."""
    topics = derived(make_basis(Wishes(event_bytes_max=1024), policy=policy))
    sizes = [values(topics[name])["max.message.bytes"] for name in ("raw", "content", "control")]
    assert sizes == [str(1024 + 1024 * 1024), str(1024 + 1024 * 1024), "1048588"]


def test_what_a_cluster_hides_or_lacks_is_not_set(policy: Policy) -> None:
    """A hosted Kafka that hides the delete delay would refuse to set it, and an old one knows no tiered storage."""
    facts = BrokerFacts((1,), {CHECK_INTERVAL: "300000", DELETE_DELAY: "60000"}, frozenset({DELETE_DELAY}))
    names = set(values(derived(make_basis(facts=facts, policy=policy))["raw"]))
    assert names & {"file.delete.delay.ms", "remote.storage.enable"} == set()


def test_a_hidden_broker_setting_must_be_assumed(policy: Policy) -> None:
    """Without the check interval there is no bound, and the message says how to give it."""
    with pytest.raises(ConfigError, match=r"--assume log\.retention\.check\.interval\.ms="):
        derived(make_basis(facts=BrokerFacts((1,), {DELETE_DELAY: "60000"}), policy=policy))


def test_a_segment_under_a_second_is_refused(policy: Policy) -> None:
    """Tests may go down to a second, and nobody below it."""
    assert derived(make_basis(Wishes(segment_ms_min=1000), policy=policy))
    with pytest.raises(ConfigError, match=r"segment\.ms must be 1 s or more"):
        derived(make_basis(Wishes(segment_ms_min=999), policy=policy))


@pytest.mark.parametrize(
    ("text", "duration_ms", "shown"),
    [
        ("30d", 30 * DAY_MS, "30 d"),
        ("24h", DAY_MS, "1 d"),
        ("1h30min", 90 * MINUTE_MS, "1 h 30 min"),
        ("1 d 2 h 3 min 4 s 5 ms", DAY_MS + 2 * HOUR_MS + 3 * MINUTE_MS + 4005, "1 d 2 h 3 min 4 s 5 ms"),
        ("15m", 15 * MINUTE_MS, "15 min"),
        ("90s", 90_000, "1 min 30 s"),
        ("0s", 0, "0 s"),
    ],
)
def test_durations_are_read_and_shown_exactly(text: str, duration_ms: int, shown: str) -> None:
    """What people write is read in any of its forms, and shown in one."""
    assert (duration_ms, shown) == (parse_ms("--slack", text), format_ms(duration_ms))
    assert parse_ms("--slack", shown) == duration_ms


@pytest.mark.parametrize("text", ["", "5", "-1h", "1 week", "1h and more", "1.5h", "h", " "])
def test_what_is_no_duration_is_refused_by_name(text: str) -> None:
    """The message names the option, never what was given."""
    with pytest.raises(ConfigError, match=r"^--slack must be a duration with its unit, such as 30d"):
        parse_ms("--slack", text)


def test_a_span_below_zero_is_shown_with_its_sign() -> None:
    """Refusals show what is missing."""
    assert format_ms(-90_000) == "-1 min 30 s"


def test_topic_names_come_from_prefix_and_overrides(policy: Policy) -> None:
    """A prefix of one's own, one whole name, and an empty variable that counts as none."""
    environ = {"LETHE_TOPIC_PREFIX": "eu.", "LETHE_TOPIC_RAW": "gateway-events", "LETHE_TOPIC_CONTENT": ""}
    settings = load_settings(environ, Path("none.toml")).topic_settings(policy.sinks)
    names = [settings.topic_of(policy.sinks[name]) for name in ("raw", "content")]
    assert names == ["gateway-events", "eu.content"]


@pytest.mark.parametrize(
    ("environ", "message"),
    [
        ({"LETHE_TOPIC_PREFIX": "secret/"}, r"^topic_prefix \(LETHE_TOPIC_PREFIX\) gives no topic name"),
        ({"LETHE_TOPIC_RAW": "secret topic"}, r"^topic_raw \(LETHE_TOPIC_RAW\) gives no topic name"),
        ({"LETHE_TOPIC_RAW": "requests.content"}, "would share a topic"),
        ({"LETHE_TOPIC_RAW": "requests_content"}, "would share a topic"),
    ],
)
def test_settings_that_are_wrong_are_named_not_repeated(policy: Policy, environ: dict[str, str], message: str) -> None:
    """The message names the variable; two sinks never share a topic, nor names that Kafka takes for one."""
    with pytest.raises(ConfigError, match=message) as refused:
        load_settings(environ, Path("none.toml")).topic_settings(policy.sinks)
    assert "secret" not in str(refused.value)


def test_only_operational_records_end_early() -> None:
    """A field of the operational record shortens no other sink."""
    ending = RecordField("client_ip", FieldType.STRING, nullable=True, null_after_ms=DAY_MS)
    schema = RecordSchema("operational", 1, (ending,), {}, lambda _: True)
    sinks = {n: SinkPolicy(n, n, "", 1, "desk", 3 * DAY_MS, "§5", managed=True, why="") for n in ("raw", "operational")}
    basis = Basis(sinks, schema, {}, FACTS, Wishes())
    assert [basis.limit_ms(sink) for sink in sinks.values()] == [3 * DAY_MS, DAY_MS]
