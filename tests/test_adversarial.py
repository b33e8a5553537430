"""No text makes detection slow: budgets end what is dear, and work grows with the text, not with its square.

`make adversarial` measures thousands of such texts; here are those that once were slow.
"""

import signal
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from random import Random
from typing import Any

import pytest
from adversaries import COMMON_OWN, LONG, Shape

from pipeline.detect import seams
from pipeline.detect.budget import (
    CHARS_A_MATCH,
    DEAR_CHARS_MIN,
    ENHANCED_MIN,
    MATCHES_MIN,
    Allowance,
    Budget,
    StrictRegex,
    matches_max,
)
from pipeline.detect.engine import Engine
from pipeline.detect.entities import EntityTable
from pipeline.detect.own import find_own
from pipeline.detect.presidio import make_recognizers
from pipeline.detect.recognizer import Better, Recognizer
from pipeline.detect.spans import OwnIdentifier, Span
from pipeline.errors import DetectionFailed
from pipeline.policy.load import Policy

SMALL, TIMES = 1 << 14, 4
SQUARE = TIMES * TIMES
SLACK_S = 0.1
GIVE_UP_S = 8
ONCE_SLOW = (
    Shape("spaces in cells", "id,ssn\n1," + " " * LONG * 4 + '"x\n'),
    Shape("quotes in an SQL row", "'", "INSERT INTO t (ssn) VALUES ("),
    Shape("mailboxes and common words", "will@mail.example.com xxxxx Will xxxx Apple xxxxx\n", own=COMMON_OWN),
)


class Counting:
    """Stands for a compiled pattern or a recognizer: finds something everywhere, and counts what is asked of it."""

    def __init__(self, chars: int = 10) -> None:
        self.chars = chars
        self.matches = 0
        self.shown = 0
        self.context: tuple[str, ...] = ()

    def finditer(self, text: str, timeout: float | None = None) -> Iterator[int]:  # noqa: ARG002 - as the real one
        """Yield a match for every so many characters."""
        for start in range(0, len(text), self.chars):
            self.matches += 1
            yield start

    def analyze(self, text: str, entities: Sequence[str], artifacts: object) -> list[Any]:  # noqa: ARG002 - as above
        """Find nothing."""
        self.shown += len(text)
        return []


class CountingList(list[int]):
    """Counts how often its items are looked at."""

    looks = 0

    def __getitem__(self, index: Any) -> Any:
        self.looks += 1
        return super().__getitem__(index)


def phone_recognizer(policy: Policy) -> tuple[Recognizer, Counting]:
    """Return the recognizer of telephone numbers, and what counts in its place what it is shown."""
    table = EntityTable.from_json(policy.entities)
    (phones,) = (one for one in make_recognizers(table) if one.rule.yields)
    counting = Counting()
    return replace(phones, recognizer=counting), counting


def seconds(engine: Engine, shape: Shape, size: int) -> float:
    """Return the CPU seconds that a shape of a size takes, own identifiers looked for too; the better of two times."""

    def give_up(_signal: int, _frame: object) -> None:
        pytest.fail(f"{size} bytes take more than {GIVE_UP_S} s")

    texts, best = shape.texts(size), 1e9
    before = signal.signal(signal.SIGPROF, give_up)
    for _ in range(2):
        start = time.process_time()
        signal.setitimer(signal.ITIMER_PROF, GIVE_UP_S)
        engine.find_spans(texts, shape.own)
        if shape.own:
            find_own(texts, shape.own, frozenset({"will", "apple"}))
        signal.setitimer(signal.ITIMER_PROF, 0)
        best = min(best, time.process_time() - start)
    signal.signal(signal.SIGPROF, before)
    return best


@pytest.mark.parametrize("shape", ONCE_SLOW, ids=lambda shape: shape.name)
def test_time_grows_with_the_text(detector: Engine, shape: Shape) -> None:
    """Four times the text takes less than the sixteen times of a square, by a wide margin for a busy machine."""
    short, long = seconds(detector, shape, SMALL), seconds(detector, shape, TIMES * SMALL)
    assert long < 0.75 * SQUARE * short + SLACK_S


def test_a_pattern_may_not_match_without_end() -> None:
    """Beyond its budget a pattern raises, and no match beyond is looked at; the last of the budget still counts."""
    long = Counting(CHARS_A_MATCH - 1)
    text = "x" * (1 << 17)
    with pytest.raises(DetectionFailed):
        list(StrictRegex(lambda: long, 1.0).finditer(text))
    assert long.matches == matches_max(text) + 1 == len(text) // CHARS_A_MATCH + 1
    assert len(list(StrictRegex(lambda: Counting(1), 1.0).finditer("x" * MATCHES_MIN))) == MATCHES_MIN


def test_findings_of_a_recognizer_are_counted_over_all_its_looks(detector: Engine) -> None:
    """Lines that are looked at one by one share a budget: a text of addresses alone is redacted whole."""
    other, addresses = ("x" * 80 + "\n") * 64, "203.0.113.7 " * 300 + "\n"
    assert detector.find_spans([(other + addresses) * 20]) == [None]
    assert detector.find_spans([other + addresses]) != [None]


def test_telephone_numbers_of_an_event_share_a_budget(policy: Policy) -> None:
    """Each text is within its own budget, all of them are not: those beyond fail, so that they are redacted whole."""
    phones, counting = phone_recognizer(policy)
    text = "+1 212-555-0123 b " * 200
    allowance = Allowance(30 * len(text))
    failed = 0
    for _ in range(30):
        try:
            list(phones.find(text, allowance=allowance))
        except DetectionFailed:
            failed += 1
    assert 0 < failed < 30
    margins = 4 * 200 * 30
    assert counting.shown <= DEAR_CHARS_MIN + margins


def test_the_next_event_has_a_budget_of_its_own(detector: Engine) -> None:
    """What one event spends is not missing in the next."""
    texts = ["+39 02 1234567 b " * 50] * 40
    first = detector.find_spans(texts)
    assert first[0]
    assert first[-1] is None
    assert detector.find_spans(texts) == first


def test_a_remembered_text_spends_what_it_took(detector: Engine) -> None:
    """What becomes of an event does not depend on what was looked at before it: remembered texts have their cost."""
    phones = [f"+39 02 12345{number:02} b " * 50 for number in range(30)]
    plain = "nothing is found in this text, which is long enough to be read alone"
    event = [plain, *phones[:20], plain, *phones]
    detector.forget()
    cold = detector.find_spans(event)
    assert cold[0] == cold[21] == []
    assert None in cold
    assert detector.find_spans(event) == cold
    detector.forget()
    for text in reversed(phones[10:]):
        detector.find_spans([text])
    assert detector.find_spans(event) == cold


def test_nothing_is_left_once_too_much_was_wanted() -> None:
    """Otherwise it would matter in which order one text spends."""
    allowance = Allowance(0)
    with pytest.raises(DetectionFailed):
        allowance.spend(dear=DEAR_CHARS_MIN + 1)
    with pytest.raises(DetectionFailed):
        allowance.spend(enhanced=1)
    allowance.spend()


def test_findings_with_context_of_an_event_share_a_budget(detector: Engine) -> None:
    """A number that many recognizers look at the context of spends for each of them."""
    words = "ssn passport tfn sin nhs lanr tax medicare itin bank account id and more words of a text "
    text = f"{words}123456782 123456782 "
    allowance = Allowance(0)
    allowance.spend(enhanced=ENHANCED_MIN - 100)
    asked = [finder for finder in detector._finders if isinstance(finder, Recognizer) and not finder.rule.yields]
    looks = 0
    with suppress(DetectionFailed):
        while looks < 100:
            for finder in asked:
                list(finder.find(text, allowance=allowance))
            looks += 1
    assert 0 < looks < 10


def test_a_budget_is_spent_to_the_last() -> None:
    """What is there can be spent, no more."""
    budget = Budget(3)
    budget.spend(2)
    budget.spend(1)
    with pytest.raises(DetectionFailed):
        budget.spend(1)


@pytest.mark.parametrize("between", ["\u2014", "be", "be \u2014"])
def test_context_is_found_behind_what_is_no_word(detector: Engine, between: str) -> None:
    """Presidio counts five words, and dashes and ``be`` are none: the context word is found beyond twenty of them."""
    (found,) = detector.find_spans([f"passport {f'{between} ' * 20}AB1234567"])
    assert ("PASSPORT", "UkPassportRecognizer") in {(span.entity, span.rule) for span in found or ()}


def test_findings_beside_a_range_are_those_that_overlap_it() -> None:
    """The search by places finds what a look at all of them does."""
    random = Random(1)
    for _ in range(200):
        spans = set()
        for _ in range(random.randint(0, 12)):
            start = random.randint(0, 40)
            spans.add(Span(start, start + random.randint(1, 20), "X", random.choice((0.3, 0.5, 0.9)), "r"))
        start = random.randint(0, 50)
        end = start + random.randint(1, 9)
        expected = {span for span in spans if span.score > 0.4 and span.start < end and span.end > start}
        assert set(Better(spans, 0.4).beside(start, end)) == expected


def test_few_findings_are_looked_at_for_a_range() -> None:
    """Of thousands of findings only those near a range are looked at."""
    better = Better([Span(start, start + 5, "X", 0.9, "r") for start in range(0, 50_000, 10)], 0.4)
    better._ends = ends = CountingList(better._ends)
    assert len(list(better.beside(25_000, 25_020))) == 2
    assert ends.looks <= 3


def test_few_texts_are_looked_at_for_a_span() -> None:
    """Of thousands of texts only those that a span touches are looked at."""
    (run,) = seams.runs(["abc"] * 4000)
    starts = CountingList(run.starts)
    assert len(seams.split(run._replace(starts=starts), Span(7000, 7004, "X", 1.0, "r"))) == 2  # type: ignore[arg-type] # counts
    assert starts.looks < 40


def test_few_mailboxes_are_looked_at_for_a_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of thousands of mailboxes only those near a common name are looked at."""
    seen: list[int] = []

    def count(*arguments: Any, **_: object) -> bool:
        seen.append(len(arguments[3]))
        return False

    monkeypatch.setattr("pipeline.detect.cues.is_beside_cue", count)
    own = [OwnIdentifier("EMAIL_ADDRESS", "will@mail.example.com"), OwnIdentifier("PERSON", "Will Frost")]
    find_own(["will@mail.example.com xxxxx will xxxxx\n" * 1000], own, frozenset({"will"}))
    assert len(seen) >= 1000
    assert max(seen) <= 3


def test_a_span_is_split_over_the_texts_that_it_touches() -> None:
    """The parts are those that a look at all texts of a run gives, empty texts left out."""
    random = Random(2)
    for _ in range(200):
        texts = ["abcdef"[: random.randint(0, 6)] for _ in range(random.randint(2, 9))]
        for run in seams.runs(texts):
            if len(run.joined) < 2:
                continue
            start = random.randint(0, len(run.joined) - 1)
            span = Span(start, random.randint(start + 1, len(run.joined)), "X", 1.0, "r")
            expected = []
            for offset, first in enumerate(run.starts):
                last = first + run.sizes[offset]
                if span.start < last and span.end > first:
                    part = (max(span.start, first) - first, min(span.end, last) - first)
                    expected.append((run.first + offset, part))
            assert [(number, part[:2]) for number, part in seams.split(run, span)] == expected


def test_a_common_name_counts_beside_any_of_many_mailboxes() -> None:
    """The mailbox beside a name is found among those before and behind it; one further off is no evidence."""
    own = [OwnIdentifier("EMAIL_ADDRESS", "will@mail.example.com"), OwnIdentifier("PERSON", "Will Frost")]
    far = "will@mail.example.com xxxxx will xxxxx\n"
    text = (
        far * 50 + "will <will@mail.example.com> xxxxx\n" + far * 50 + "will@mail.example.com (will) xxxxx\n" + far * 50
    )
    (found,) = find_own([text], own, frozenset({"will"}))
    alone = [span.start for span in found if text[span.start : span.end] == "will"]
    assert alone == [text.index("will <"), text.index("will)")]
