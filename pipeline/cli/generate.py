"""``lethe generate``: synthetic raw events with planted canaries."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

from pipeline.cli import edge
from pipeline.codec import encode
from pipeline.errors import ConfigError
from pipeline.synth import Canary, SyntheticEvent, generate_events, write_manifest

_LATEST_MS = 4_102_444_800_000  # 2100-01-01, where received_at ends


def generate_command(
    count: Annotated[int, typer.Option("--count", "-n", min=1, help="How many events.")] = 1000,
    seed: Annotated[int, typer.Option("--seed", help="The same seed and start give the same bytes.")] = 1,
    manifest: Annotated[
        Path | None, typer.Option("--manifest", help="Write the planted canaries here (JSONL).")
    ] = None,
    rate: Annotated[float, typer.Option("--rate", min=0.001, help="Events a second of their own time.")] = 50.0,
    start_ms: Annotated[
        int | None,
        typer.Option(
            "--start-ms",
            min=0,
            max=_LATEST_MS,
            help="received_at of the first, epoch milliseconds; default: so that the last is now.",
        ),
    ] = None,
) -> None:
    """Write synthetic raw events to standard output, one a line."""
    start = edge.now_ms() - int(count / rate * 1000) if start_ms is None else start_ms
    if not 0 <= start <= start + count / rate * 1000 <= _LATEST_MS:
        raise ConfigError("so many events at this rate do not fit between 1970 and 2100: give a higher --rate")
    canaries = _write(generate_events(seed=seed, count=count, start_ms=start, rate_per_s=rate))
    if manifest:
        _write_manifest(manifest, canaries)
    else:
        for _ in canaries:
            pass
    sys.stdout.buffer.flush()


def _write(events: Iterator[SyntheticEvent]) -> Iterator[Canary]:
    """Write events, and yield what was planted in each once it is written: a manifest takes no memory."""
    out = sys.stdout.buffer
    for synthetic in events:
        out.write(encode(synthetic.event) + b"\n")
        yield from synthetic.canaries


def _write_manifest(path: Path, canaries: Iterator[Canary]) -> None:
    try:
        stream = path.open("wb")
    except OSError as error:
        problem = f"--manifest {path}: cannot be written ({error.strerror})"
    else:
        with stream:
            write_manifest(stream, canaries)
        return
    raise ConfigError(problem)
