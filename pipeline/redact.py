"""Replaces what was found in a text by placeholders, and keeps literal look-alikes apart from them. Pure.

A placeholder is ``<EMAIL_1>``: the type's label, numbered in order of first appearance within one request, so that a
dialogue still reads (design §6). Where the input has such a literal itself, a backslash goes after its ``<``.
"""

import re
from collections.abc import Iterator, Mapping, Sequence

from pipeline.detect.entities import EntityTable
from pipeline.detect.fold import decode, fold
from pipeline.detect.spans import Span

REDACTED = "<REDACTED>"
"""What stands for a text that no detector could read."""
_FORM = r"(?:[A-Z]+(?:_[A-Z]+)*_\d+|REDACTED|OPAQUE|(?:TOKENS|VECTOR) \d+|MEDIA(?: [^<>]*)?)>"
_LITERAL = re.compile(rf"<(?=\\*{_FORM})")
_ESCAPED = re.compile(rf"<\\(?=\\*{_FORM})")
_PLACEHOLDER = re.compile(f"<{_FORM}")
_NUMBERED = re.compile(r"<([A-Z]+(?:_[A-Z]+)*)_([0-9]{1,9})>")
_GAPS = re.compile(r"[\W_]+")


class Placeholders:
    """Numbers the values of one request. The same value has the same placeholder in every text of it.

    Attributes:
        counts: how many times something was replaced, by entity type.
    """

    def __init__(self, table: EntityTable, last: Mapping[str, int] | None = None) -> None:
        """Begin; ``last`` are the highest numbers that are given already, by label."""
        self.counts: dict[str, int] = {}
        self._table = table
        self._given: dict[tuple[str, str], str] = {}
        self._last: dict[str, int] = dict(last or {})

    def label(self, entity: str, value: str) -> str:
        """Return the placeholder of a value, and count it. A type that is not on the list is just redacted."""
        rule = self._table.entities.get(entity)
        counted = entity if rule else "REDACTED"
        self.counts[counted] = self.counts.get(counted, 0) + 1
        if rule is None:
            return REDACTED
        key = rule.placeholder, _same_value(value, rule.same_value)
        given = self._given.get(key)
        if given is None:
            number = self._last[rule.placeholder] = self._last.get(rule.placeholder, 0) + 1
            given = self._given[key] = f"<{rule.placeholder}_{number}>"
        return given

    def __repr__(self) -> str:
        return f"Placeholders({sum(self.counts.values())} replaced)"


def redact(text: str, spans: Sequence[Span], placeholders: Placeholders) -> str:
    """Return the text with each span replaced by its placeholder and the rest escaped.

    Args:
        text: the original.
        spans: disjoint and sorted, as `merge_spans` returns them.
        placeholders: of the request.
    """
    if not spans:
        return escape(text)
    parts: list[str] = []
    position = 0
    for span in spans:
        parts.append(escape(text[position : span.start]))
        parts.append(placeholders.label(span.entity, text[span.start : span.end]))
        position = span.end
    parts.append(escape(text[position:]))
    return "".join(parts)


def escape(text: str) -> str:
    r"""Return the text with a backslash after the ``<`` of each literal that could be taken for a placeholder.

    ``<EMAIL_1>`` becomes ``<\EMAIL_1>``, and ``<\EMAIL_1>`` becomes ``<\\EMAIL_1>``. A text without one is returned
    itself, the same object. Any upper-case label counts, whether the list has it or not. No look-alike can arise
    where segments join: one begins with ``<`` and holds no other.
    """
    if "<" not in text or not _LITERAL.search(text):
        return text
    return _LITERAL.sub(r"<\\", text)


def redact_again(text: str, spans: Sequence[Span], placeholders: Placeholders) -> str:
    """Return a text that was redacted before with each span replaced too, its placeholders and escapes as they are.

    What of a span is a placeholder stays one; a rest without a letter or digit says nothing and stays as well.

    Args:
        text: what `redact` returned; the very same object is returned when nothing changes.
        spans: disjoint and sorted, in this text.
        placeholders: of the request, going on from the numbers that it has.
    """
    parts: list[str] = []
    position = 0
    for start, end, entity in _between_placeholders(text, spans):
        parts += [text[position:start], placeholders.label(entity, text[start:end])]
        position = end
    return "".join([*parts, text[position:]]) if parts else text


def _between_placeholders(text: str, spans: Sequence[Span]) -> Iterator[tuple[int, int, str]]:
    """Yield start, end and entity of what spans cover between placeholders, without the space around it."""
    kept = [*find_placeholders(text)]
    for span in spans:
        inside = [(low, high) for low, high in kept if low < span.end and high > span.start]
        starts = [span.start, *(high for _, high in inside)]
        ends = [*(low for low, _ in inside), span.end]
        for start, end in zip(starts, ends, strict=True):
            piece = text[start:end] if start < end else ""
            if any(map(str.isalnum, piece)):
                yield start + len(piece) - len(piece.lstrip()), end - len(piece) + len(piece.rstrip()), span.entity


def find_placeholders(text: str) -> Iterator[tuple[int, int]]:
    """Yield start and end of each placeholder in a redacted text, or in JSON that holds some."""
    return (match.span() for match in (_PLACEHOLDER.finditer(text) if "<" in text else ()))


def is_placeholder(text: str) -> bool:
    """Tell whether a redacted text is one placeholder as a whole."""
    return text[:1] == "<" and _PLACEHOLDER.fullmatch(text) is not None


def highest_numbers(text: str) -> dict[str, int]:
    """Return the highest number of each label among the placeholders of a redacted text, or of JSON that holds some."""
    last: dict[str, int] = {}
    for label, number in _NUMBERED.findall(text):
        last[label] = max(last.get(label, 0), int(number))
    return last


def unescape(text: str) -> str:
    """Undo `escape`."""
    return _ESCAPED.sub("<", text)


def _same_value(value: str, kind: str) -> str:
    """Return what two spellings of one value share. See `EntityRule.same_value`."""
    plain = fold(decode(value))
    if kind == "digits":
        return "".join(char for char in plain if char.isdigit()) or plain
    if kind == "alnum":
        return _GAPS.sub("", plain) or plain
    if kind == "words":
        return _GAPS.sub(" ", plain).strip() or plain
    return plain.strip()
