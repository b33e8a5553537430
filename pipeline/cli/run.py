"""``lethe run``: raw events from files through the core into a sink, without a broker."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeElapsedColumn

from pipeline.cli import edge, report
from pipeline.cli.sink import open_sink
from pipeline.errors import ConfigError
from pipeline.inputs import RawEvent, input_bytes, read_events
from pipeline.metrics import Metrics
from pipeline.run import Summary, admit_for_store, run, to_fate
from pipeline.seal import PlainSealer


def run_command(
    files: Annotated[
        list[str], typer.Argument(metavar="FILE...", help="JSON lines: plain, .gz, .zst, or - for standard input.")
    ],
    to: Annotated[
        str,
        typer.Option(
            "--to",
            envvar="LETHE_STORE",
            help="file:DIR, chdb:DIR or clickhouse://…; an URL with a password: use the variable.",
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
    """Anonymize raw events and write content and operational records apart."""
    settings = edge.settings()
    policy = edge.policy_of(settings)
    _check_inputs(files)
    core = edge.core_of(settings, policy)
    events = _read_all(files, settings.event_bytes_max)
    if preview:
        admission = admit_for_store(edge.now_ms(), None, None)
        for _, event in zip(range(preview), events, strict=False):
            report.show_fate(edge.console(), event.raw, to_fate(event, core, admission), PlainSealer())
        return
    opened = open_sink(to or settings.store, policy, edge.now_ms, overwrite=overwrite)
    metrics = Metrics()
    with _progress(files) as show:
        summary = run(
            events,
            core,
            opened.sink,
            lambda: admit_for_store(edge.now_ms(), opened.content_hold_ms, opened.operational_hold_ms),
            batch_max=settings.batch_events_max,
            metrics=metrics,
            progress=show,
        )
    if metrics_file:
        metrics_file.write_bytes(metrics.render())
    report.show_summary(edge.console(), summary, opened.name)
    if strict and summary.rejections:
        raise typer.Exit(1)


def _check_inputs(files: list[str]) -> None:
    for name in files:
        if name != "-" and not Path(name).is_file():
            raise ConfigError(f"{name}: no such file; give JSON lines, or - for standard input")


def _read_all(files: list[str], line_bytes_max: int) -> Iterator[RawEvent]:
    for name in files:
        yield from read_events(name, line_bytes_max=line_bytes_max)


@contextmanager
def _progress(files: list[str]) -> Iterator["_Show"]:
    """Show progress on a terminal: bytes, rate and fates. In a pipe, nothing."""
    console = edge.error_console()
    compressed = any(name.endswith((".gz", ".zst")) for name in files)
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
        yield _Show(bar, None if compressed else input_bytes(files))


class _Show:
    """Feeds the progress bar from the summary."""

    def __init__(self, bar: Progress, total_bytes: int | None) -> None:
        self._bar = bar
        self._task = bar.add_task("lethe run", total=total_bytes, rate=0.0, rejected=0)

    def __call__(self, summary: Summary) -> None:
        elapsed = self._bar.tasks[0].elapsed or 1.0
        rejected = sum(summary.rejections.values())
        done = summary.bytes_read + summary.events  # a line break each
        self._bar.update(self._task, completed=done, rate=summary.events / elapsed, rejected=rejected)
