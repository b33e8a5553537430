"""Spans, and the one protocol that every detector follows."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple, Protocol


class Span(NamedTuple):
    """A half-open range of code points of one text that identifies something.

    Attributes:
        start: first code point.
        end: one past the last code point.
        entity: entity type from the closed list of schemas/detection/entities.json.
        score: confidence, 0 to 1.
        rule: name of the rule that found it.
    """

    start: int
    end: int
    entity: str
    score: float
    rule: str


class OwnIdentifier(NamedTuple):
    """A direct identifier of the event's own account, to be found in its content (policy §5).

    Attributes:
        entity: entity type; the placeholder made from it does not say that it was the account's own.
        value: the identifier, as the raw event has it.
    """

    entity: str
    value: str

    def __repr__(self) -> str:
        return f"OwnIdentifier({self.entity})"


class Detector(Protocol):
    """Finds identifying spans. Deterministic, no I/O; budgets count work, never time."""

    def find_spans(self, texts: Sequence[str], own: Sequence[OwnIdentifier] = ()) -> list[Sequence[Span] | None]:
        """Find the spans of each text of one event.

        Args:
            texts: the leaves of one event, in order.
            own: the account's own identifiers, to be found where a text holds them in another coding; as they are
                written, the caller finds them.

        Returns:
            One entry a text: spans that may overlap, in any order; or None where the detector failed or spent
            its budget, and the caller redacts that text whole.

        Raises:
            DetectorLost: it cannot work any more; the process must stop.
        """
        ...


def merge_spans(spans: Iterable[Span]) -> list[Span]:
    """Return disjoint spans, sorted, that cover every code point any given span covers.

    Overlapping spans become one span over their union, with the type of the best of them: higher score first,
    then the longer, then the earlier, then the type's name, so that the result does not depend on the order given.
    """
    merged: list[Span] = []
    best: Span | None = None
    for span in sorted(spans):
        if span.end <= span.start:
            continue
        if best is None or span.start >= merged[-1].end:
            merged.append(span)
            best = span
            continue
        if _rank(span) < _rank(best):
            best = span
        last = merged[-1]
        merged[-1] = Span(last.start, max(last.end, span.end), best.entity, best.score, best.rule)
    return merged


def _rank(span: Span) -> tuple[float, int, int, str, str]:
    return (-span.score, span.start - span.end, span.start, span.entity, span.rule)
