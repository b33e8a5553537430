"""``lethe generate``: synthetic raw events with planted canaries, to standard output or into the raw topic."""

import sys
from collections.abc import Generator, Iterator
from contextlib import closing
from pathlib import Path
from typing import Annotated

import typer

from pipeline.cli import edge
from pipeline.codec import encode
from pipeline.errors import ConfigError
from pipeline.synth import Canary, SyntheticEvent, generate_events, write_manifest

_LATEST_MS = 4_102_444_800_000  # 2100-01-01, where received_at ends
_KAFKA = "kafka:"


def generate_command(
    count: Annotated[int, typer.Option("--count", "-n", min=1, help="How many events.")] = 1000,
    seed: Annotated[int, typer.Option("--seed", help="The same seed and start give the same bytes.")] = 1,
    manifest: Annotated[
        Path | None, typer.Option("--manifest", help="Write the planted canaries here (JSONL).")
    ] = None,
    rate: Annotated[
        float, typer.Option("--rate", min=0.001, help="Events a second: of their own time, or with --to of ours.")
    ] = 50.0,
    start_ms: Annotated[
        int | None,
        typer.Option(
            "--start-ms",
            min=0,
            max=_LATEST_MS,
            help="received_at of the first, epoch milliseconds; default: so that the last is now.",
        ),
    ] = None,
    to: Annotated[
        str,
        typer.Option(
            "--to",
            metavar="kafka:",
            help="Send them to the raw topic as time goes by: kafka: is LETHE_BROKERS, or kafka://HOST:PORT,…",
        ),
    ] = "",
) -> None:
    """Write synthetic raw events to standard output, one a line; or send them, each received when it is sent."""
    if to and start_ms is not None:
        raise ConfigError("--start-ms is for standard output: with --to, an event is received when it is sent")
    start = edge.now_ms() - (0 if to else int(count / rate * 1000)) if start_ms is None else start_ms
    if not 0 <= start <= start + count / rate * 1000 <= _LATEST_MS:
        raise ConfigError("so many events at this rate do not fit between 1970 and 2100: give a higher --rate")
    events = generate_events(seed=seed, count=count, start_ms=start, rate_per_s=rate)
    with closing(_send(events, count, rate, to) if to else _write(events)) as canaries:
        if manifest:
            _write_manifest(manifest, canaries)
        else:
            for _ in canaries:
                pass
    sys.stdout.buffer.flush()


def _write(events: Iterator[SyntheticEvent]) -> Generator[Canary, None, None]:
    """Write events, and yield what was planted in each once it is written: a manifest takes no memory."""
    out = sys.stdout.buffer
    for synthetic in events:
        out.write(encode(synthetic.event) + b"\n")
        yield from synthetic.canaries


def _send(events: Iterator[SyntheticEvent], count: int, rate: float, to: str) -> Generator[Canary, None, None]:
    """Send events, and yield what was planted in each once it is handed over."""
    from pipeline.cli import sending  # noqa: PLC0415 - Kafka's clients take a while to import

    if not to.startswith(_KAFKA) or (to != _KAFKA and not to.startswith(f"{_KAFKA}//")):
        raise ConfigError("--to takes kafka: for the brokers of LETHE_BROKERS, or kafka://HOST:PORT,HOST:PORT")
    settings = edge.settings({"brokers": to.removeprefix(_KAFKA).removeprefix("//")})
    return sending.send_synthetic(settings, edge.policy_of(settings), events, count, rate)


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
