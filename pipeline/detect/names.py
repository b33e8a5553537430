"""Finds names of people by what stands beside them, without a model (design §6). Pure.

Cues, and the words that are no name, are data: schemas/detection/names.json. A cue says where a name stands, the
gazetteer says which words can be one. What is found once is found again wherever the text repeats it.
"""

import re
from collections.abc import Collection, Iterator, Sequence
from functools import partial
from hashlib import sha256
from typing import Any

from pipeline.detect import gazetteer
from pipeline.detect.budget import Allowance
from pipeline.detect.gates import Alternative, Range
from pipeline.detect.gazetteer import Lexicon, Word, key
from pipeline.detect.layout import LongGate
from pipeline.detect.namecues import FILE, Cue, CuePattern, cues_from_json
from pipeline.detect.nameevidence import (
    Finding,
    beside_evidence,
    evidence_in,
    full_name_findings,
    given_names,
    is_near,
    mailbox_names,
    speakers,
)
from pipeline.detect.namegate import ways
from pipeline.detect.nametables import Tables
from pipeline.detect.namewords import CAPITAL_WORD, is_spaceless, read_after, read_before, read_list, words_of
from pipeline.detect.node import Compile, Node
from pipeline.detect.spans import Span
from pipeline.errors import DetectionFailed

ENTITY = "PERSON"
CUES_MIN = 1000
CHARS_A_CUE = 24
"""A text may have 1,000 cues, or one in 24 characters if that is more; beyond, it is redacted whole."""
_REACH_CHARS = 128
_NAME_CHARS_MIN = 3
_KEYS = {
    *("why", "cues", "titles", "particles", "stop", "ambiguous", "place_before", "thing_after", "public"),
    *("more_first", "more_last", "headings"),
}
_TABLE_SCORE = 0.8
_AGAIN_SCORE = 0.6
_TELLING_SCORE = 0.75
_NEAR_CHARS = 600
_BESIDE_CHARS = 160
_CLOSE_CHARS = 48


class Names:
    """A finder of names.

    Attributes:
        cues: what it goes by.
        lexicon: the words it knows.
    """

    def __init__(
        self, cues: Sequence[Cue], lexicon: Lexicon, tables: Tables, digest: str, compile_regex: Compile
    ) -> None:
        self._digest = digest
        self._tables = tables
        self.cues = tuple(cues)
        self.lexicon = lexicon
        self._patterns = [
            CuePattern(self.cues, is_word=is_word, compile_regex=compile_regex) for is_word in (True, False)
        ]

    @classmethod
    def from_json(
        cls,
        data: Any,
        common_words: frozenset[str],
        compile_regex: Compile = re.compile,
        known: gazetteer.Tables | None = None,
    ) -> "Names":
        """Compile the parsed file.

        Args:
            data: schemas/detection/names.json.
            common_words: lower-case words that are no evidence of a name by themselves.
            compile_regex: as `re.compile`.
            known: given names and surnames; None for those of `gazetteer.load_tables`.

        Raises:
            PolicyError: a field is missing, unknown or wrong; the text names it.
        """
        top = Node(FILE, data, _KEYS, compile_regex)
        known = known or gazetteer.load_tables()

        def keys(field: str) -> frozenset[str]:
            return frozenset(" ".join(map(key, text.split())) for text in top.strings(field))

        lexicon = Lexicon(
            first=known.first | keys("more_first"),
            last=known.last | keys("more_last"),
            weak=keys("ambiguous") | frozenset(map(key, common_words)),
            stop=keys("stop"),
            titles=keys("titles"),
            particles=keys("particles"),
            place_before=keys("place_before"),
            thing_after=keys("thing_after"),
            public=keys("public"),
        )
        headings = Node(f"{FILE}/headings", data.get("headings"), {"sure", "maybe"})
        tables = Tables(frozenset(headings.strings("sure")), frozenset(headings.strings("maybe")), compile_regex)
        digest = sha256(repr((data, sorted(common_words), known.digest)).encode()).hexdigest()
        return cls(cues_from_json(top), lexicon, tables, digest, compile_regex)

    @property
    def gate(self) -> Sequence[Alternative]:
        """Return the ways through the gate: a cue, or a given name and evidence of a person."""
        return LongGate(self._digest, partial(ways, self.cues, self.lexicon, self._tables.gate))

    def find(
        self,
        text: str,
        parts: Sequence[Range] | None = None,
        found: Collection[Span] = (),  # noqa: ARG002 - a `Finder`
        allowance: Allowance | None = None,  # noqa: ARG002 - a `Finder`
    ) -> Iterator[Span]:
        """Yield names, which may overlap.

        Raises:
            DetectionFailed: the text has more cues than the budget.
        """
        lower = "\n" + (text.lower() if text.isascii() else text.replace("\u0130", "i").lower())
        lexicon = self.lexicon
        evidence = list(evidence_in(text))
        strong: list[Finding] = []
        weak: list[Finding] = []
        for finding in (*self._by_cues(text, lower, parts), *self._in_tables(text, lower)):
            (weak if finding.is_weak else strong).append(finding)
        strong += [*speakers(text, lexicon), *beside_evidence(text, evidence, lexicon)]
        places = sorted({*(f.words[0].start for f in strong if f.score >= _TELLING_SCORE),
                         *(e.start for e in evidence if e.is_telling)})  # fmt: skip
        numbers = [e.start for e in evidence if not e.is_telling]
        if places or numbers:
            weak += [*full_name_findings(text, lexicon), *given_names(text, lexicon)]
            strong += [finding for finding in weak if _is_backed(finding, places, numbers)]
        spans: dict[tuple[int, int], Span] = {}
        seen = set(mailbox_names(evidence, lexicon))
        for words, rule, score, _ in strong:
            span = Span(words[0].start, words[-1].end, ENTITY, score, rule)
            spans.setdefault(span[:2], span)
            seen.update(word.key for word in words if self._tells(word))
        yield from spans.values()
        yield from self._again(text, seen)

    def _tells(self, word: Word) -> bool:
        lexicon = self.lexicon
        is_long = len(word.key) >= _NAME_CHARS_MIN or not word.key.isascii()
        return is_long and not (word.key in lexicon.weak or word.key in lexicon.stop or word.key in lexicon.particles)

    def _by_cues(self, text: str, lower: str, parts: Sequence[Range] | None) -> Iterator[Finding]:
        left = max(CUES_MIN, len(text) // CHARS_A_CUE)
        for start, end in parts or (Range(0, len(text)),):
            for pattern in self._patterns:
                for cue, first, last in pattern.find(lower, max(0, start - _REACH_CHARS), end + _REACH_CHARS):
                    left -= 1
                    if left < 0:
                        raise DetectionFailed("a text has too much to look at")
                    for words in self._beside(text, cue, first - 1, last - 1):
                        yield Finding(words, cue.name, cue.score, cue.is_weak)

    def _in_tables(self, text: str, lower: str) -> Iterator[Finding]:
        for cell in self._tables.find(text, lower):
            words = words_of(text, cell.start, cell.end)
            if not words or words[0].key in self.lexicon.stop:
                continue
            is_name = len(words) > 1 and words[0].text[0].isupper() and self.lexicon.is_likely(words)
            if cell.is_sure or is_name or self.lexicon.is_known(words):
                yield Finding(words, "name_in_table", _TABLE_SCORE, is_weak=False)

    def _beside(self, text: str, cue: Cue, start: int, end: int) -> Iterator[list[Word]]:
        if cue.is_capital and text[max(0, start)].islower():
            return
        if cue.kind == "before":
            words = self.lexicon.cut(read_before(text, start, self.lexicon))
        else:
            words = self.lexicon.cut(read_after(text, end, self.lexicon, is_lower=cue.is_lower))
        if not words or not self._suffices(text, cue, words):
            return
        yield words
        if cue.is_list:
            for more in read_list(text, words[-1].end, self.lexicon):
                words = self.lexicon.cut(more)
                if not words or not self.lexicon.is_known(words):
                    return
                yield words

    def _suffices(self, text: str, cue: Cue, words: Sequence[Word]) -> bool:
        """Say whether words beside a cue are what it needs."""
        lexicon, head = self.lexicon, words[0]
        if cue.is_strong and head.text[0].isupper() and lexicon.is_name(head.key):
            return True
        is_closed = cue.end is None or bool(cue.end.match(text, words[-1].end))
        is_place = head.key in lexicon.place_before and len(words) > 1 and cue.need != "title"
        if is_place or (lexicon.is_public(words) and not cue.is_strong) or (cue.is_line and not is_closed):
            return False
        is_single = len(words) == 1
        if cue.need == "first" and is_single and not is_spaceless(head.text[0]):
            return head.key in lexicon.first and head.key not in lexicon.public and lexicon.is_known(words)
        if lexicon.is_known(words):
            return True
        is_enough = cue.need in {"any", "title"} or (cue.need == "full" and not is_single)
        return is_enough and is_closed and lexicon.is_likely(words)

    def _again(self, text: str, seen: set[str]) -> Iterator[Span]:
        """Yield the words that were found as names before, wherever they stand in capitals, neighbours together."""
        done = 0
        for match in CAPITAL_WORD.finditer(text) if seen else ():
            if match.start() < done or key(match.group()) not in seen:
                continue
            words = read_after(text, match.start(), self.lexicon, is_lower=False)
            while words and words[-1].key not in seen:
                words.pop()
            if words and not text[match.start() - 1 : match.start()].isalnum():
                done = words[-1].end
                yield Span(words[0].start, done, ENTITY, _AGAIN_SCORE, "name_again")


def _is_backed(finding: Finding, places: Sequence[int], numbers: Sequence[int]) -> bool:
    """Say whether evidence of a person stands near: telling evidence in 600 characters, long numbers beside it."""
    start = finding.words[0].start
    beside = _BESIDE_CHARS if len(finding.words) > 1 else _CLOSE_CHARS
    return is_near(places, start, _NEAR_CHARS) or is_near(numbers, start, beside)
