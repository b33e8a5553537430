"""merge_spans: disjoint, sorted, covering, and the same whatever the order."""

from itertools import pairwise
from random import Random

from hypothesis import given
from hypothesis import strategies as st

from pipeline.detect.spans import OwnIdentifier, Span, merge_spans

SPANS = st.lists(
    st.builds(
        Span,
        st.integers(0, 30),
        st.integers(0, 30),
        st.sampled_from(["EMAIL_ADDRESS", "PERSON", "PHONE_NUMBER"]),
        st.sampled_from([0.4, 0.5, 1.0]),
        st.sampled_from(["a", "b"]),
    ),
    max_size=12,
)


def covered(spans: list[Span]) -> set[int]:
    """Return every code point that a span covers."""
    return {position for span in spans for position in range(span.start, span.end)}


def test_the_best_overlapping_span_names_the_union() -> None:
    """Two spans that overlap become one over both, with the type and rule of the higher score."""
    merged = merge_spans([Span(0, 8, "PHONE_NUMBER", 0.4, "phone"), Span(4, 20, "CREDIT_CARD", 1.0, "card")])
    assert [Span(0, 20, "CREDIT_CARD", 1.0, "card")] == merged


def test_spans_that_only_touch_stay_apart() -> None:
    """A span that starts where another ends is another span."""
    spans = [Span(0, 4, "PERSON", 1.0, "a"), Span(4, 8, "PERSON", 1.0, "a")]
    assert spans == merge_spans(spans)


def test_at_equal_score_the_longer_span_names_the_union() -> None:
    """A mailbox is called a mailbox though the name inside it was found too."""
    merged = merge_spans([Span(0, 5, "PERSON", 1.0, "name"), Span(0, 17, "EMAIL_ADDRESS", 1.0, "mail")])
    assert [Span(0, 17, "EMAIL_ADDRESS", 1.0, "mail")] == merged


@given(SPANS)
def test_merged_spans_are_disjoint_sorted_and_cover_all(spans: list[Span]) -> None:
    """Nothing that was found is left uncovered, and nothing else is covered."""
    merged = merge_spans(spans)
    assert covered(spans) == covered(merged)
    assert all(left.end <= right.start for left, right in pairwise(merged))
    assert all(span.start < span.end for span in merged)


@given(SPANS, st.randoms(use_true_random=False))
def test_the_order_given_does_not_matter(spans: list[Span], random: Random) -> None:
    """A shuffled list merges to the same spans."""
    shuffled = list(spans)
    random.shuffle(shuffled)
    assert merge_spans(spans) == merge_spans(shuffled)


def test_an_own_identifier_does_not_print_its_value() -> None:
    """The repr names the type only, so that a log line cannot leak it."""
    assert repr(OwnIdentifier("PERSON", "Nadia Rossi")) == "OwnIdentifier(PERSON)"
