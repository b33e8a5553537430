"""Finds the account's own identifiers in its content (design §6), in any case and in common encodings. Pure.

What is looked for, and when a single word counts, is in `pipeline.detect.needles`; encodings are read by
`pipeline.detect.fold`: JSON, URL and HTML escapes, full-width letters, accents, invisible characters.
"""

from bisect import bisect_left, insort
from collections.abc import Iterator, Sequence

from pipeline.detect import cues
from pipeline.detect.fold import decode, fold, fold_located, has_escapes
from pipeline.detect.needles import Needle, has_probe, is_spaceless, make_needles
from pipeline.detect.segments import Located
from pipeline.detect.spans import OwnIdentifier, Span

GLUED_CHARS_MIN = 8
"""From this length on, the words of a name count without anything between them, as in ``nadiarossi``."""
_SEPARATORS = frozenset(" \t\n\r\v\f_.-+,/\\'&\u2010\u2013\u2014\u2019\u00b7")
_SEPARATORS_MAX = 8


def find_own(
    texts: Sequence[str], identifiers: Sequence[OwnIdentifier], common_words: frozenset[str]
) -> list[list[Span]]:
    """Find the account's own identifiers.

    Args:
        texts: the leaves of one event.
        identifiers: what the event says about its account.
        common_words: lower-case words that are no evidence of a name by themselves.

    Returns:
        One list a text, of spans in code points of that text that cover the encoded form whole; they may overlap.
    """
    joined = "\n".join(texts)
    # The line break between texts is in no probe and no escape, so what no text holds, all of them together do not.
    if not has_probe(fold(joined), identifiers) and not (
        has_escapes(joined) and has_probe(fold(decode(joined)), identifiers)
    ):
        return [[] for _ in texts]
    needles = [needle for own in identifiers for needle in make_needles(own, common_words)]
    return [_find(text, needles) for text in texts]


def _find(text: str, needles: Sequence[Needle]) -> list[Span]:
    spans: set[Span] = set()
    folded = fold(text)
    if any(needle.probe in folded for needle in needles):
        spans.update(_locate(text, fold_located(text, escapes=False), needles))
    # Not only when a probe is missing: a letter of an escape (\nNadia) can hide where a name begins.
    if "\\" in text or has_escapes(text):
        folded = fold(decode(text))
        if any(needle.probe in folded for needle in needles):
            spans.update(_locate(text, fold_located(text, escapes=True), needles))
    return sorted(spans)


def _locate(text: str, folded: Located, needles: Sequence[Needle]) -> Iterator[Span]:
    mailboxes: list[tuple[int, int]] = []
    longest = 0
    for needle in sorted(needles, key=lambda needle: needle.needs_cue):
        if needle.probe not in folded.text:
            continue
        for start, end in _occurrences(folded.text, needle.words):
            if needle.entity == "EMAIL_ADDRESS":
                insort(mailboxes, (start, end))
                longest = max(longest, end - start)
            first, last = folded.original(start, end)
            is_capital = text[first].isupper()
            beside = _between(mailboxes, start - longest - cues.NEAR_CHARS, end + cues.NEAR_CHARS)
            if not needle.needs_cue or cues.is_beside_cue(
                folded.text, start, end, beside, is_capital=is_capital, entity=needle.entity
            ):
                yield Span(first, last, needle.entity, 1.0, needle.rule)


def _between(mailboxes: Sequence[tuple[int, int]], first: int, last: int) -> Sequence[tuple[int, int]]:
    """Return the ranges, in order, that start between two places: a text may have thousands."""
    return mailboxes[bisect_left(mailboxes, (first, 0)) : bisect_left(mailboxes, (last + 1, 0))]


def _occurrences(text: str, words: tuple[str, ...]) -> Iterator[tuple[int, int]]:
    can_glue = len(words) > 1 and sum(map(len, words)) >= GLUED_CHARS_MIN
    start = text.find(words[0])
    while start >= 0:
        end = _match(text, start, words, 0 if can_glue else 1)
        if end is not None and _is_edge(text, start - 1, start) and _is_edge(text, end, end - 1):
            yield start, end
        start = text.find(words[0], start + 1)


def _match(text: str, start: int, words: tuple[str, ...], separators_min: int) -> int | None:
    position = start + len(words[0])
    for word in words[1:]:
        separators = 0
        while position < len(text) and text[position] in _SEPARATORS and separators < _SEPARATORS_MAX:
            position += 1
            separators += 1
        if separators < separators_min or not text.startswith(word, position):
            return None
        position += len(word)
    return position


def _is_edge(text: str, outside: int, inside: int) -> bool:
    """Say whether a word ends between two neighbours. Beside a script without spaces it always does."""
    if outside < 0 or outside >= len(text):
        return True
    beyond, last = text[outside], text[inside]
    return not (beyond.isalnum() and last.isalnum()) or is_spaceless(last) or is_spaceless(beyond)
