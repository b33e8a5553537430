"""Metrics: what is counted, under which labels, and that nothing of an event is among them."""

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Histogram, generate_latest
from prometheus_client.parser import text_string_to_metric_families
from store_fixtures import make_event, make_rejection

from pipeline.errors import Reason
from pipeline.metrics import _AGE_BUCKETS, Metrics, WorkerMetrics, _BulkHistogram
from pipeline.policy.load import Policy
from pipeline.records import Anonymized, Facts, Fate
from pipeline.sinks.base import WriteReport
from pipeline.tally import Tally

AGES = st.floats(0, 200_000) | st.sampled_from([*_AGE_BUCKETS, 0.0, 0.024999999, 0.025000001, 86_400.1])
OUTCOMES = ("stored", "expired", "restricted", "erased", "oversize")


def _samples(metrics: Metrics) -> dict[tuple[str, str], float]:
    """Return the samples that are not zero, by name and label."""
    families = list(text_string_to_metric_families(metrics.render().decode()))
    return {
        (sample.name, ",".join(sample.labels.values())): sample.value
        for family in families
        for sample in family.samples
        if sample.value
    }


def test_fates_are_counted_by_what_became_of_them() -> None:
    """Records, rejections by reason, redactions by type and content by outcome each have their counter."""
    metrics = Metrics()
    facts = Facts({"EMAIL_ADDRESS": 3}, unknown_fields=2, duplicate_keys=1, content_outcome="oversize")
    metrics.count_fate(Anonymized(None, make_event(1).operational, facts))
    metrics.count_fate(make_rejection(1, reason=Reason.TOO_DEEP))
    assert _samples(metrics) == {
        ("lethe_events_total", "records"): 1,
        ("lethe_events_total", "rejected"): 1,
        ("lethe_rejections_total", "too_deep"): 1,
        ("lethe_redactions_total", "EMAIL_ADDRESS"): 3,
        ("lethe_content_total", "oversize"): 1,
        ("lethe_unknown_fields_total", ""): 2,
        ("lethe_duplicate_keys_total", ""): 1,
    }


def test_writes_are_counted_by_sink() -> None:
    """What a write stored, found again or found to differ is counted."""
    metrics = Metrics()
    for _ in range(2):
        metrics.count_write(WriteReport(content=5, operational=6, rejected=1, repeated=2, conflicts=1))
    assert _samples(metrics) == {
        ("lethe_records_written_total", "content"): 10,
        ("lethe_records_written_total", "operational"): 12,
        ("lethe_records_written_total", "rejected"): 2,
        ("lethe_records_repeated_total", ""): 4,
        ("lethe_records_conflicting_total", ""): 2,
    }


def test_a_rate_is_there_before_the_first_event() -> None:
    """Closed labels start at zero: the first rejection of a reason is a rise, not a new series that no alert sees."""
    text = Metrics().render().decode()
    expected = [f'lethe_rejections_total{{reason="{reason}"}} 0.0' for reason in Reason]
    assert [line for line in text.splitlines() if line.startswith("lethe_rejections_total")] == expected
    for fate in ("records", "rejected"):
        assert f'lethe_events_total{{fate="{fate}"}} 0.0' in text


def test_two_processes_of_metrics_share_nothing() -> None:
    """A second set of metrics starts at zero and can stand beside the first."""
    first, second = Metrics(), Metrics()
    first.count_write(WriteReport(repeated=1))
    assert _samples(second) == {}


@pytest.mark.parametrize("kind", [Metrics, WorkerMetrics])
def test_every_metric_says_what_it_means(kind: type[Metrics]) -> None:
    """Each metric has a help text that is a sentence, and no creation times double the series."""
    families = list(text_string_to_metric_families(kind().render().decode()))
    assert [f.name for f in families if not (f.documentation[:1].isupper() and f.documentation.endswith("."))] == []
    assert [family.name for family in families if family.name.endswith("_created")] == []
    assert [family.name for family in families if not family.name.startswith("lethe_")] == []


@given(
    st.lists(
        st.sampled_from(list(Reason)).map(lambda reason: make_rejection(1, reason=reason))
        | st.builds(
            Facts,
            st.dictionaries(st.sampled_from(["EMAIL_ADDRESS", "REDACTED"]), st.integers(1, 9)),
            unknown_fields=st.integers(0, 3),
            dropped_fields=st.integers(0, 3),
            duplicate_keys=st.integers(0, 3),
            content_outcome=st.sampled_from(OUTCOMES),
        ).map(lambda facts: Anonymized(None, make_event(1).operational, facts))
    )
)
@settings(deadline=None)
def test_a_tally_counts_what_its_events_count_one_by_one(fates: list[Fate]) -> None:
    """A worker that counts slices and a run that counts events come to the same figures."""
    one_by_one, at_once, tally = Metrics(), Metrics(), Tally()
    for fate in fates:
        one_by_one.count_fate(fate)
        tally.count(fate)
    at_once.count_tally(tally)
    assert _samples(at_once) == _samples(one_by_one)
    assert tally.events == len(fates) == tally.accepted + tally.rejections.total()


# The worker's


def test_a_worker_s_closed_labels_start_at_zero() -> None:
    """Every outcome of content and commits, every stage, reason and sink is there before the first event."""
    lines = [line for line in WorkerMetrics().render().decode().splitlines() if not line.startswith("#")]
    expected = [f'lethe_content_total{{outcome="{outcome}"}} 0.0' for outcome in OUTCOMES]
    expected += [f'lethe_commits_total{{outcome="{outcome}"}} 0.0' for outcome in ("done", "rebalanced", "failed")]
    expected += [
        f'lethe_stage_seconds_{part}{{stage="{stage}"}} 0.0'
        for stage in ("wait", "process", "deliver", "commit")
        for part in ("count", "sum")
    ]
    expected += [f'lethe_rejections_total{{reason="{reason}"}} 0.0' for reason in Reason]
    expected += [f'lethe_records_written_total{{sink="{sink}"}} 0.0' for sink in ("content", "operational", "rejected")]
    expected += ["lethe_event_age_seconds_count 0.0", "lethe_event_age_seconds_sum 0.0", "lethe_raw_bytes_total 0.0"]
    assert [line for line in expected if line not in lines] == []


def test_keys_say_from_when_to_when_they_go() -> None:
    """The oldest and the newest day of each kind, the newest epoch; a kind that has no day any more has no series."""
    metrics = WorkerMetrics()
    metrics.keys_loaded(5000, 1000, {"ip": [2000, 3000, 4000], "seal": [2000]})
    metrics.keys_loaded(9000, 1000, {"ip": [3000, 4000], "seal": []})
    keys = {name: value for name, value in _samples(metrics).items() if "_keys_" in name[0]}
    assert keys == {
        ("lethe_keys_loaded_timestamp_seconds", ""): 9,
        ("lethe_keys_epoch_timestamp_seconds", ""): 1,
        ("lethe_keys_oldest_day_timestamp_seconds", "ip"): 3,
        ("lethe_keys_newest_day_timestamp_seconds", "ip"): 4,
    }


def test_a_slice_is_counted_whole() -> None:
    """Events, bytes, models, records by sink, size and ages of one slice; a sink without records has no rise."""
    metrics, tally = WorkerMetrics(), Tally(bytes_read=4096)
    metrics.describe_policy(1, "d" * 16, {}, {"llama-3.1-70b-instruct"})
    for outcome, model in (("stored", "llama-3.1-70b-instruct"), ("erased", "other"), ("restricted", None)):
        fate = make_event(1, operational={"model": model})
        tally.count(Anonymized(fate.content, fate.operational, Facts(content_outcome=outcome)))
    tally.count(make_rejection(1))
    metrics.batch_done(tally, {"content": 1, "operational": 3, "rejected": 0}, [0.25, 10.0, -3.0])
    counted = {name: count for name, count in _samples(metrics).items() if not name[0].endswith("_bucket")}
    assert counted == {
        ("lethe_policy_info", f"{'d' * 16},1"): 1,
        ("lethe_events_total", "records"): 3,
        ("lethe_events_total", "rejected"): 1,
        ("lethe_rejections_total", "not_json"): 1,
        ("lethe_content_total", "stored"): 1,
        ("lethe_content_total", "erased"): 1,
        ("lethe_content_total", "restricted"): 1,
        ("lethe_raw_bytes_total", ""): 4096,
        ("lethe_requests_total", "llama-3.1-70b-instruct"): 1,
        ("lethe_requests_total", "other"): 1,
        ("lethe_records_written_total", "content"): 1,
        ("lethe_records_written_total", "operational"): 3,
        ("lethe_batch_events_count", ""): 1,
        ("lethe_batch_events_sum", ""): 4,
        ("lethe_event_age_seconds_count", ""): 3,
        ("lethe_event_age_seconds_sum", ""): 10.25,  # a sum that fell would look like a restart
    }


def test_a_model_that_no_catalogue_has_is_other() -> None:
    """Labels are closed: where a policy of one's own lets any value be a model, it is not a label of its own."""
    metrics, tally = WorkerMetrics(), Tally()
    metrics.describe_policy(1, "d" * 16, {}, {"llama-3.1-70b-instruct"})
    for model in ("llama-3.1-70b-instruct", "ft:llama:acme:alice", "0192f0c1a2b37c4d"):
        fate = make_event(1, operational={"model": model})
        tally.count(Anonymized(None, fate.operational, Facts()))
    metrics.batch_done(tally, {}, [])
    counted = {name[1]: count for name, count in _samples(metrics).items() if name[0] == "lethe_requests_total"}
    assert counted == {"llama-3.1-70b-instruct": 1, "other": 2}


@given(st.lists(st.lists(AGES, max_size=20), max_size=4))
@settings(deadline=None)
def test_many_ages_at_once_are_a_histogram_like_any_other(batches: list[list[float]]) -> None:
    """Bounds, counts and sum are, letter by letter, those of the library's own histogram of the same values."""
    theirs, ours = CollectorRegistry(), CollectorRegistry()
    plain = Histogram("lethe_ages", "Ages.", buckets=_AGE_BUCKETS, registry=theirs)
    bulk = _BulkHistogram("lethe_ages", "Ages.", _AGE_BUCKETS)
    ours.register(bulk)
    for ages in batches:
        bulk.observe_all(ages)
        for age in ages:
            plain.observe(age)
    assert _without_fraction(generate_latest(ours)) == _without_fraction(generate_latest(theirs))


def _without_fraction(text: bytes) -> list[str]:
    """Return the lines of a text; whole numbers may be written with a fraction or without."""
    return [line.removesuffix(".0") for line in text.decode().splitlines()]


def test_series_of_a_partition_end_when_it_is_gone() -> None:
    """What another worker has now is not shown here as if it stood still; what was never seen can go too."""
    metrics = WorkerMetrics()
    for partition in (1, 11, 3):
        metrics.behind(partition, 40 + partition, 2.5)
    metrics.assigned(2, gone=[1, 7])
    shown = _samples(metrics)
    assert {name[1] for name in shown if name[0] == "lethe_lag_records"} == {"11", "3"}
    assert {name[1] for name in shown if name[0] == "lethe_oldest_raw_age_seconds"} == {"11", "3"}
    assert (shown["lethe_partitions", ""], shown["lethe_rebalances_total", ""]) == (2, 1)
    metrics.behind(1, 9, 0.5)  # and back again
    assert (_samples(metrics)["lethe_lag_records", "1"], _samples(metrics)["lethe_oldest_raw_age_seconds", "1"]) == (
        9,
        0.5,
    )


def test_the_policy_in_force_is_shown(policy: Policy) -> None:
    """Version and digest stand as labels, and each sink has its bound in seconds."""
    metrics = WorkerMetrics()
    bounds = {name: sink.retention_ms for name, sink in policy.sinks.items()}
    metrics.describe_policy(policy.version, policy.digest, bounds, ())
    shown = _samples(metrics)
    assert shown["lethe_policy_info", f"{policy.digest},{policy.version}"] == 1
    assert shown["lethe_retention_bound_seconds", "content"] == 30 * 86_400
    assert Counter(name for name, _ in shown)["lethe_retention_bound_seconds"] == len(policy.sinks)


def test_a_stage_is_timed() -> None:
    """The time of a batch in a stage goes to that stage alone."""
    metrics = WorkerMetrics()
    metrics.stage("deliver", 0.3)
    sums = {name: value for name, value in _samples(metrics).items() if name[0] == "lethe_stage_seconds_sum"}
    assert sums == {("lethe_stage_seconds_sum", "deliver"): 0.3}
