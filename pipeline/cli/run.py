"""``lethe run``: raw events from files through the core into a sink, without a broker."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeElapsedColumn

from pipeline.anonymize import Admission, Core
from pipeline.cli import edge, report
from pipeline.cli.metrics_file import check_metrics_path, write_metrics
from pipeline.cli.sink import admitter, is_plain, open_sink
from pipeline.errors import PipelineError
from pipeline.inputs import Inputs
from pipeline.metrics import Metrics
from pipeline.records import Rejection
from pipeline.run import Summary, run, to_fate
from pipeline.seal import PlainSealer

_PROGRESS_EVERY = 64


def run_command(
    files: Annotated[
        list[str], typer.Argument(metavar="FILE...", help="JSON lines: plain, .gz, .zst, or - for standard input.")
    ],
    to: Annotated[
        str,
        typer.Option(
            "--to",
            envvar="LETHE_STORE",
            help="file:DIR, chdb:DIR or clickhouse://…; a URL with a password: use the variable.",
        ),
    ] = "",
    preview: Annotated[
        int, typer.Option("--preview", min=0, help="Show N events before and after; write nothing.")
    ] = 0,
    strict: Annotated[bool, typer.Option("--strict", help="Exit with 1 where an event was rejected.")] = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace the files of an earlier run (file: only).")
    ] = False,
    metrics_file: Annotated[
        Path | None, typer.Option("--metrics-file", help="Write Prometheus text here at the end.")
    ] = None,
) -> None:
    """Anonymize raw events and write content and operational records apart.

    Running the same input again adds only what is missing. Exit codes: 0 done; 1 with --strict, an event was rejected;
    2 an input, setting or sink is wrong or failed; 130 interrupted.
    """
    settings = edge.settings({"store": to})
    policy = edge.policy_of(settings)
    inputs = Inputs(files, line_bytes_max=settings.event_bytes_max)
    check_metrics_path("--metrics-file", metrics_file)
    core = edge.core_of(settings, policy, sealed=not preview and not is_plain(settings.store))
    if preview:
        rejected = _preview(inputs, core, admitter(settings.store, policy, edge.now_ms), preview)
        raise typer.Exit(1 if strict and rejected else 0)
    opened = open_sink(settings.store, core, edge.now_ms, overwrite=overwrite)
    admit = admitter(settings.store, policy, edge.now_ms, opened.suppressions)
    edge.tune_collector()
    metrics, summary = Metrics(), Summary()
    ended = "ended early"
    try:
        with _progress(inputs) as show:
            run(
                inputs.events(),
                core,
                opened.sink,
                admit,
                batch_max=settings.batch_events_max,
                metrics=metrics,
                summary=summary,
                progress=show,
            )
        ended = ""
    except (PipelineError, KeyboardInterrupt) as error:
        ended = "interrupted" if isinstance(error, KeyboardInterrupt) else ended
        typer.echo(f"lethe: {opened.early_end}", err=True)
        raise
    finally:
        report.show_summary(edge.console(), summary, opened.name, inputs.topics, ended)
        measured = metrics_file is None or write_metrics("--metrics-file", metrics_file, metrics)
    if not measured:
        raise typer.Exit(2)
    if strict and summary.rejections:
        raise typer.Exit(1)


def _preview(inputs: Inputs, core: Core, admit: Callable[[], Admission], count: int) -> int:
    """Show some events before and after; return how many of them would be rejected."""
    rejected = 0
    for _, event in zip(range(count), inputs.events(), strict=False):
        fate = to_fate(event, core, admit())
        report.show_fate(edge.console(), event, fate, PlainSealer())
        rejected += isinstance(fate, Rejection)
    return rejected


@contextmanager
def _progress(inputs: Inputs) -> Iterator[Callable[[Summary], None]]:
    """Show progress on a terminal: how much of the input, rate and rejections. In a pipe, nothing."""
    console = edge.error_console()
    with Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TextColumn("{task.fields[rate]:,.0f} events/s, {task.fields[rejected]:,} rejected"),
        TimeElapsedColumn(),
        console=console,
        disable=not console.is_terminal,
        transient=True,
    ) as bar:
        task = bar.add_task("lethe run", total=inputs.size_bytes, rate=0.0, rejected=0)

        def show(summary: Summary) -> None:
            if summary.events % _PROGRESS_EVERY == 0:
                rate = summary.events / (bar.tasks[0].elapsed or 1.0)
                rejected = sum(summary.rejections.values())
                bar.update(task, completed=inputs.position_bytes, rate=rate, rejected=rejected)

        yield show
