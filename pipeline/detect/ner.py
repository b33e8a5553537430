"""A detector and a model together: what either finds counts, and what either could not read is redacted whole. Pure.

The model reads while the detector does. What it is shown is decided by the texts of the event alone, and so is which
of them it reads together: not by time, by how many processes there are, or by what came before.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from typing import NamedTuple

from pipeline.detect import seams
from pipeline.detect.allow import AllowList
from pipeline.detect.spans import Detector, OwnIdentifier, Span

RULE = "model"
PIECE_CHARS_MAX = 1 << 13
"""A longer text is cut: spaCy refuses texts of a million characters, and needs a gigabyte for a tenth of that."""
OVERLAP_CHARS = 1 << 8
"""So much before a cut is read again with what follows: a name that it went through is then read whole."""
TASK_CHARS = 1 << 14
"""Pieces up to so many characters are read together."""
_CUTS = ("\n\n", "\n", ". ", " ")

Read = Callable[[Sequence[str]], "Future[list[list[tuple[int, int, str, float]]] | None]"]
"""Reads texts together: start, end, entity type and score of what is in each, or None where that failed."""


class Piece(NamedTuple):
    """A part of a text: its number, where the part begins in it, and the part."""

    number: int
    start: int
    text: str

    def __repr__(self) -> str:
        return f"Piece({self.number}, {self.start}, {len(self.text)} characters)"


class WithModel:
    """A detector that asks another one and a model. Deterministic; its budget counts characters."""

    def __init__(self, detector: Detector, read: Read, allowed: AllowList, *, event_chars_max: int) -> None:
        """Prepare.

        Args:
            detector: the other one.
            read: asks the model.
            allowed: findings to leave.
            event_chars_max: how much of an event the model is shown; a text that exceeds what is left is None.
        """
        self._detector = detector
        self._read = read
        self._allowed = allowed
        self._event_chars_max = event_chars_max

    def find_spans(self, texts: Sequence[str], own: Sequence[OwnIdentifier] = ()) -> list[Sequence[Span] | None]:
        """Find the spans of each text; None where either failed or ran out of its budget.

        Args:
            texts: the leaves of one event, in order.
            own: for the other detector.

        Raises:
            DetectorLost: the model's processes cannot be started again.
        """
        streams = [run for run in seams.runs(texts) if run.is_stream and len(run.joined) == sum(run.sizes)]
        wanted = dict.fromkeys(text for text in (*texts, *(run.joined for run in streams)) if _has_letter(text))
        within = _within(wanted, self._event_chars_max)
        tasks = list(_tasks(within))
        waiting = [self._read([piece.text for piece in task]) for task in tasks]
        found = list(self._detector.find_spans(texts, own))
        by_model = self._gather(within, zip(tasks, waiting, strict=True))
        for number, text in enumerate(texts):
            if text in wanted:
                found[number] = _both(found[number], by_model.get(text))
        for run in streams:
            if run.joined in wanted:
                _spread(run, by_model.get(run.joined), found)
        return found

    def _gather(
        self,
        within: Sequence[str],
        answers: "Iterable[tuple[Sequence[Piece], Future[list[list[tuple[int, int, str, float]]] | None]]]",
    ) -> Mapping[str, set[Span]]:
        """Return what the model found in each text; one of which a piece could not be read is left out."""
        found: dict[int, set[Span]] = {number: set() for number in range(len(within))}
        failed: set[int] = set()
        for task, waiting in answers:
            answer = waiting.result()
            if answer is None:
                failed.update(piece.number for piece in task)
                continue
            for piece, findings in zip(task, answer, strict=True):
                found[piece.number].update(self._spans(piece, findings))
        return {within[number]: spans for number, spans in found.items() if number not in failed}

    def _spans(self, piece: Piece, findings: Iterable[tuple[int, int, str, float]]) -> Iterator[Span]:
        for start, end, entity, score in findings:
            if not self._allowed.holds(entity, piece.text[start:end]):
                yield Span(piece.start + start, piece.start + end, entity, score, RULE)


def _has_letter(text: str) -> bool:
    """Say whether there is anything in a text for a model to read."""
    return any(map(str.isalpha, text))


def _within(texts: Iterable[str], chars_max: int) -> list[str]:
    """Return the texts that the budget is enough for; a smaller one may still fit behind one that does not."""
    within = []
    for text in texts:
        if len(text) <= chars_max:
            within.append(text)
            chars_max -= len(text)
    return within


def _tasks(texts: Iterable[str]) -> Iterator[list[Piece]]:
    """Yield the pieces that are read together."""
    task: list[Piece] = []
    size = 0
    for number, text in enumerate(texts):
        for start, end in pieces(text):
            if task and size + end - start > TASK_CHARS:
                yield task
                task, size = [], 0
            task.append(Piece(number, start, text[start:end]))
            size += end - start
    if task:
        yield task


def pieces(text: str) -> Iterator[tuple[int, int]]:
    """Cut a text where a sentence may end, if there is such a place; yield start and end of each piece."""
    start = 0
    while start < len(text):
        end = min(len(text), start + PIECE_CHARS_MAX)
        if end < len(text):
            middle = start + PIECE_CHARS_MAX // 2
            cuts = ((text.rfind(mark, middle, end), mark) for mark in _CUTS)
            end = next((at + len(mark) for at, mark in cuts if at >= 0), end)
        yield max(0, start - OVERLAP_CHARS), end
        start = end


def _both(one: Sequence[Span] | None, other: Iterable[Span] | None) -> Sequence[Span] | None:
    return None if one is None or other is None else sorted({*one, *other})


def _spread(run: seams.Run, spans: Iterable[Span] | None, found: list[Sequence[Span] | None]) -> None:
    """Give the chunks of a stream their parts of what was found in all of it; where that was not read, none was."""
    numbers = range(run.first, run.first + len(run.sizes))
    if spans is None:
        found[numbers.start : numbers.stop] = [None] * len(numbers)
        return
    for span in spans:
        for number, part in seams.split(run, span):
            found[number] = _both(found[number], [part])
