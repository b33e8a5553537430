"""The detector: one scan says which finders may find something in which text, and only those look. Pure.

All texts of an event are scanned at once. Where that says nothing, nothing is there. Otherwise each text is scanned by
itself, a long one in blocks, so that finders look at what was hit and not at everything.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence

from pipeline.detect import seams
from pipeline.detect.allow import AllowList
from pipeline.detect.gates import Finder, Range, ScanPlan
from pipeline.detect.own import find_own
from pipeline.detect.spans import OwnIdentifier, Span
from pipeline.detect.views import View, Viewer

LONG_CHARS = 1 << 15
"""A text from this length on is scanned in blocks."""
BLOCK_CHARS = 1 << 13
OVERLAP_CHARS = 1 << 9
"""Each block is scanned together with so much of its neighbours; what can be longer looks at the whole text."""

Hits = Callable[[str], Sequence[int]]


class Engine:
    """Finds spans with many finders at the cost of one scan. Deterministic; budgets count work, never time.

    Attributes:
        finders: asked in this order.
        viewers: make other texts of a text, on which all of it is tried once more.
        plan: which finder or viewer to ask after which hit; viewers are numbered after the finders.
        hits: the scan.
        allowed: findings to leave.
        common_words: no evidence of a name by themselves.
    """

    def __init__(
        self,
        finders: Sequence[Finder],
        viewers: Sequence[Viewer],
        plan: ScanPlan,
        hits: Hits,
        *,
        allowed: AllowList,
        common_words: frozenset[str],
    ) -> None:
        self._finders = tuple(finders)
        self._viewers = tuple(viewers)
        self._plan = plan
        self._hits = hits
        self._allowed = allowed
        self._common_words = common_words
        self._is_long_reaching = [getattr(finder, "reach", 0) > OVERLAP_CHARS for finder in finders]

    def find_spans(self, texts: Sequence[str], own: Sequence[OwnIdentifier] = ()) -> list[Sequence[Span] | None]:
        """Find the spans of each text; None where a finder failed or ran out of its budget.

        Args:
            texts: the leaves of one event, in order.
            own: the account's own identifiers, for texts that hold them in another coding; as they are written, the
                caller finds them.
        """
        found: list[Sequence[Span] | None] = [[] for _ in texts]
        # Two scans, because that of text beyond ASCII is several times slower, and most texts of an event are not.
        groups: tuple[list[int], list[int]] = ([], [])
        for index, text in enumerate(texts):
            if len(text) >= LONG_CHARS:
                found[index] = self._find(text, own)
            elif text:
                groups[text.isascii()].append(index)
        for group in groups:
            # A text that is alone is scanned when it is looked at.
            if len(group) == 1 or (group and self._ask("\n".join([texts[index] for index in group]))):
                for index in group:
                    found[index] = self._find(texts[index], own)
        self._find_across(texts, own, found)
        return found

    def _find_across(
        self, texts: Sequence[str], own: Sequence[OwnIdentifier], found: list[Sequence[Span] | None]
    ) -> None:
        """Add what is split over neighbouring texts; where that cannot be read, none of them can."""
        for run in seams.runs(texts):
            spans = self._find(run.joined, ())
            if spans is None:
                found[run.first : run.first + len(run.starts)] = [None] * len(run.starts)
                continue
            own_spans = find_own([run.joined], own, self._common_words)[0] if own else ()
            for span in (*spans, *own_spans):
                parts = seams.split(run, span)
                if seams.counts(run, span, parts, found):
                    for number, part in parts:
                        found[number] = sorted({*(found[number] or ()), part}) if found[number] is not None else None

    def _find(self, text: str, own: Sequence[OwnIdentifier]) -> Sequence[Span] | None:
        try:
            asked = list(self._asked(text))
            spans = self._find_as_is(text, asked)
            for number, _ in asked:
                if number >= len(self._finders):
                    for view in self._viewers[number - len(self._finders)].views(text):
                        spans.update(self._find_in_view(view, own))
        except Exception:  # noqa: BLE001 - whatever a third party's recognizer raises, its text must not pass unread
            return None
        return sorted(spans)

    def _find_as_is(self, text: str, asked: Sequence[tuple[int, Sequence[Range] | None]]) -> set[Span]:
        spans: set[Span] = set()
        for number, parts in asked:
            if number < len(self._finders):
                spans.update(self._finders[number].find(text, parts, spans))
        allowed = self._allowed
        return {span for span in spans if not allowed.holds(span.entity, text[span.start : span.end])}

    def _find_in_view(self, view: View, own: Sequence[OwnIdentifier]) -> Iterator[Span]:
        (own_found,) = find_own([view.text], own, self._common_words) if own else ([],)
        for span in (*self._find_as_is(view.text, list(self._asked(view.text))), *own_found):
            start, end = view.locate(span.start, span.end)
            yield Span(start, end, span.entity, span.score, span.rule)

    def _asked(self, text: str) -> Iterable[tuple[int, Sequence[Range] | None]]:
        if len(text) < LONG_CHARS:
            return [(finder, None) for finder in self._ask(text)]
        return self._asked_by_block(text)

    def _asked_by_block(self, text: str) -> Iterator[tuple[int, Sequence[Range] | None]]:
        anywhere = self._ask(text)
        parts: dict[int, list[Range]] = {}
        for block in blocks(text):
            seen = text[max(0, block.start - OVERLAP_CHARS) : block.end + OVERLAP_CHARS]
            for finder in self._ask(seen):
                ranges = parts.setdefault(finder, [])
                if ranges and ranges[-1].end == block.start:
                    ranges[-1] = Range(ranges[-1].start, block.end)
                else:
                    ranges.append(block)
        for finder in anywhere:
            if finder in self._plan.always or finder >= len(self._finders) or self._is_long_reaching[finder]:
                yield finder, None
            elif finder in parts:
                yield finder, parts[finder]

    def _ask(self, text: str) -> list[int]:
        """Return the finders that may find something in a text, in order."""
        return sorted(self._plan.finders(self._hits(text)))


def blocks(text: str) -> Iterator[Range]:
    """Cut a text into blocks, at line breaks where there are any in the second half of a block."""
    start = 0
    while start < len(text):
        end = min(len(text), start + BLOCK_CHARS)
        if end < len(text):
            line_break = text.rfind("\n", start + BLOCK_CHARS // 2, end)
            end = line_break + 1 if line_break >= 0 else end
        yield Range(start, end)
        start = end
