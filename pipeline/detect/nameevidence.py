"""Finds names that no cue tells: near evidence of a person, a known name counts by itself. Pure.

Mailboxes, telephone numbers, numbers of accounts and documents are evidence that a text speaks of somebody and not of
public knowledge. Without any, names in running text are left alone.
"""

import re
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from pipeline.detect.gazetteer import Lexicon, Word, key
from pipeline.detect.namewords import CAPITAL_WORD, UPPER, full_names, read_after, read_before

_MAILBOX = re.compile(r"@[\w-]{1,63}\.\w")
_LOCAL_CHARS_MAX = 64
_LOCAL_PART_BACKWARDS = re.compile(rf"[\w.+%-]{{1,{_LOCAL_CHARS_MAX}}}")  # a search for its end would try each place
# Telephone numbers, IBANs, cards, social security numbers, addresses of network cards; less telling, any long number.
_NUMBER = re.compile(
    r"[+(\dA-Z](?<![\w.,+-].)(?:(?P<telling>(?<=\+)\d(?:[ ().-]{0,2}\d){7,16}|(?<=[A-Z])[A-Z]\d\d(?: ?[A-Z\d]{4}){3,8}"
    r"|(?<=[(\d])\d{0,3}\)?[ -]?\d{3,4}[ -]\d{3,4}(?!\d)|(?<=\d)\d\d-\d\d-\d{4}(?!\d)|(?<=\d)\d{3}(?:[ -]\d{4}){3}"
    r"|(?<=0)\d{2,4}[-/ ]\d{5,8}(?!\d)|(?<=[\dA-F])[\dA-F](?:[:-][\dA-F]{2}){5}|(?<=0)x[\da-fA-F]{40})"
    r"|(?<=\d)\d{8,18}(?!\d)|(?<=[A-Z])[A-Z]?\d{6,9}(?!\d))(?![\w.,-]?\d)"
)
_NO_EVIDENCE = re.compile(r"(?i)(?:is[bs]n|oclc|doi|arxiv|lccn|issn|ean|asin|isrc|pmid)[-: 0-9]{0,8}\Z")
_PARTS = re.compile(r"[._+\-\d%]+")
_PART_CHARS_MIN = 3
_SPEAKER = re.compile(
    rf"\n[ \t>*_#-]{{0,6}}(?P<time>\[?\d[\d:.,/ \tT\-]{{2,24}}(?:[AaPp]\.?[Mm]\.?)?\]?[ \t\-\u2013|]{{0,3}})?"
    rf"[<*_]{{0,3}}"
    rf"(?P<name>[{UPPER}][^\W\d_]{{1,20}}(?:[ '\u2019.-]{{1,2}}[^\W\d_]{{1,20}}){{0,3}})[>*_]{{0,3}}"
    rf"(?: ?[(\[][^)\]\n]{{1,30}}[)\]])?[*_]{{0,2}}[:\uff1a]"
)
# Written for the scan: bounded repeats of \\w are dear there, and it does not know \\u.
GATES = (
    r"[^\s(\[{\"'<@/]@[A-Za-z0-9-]{1,40}\.[A-Za-z]",
    r"\+\d(?:[ ().-]{0,2}\d){7}",
    r"\d:\d\d(?::\d\d)?(?: ?[AaPp][Mm])?\]?[ \t-]{1,3}[<*_]{0,3}[^\x00-@\[-`a-z{-\x7f][a-z][^\n:]{1,40}:",
)
"""Patterns of which one is in every text with telling evidence, or with a speaker after a time."""
EVIDENCE = (
    "@",
    r"\d{3}[ -]\d{3}|\d{6}|\d\d-\d\d-\d{4}|\+\d(?:[ ().-]{0,2}\d){7}|[A-Z][A-Z]\d\d ?[A-Z\d]{4}|0\d{2,4}[-/ ]\d{5}",
    r"[\dA-F]{2}[:-][\dA-F]{2}[:-][\dA-F]{2}[:-]",
    r"^[^A-Za-z0-9\n]{0,10}[^\x00-@\[-`a-z{-\x7f][^\n:]{1,80}:",
)
"""Patterns of which one is in every text with evidence, or with a name before a colon at the start of a line."""
_LINKS_MAX = 8
_LINKS = " \t,;:|<>(\"'[\u2013\u2014-"
_ACRONYM_CHARS_MAX = 4
_FULL_SCORE, _MAILBOX_SCORE, _SPEAKER_SCORE = 0.6, 0.7, 0.7


class Finding(NamedTuple):
    """A name.

    Attributes:
        words: of the name, in order.
        rule: what found it.
        score: confidence, 0 to 1.
        is_weak: whether it counts only where evidence of a person stands near.
    """

    words: list[Word]
    rule: str
    score: float
    is_weak: bool


class Evidence(NamedTuple):
    """Where a text speaks of a person.

    Attributes:
        start: where the mailbox or number starts.
        local_part: of the mailbox; "" for a number.
        is_telling: whether it has the form of a person's identifier, and is not just a long number.
    """

    start: int
    local_part: str
    is_telling: bool


def full_name_findings(text: str, lexicon: Lexicon) -> Iterator[Finding]:
    """Yield names of two and more words without a cue, which begin with a given name or end with a surname."""
    for run in full_names(text):
        for index, word in enumerate(run[:-1]):
            if index and run[index - 1].key in lexicon.place_before:
                break
            if word.text.islower() or not _begins_name(word, run[index + 1], lexicon):
                continue
            words = lexicon.cut(run[index:])
            is_acronym = words and all(len(w.text) <= _ACRONYM_CHARS_MAX and w.text.isupper() for w in words)
            if len(words) > 1 and not is_acronym and not lexicon.is_public(words):
                yield Finding(words, "full_name", _FULL_SCORE, is_weak=True)
            break


def _begins_name(word: Word, after: Word, lexicon: Lexicon) -> bool:
    if word.key in lexicon.first:
        return lexicon.is_telling(word.key) or (after.key in lexicon.last and word.key not in lexicon.stop)
    is_unknown = not (word.key in lexicon.weak or word.key in lexicon.stop or word.key in lexicon.place_before)
    return (
        is_unknown and after.key in lexicon.last and lexicon.is_telling(after.key) and len(word.key) >= _PART_CHARS_MIN
    )


def given_names(text: str, lexicon: Lexicon) -> Iterator[Finding]:
    """Yield single words in capitals that are given names and hardly anything else."""
    for match in CAPITAL_WORD.finditer(text):
        word = key(match.group())
        if word not in lexicon.first or len(word) < _PART_CHARS_MIN or word in lexicon.public:
            continue
        is_acronym = match.group().isupper() and len(word) <= _ACRONYM_CHARS_MAX
        if is_acronym or not lexicon.is_telling(word):
            continue
        words = lexicon.cut(read_after(text, match.start(), lexicon, is_lower=False))
        if words and not lexicon.is_public(words):
            yield Finding(words, "given_name", _FULL_SCORE, is_weak=True)


def speakers(text: str, lexicon: Lexicon) -> Iterator[Finding]:
    """Yield names before a colon at the start of lines: of whom speaks twice, or after a time."""
    turns = []
    for match in _SPEAKER.finditer("\n" + text):
        words = lexicon.cut(read_after(text, match.start("name") - 1, lexicon, is_lower=False))
        if words and lexicon.is_known(words) and not lexicon.is_public(words):
            turns.append((words, match["time"] is not None))
    count = Counter(words[0].key for words, _ in turns)
    for words, has_time in turns:
        if has_time or count[words[0].key] > 1:
            yield Finding(words, "name_of_speaker", _SPEAKER_SCORE, is_weak=False)


def beside_evidence(text: str, evidence: Sequence[Evidence], lexicon: Lexicon) -> Iterator[Finding]:
    """Yield the names that stand right before a mailbox or a number."""
    for start, _, is_telling in evidence:
        end = len(text[max(0, start - _LINKS_MAX) : start].rstrip(_LINKS)) + max(0, start - _LINKS_MAX)
        words = lexicon.cut(read_before(text, end, lexicon)) if end < start else []
        if not words or words[-1].end != end or lexicon.is_public(words):
            continue
        if ((is_telling or words[0].key in lexicon.first) and lexicon.is_known(words)) or (
            is_telling and len(words) > 1 and lexicon.is_likely(words)
        ):
            yield Finding(words, "name_before_identifier", _MAILBOX_SCORE, is_weak=False)


def mailbox_names(evidence: Sequence[Evidence], lexicon: Lexicon) -> Iterator[str]:
    """Yield the parts of mailboxes that are names: ``nadia.rossi@`` says that Rossi is one, ``nrossi@`` too."""
    for local_part in {one.local_part for one in evidence}:
        parts = [key(part) for part in _PARTS.split(local_part) if part]
        if not any(lexicon.is_telling(part) for part in parts):
            parts = [part[1:] for part in parts[:1] if part[1:] in lexicon.last]
        for part in parts:
            if len(part) > _PART_CHARS_MIN and part not in lexicon.weak and part not in lexicon.stop:
                yield part


def evidence_in(text: str) -> Iterator[Evidence]:
    """Yield where a text speaks of persons: mailboxes, telephone numbers, numbers of accounts and documents."""
    for match in _MAILBOX.finditer(text):
        at = match.start()
        local = _LOCAL_PART_BACKWARDS.match(text[max(0, at - _LOCAL_CHARS_MAX) : at][::-1])
        if local:
            yield Evidence(at - local.end(), text[at - local.end() : at], is_telling=True)
    for match in _NUMBER.finditer(text):
        if not _NO_EVIDENCE.search(text, max(0, match.start() - 16), match.start()):
            yield Evidence(match.start(), "", is_telling=match["telling"] is not None)


def is_near(places: Sequence[int], place: int, chars: int) -> bool:
    """Say whether one of the places, in order, is near another."""
    index = bisect_left(places, place - chars)
    return index < len(places) and places[index] <= place + chars
