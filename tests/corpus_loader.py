"""Reads the labelled corpus: plain text with its identifiers marked in place, as ``⟦TYPE:value⟧``.

Recall is measured against what this module returns, so markup that is not understood is an error, never skipped.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

LABELLED = Path(__file__).parent / "corpus" / "labelled"
BENIGN = LABELLED.with_name("benign")
PARTING = "%%%%"
OPEN, CLOSE = "⟦", "⟧"
TYPES = frozenset(
    {
        "BANK_ACCOUNT",
        "COORDINATES",
        "CREDIT_CARD",
        "CRYPTO",
        "DATE_OF_BIRTH",
        "DEVICE_ID",
        "DRIVER_LICENSE",
        "EMAIL_ADDRESS",
        "HOSTNAME",
        "IBAN_CODE",
        "IP_ADDRESS",
        "MAC_ADDRESS",
        "NATIONAL_ID",
        "PASSPORT",
        "PERSON",
        "PHONE_NUMBER",
        "SECRET",
        "STREET_ADDRESS",
        "US_SSN",
        "USERNAME",
        "VEHICLE_ID",
    }
)
"""The closed list of labels."""
_BRACKET = re.compile(f"[{OPEN}{CLOSE}]")


class CorpusError(ValueError):
    """Markup that cannot be read; says where and why, and holds no value of the text."""


class Span(NamedTuple):
    """A marked identifier: code points ``start`` to ``end`` (exclusive) of the unmarked text, and its label."""

    start: int
    end: int
    type: str


@dataclass(frozen=True, slots=True)
class Document:
    """One document: ``file.txt#number`` counted from 1, its text without markup, and its spans in order."""

    name: str
    text: str
    spans: tuple[Span, ...]

    @property
    def language(self) -> str:
        """The ending of the file's name: a language code, or ``mul`` where a file mixes them."""
        return self.name.partition(".")[0].rpartition("_")[2]

    @property
    def encoded(self) -> bool:
        """Whether the document's identifiers are written in another coding."""
        return self.name.startswith("encoded/")

    def value(self, span: Span) -> str:
        """Return the text of a span."""
        return self.text[span.start : span.end]


def load_labelled(folder: Path = LABELLED) -> list[Document]:
    """Return every document under the folder, in the order of their names.

    Raises:
        CorpusError: a document's markup cannot be read.
    """
    documents: list[Document] = []
    for path in sorted(folder.rglob("*.txt")):
        documents.extend(parse_file(path.relative_to(folder).as_posix(), path.read_text("utf-8")))
    return documents


def parse_file(name: str, marked: str) -> Iterator[Document]:
    """Yield the documents of one file's text; each ends before the line break that ends its last line.

    Raises:
        CorpusError: a document is empty, or its markup cannot be read.
    """
    parts = re.split(f"^{PARTING}\n", marked, flags=re.MULTILINE)
    for number, part in enumerate(parts, 1):
        yield parse_document(f"{name}#{number}", part.removesuffix("\n"))


def parse_document(name: str, marked: str) -> Document:
    """Return the document without its markup.

    Raises:
        CorpusError: the document is empty; a mark is nested, not closed or not opened; its type is not of the closed
            list; or its value is empty or has white space at an end.
    """
    if not marked.strip():
        raise CorpusError(f"{name}: the document is empty; remove a {PARTING} line")
    pieces: list[str] = []
    spans: list[Span] = []
    at, length = 0, 0
    while bracket := _BRACKET.search(marked, at):
        plain = marked[at : bracket.start()]
        line = marked.count("\n", 0, bracket.start()) + 1
        label, value, at = _read_mark(marked, bracket, f"{name}, line {line}")
        pieces += [plain, value]
        start = length + len(plain)
        length = start + len(value)
        spans.append(Span(start, length, label))
    return Document(name, "".join([*pieces, marked[at:]]), tuple(spans))


def _read_mark(marked: str, bracket: re.Match[str], where: str) -> tuple[str, str, int]:
    """Return the label and value of the mark that opens at a bracket, and the position after it."""
    if bracket.group() == CLOSE:
        raise CorpusError(f"{where}: {CLOSE} without {OPEN} before it; remove it or open the mark")
    end = _BRACKET.search(marked, bracket.end())
    if end is None or end.group() == OPEN:
        raise CorpusError(f"{where}: {OPEN} is not closed; end the mark with {CLOSE}, and nest none")
    label, colon, value = marked[bracket.end() : end.start()].partition(":")
    if not colon or label not in TYPES:
        raise CorpusError(f"{where}: the type is not of the closed list; write {OPEN}TYPE:value{CLOSE}")
    if not value or value != value.strip():
        raise CorpusError(f"{where}: the value is empty or has white space at an end; mark the value itself")
    return label, value, end.end()
