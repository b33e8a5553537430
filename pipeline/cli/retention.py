"""``lethe retention``: prove that every sink keeps its bound, and remove what is due."""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from pipeline.cli import edge, retention_report
from pipeline.cli.metrics_file import check_metrics_path, write_metrics
from pipeline.cli.policy import EventOption, SchemasOption
from pipeline.cli.topics import AdmissionOption, AssumeOption, Session, wishes_of
from pipeline.coarsen import begin_ms
from pipeline.config import Settings
from pipeline.errors import PipelineError
from pipeline.keys.daykeys import LEAD_MS, held_ms
from pipeline.keys.sealfile import days_of
from pipeline.retention import Holding, Kind, Verdict, judge, unseen, worst
from pipeline.retention_metrics import RetentionMetrics
from pipeline.store.files import files_of
from pipeline.store.opening import open_unswept
from pipeline.store.sweep import sweep
from pipeline.store.url import DATABASE, parse_store_url
from pipeline.store.verify import verify_store
from pipeline.topics.held import hold_topics

EXIT_CODES = {Verdict.HOLDS: 0, Verdict.LATE: 0, Verdict.BROKEN: 1, Verdict.UNSEEN: 2}

app = typer.Typer(
    help="Retention: prove that every sink keeps its bound, and sweep what is due.",
    epilog="Exit codes: 0 every bound holds, or all is swept; 1 a bound is broken, or something still waits; "
    "2 something could not be looked at, or an error.",
    no_args_is_help=True,
)

StoreOption = Annotated[str, typer.Option("--store", help="chdb:DIR or clickhouse://…; default: the setting store.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]
TextfileOption = Annotated[
    Path | None,
    typer.Option("--textfile", help="Write Prometheus gauges here, for node_exporter's textfile collector."),
]


@app.command("verify")
def verify_command(
    store: StoreOption = "",
    no_store: Annotated[bool, typer.Option("--no-store", help="Do not look at a store.")] = False,
    no_topics: Annotated[bool, typer.Option("--no-topics", help="Do not look at topics.")] = False,
    no_keys: Annotated[bool, typer.Option("--no-keys", help="Do not look at the keyring: it is elsewhere.")] = False,
    schemas: SchemasOption = "",
    event: EventOption = "",
    admission: AdmissionOption = "",
    assume: AssumeOption = None,
    textfile: TextfileOption = None,
    as_json: JsonOption = False,
) -> None:
    """Hold the oldest record of every topic, table and file, and the oldest key, against its bound. Changes nothing.

    Exits with 1 when a bound is broken, with 2 when something could not be looked at.
    """
    check_metrics_path("--textfile", textfile)
    chosen = edge.settings({"schemas": schemas, "event_schema": event, "store": store})
    holdings = holdings_of(chosen, admission, assume, topics=not no_topics, store=not no_store, keys=not no_keys)
    metrics = RetentionMetrics()
    metrics.found(holdings, edge.now_ms())
    if as_json:
        typer.echo(retention_report.holdings_json(holdings))
    else:
        retention_report.show_holdings(edge.console(), holdings)
    written = textfile is None or write_metrics("--textfile", textfile, metrics)
    raise typer.Exit(max(EXIT_CODES[worst(holdings)], 0 if written else 2))


@app.command("sweep")
def sweep_command(store: StoreOption = "", as_json: JsonOption = False) -> None:
    """Remove from a store what is due, and wait until its bytes are gone. Safe to run at any time, and again.

    Exits with 1 when something due is on the disk still; the next sweep tries again.
    """
    chosen = edge.settings({"store": store})
    with open_unswept(chosen.store, database=DATABASE, tidy=True) as opened:
        report = sweep(opened, edge.now_ms())
        label = opened.label
    if as_json:
        typer.echo(retention_report.sweep_json(report))
    else:
        retention_report.show_sweep(edge.console(), label, report)
    if report.waiting:
        raise typer.Exit(1)


def holdings_of(
    chosen: Settings, admission: str, assume: list[str] | None, *, topics: bool, store: bool, keys: bool = True
) -> list[Holding]:
    """Hold the oldest of topics, a store and the keyring against its bound; what cannot be looked at is unseen."""
    holdings: list[Holding] = []
    if topics:
        holdings += _looked(Kind.TOPIC, lambda: _look_at_topics(chosen, admission, assume))
    if store:
        holdings += _looked(Kind.STORE, lambda: _look_at_store(chosen.store))
    if keys and chosen.seal:
        holdings += _looked(Kind.KEYS, lambda: [look_at_keyring(chosen)])
    return holdings


def _looked(kind: Kind, look: Callable[[], list[Holding]]) -> list[Holding]:
    """Look; what cannot be looked at is said, and does not keep the rest from being looked at."""
    try:
        return look() or [unseen("", kind, "nothing is there")]
    except PipelineError as error:
        reason = str(error)
    return [unseen("", kind, reason)]


def _look_at_topics(chosen: Settings, admission: str, assume: list[str] | None) -> list[Holding]:
    with Session(chosen, wishes_of(chosen, admission), assume) as session:
        live = session.admin.read_topics(session.basis.names.values(), deep=True)
        return hold_topics(session.basis, live, edge.now_ms())


def look_at_keyring(chosen: Settings) -> Holding:
    """Judge the oldest day's key: with it, whatever a backup or a stray segment has of that day is unreadable."""
    bound_ms = edge.policy_of(chosen).sinks["content"].retention_ms
    days, held = days_of(Path(chosen.keyring)), held_ms(bound_ms)
    age_ms = edge.now_ms() - (begin_ms(days[0]) or 0) if days else None
    # A key that is due goes at the next hour: half of the time that there is for it has then passed.
    return judge(
        "content", Kind.KEYS, age_ms=age_ms, late_ms=held + LEAD_MS // 2, bound_ms=held + LEAD_MS, count=len(days)
    )


def _look_at_store(url: str) -> list[Holding]:
    files = files_of(parse_store_url(url, database=DATABASE))  # first: the engine tidies up when it starts
    with open_unswept(url, database=DATABASE) as store:
        return verify_store(store, edge.now_ms(), files)
