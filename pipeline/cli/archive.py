"""``lethe archive``: the topics of the worker into the store."""

import re
from datetime import UTC, datetime
from typing import Annotated

import typer

from pipeline.cli import edge
from pipeline.errors import ConfigError

_PLACE = re.compile(r"[A-Za-z0-9._-]{1,249}/[0-9]{1,9}/[0-9]{1,18}", re.ASCII)


def archive_command(
    check: Annotated[
        bool, typer.Option("--check", help="Validate settings, topics and store; consume nothing.")
    ] = False,
    once: Annotated[
        bool, typer.Option("--once", help="Store what is there now, then end; serve no metrics and probes.")
    ] = False,
    skip: Annotated[
        list[str] | None,
        typer.Option("--skip", help="TOPIC/PARTITION/OFFSET of a record to pass over; may be given several times."),
    ] = None,
) -> None:
    """Store the content, operational and rejected topics, each record once, until SIGTERM or SIGINT; then drain.

    Exit codes: 0 drained; 2 a setting, topic, record, store or broker is wrong or failed, and nothing is lost; 70 a
    defect of lethe.
    """
    from pipeline.archive.process import Job, opened_target, ready_topics, serve  # noqa: PLC0415 - takes a second

    if not all(_PLACE.fullmatch(place) for place in skip or ()):
        raise ConfigError("--skip takes TOPIC/PARTITION/OFFSET, as the archive named it when it stopped")
    settings = edge.settings()
    policy = edge.policy_of(settings)
    brokers, pseudonyms = settings.reach(), edge.request_pseudonyms(settings)
    job = Job(settings, policy, brokers, edge.now_ms, _log, pseudonyms, once, frozenset(skip or ()))
    if not check:
        edge.tune_collector()
        serve(job)
        return
    typer.echo(f"policy {policy.version} ({policy.digest}): holds")
    topics = ready_topics(settings, policy, brokers)
    shown = ", ".join(f"{topic} with {partitions} partitions" for topic, partitions in topics.items())
    typer.echo(f"topics at {settings.brokers}: {shown}")
    with opened_target(job) as target:
        typer.echo(f"store {target.label}: its tables are as the policy says")
    typer.echo("an archive can start")


def _log(text: str) -> None:
    """Write a line with its time: container logs have their own, a terminal has none."""
    now = datetime.fromtimestamp(edge.now_ms() / 1000, UTC)
    typer.echo(f"{now:%Y-%m-%dT%H:%M:%S}Z lethe archive: {text}", err=True)
