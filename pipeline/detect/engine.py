"""The detector: a sieve of scans says which finders may find something in which text, and only those look. Pure.

Each text is scanned by itself, a long one in blocks, so that finders look at what was hit and not at everything.
"""

from collections.abc import Iterable, Iterator, Sequence

from pipeline.detect import seams
from pipeline.detect.allow import AllowList
from pipeline.detect.budget import Allowance, Cost
from pipeline.detect.gates import Finder, Range
from pipeline.detect.memory import NOTHING, TEXTS_MAX, Asked, Found, Memory, Parts, key_of
from pipeline.detect.own import find_own
from pipeline.detect.sieve import Sieve
from pipeline.detect.spans import OwnIdentifier, Span
from pipeline.detect.views import View, Viewer

LONG_CHARS = 1 << 12
"""A text from this length on is scanned in blocks."""
BLOCK_CHARS = 1 << 11
OVERLAP_CHARS = 1 << 9
"""Each block is scanned together with so much of its neighbours."""
_SHARED_CHARS = 2 * OVERLAP_CHARS - 2  # less the characters around a match that its pattern may look at


class Engine:
    """Finds spans with many finders, of which scans choose few. Deterministic; budgets count work, never time.

    Attributes:
        finders: asked in this order.
        viewers: make other texts of a text, on which all of it is tried once more.
        sieve: says which finder or viewer to ask; viewers are numbered after the finders.
        allowed: findings to leave.
        common_words: no evidence of a name by themselves.
        texts_max: of so many texts what was found in them is remembered; see `pipeline.detect.memory`.
    """

    def __init__(
        self,
        finders: Sequence[Finder],
        viewers: Sequence[Viewer],
        sieve: Sieve,
        *,
        allowed: AllowList,
        common_words: frozenset[str],
        texts_max: int = TEXTS_MAX,
    ) -> None:
        self._finders = tuple(finders)
        self._viewers = tuple(viewers)
        self._sieve = sieve
        self._allowed = allowed
        self._common_words = common_words
        self._memory = Memory(texts_max)
        # A finder of what can be longer than what two blocks are both scanned with looks at the whole text.
        far = [number for number, finder in enumerate(finders) if getattr(finder, "reach", 0) > _SHARED_CHARS]
        self._far = sieve.ways_of(far)

    def find_spans(self, texts: Sequence[str], own: Sequence[OwnIdentifier] = ()) -> list[Sequence[Span] | None]:
        """Find the spans of each text; None where a finder failed or ran out of its budget.

        Args:
            texts: the leaves of one event, in order.
            own: the account's own identifiers, for texts that hold them in another coding; as they are written, the
                caller finds them.
        """
        allowance = Allowance(sum(map(len, texts)))
        found = [self._find(text, own, allowance) for text in texts]
        self._find_across(texts, own, found, allowance)
        return found

    def forget(self) -> None:
        """Forget what was found in earlier texts."""
        self._memory.clear()

    def _find_across(
        self,
        texts: Sequence[str],
        own: Sequence[OwnIdentifier],
        found: list[Sequence[Span] | None],
        allowance: Allowance,
    ) -> None:
        """Add what is split over neighbouring texts; where that cannot be read, none of them can."""
        for run in seams.runs(texts):
            spans = self._find(run.joined, (), allowance)
            if spans is None:
                found[run.first : run.first + len(run.starts)] = [None] * len(run.starts)
                continue
            own_spans = find_own([run.joined], own, self._common_words)[0] if own else ()
            for span in (*spans, *own_spans):
                parts = seams.split(run, span)
                if seams.counts(run, span, parts, found):
                    for number, part in parts:
                        found[number] = sorted({*(found[number] or ()), part}) if found[number] is not None else None

    def _find(self, text: str, own: Sequence[OwnIdentifier], allowance: Allowance) -> Sequence[Span] | None:
        key = key_of(text)
        found = self._memory.get(key)
        try:
            if found is not None:
                allowance.spend(*found.cost)
            else:
                found = self._look(text, allowance)
                self._memory.put(key, found)
            own_spans = self._find_own_in_views(text, found.asked, own) if own and found.asked else ()
        except Exception:  # noqa: BLE001 - whatever a third party's recognizer raises, its text must not pass unread
            return None
        return sorted({*found.spans, *own_spans}) if own_spans else list(found.spans)

    def _look(self, text: str, allowance: Allowance) -> Found:
        before = allowance.cost
        asked = list(self._asked(text))
        spans = self._find_as_is(text, asked, allowance)
        viewing = [(number, parts) for number, parts in asked if number >= len(self._finders)]
        for view in self._views(text, viewing):
            for span in self._find_as_is(view.text, list(self._asked(view.text)), allowance):
                spans.add(_in_original(view, span))
        cost = Cost(allowance.cost.enhanced - before.enhanced, allowance.cost.dear - before.dear)
        found = Found(tuple(sorted(spans)), tuple(viewing), cost)
        return NOTHING if found == NOTHING else found

    def _find_own_in_views(self, text: str, viewing: Asked, own: Sequence[OwnIdentifier]) -> list[Span]:
        views = list(self._views(text, viewing))
        found = find_own([view.text for view in views], own, self._common_words)
        return [_in_original(view, span) for view, spans in zip(views, found, strict=True) for span in spans]

    def _views(self, text: str, viewing: Asked) -> Iterator[View]:
        for number, parts in viewing:
            yield from self._viewers[number - len(self._finders)].views(text, parts)

    def _find_as_is(self, text: str, asked: Asked, allowance: Allowance) -> set[Span]:
        spans: set[Span] = set()
        for number, parts in asked:
            if number < len(self._finders):
                spans.update(self._finders[number].find(text, parts, spans, allowance))
        allowed = self._allowed
        return {span for span in spans if not allowed.holds(span.entity, text[span.start : span.end])}

    def _asked(self, text: str) -> Iterable[tuple[int, Parts]]:
        if len(text) < LONG_CHARS:
            return [(finder, None) for finder in self._sieve.finders(text)]
        return self._asked_by_block(text)

    def _asked_by_block(self, text: str) -> Iterator[tuple[int, Parts]]:
        parts = list(blocks(text))
        seen = [(max(0, start - OVERLAP_CHARS), end + OVERLAP_CHARS) for start, end in parts]
        near, whole = self._sieve.finders_by_block(text, seen, self._far)
        for finder in sorted({*near, *whole}):
            yield finder, None if finder in whole else _merged(parts[number] for number in near[finder])


def _in_original(view: View, span: Span) -> Span:
    start, end = view.locate(span.start, span.end)
    return Span(start, end, span.entity, span.score, span.rule)


def _merged(parts: Iterable[Range]) -> list[Range]:
    """Return ranges in order, neighbours made one."""
    merged: list[Range] = []
    for part in parts:
        if merged and merged[-1].end == part.start:
            merged[-1] = Range(merged[-1].start, part.end)
        else:
            merged.append(part)
    return merged


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
