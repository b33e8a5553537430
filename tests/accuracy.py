"""Recall and over-redaction of a detector on the corpus: what tests pin and docs/detection.md shows.

Recall is the share of labelled spans that the redactions cover whole, whatever type they have: what is left of an
identifier is what counts. Over-redaction is counted on the benign corpus, in redactions for 10,000 characters, and in
the labelled one as redactions that touch no label.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from corpus_loader import Document

from pipeline.detect.spans import Span, merge_spans

Find = Callable[[str], Sequence[Span] | None]
FORMATTED = (
    *("EMAIL_ADDRESS", "PHONE_NUMBER", "CREDIT_CARD", "IBAN_CODE", "IP_ADDRESS", "MAC_ADDRESS", "CRYPTO"),
    *("NATIONAL_ID", "US_SSN", "SECRET"),
)
"""Types with a format, of which at least 97 % are to be found."""


@dataclass
class Score:
    """What a detector did on a corpus.

    Attributes:
        found: labelled spans covered whole, by type.
        labelled: labelled spans, by type.
        missed: (document, type, value) of the others.
        spurious: (document, entity, rule, value) of redactions that touch no label.
        unread: names of the documents that the detector could not read.
        chars: size of the corpus, in characters.
    """

    found: Counter[str] = field(default_factory=Counter)
    labelled: Counter[str] = field(default_factory=Counter)
    missed: list[tuple[str, str, str]] = field(default_factory=list)
    spurious: list[tuple[str, str, str, str]] = field(default_factory=list)
    unread: list[str] = field(default_factory=list)
    chars: int = 0

    def recall(self, *entities: str) -> float:
        """Return the share of labelled spans of these types (all, if none is given) that were found."""
        chosen = entities or tuple(self.labelled)
        return sum(self.found[e] for e in chosen) / max(1, sum(self.labelled[e] for e in chosen))

    def spurious_per_10k(self) -> float:
        """Return the redactions that touch no label, for 10,000 characters."""
        return len(self.spurious) / max(1, self.chars) * 10_000


def score(documents: Iterable[Document], find: Find) -> Score:
    """Run a detector over documents; a text that it could not read counts as redacted whole."""
    result = Score()
    for document in documents:
        text = document.text
        found = find(text)
        if found is None:
            result.unread.append(document.name)
        spans = [Span(0, len(text), "REDACTED", 1.0, "budget")] if found is None else merge_spans(found)
        result.chars += len(text)
        for label in document.spans:
            result.labelled[label.type] += 1
            if any(span.start <= label.start and span.end >= label.end for span in _joined(text, spans)):
                result.found[label.type] += 1
            else:
                result.missed.append((document.name, label.type, text[label.start : label.end]))
        for span in spans:
            if not any(label.start < span.end and label.end > span.start for label in document.spans):
                value = text[span.start : span.end]
                result.spurious.append((document.name, span.entity, span.rule, value))
    return result


def _joined(text: str, spans: Sequence[Span]) -> list[Span]:
    """Join spans with nothing but spaces and punctuation between: a name found word by word is covered."""
    joined: list[Span] = []
    for span in spans:
        if joined and not any(char.isalnum() for char in text[joined[-1].end : span.start]):
            joined[-1] = joined[-1]._replace(end=span.end)
        else:
            joined.append(span)
    return joined
