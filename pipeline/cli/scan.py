"""``lethe scan``: what detection finds in texts, without events or a store: for pipes, and for a person's eyes."""

import sys
from collections.abc import Iterator, Sequence
from typing import Any, BinaryIO

import orjson
import typer
from rich.console import Console
from rich.text import Text

from pipeline.cli import edge
from pipeline.detect.entities import EntityTable
from pipeline.detect.spans import Detector, Span, merge_spans
from pipeline.policy.load import Policy
from pipeline.redact import REDACTED, Placeholders, redact

LINE_BYTES_MAX = 16 * 1024 * 1024
_COLOURS = ("cyan", "magenta", "yellow", "green", "red", "blue")
_WHOLE = "REDACTED"


def scan_command() -> None:
    """Find identifiers in texts: JSON lines {"id", "text"} in, {"id", "text", "spans"} out.

    The text that comes out is redacted; spans are [start, end, type] in code points of the text that went in. On a
    terminal the text is shown as it is, with its spans coloured, and rule and score below. A line that is no such
    object is reported with its number, and the command ends with 1 once all lines are read.
    """
    settings = edge.settings()
    policy = edge.policy_of(settings)
    scanner = _Scanner(policy, edge.detector_of(settings, policy))
    console = Console(highlight=False, markup=False)
    refused = 0
    for number, line in enumerate(_lines(sys.stdin.buffer), 1):
        entry = _entry(line)
        if entry is None:
            refused += 1
            typer.echo(
                f'lethe: line {number}: not an object {{"id", "text"}} with a text; it was passed over', err=True
            )
            continue
        spans = scanner.find(entry["text"])
        if console.is_terminal:
            _show(console, entry["text"], spans)
        else:
            _write(entry.get("id"), scanner.redact(entry["text"], spans), spans)
    sys.stdout.buffer.flush()
    if refused:
        raise typer.Exit(1)


class _Scanner:
    def __init__(self, policy: Policy, detector: Detector) -> None:
        self._table = EntityTable.from_json(policy.entities)
        self._detector = detector

    def find(self, text: str) -> list[Span]:
        """Return disjoint spans; one over the whole text where the detector could not read it."""
        (spans,) = self._detector.find_spans([text])
        return [Span(0, len(text), _WHOLE, 1.0, "budget")] if spans is None else merge_spans(spans)

    def redact(self, text: str, spans: Sequence[Span]) -> str:
        if spans and spans[0].entity == _WHOLE:
            return REDACTED
        return redact(text, spans, Placeholders(self._table))


def _lines(source: BinaryIO) -> Iterator[bytes]:
    """Yield lines that hold something; one that is too long comes out cut, and is then no JSON."""
    while line := source.readline(LINE_BYTES_MAX):
        whole = line
        while not line.endswith(b"\n") and (line := source.readline(LINE_BYTES_MAX)):
            pass
        if whole.strip():
            yield whole


def _entry(line: bytes) -> dict[str, Any] | None:
    try:
        entry = orjson.loads(line)
    except orjson.JSONDecodeError:
        return None
    return entry if isinstance(entry, dict) and isinstance(entry.get("text"), str) else None


def _write(name: object, text: str, spans: Sequence[Span]) -> None:
    out = {"id": name, "text": text, "spans": [[span.start, span.end, span.entity] for span in spans]}
    sys.stdout.buffer.write(orjson.dumps(out, option=orjson.OPT_APPEND_NEWLINE))
    sys.stdout.buffer.flush()


def _show(console: Console, text: str, spans: Sequence[Span]) -> None:
    shown = Text(text)
    for span in spans:
        shown.stylize(f"bold black on {_colour(span)}", span.start, span.end)
    console.print(shown)
    for span in spans:
        line = Text(f"  {span.start}-{span.end} ")
        line.append(span.entity, _colour(span))
        console.print(line.append(f" {span.rule} {span.score:.2f}"))


def _colour(span: Span) -> str:
    return _COLOURS[sum(span.entity.encode()) % len(_COLOURS)]
