"""How ``lethe retention`` shows what it found: tables for people, JSON for programs."""

import json
from collections.abc import Sequence
from dataclasses import asdict

from rich.console import Console

from pipeline.cli.report import make_table, show_table
from pipeline.retention import Holding, Kind, Verdict, worst
from pipeline.store.sweep import SweepReport
from pipeline.topics.duration import format_ms

_STYLES = {Verdict.HOLDS: "", Verdict.LATE: "yellow", Verdict.UNSEEN: "bold red", Verdict.BROKEN: "bold red"}
_SECOND_MS = 1000


def show_holdings(console: Console, holdings: Sequence[Holding]) -> None:
    """Show every holding; of a bound in days the milliseconds are left out."""
    words = ("sink", "what", "verdict", "note")
    table = make_table(
        console, *words[:2], "how many", "bytes", "oldest", "late from", "bound", *words[2:], words=words
    )
    for one in holdings:
        ages = (_time(ms) for ms in (one.age_ms, one.late_ms, one.bound_ms))
        figures = (_number(one.count), _number(one.size_bytes), *ages)
        table.add_row(one.sink or "-", _what(one), *figures, one.verdict, one.note, style=_STYLES[one.verdict])
    show_table(console, f"retention: {worst(holdings)}", table)


def holdings_json(holdings: Sequence[Holding]) -> str:
    """Return what was found as JSON."""
    document = {"verdict": worst(holdings), "holdings": [asdict(one) for one in holdings]}
    return json.dumps(document, indent=2, ensure_ascii=False)


def show_sweep(console: Console, label: str, report: SweepReport) -> None:
    """Show what a sweep did."""
    table = make_table(console, "swept", "count")
    table.add_row("partitions and detached parts dropped", f"{report.partitions:,}")
    table.add_row("rows deleted", f"{report.deleted:,}")
    table.add_row("rows whose lapsed fields became null", f"{report.nulled:,}")
    style = "bold red" if report.waiting else ""
    table.add_row("still waiting: lethe retention verify says what", f"{report.waiting:,}", style=style)
    show_table(console, label, table)


def sweep_json(report: SweepReport) -> str:
    """Return what a sweep did as JSON."""
    return json.dumps(asdict(report))


def _what(one: Holding) -> str:
    return f"field {one.field}" if one.kind is Kind.FIELD else one.kind.replace("_", " ")


def _number(value: int | None) -> str:
    return "-" if value is None else f"{value:,}"


def _time(ms: int | None) -> str:
    return "-" if ms is None else format_ms(ms - ms % _SECOND_MS)
