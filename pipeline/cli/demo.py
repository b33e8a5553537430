"""``lethe demo``: the main job on synthetic traffic, embedded, ending in what was removed, kept and where."""

import fcntl
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import orjson
import typer
from rich.console import Console

from pipeline.anonymize import Core
from pipeline.cli import edge, report
from pipeline.cli.keys import init_keys
from pipeline.cli.sink import admitter, open_sink
from pipeline.codec import encode
from pipeline.config import Settings
from pipeline.errors import ConfigError
from pipeline.inputs import RawEvent
from pipeline.metrics import Metrics
from pipeline.records import Sealed, Source
from pipeline.run import admit_for_store, run, to_fate
from pipeline.seal import Opener
from pipeline.store.client import Store
from pipeline.store.opening import open_store
from pipeline.synth import SyntheticEvent, generate_events
from pipeline.synth.verdict import Verdict, judge_canaries

_RATE = 50.0
_MARKER, _STORE = "lethe-demo.txt", "store"
_KEYS, _KEYRING, _KEK = _FILES = "lethe.keys.json", "lethe.keyring.json", "lethe.kek.json"
_MARKER_TEXT = "This folder was made by 'lethe demo', which replaces it when it runs again.\n"
_SHOWN_BYTES = 1400
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
    seed: Annotated[
        int, typer.Option("--seed", help="Of the traffic: the same seed, the same accounts and texts.")
    ] = 1,
) -> None:
    """Generate traffic, anonymize it into an embedded store, and check that no planted identifier is left.

    Exits with 1 where one is left, or where something harmless is gone.
    """
    console = edge.console()
    with _own_folder(folder):
        settings = Settings(
            keys=str(folder / _KEYS),
            keyring=str(folder / _KEYRING),
            kek=f"file:{folder / _KEK}",
            store=f"chdb:{folder / _STORE}",
        )
        policy = edge.policy_of(settings)
        init_keys(settings, policy)
        core, opener = edge.core_of(settings, policy), edge.opener_of(settings)
        start_ms = edge.now_ms() - int(count / _RATE * 1000)
        synthetic = list(generate_events(seed=seed, count=count, start_ms=start_ms, rate_per_s=_RATE))
        edge.tune_collector()
        _show_one(console, core, opener, synthetic)
        metrics = _run(console, settings, core, synthetic)
        with open_store(settings.store, now_ms=edge.now_ms()) as store:
            _show_models(console, store)
            verdict = _judge(store, opener, synthetic, metrics)
    _show_verdict(console, verdict)
    console.print(f"The store is in {folder}. What nobody opens expires nothing: remove it when you have seen it.")
    if not verdict.clean:
        raise typer.Exit(1)


@contextmanager
def _own_folder(folder: Path) -> Iterator[None]:
    """Make the demo's folder, or empty the one of an earlier demo; touch no other.

    Raises:
        ConfigError: it is somebody else's, another demo runs in it, or it cannot be made.
    """
    problem = ""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = {path.name for path in folder.iterdir()}
        marker = folder / _MARKER
        ours = not found or (found <= {_MARKER, *_FILES, _STORE} and marker.read_text("utf-8") == _MARKER_TEXT)
    except (FileNotFoundError, UnicodeDecodeError):
        ours = False
    except OSError as error:
        problem = f"{folder}: cannot be used ({error.strerror})"
    if problem:
        raise ConfigError(problem)
    if not ours:
        raise ConfigError(f"{folder}: is not empty and no earlier demo's; choose another folder with --dir")
    with marker.open("a", encoding="utf-8") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            problem = f"{folder}: another demo is running there"
        if problem:
            raise ConfigError(problem)
        lock.truncate(0)
        lock.write(_MARKER_TEXT)
        lock.flush()
        for name in _FILES:
            (folder / name).unlink(missing_ok=True)
        if (folder / _STORE).exists():
            shutil.rmtree(folder / _STORE)
        yield


def _raw(synthetic: list[SyntheticEvent]) -> Iterator[RawEvent]:
    for line, one in enumerate(synthetic, start=1):
        raw = encode(one.event)
        yield RawEvent(raw, Source("demo", 0, line, len(raw)))


def _show_one(console: Console, core: Core, opener: Opener, synthetic: list[SyntheticEvent]) -> None:
    """Show the event that says most in little room: many kinds of identifiers in both prompt and answer."""
    best, most = None, (-1, False, 0)
    for event, one in zip(_raw(synthetic), synthetic, strict=True):
        size = event.source.size_bytes
        if size <= _SHOWN_BYTES and one.event.get("response"):
            inside = ("/request", "/response", "/error")
            kinds = {c.kind for c in one.canaries if c.pointer.startswith(inside) and c.kind not in _TAME}
            score = (len(kinds), event.raw.isascii(), -size)
            if score > most:
                best, most = event, score
    if best is not None:
        fate = to_fate(best, core, admit_for_store(edge.now_ms(), None, None))
        report.show_fate(console, best, fate, opener)


_TAME = {"benign", "dropped", "undeclared", "link", "vector", "token_ids", "logprobs", "opaque", "media"}
"""Kinds of canaries that are no identifiers a reader of the demo would know."""


def _run(console: Console, settings: Settings, core: Core, synthetic: list[SyntheticEvent]) -> Metrics:
    metrics = Metrics()
    opened = open_sink(settings.store, core, edge.now_ms)
    admit = admitter(settings.store, core.policy, edge.now_ms, opened.suppressions)
    batch_max = settings.batch_events_max
    summary = run(_raw(synthetic), core, opened.sink, admit, batch_max=batch_max, metrics=metrics)
    report.show_summary(console, summary, opened.name, {})
    return metrics


def _show_models(console: Console, store: Store) -> None:
    result = store.query(_BY_MODEL)
    table = report.make_table(console, *result.columns)
    for model, *figures, errors in result.rows:
        shown = ("not given" if figure is None else f"{figure:,.0f}" for figure in figures)
        table.add_row(model, *shown, f"{errors:.1%}")
    report.show_table(console, "from the operational records: tokens and latency by model", table)


def _judge(store: Store, opener: Opener, synthetic: list[SyntheticEvent], metrics: Metrics) -> Verdict:
    """Look for every canary in all that the store can be asked for, and in the metrics."""
    content: dict[str, str] = {}
    places = {"metrics": metrics.render().decode()}
    for name in ("content", "operational", "rejected"):
        result = store.query(f"SELECT * FROM {name}", binary=("body",))  # noqa: S608 - a name of the loop above
        rows = [dict(zip(result.columns, row, strict=True)) for row in result.rows]
        for row in rows:
            if "body" in row:
                sealed = Sealed(row["body_encoding"], row.pop("body"))
                identity: dict[str, Any] = {name: row[name] for name in ("request_id", "schema_version")}
                content[row["request_id"]] = opener.open(sealed, **identity).decode()
        places[f"{name} records"] = "\n".join(orjson.dumps(row, default=str).decode() for row in rows)
    places["content bodies"] = "\n".join(content.values())
    return judge_canaries((canary for one in synthetic for canary in one.canaries), content, places)


def _show_verdict(console: Console, verdict: Verdict) -> None:
    table = report.make_table(console, "canaries", "count")
    table.add_row("identifiers planted and found nowhere", f"{verdict.absent:,}")
    table.add_row("identifiers leaked", f"{sum(verdict.leaked.values()):,}")
    for (place, kind), times in sorted(verdict.leaked.items()):
        table.add_row(f"  {kind} in {place}", f"{times:,}")
    table.add_row("benign markers kept in content", f"{verdict.kept:,}")
    table.add_row("benign markers lost", f"{verdict.lost:,}")
    report.show_table(console, "canary verdict", table)
    if verdict.clean:
        console.print("clean: no planted identifier is left, nothing harmless is gone", style="green")
    else:
        console.print("NOT clean", style="bold red")
