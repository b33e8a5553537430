"""What commands show people: an event before and after, and what a run did."""

import orjson
from rich.columns import Columns
from rich.console import Console, Group
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from pipeline.records import Anonymized, Fate
from pipeline.run import Summary
from pipeline.seal import Opener

_SHOWN_MAX = 6000


def show_fate(console: Console, raw: bytes, fate: Fate, opener: Opener) -> None:
    """Show one event before and after, side by side where the terminal is wide enough."""
    before = Panel(_json(raw), title="raw event")
    if not isinstance(fate, Anonymized):
        after = Panel(Text(f"rejected: {fate.reason} at {fate.pointer or '/'}"), title="rejected")
        console.print(Columns([before, after]))
        return
    panels = [Panel(_json(orjson.dumps(fate.operational.fields)), title="operational record: kept longer, no content")]
    if fate.content is not None:
        body = opener.open(fate.content.body, request_id=fate.content.request_id)
        record = orjson.dumps({**fate.content.fields, "body": orjson.Fragment(body)})
        panels.insert(0, Panel(_json(record), title="content record: at most 30 days, no account"))
    grid = Table.grid(expand=True, padding=(0, 1))
    grid.add_column(ratio=1)
    grid.add_column(ratio=1)
    grid.add_row(before, Group(*panels))
    console.print(grid)


def _json(data: bytes) -> Text:
    try:
        text = orjson.dumps(orjson.loads(data), option=orjson.OPT_INDENT_2).decode()
    except (orjson.JSONDecodeError, orjson.JSONEncodeError):
        text = data.decode("utf-8", "replace")
    cut = text if len(text) <= _SHOWN_MAX else text[:_SHOWN_MAX] + f"\n… {len(text) - _SHOWN_MAX:,} characters more"
    return Text(cut)


def show_summary(console: Console, summary: Summary, sink: str) -> None:
    """Show what a run did: fates, what was written, and what was removed by type."""
    console.print(_fates(summary, sink))
    if summary.redactions:
        console.print(_removed(summary))


def _fates(summary: Summary, sink: str) -> Table:
    table = Table("fate", "events", title=f"{summary.events:,} events → {sink}")
    table.columns[1].justify = "right"
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
    if written.conflicts:
        table.add_row("[bold red]conflicts: same id, other bytes[/]", f"{written.conflicts:,}")
    return table


def _removed(summary: Summary) -> Table:
    table = Table("removed from content", "times")
    table.columns[1].justify = "right"
    for entity, count in sorted(summary.redactions.items(), key=lambda item: (-item[1], item[0])):
        table.add_row(entity, f"{count:,}")
    table.add_section()
    table.add_row("declared fields and keys dropped", f"{summary.dropped_fields:,}")
    table.add_row("undeclared fields dropped", f"{summary.unknown_fields:,}")
    table.add_row("repeated keys (the last one won)", f"{summary.duplicate_keys:,}")
    return table
