"""``lethe aggregates``: usage per hour and day, without identifiers and without small groups."""

import json
import re
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Annotated

import typer

from pipeline.cli import edge, report
from pipeline.cli.retention import JsonOption, StoreOption
from pipeline.coarsen import DAY_MS
from pipeline.errors import ConfigError
from pipeline.store.opening import open_store
from pipeline.usage.build import BuildReport, build
from pipeline.usage.tables import DECLARED

_DAY = re.compile(r"\d{4}-\d{2}-\d{2}", re.ASCII)
_DEFAULT_DAYS = 2

app = typer.Typer(help="Aggregates: usage per hour and day, without small groups.", no_args_is_help=True)


@app.callback()
def _root() -> None:
    """Aggregates: usage per hour and day, without small groups."""


@app.command("build")
def build_command(
    since: Annotated[
        str, typer.Option("--since", help="First day, as 2026-11-23, in UTC; default: two days ago.")
    ] = "",
    until: Annotated[str, typer.Option("--until", help="Day before which to end; default: today.")] = "",
    store: StoreOption = "",
    as_json: JsonOption = False,
) -> None:
    """Build whole days of usage_hourly and usage_daily anew from the operational records. Safe to run again.

    Without --since and --until also the days that lost their lines in an erasure.
    """
    chosen = edge.settings({"store": store})
    bound_ms = edge.policy_of(chosen).stores[DECLARED].retention_ms
    now_ms = edge.now_ms()
    today_ms = now_ms - now_ms % DAY_MS
    until_ms = _day_ms("--until", until, today_ms)
    since_ms = _day_ms("--since", since, until_ms - _DEFAULT_DAYS * DAY_MS)
    with open_store(chosen.store, now_ms=now_ms) as opened:
        built = build(opened, since_ms, until_ms, now_ms, chosen.fold_rules(), bound_ms, stale=not (since or until))
        label = opened.label
    if as_json:
        typer.echo(json.dumps(asdict(built)))
    else:
        _show(label, built)


def _day_ms(option: str, text: str, default_ms: int) -> int:
    if not text:
        return default_ms
    try:
        if _DAY.fullmatch(text):
            return int(datetime.strptime(text, "%Y-%m-%d").replace(tzinfo=UTC).timestamp()) * 1000
    except ValueError:
        pass
    raise ConfigError(f"{option} takes a day such as 2026-11-23")


def _show(label: str, built: BuildReport) -> None:
    console = edge.console()
    table = report.make_table(console, "table", "cells", "requests in them", "left out")
    for name in ("hourly", "daily"):
        shown = getattr(built, f"{name}_requests")
        cells = getattr(built, name)
        table.add_row(f"usage_{name}", f"{cells:,}", f"{shown:,}", f"{built.requests - shown:,}")
    report.show_table(console, f"{built.days:,} days, {built.requests:,} requests → {label}", table)
