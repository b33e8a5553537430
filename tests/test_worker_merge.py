"""Merging of metrics: every sample of every process is there and says whose it is, and the text stays valid."""

from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Summary, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from pipeline import metrics
from pipeline.worker.merge import CONTENT_TYPE, merge

KINDS = {"counter": Counter, "gauge": Gauge, "histogram": Histogram, "summary": Summary}
NAMES = ("lethe_events", "lethe_events_age", "lethe_counts", "x", "y_sum")
Families = dict[str, tuple[str, str, list[str] | None]]
Series = dict[tuple[str, frozenset[tuple[str, str]]], float]

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
FAMILIES = st.dictionaries(
    st.sampled_from(NAMES),
    st.tuples(st.sampled_from(sorted(KINDS)), TEXTS, st.none() | st.lists(TEXTS, min_size=1, max_size=3, unique=True)),
    max_size=4,
)


def render(families: Families, step: float = 1.0) -> str:
    """Return the text of a registry with these families: each with its kind, meaning, and values of its one label."""
    registry = CollectorRegistry()
    for name, (kind, meaning, values) in families.items():
        metric = KINDS[kind](name, meaning, ["entity"] if values else [], registry=registry)
        for number, value in enumerate(values or [""]):
            series = metric.labels(value) if values else metric
            change = series.inc if kind in ("counter", "gauge") else series.observe
            change(step * (number + 0.5))
    return generate_latest(registry).decode()


def series_of(text: str) -> Series:
    """Return the samples of a text; one that is there twice is an error."""
    samples = [sample for family in text_string_to_metric_families(text) for sample in family.samples]
    found = {(sample.name, frozenset(sample.labels.items())): sample.value for sample in samples}
    assert len(found) == len(samples)
    return found


def with_label(series: Series, worker: str) -> Series:
    """Return the samples with the label of their process."""
    return {(name, labels | {("worker", worker)}): value for (name, labels), value in series.items()}


def test_families_stand_once_and_samples_together() -> None:
    """The merged text, whole: comments once, then the samples of all, process by process."""
    text = (
        '# HELP a_total Some.\n# TYPE a_total counter\na_total{kind="x"} 1.0\na_total{kind="y"} 2.0\n'
        "# HELP b Others.\n# TYPE b gauge\nb 3.0\n"
    )
    assert merge({"0": text, "1": text.replace("3.0", "4.0 1700000000000")}) == (
        "# HELP a_total Some.\n# TYPE a_total counter\n"
        'a_total{worker="0",kind="x"} 1.0\na_total{worker="0",kind="y"} 2.0\n'
        'a_total{worker="1",kind="x"} 1.0\na_total{worker="1",kind="y"} 2.0\n'
        '# HELP b Others.\n# TYPE b gauge\nb{worker="0"} 3.0\nb{worker="1"} 4.0 1700000000000\n'
    )


def test_a_family_that_one_process_lacks_is_there() -> None:
    """A process that has just begun may lack families and series; what others have is shown."""
    assert merge({"0": "", "1": "# TYPE b gauge\nb 1\n"}) == '# TYPE b gauge\nb{worker="1"} 1\n'
    assert merge({"0": "# TYPE b gauge\n", "1": ""}) == ""
    assert merge({}) == ""


def test_empty_braces_are_labels_too() -> None:
    """A sample with empty braces gets its label without a comma that nothing follows."""
    assert merge({"0": 'b{} 1\nb{ le="1" } 2\n'}) == 'b{worker="0"} 1\nb{worker="0",le="1" } 2\n'


def test_a_name_that_looks_like_a_part_is_a_family_of_its_own() -> None:
    """Only histograms and summaries have parts; x_sum beside a gauge x is another metric, and is not put between."""
    text = "# TYPE x gauge\nx 1\nx_sum 2\n"
    assert merge({"0": text, "1": text}) == (
        '# TYPE x gauge\nx{worker="0"} 1\nx{worker="1"} 1\nx_sum{worker="0"} 2\nx_sum{worker="1"} 2\n'
    )


def test_what_is_no_sample_is_left_out() -> None:
    """Remarks, empty lines and lines that begin with no name do not pass."""
    assert merge({"0": "# a remark\n#\n\n 7\nb 1\n# HELP\n"}) == 'b{worker="0"} 1\n'


@settings(max_examples=60, deadline=None)
@given(families=FAMILIES, others=FAMILIES)
def test_merging_loses_no_sample_and_stays_valid(families: Families, others: Families) -> None:
    """Parsed back, the text has every sample with its label, whatever labels hold, and each family in one piece.

    Comments that come twice, and a family in two pieces, Prometheus would refuse.
    """
    alike = {name: family for name, family in others.items() if families.get(name, family)[0] == family[0]}
    texts = {"0": render(families), "1": render(alike, 2.0), "2": render(families, 3.0)}
    expected: Series = {}
    for worker, text in texts.items():
        expected |= with_label(series_of(text), worker)
    merged = merge(texts)
    assert series_of(merged) == expected
    comments = [tuple(line.split(" ")[1:3]) for line in merged.split("\n") if line.startswith("#")]
    pieces = [family.name for family in text_string_to_metric_families(merged)]
    assert (len(comments), len(pieces)) == (len(set(comments)), len(set(pieces)))
    assert len(comments) == 2 * len(pieces)


def test_the_content_type_is_that_of_the_texts() -> None:
    """What the processes say their metrics are, the merged ones are too."""
    assert CONTENT_TYPE == metrics.CONTENT_TYPE
