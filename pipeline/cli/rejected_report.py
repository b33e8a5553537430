"""How ``lethe rejected`` shows pointers, counts and redacted events: tables on a terminal, JSON lines in a pipe."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import typer
from rich.console import Console

from pipeline.cli.report import make_table, show_table
from pipeline.coarsen import TIME_MS_MAX, format_timestamp
from pipeline.records import Json
from pipeline.recovery.rejections import Rejected

_SHOWN_MAX = 6000


def show_listing(console: Console, listing: Sequence[Rejected], *, as_json: bool) -> None:
    """Show pointers, in their order."""
    if as_json or not console.is_terminal:
        for rejected in listing:
            typer.echo(json.dumps(_fields(rejected)))
        return
    words = ("raw topic", "reason", "in the event", "rejected at")
    table = make_table(console, "raw topic", "partition", "offset", "bytes", *words[1:], words=words)
    for rejected in listing:
        size, pointer = f"{rejected.size_bytes:,}", rejected.pointer or "/"
        where = (rejected.topic, str(rejected.partition), _offsets(rejected))
        table.add_row(*where, size, rejected.reason, pointer, _time(rejected))
    show_table(console, f"{len(listing):,} rejections, the newest last" if listing else "no rejections", table)


def show_counts(console: Console, counts: Mapping[tuple[str, int, str], int], *, as_json: bool) -> None:
    """Show how many events were rejected, by raw topic, partition and reason; the most first."""
    most_first = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    if as_json or not console.is_terminal:
        for (topic, partition, reason), count in most_first:
            typer.echo(json.dumps({"reason": reason, "topic": topic, "partition": partition, "events": count}))
        return
    table = make_table(console, "reason", "raw topic", "partition", "events", words={"raw topic"})
    for (topic, partition, reason), count in most_first:
        table.add_row(reason, topic, str(partition), f"{count:,}")
    show_table(console, f"{sum(counts.values()):,} rejected events", table)


def show_event(console: Console, rejected: Rejected, state: str, event: Json, *, as_json: bool) -> None:
    """Show a redacted event under its pointer.

    Args:
        console: where.
        rejected: the pointer.
        state: ``found``, or why there is no event.
        event: its shape, None where there is none.
        as_json: as a line of JSON.
    """
    if as_json or not console.is_terminal:
        typer.echo(json.dumps({**_fields(rejected), "state": state, "event": event}))
        return
    where = f"{rejected.topic}/{rejected.partition}/{_offsets(rejected)}"
    title = f"{where}: {rejected.reason} at {rejected.pointer or '/'}, {rejected.size_bytes:,} bytes, {_time(rejected)}"
    console.print(f"\n{title}", style="bold", soft_wrap=True)
    text = state if event is None else json.dumps(event, indent=2)
    left = len(text) - _SHOWN_MAX
    console.print(text if left <= 0 else f"{text[:_SHOWN_MAX]}\n… {left:,} characters more", soft_wrap=True)


def printable(raw: bytes) -> str:
    """Return bytes as text in which a terminal finds nothing to obey."""
    text = raw.decode("utf-8", "replace")
    return "".join(c if c.isprintable() or c in "\n\t" else "\ufffd" for c in text)


def _fields(rejected: Rejected) -> dict[str, Any]:
    fields = rejected._asdict()
    del fields["rejected_ms"]
    return {**fields, "rejected_at": _time(rejected)}


def _offsets(rejected: Rejected) -> str:
    return str(rejected.offset) if rejected.last_offset is None else f"{rejected.offset}-{rejected.last_offset}"


def _time(rejected: Rejected) -> str:
    """Write when it was appended; on a topic without append times that is what its producer said."""
    return format_timestamp(min(max(rejected.rejected_ms, 0), TIME_MS_MAX))
