"""Tables in text: what stands in a column whose head is a telling name, as ``ssn`` or ``first_name``. Pure.

Comma, semicolon, tab, bar and more than one space are separators; the rows are the lines below the head that have as
many fields. The rows of an SQL ``INSERT INTO t (ssn, …) VALUES (…), (…)``, and of a ``COPY``, count as such lines.
"""

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from itertools import chain

from pipeline.detect.budget import Allowance
from pipeline.detect.gates import Alternative, Range
from pipeline.detect.scan import ScanPattern
from pipeline.detect.spans import Span
from pipeline.errors import DetectionFailed

SCORE = 0.85
RULE = "column"
FIELDS_MIN, SPACED_FIELDS_MIN = 2, 3
"""A head has so many fields; where spaces part them, more, for forms have two."""
HEAD_CHARS_MAX = 40
CELLS_MAX = 4096
"""Cells under telling heads that a text may have; beyond, it is redacted whole."""
_LINE_CHARS_MAX = 4096
# Possessive where spaces meet what may hold spaces: else a run of them is tried in each of its partings.
_FIELD = {
    separator: re.compile(rf'\s*+(?:"(?P<quoted>(?:[^"\n]|"")*)"|(?P<bare>[^{separator}"\n]*+))\s*(?:{separator}|\Z)')
    for separator in (",", ";", "\t", r"\|")
} | {"  ": re.compile(r"[ \t]*(?:(?P<quoted>\0)|(?P<bare>[^\s]++(?:[ \t][^\s]++)*))(?:[ \t]{2,}|[ \t]?\Z)")}
_COPY = re.compile(r"(?i)copy\s+[\w.\"]{1,120}\s*\((?P<heads>[^()]{1,2000})\)\s+from\s+stdin;\r?\n", re.ASCII)
_INSERT = re.compile(r"(?i)insert\s+into\s+[\w.\"`\[\]]{1,120}\s*\((?P<heads>[^()]{1,2000})\)\s*values\s*", re.ASCII)
_TUPLE = re.compile(r"\s*\((?P<row>(?:'(?:[^'\n]|'')*'|[^()'])*+)\)\s*(?P<more>,?)")
_CELL = re.compile(r"\s*+(?:'(?P<quoted>(?:[^'\n]|'')*)'|(?P<bare>[^,']*+))\s*(?:,|\Z)")
_HEAD_CHARS = re.compile(r"[\s_\-\"`'#*.()]")
_EMPTY = re.compile(
    r"(?i)[\s\-.*x#?]*|null|none|n/?a|nan|undefined|true|false|redacted|<[^<>]*>|\$?\{.*\}|%s|\?|@\w+|`.*`|\w+\(.*\)"
)
# What a value under a telling head looks like; a column of descriptions holds none.
_SHAPES = {
    **dict.fromkeys(("PHONE_NUMBER", "US_SSN"), re.compile(r"(?:[^\dA-Za-z]*\d){6}")),
    **dict.fromkeys(("CREDIT_CARD", "IBAN_CODE"), re.compile(r"(?:[^\d]*\d){8}")),
    **dict.fromkeys(
        ("PASSPORT", "NATIONAL_ID", "DRIVER_LICENSE", "BANK_ACCOUNT", "VEHICLE_ID", "DEVICE_ID", "DATE_OF_BIRTH"),
        re.compile(r"(?=.*\d.*\d)"),
    ),
    "USERNAME": re.compile(r"[A-Za-z0-9][\w.@-]{2,38}\Z"),
    "ACCOUNT_ID": re.compile(r"(?=.*\d)"),
    "EMAIL_ADDRESS": re.compile(r".*@"),
    "PERSON": re.compile(r"(?=[^\W\da-z])"),
    "SECRET": re.compile(r"\S{4,}\Z"),
}
_ANY_SHAPE = re.compile(r"(?=.*[^\W\d])")


class Columns:
    """Finds the cells of columns whose head is on the list."""

    def __init__(self, heads: Mapping[str, str], beside: Mapping[str, str] | None = None) -> None:
        """Take entity types by head, lower-case and without separators.

        Args:
            heads: that tell by themselves.
            beside: that tell only beside one of those.
        """
        self._heads = heads
        self._beside = beside or {}
        words = sorted({head[:12] for head in heads if len(head) > 2})  # noqa: PLR2004 - shorter ones are everywhere
        name = "(?:" + "|".join(r"[_\- ]?".join(word) for word in words) + ")"
        self.gate: Sequence[Alternative] = (
            Alternative(
                ScanPattern(rf"(?:^|[,;\t|]|  )[ \"]?(?:[A-Za-z]+[_\- ])?{name}[a-z_ ]*[ \"]?(?:[,;\t|]|$)", "i")
            ),
            Alternative(ScanPattern(r"insert\s+into\s+[^\n(]+\(", "i")),
            Alternative(ScanPattern(r"copy\s+[^\n(]+\([^()]+\)\s+from\s+stdin", "i")),
        )

    def find(
        self,
        text: str,
        parts: Sequence[Range] | None = None,  # noqa: ARG002 - a `Finder`; a row needs its head, so the text is one
        found: Collection[Span] = (),  # noqa: ARG002 - a `Finder`
        allowance: Allowance | None = None,  # noqa: ARG002 - a `Finder`
    ) -> Iterator[Span]:
        """Yield the cells.

        Raises:
            DetectionFailed: the text has more cells than the budget.
        """
        left = CELLS_MAX
        for start, end, entity in chain(self._tables(text), self._inserts(text), self._copies(text)):
            left -= 1
            if left < 0:
                raise DetectionFailed("a text has too much to look at")
            yield Span(start, end, entity, SCORE, RULE)

    def _tables(self, text: str) -> Iterator[tuple[int, int, str]]:
        heads: dict[int, str] = {}
        separator, width, position = "", 0, 0
        for line in text.splitlines(keepends=True):
            bare = line.rstrip("\r\n")
            if heads and (cells := _cells(_FIELD[separator], bare, width)):
                yield from self._row(cells, heads, position)
            elif heads and separator == r"\|" and set(bare) <= set("|-: "):
                pass  # the rule below the head of a table in Markdown
            else:
                heads, separator, width = self._head(bare)
            position += len(line)

    def _row(
        self, cells: Sequence[tuple[int, int, str]], heads: Mapping[int, str], at: int
    ) -> Iterator[tuple[int, int, str]]:
        for column, entity in heads.items():
            start, end, value = cells[column]
            if value and not _EMPTY.fullmatch(value) and _SHAPES.get(entity, _ANY_SHAPE).match(value):
                yield at + start, at + end, entity

    def _head(self, line: str) -> tuple[dict[int, str], str, int]:
        """Return the telling columns of a line that is a head, its separator and its number of fields."""
        if len(line) <= _LINE_CHARS_MAX:
            for separator, field in _FIELD.items():
                if separator.strip("\\") in line:
                    cells = _cells(field, line, 0)
                    names = [value for _, _, value in cells]
                    fields_min = SPACED_FIELDS_MIN if separator == "  " else FIELDS_MIN
                    is_head = len(cells) >= fields_min and all(len(name) <= HEAD_CHARS_MAX for name in names)
                    if is_head and (telling := self._telling(names)):
                        return telling, separator, len(cells)
        return {}, "", 0

    def _telling(self, heads: Sequence[str]) -> dict[int, str]:
        """Return the entity types of the telling columns, by their number."""
        names = [_HEAD_CHARS.sub("", head).lower() for head in heads]
        if not any(name in self._heads for name in names):
            return {}
        entities = (self._heads.get(name) or self._beside.get(name) for name in names)
        return {column: entity for column, entity in enumerate(entities) if entity}

    def _inserts(self, text: str) -> Iterator[tuple[int, int, str]]:
        for insert in _INSERT.finditer(text):
            names = insert["heads"].split(",")
            heads = self._telling(names)
            row = _TUPLE.match(text, insert.end()) if heads else None
            while row:
                cells = _cells(_CELL, row["row"], len(names))
                if cells:
                    yield from self._row(cells, heads, row.start("row"))
                row = _TUPLE.match(text, row.end()) if row["more"] else None

    def _copies(self, text: str) -> Iterator[tuple[int, int, str]]:
        for copy in _COPY.finditer(text):
            names = copy["heads"].split(",")
            heads, position = self._telling(names), copy.end()
            while heads and position < len(text):
                end = text.find("\n", position)
                end = len(text) if end < 0 else end
                cells = _cells(_FIELD["\t"], text[position:end].rstrip("\r"), len(names))
                if not cells:
                    break
                yield from self._row(cells, heads, position)
                position = end + 1


def _cells(field: re.Pattern[str], line: str, width: int) -> list[tuple[int, int, str]]:
    """Return (start, end, value) of each field of a line; none where they are not as many as they should be."""
    cells = []
    position = 0
    while position <= len(line):
        match = field.match(line, position)
        if not match:
            return []
        group = "quoted" if match["quoted"] is not None else "bare"
        value = match[group]
        start = match.start(group) + len(value) - len(value.lstrip())
        cells.append((start, start + len(value.strip()), value.strip()))
        if match.end() == len(line) and (match.end() == position or line[match.end() - 1] not in ",;\t|"):
            break
        if match.end() == position:
            return []
        position = match.end()
    return cells if not width or len(cells) == width else []
