"""Metrics: what is counted, under which labels, and that nothing of an event is among them."""

from prometheus_client.parser import text_string_to_metric_families
from store_fixtures import make_event, make_rejection

from pipeline.errors import Reason
from pipeline.metrics import Metrics
from pipeline.records import Anonymized, Facts
from pipeline.sinks.base import WriteReport


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


def test_every_metric_says_what_it_means() -> None:
    """Each metric has a help text that is a sentence, and no creation times double the series."""
    families = list(text_string_to_metric_families(Metrics().render().decode()))
    assert [family.name for family in families if not family.documentation.endswith(".")] == []
    assert [family.name for family in families if family.name.endswith("_created")] == []
