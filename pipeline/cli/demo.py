"""``lethe demo``: the main job on synthetic traffic, embedded, ending in what was removed, kept and where."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import orjson
import typer
from rich.console import Console
from rich.table import Table

from pipeline.anonymize import Core
from pipeline.cli import edge, report
from pipeline.cli.sink import open_sink
from pipeline.codec import encode
from pipeline.config import Settings
from pipeline.inputs import RawEvent
from pipeline.keys.keyfile import init_keyfile
from pipeline.metrics import Metrics
from pipeline.records import Anonymized, Source
from pipeline.run import admit_for_store, run, to_fate
from pipeline.seal import PlainSealer
from pipeline.store.client import Store
from pipeline.store.opening import open_store
from pipeline.synth import SyntheticEvent, generate_events
from pipeline.synth.verdict import Verdict, judge_canaries

_RATE = 50.0
_BY_MODEL = """
SELECT model, count() AS requests, sum(prompt_tokens) AS tokens_in, sum(completion_tokens) AS tokens_out,
       quantile(0.5)(latency_ms) AS p50_ms, quantile(0.99)(latency_ms) AS p99_ms,
       countIf(status >= 400) / count() AS errors
FROM operational GROUP BY model ORDER BY requests DESC, model LIMIT 8
"""


def demo_command(
    count: Annotated[int, typer.Option("--count", "-n", min=10, help="How many events.")] = 1000,
    folder: Annotated[
        Path, typer.Option("--dir", help="Where the demo works; an earlier demo there is replaced.")
    ] = Path("lethe-demo"),
    seed: Annotated[int, typer.Option("--seed")] = 1,
) -> None:
    """Generate traffic, anonymize it into an embedded store, and check that no planted identifier is left."""
    console = edge.console()
    _fresh_folder(folder)
    init_keyfile(folder / "lethe.keys.json", edge.now_ms())
    settings = Settings(keys=str(folder / "lethe.keys.json"), store=f"chdb:{folder / 'store'}")
    policy = edge.policy_of(settings)
    core = edge.core_of(settings, policy)
    start_ms = edge.now_ms() - int(count / _RATE * 1000)
    synthetic = list(generate_events(seed=seed, count=count, start_ms=start_ms, rate_per_s=_RATE))
    _show_one(console, core, synthetic)
    metrics = Metrics()
    opened = open_sink(settings.store, policy, edge.now_ms)
    admit = lambda: admit_for_store(edge.now_ms(), opened.content_hold_ms, opened.operational_hold_ms)  # noqa: E731
    summary = run(_raw(synthetic), core, opened.sink, admit, batch_max=settings.batch_events_max, metrics=metrics)
    report.show_summary(console, summary, opened.name)
    with open_store(settings.store, now_ms=edge.now_ms()) as store:
        _show_models(console, store)
        verdict = _judge(store, synthetic, metrics)
    _show_verdict(console, verdict)
    if not verdict.clean:
        raise typer.Exit(1)


def _fresh_folder(folder: Path) -> None:
    marker = folder / "lethe.keys.json"
    if marker.exists():
        shutil.rmtree(folder)
    folder.mkdir(parents=True, exist_ok=True)


def _raw(synthetic: list[SyntheticEvent]) -> Iterator[RawEvent]:
    for line, one in enumerate(synthetic, start=1):
        raw = encode(one.event)
        yield RawEvent(raw, Source("demo", 0, line, len(raw)))


def _show_one(console: Console, core: Core, synthetic: list[SyntheticEvent]) -> None:
    """Show the event that says most in little room."""
    admission = admit_for_store(edge.now_ms(), None, None)
    best, best_score = None, -1.0
    for event in _raw(synthetic[:60]):
        fate = to_fate(event, core, admission)
        if isinstance(fate, Anonymized) and event.source.size_bytes < 3000:  # noqa: PLR2004 - a screenful
            score = float(len(fate.facts.redactions))
            if score > best_score:
                best, best_score = (event, fate), score
    if best:
        report.show_fate(console, best[0].raw, best[1], PlainSealer())


def _show_models(console: Console, store: Store) -> None:
    result = store.query(_BY_MODEL)
    table = Table(*result.columns, title="operational records: tokens and latency by model")
    for column in table.columns[1:]:
        column.justify = "right"
    for model, *figures, errors in result.rows:
        table.add_row(model, *(f"{figure:,.0f}" for figure in figures), f"{errors:.1%}")
    console.print(table)


def _judge(store: Store, synthetic: list[SyntheticEvent], metrics: Metrics) -> Verdict:
    opener = PlainSealer()
    content = {}
    places = {"metrics": metrics.render().decode()}
    for name in ("content", "operational", "rejected"):
        result = store.query(f"SELECT * FROM {name}")  # noqa: S608 - a name of the loop above
        rows = [dict(zip(result.columns, row, strict=True)) for row in result.rows]
        texts = [orjson.dumps(row, default=str).decode() for row in rows]
        if name == "content":
            bodies = [row["body"] for row in rows]
            texts += [body if isinstance(body, str) else body.decode() for body in bodies]
            content = {row["request_id"]: texts[len(rows) + i] for i, row in enumerate(rows)}
        places[f"{name} records"] = "\n".join(texts)
    del opener
    return judge_canaries((canary for one in synthetic for canary in one.canaries), content, places)


def _show_verdict(console: Console, verdict: Verdict) -> None:
    table = Table("canaries", "count", title="canary verdict")
    table.columns[1].justify = "right"
    table.add_row("identifiers planted and found nowhere", f"{verdict.absent:,}")
    table.add_row("identifiers leaked", f"{sum(verdict.leaked.values()):,}")
    for (place, kind), times in sorted(verdict.leaked.items()):
        table.add_row(f"  {kind} in {place}", f"{times:,}")
    table.add_row("benign markers kept in content", f"{verdict.kept:,}")
    table.add_row("benign markers lost", f"{verdict.lost:,}")
    console.print(table)
    console.print("[green]clean: no planted identifier is left[/]" if verdict.clean else "[bold red]NOT clean[/]")
