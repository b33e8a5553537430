"""What commands show people: an event before and after, and what a run did. Plain text in a pipe."""

import json
import re
from collections.abc import Container, Mapping
from typing import Any

from rich.box import HEAVY_HEAD
from rich.console import Console, Group, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from pipeline.inputs import RawEvent
from pipeline.records import Anonymized, Fate
from pipeline.run import Summary
from pipeline.seal import Opener

_SHOWN_MAX = 6000
_SIDE_BY_SIDE_COLUMNS = 110
_INDENT = "  "
_WORD = re.compile(r'[^\s"\\,:{}\[\]]+')
_PLACEHOLDER = r"<[A-Z][A-Z0-9_]*( [^<>\n]{1,40})?>"


def make_table(console: Console, *columns: str, words: Container[str] = ()) -> Table:
    """Return a table, without a frame in a pipe. Columns after the first are figures, unless they are ``words``."""
    framed = console.is_terminal
    table = Table(box=HEAVY_HEAD if framed else None, pad_edge=framed)
    for index, name in enumerate(columns):
        table.add_column(name, justify="right" if index and name not in words else "left", no_wrap=not framed)
    return table


def show_table(console: Console, title: str, table: Table) -> None:
    """Print a table under its title."""
    console.print(f"\n{title}", style="bold", soft_wrap=True)
    console.print(table)


def show_fate(console: Console, event: RawEvent, fate: Fate, opener: Opener) -> None:
    """Show one event before and after: side by side where there is room, one after the other where there is not.

    On a terminal, words of the raw event that are in no record are red, and what stands in their place is green.
    """
    wide = console.is_terminal and console.width >= _SIDE_BY_SIDE_COLUMNS
    width = (console.width // 2 if wide else min(console.width, 100)) - 4
    after = _after(fate, opener, width)
    raw = (
        f"({event.source.size_bytes:,} bytes: too long to be read)" if event.oversize else _show_json(event.raw, width)
    )
    before = Text(raw, overflow="fold")
    kept = "\n".join(after.values())
    for word in _WORD.finditer(raw):
        if isinstance(fate, Anonymized) and word[0] not in kept:
            before.stylize("red", *word.span())
    left = _framed(console, "raw event", before)
    right = [_framed(console, title, _green(text)) for title, text in after.items()]
    if not wide:
        console.print(left, *right, sep="\n", soft_wrap=not console.is_terminal)
        return
    grid = Table.grid(expand=True, padding=(0, 1))
    grid.add_column(ratio=1, overflow="fold")
    grid.add_column(ratio=1, overflow="fold")
    grid.add_row(left, Group(*right))
    console.print(grid)


def _after(fate: Fate, opener: Opener, width: int) -> Mapping[str, str]:
    if not isinstance(fate, Anonymized):
        return {"rejection: a pointer, no payload": f"{fate.reason} at {fate.pointer or '/'}"}
    texts = {}
    if fate.content is not None:
        version: Any = fate.content.fields["schema_version"]
        body = json.loads(opener.open(fate.content.body, request_id=fate.content.request_id, schema_version=version))
        record = _to_lines({**fate.content.fields, "body": body}, width)
        texts["content record: at most 30 days, no account"] = _printable(record)
    filled = {name: value for name, value in fate.operational.fields.items() if value is not None}
    empty = len(fate.operational.fields) - len(filled)
    note = f"\n({empty} more fields, not given)" if empty else ""
    texts["operational record: kept longer, no content"] = _printable(_to_lines(filled, width)) + note
    return texts


def _framed(console: Console, title: str, text: Text) -> RenderableType:
    if console.is_terminal:
        return Panel(text, title=title, title_align="left")
    return Group(Text(f"\n{title}"), Text("\n".join(f"{_INDENT}{line}" for line in text.plain.splitlines())))


def _green(text: str) -> Text:
    shown = Text(text, overflow="fold")
    shown.highlight_regex(_PLACEHOLDER, "green")
    return shown


def _show_json(data: bytes, width: int) -> str:
    """Lay out JSON, or show what is none as it is."""
    try:
        text = _to_lines(json.loads(data), width)  # the standard library's: it keeps integers of any size
    except (ValueError, RecursionError):
        text = data.decode("utf-8", "replace")
    return _printable(text)


def _printable(text: str) -> str:
    """Cut a text to a few screens, and show what a terminal would obey (or cannot encode) as a replacement mark."""
    shown = "".join(c if c.isprintable() or c == "\n" else "\ufffd" for c in text[:_SHOWN_MAX])
    return shown if len(text) <= _SHOWN_MAX else f"{shown}\n… {len(text) - _SHOWN_MAX:,} characters more"


def _to_lines(value: Any, width: int, indent: str = "") -> str:
    """Write JSON for people: what fits into the line stays in one."""
    flat = json.dumps(value, ensure_ascii=False)
    if not isinstance(value, dict | list) or not value or len(indent) + len(flat) <= width:
        return flat
    inner = indent + _INDENT
    if isinstance(value, list):
        parts = [_to_lines(member, width, inner) for member in value]
    else:
        parts = [f"{json.dumps(key, ensure_ascii=False)}: {_to_lines(v, width, inner)}" for key, v in value.items()]
    opening, closing = "[]" if isinstance(value, list) else "{}"
    return f"{opening}\n" + ",\n".join(f"{inner}{part}" for part in parts) + f"\n{indent}{closing}"


def show_summary(console: Console, summary: Summary, sink: str, topics: Mapping[str, str], ended: str = "") -> None:
    """Show what a run did: fates, what was written, the first rejections, and what was removed by type.

    Args:
        console: where.
        summary: what the run did.
        sink: the sink's name, without a password.
        topics: names of inputs by topic.
        ended: how the run ended where that was before its end.
    """
    title = f"{summary.events:,} events → {sink}{ended and f' ({ended})'}"
    show_table(console, title, _fates(console, summary))
    if summary.first_rejections:
        show_table(console, "first rejections", _rejections(console, summary, topics))
    if summary.accepted:
        show_table(console, "what was removed", _removed(console, summary))


def _fates(console: Console, summary: Summary) -> Table:
    table = make_table(console, "fate", "events")
    table.add_row("records", f"{summary.accepted:,}")
    for outcome, count in sorted(summary.outcomes.items()):
        if outcome != "stored":
            table.add_row(f"  content {outcome}", f"{count:,}")
    table.add_row("rejected", f"{sum(summary.rejections.values()):,}")
    for reason, count in sorted(summary.rejections.items()):
        table.add_row(f"  {reason}", f"{count:,}")
    written = summary.written
    table.add_section()
    table.add_row("content records written", f"{written.content:,}")
    table.add_row("operational records written", f"{written.operational:,}")
    table.add_row("rejections written", f"{written.rejected:,}")
    table.add_row("there already", f"{written.repeated:,}")
    if written.erased:
        table.add_row("of requests that were erased, so they are not stored again", f"{written.erased:,}")
    if written.expired:
        table.add_row("due when they came to be stored, so they are not", f"{written.expired:,}")
    if written.conflicts:
        table.add_row("conflicts: same id, other bytes; the first stays", f"{written.conflicts:,}", style="bold red")
    return table


def _rejections(console: Console, summary: Summary, topics: Mapping[str, str]) -> Table:
    table = make_table(console, "input", "line", "reason", "at", words={"reason", "at"})
    for rejection in summary.first_rejections:
        source = rejection.source
        name = topics.get(source.topic, source.topic)
        table.add_row(name, f"{source.offset:,}", str(rejection.reason), rejection.pointer or "/")
    return table


def _removed(console: Console, summary: Summary) -> Table:
    table = make_table(console, "removed", "times")
    for entity, count in sorted(summary.redactions.items(), key=lambda item: (-item[1], item[0])):
        table.add_row(entity, f"{count:,}")
    table.add_section()
    table.add_row("declared fields and keys dropped", f"{summary.dropped_fields:,}")
    table.add_row("undeclared fields dropped", f"{summary.unknown_fields:,}")
    table.add_row("repeated keys (the last one won)", f"{summary.duplicate_keys:,}")
    return table
