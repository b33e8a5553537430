"""``lethe generate``: synthetic raw events with planted canaries."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from pipeline.cli import edge
from pipeline.codec import encode
from pipeline.synth import Canary, generate_events, write_manifest


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
            "--start-ms", help="received_at of the first, epoch milliseconds; default: so that the last is now."
        ),
    ] = None,
) -> None:
    """Write synthetic raw events to standard output, one a line."""
    start = edge.now_ms() - int(count / rate * 1000) if start_ms is None else start_ms
    canaries: list[Canary] = []
    out = sys.stdout.buffer
    for synthetic in generate_events(seed=seed, count=count, start_ms=start, rate_per_s=rate):
        out.write(encode(synthetic.event) + b"\n")
        if manifest:
            canaries += synthetic.canaries
    out.flush()
    if manifest:
        write_manifest(manifest, canaries)
