"""Finds the cells of tables that stand under a heading for names: CSV, TSV, Markdown, SQL. Pure."""

import re
from collections.abc import Generator, Iterator
from typing import NamedTuple

from pipeline.detect.node import Compile

ROW_CHARS_MAX = 4000
HEADING_CHARS_MAX = 48
_DELIMITERS = ",;\t|"
_QUOTED = {d: re.compile(rf"\"(?:[^\"\n]|\"\")*\"|'(?:[^'\n]|'')*'|[^{re.escape(d)}\n]+") for d in _DELIMITERS}
_TUPLE = re.compile(r"\s{0,8},?\s{0,8}\(([^()\n]{1,4000})\)")
_VALUES = re.compile(r"\)\s{0,8}values\s{0,8}", re.IGNORECASE)
_PERSON = re.compile(r"[^\W\d_](?:[ .,'\u2019-]{0,2}[^\W\d_]){1,60}\.?")


class Cell(NamedTuple):
    """A cell under a heading for names, without quotes and spaces around it.

    Attributes:
        start: first code point.
        end: one past the last.
        is_sure: whether the heading says that it is a person's name, and not just a name.
    """

    start: int
    end: int
    is_sure: bool


class Tables:
    """Finds such cells.

    Args:
        sure: headings of names of persons, in lower case.
        maybe: headings of names, or of persons.
        compile_regex: as `re.compile`.

    Attributes:
        gate: matches in every text with a heading that is sure, or ``name``.
    """

    def __init__(self, sure: frozenset[str], maybe: frozenset[str], compile_regex: Compile = re.compile) -> None:
        self._sure = sure
        self._maybe = maybe
        words, gate = _either(sure | maybe), _either(sure | {"name"})
        self.gate = rf"(?i:(?:^|[,;\t|(])[ \"'`*]{{0,3}}(?:{gate})[ \"'`*]{{0,3}}(?:[,;\t|)]|$))"
        self._heading = compile_regex(rf"[\n,;\t|(][ \"'`*]{{0,3}}(?:{words})[ \"'`*]{{0,3}}(?=[,;\t|)\n])")

    def find(self, text: str, lower: str) -> Iterator[Cell]:
        """Yield the cells of all tables.

        Args:
            text: the text.
            lower: a line break and the text in lower case, of the same length.
        """
        done = 0
        for match in self._heading.finditer(lower):
            place = min(match.end() - 1, len(text) - 1)
            if place < done:
                continue
            # Bounded, and never before what was looked at: many headings in a line, or under each other, stay linear.
            start = text.rfind("\n", max(0, place - ROW_CHARS_MAX), place) + 1 or max(0, place - ROW_CHARS_MAX)
            end = text.find("\n", place, place + ROW_CHARS_MAX)
            end = end if end >= 0 else min(len(text), place + ROW_CHARS_MAX)
            bracket, close = text.rfind("(", start, place), text.find(")", place, end)
            if bracket >= 0 and close >= 0:
                values = _VALUES.match(text, close)
                rows = _tuples(text, values.end()) if values else iter(())
                start, end = bracket + 1, close
            else:
                rows = _lines(text, end + 1)
            done = yield from self._under(text, max(start, done), end, rows)

    def _under(self, text: str, start: int, end: int, rows: Iterator[tuple[int, int]]) -> Generator[Cell, None, int]:
        """Yield the cells under a row of headings; return how far the table goes."""
        done = end
        delimiter = max(_DELIMITERS, key=lambda char: text.count(char, start, end))
        headings = [text[a:b].lower() for a, b in _cells(text, start, end, delimiter)]
        if len(headings) < 2 or any(len(heading) > HEADING_CHARS_MAX for heading in headings):  # noqa: PLR2004 - a table
            return done
        columns = {index: heading in self._sure for index, heading in enumerate(headings)
                   if heading in self._sure or heading in self._maybe}  # fmt: skip
        for first, last in rows:
            cells = list(_cells(text, first, last, delimiter))
            if len(cells) < min(len(headings), 2):
                return done
            done = last
            for index, is_sure in columns.items():
                if index < len(cells) and _PERSON.fullmatch(text, *cells[index]):
                    yield Cell(*cells[index], is_sure)
        return done


def _either(words: frozenset[str]) -> str:
    """Return a pattern of words, the longest first; every process has one order, for the scan's cache goes by it."""
    return "|".join(map(re.escape, sorted(words, key=lambda word: (-len(word), word))))


def _lines(text: str, start: int) -> Iterator[tuple[int, int]]:
    while start < len(text):
        end = text.find("\n", start)
        end = len(text) if end < 0 else end
        if end - start > ROW_CHARS_MAX:
            return
        if not set(text[start:end]) <= set("|-+:= \t"):
            yield start, end
        elif end == start:
            return
        start = end + 1


def _tuples(text: str, start: int) -> Iterator[tuple[int, int]]:
    while match := _TUPLE.match(text, start):
        yield match.span(1)
        start = match.end()


def _cells(text: str, start: int, end: int, delimiter: str) -> Iterator[tuple[int, int]]:
    """Yield the range of each cell, without quotes and spaces around it. An empty one too."""
    if delimiter == "|" and text[start:end].lstrip().startswith("|"):
        start = text.index("|", start) + 1
    has_quotes = '"' in text[start:end] or "'" in text[start:end]
    while start <= end:
        match = _QUOTED[delimiter].match(text, start + _blank(text, start, end), end) if has_quotes else None
        stop = text.find(delimiter, match.end() if match else start, end)
        stop = end if stop < 0 else stop
        first, last = start, stop
        while first < last and text[first] in " \"'`*\t\r":
            first += 1
        while first < last and text[last - 1] in " \"'`*\t\r":
            last -= 1
        yield first, last
        start = stop + 1


def _blank(text: str, start: int, end: int) -> int:
    count = 0
    while start + count < end and text[start + count] == " ":
        count += 1
    return count
