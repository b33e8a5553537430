"""``lethe worker``: the stream worker, its check, and several of them under one supervisor."""

import sys
from datetime import UTC, datetime
from functools import partial
from typing import Annotated

import typer

from pipeline.allocator import tune_allocator
from pipeline.anonymize import Core
from pipeline.brokers import Brokers
from pipeline.cli import edge
from pipeline.coarsen import day_of
from pipeline.config import Settings
from pipeline.detect.standins import without
from pipeline.policy.load import Policy
from pipeline.worker.supervisor import Setup, supervise


def worker_command(
    check: Annotated[
        bool, typer.Option("--check", help="Validate policy, keys, brokers and topics; consume nothing.")
    ] = False,
    processes: Annotated[
        int, typer.Option("--processes", min=1, max=256, help="Worker processes under one supervisor: one a core.")
    ] = 1,
    shadow: Annotated[
        bool, typer.Option("--shadow", help="Read in a group of its own; write and commit nothing, only measure.")
    ] = False,
    socket: Annotated[str, typer.Option("--socket", hidden=True, help="Set by the supervisor.")] = "",
    instance: Annotated[str, typer.Option("--instance", hidden=True, help="Set by the supervisor.")] = "",
) -> None:
    """Anonymize the raw topic into the sinks' topics, until SIGTERM or SIGINT; then drain.

    Exit codes: 0 drained; 2 a setting, key, topic or broker is wrong or failed, and nothing is lost; 4 rejections
    flood; 70 a defect of lethe.
    """
    tune_allocator()
    with without("aiohttp"):  # Faust names its HTTP client, which nothing here may use (policy §6): 6 MB
        from pipeline.worker.process import Job, serve  # noqa: PLC0415 - Faust takes a second to import

    settings = edge.settings({"instance_id": instance})
    brokers = settings.reach()
    policy = edge.policy_of(settings)
    if check:
        _check(settings, policy, brokers)
    elif processes > 1:
        raise typer.Exit(_supervise(settings, processes, shadow=shadow))
    else:
        maker = edge.core_maker(settings, policy)
        policy = policy.without_rules()  # nothing else holds the whole one
        serve(
            Job(
                settings,
                policy,
                brokers,
                maker,
                partial(edge.sealer_of, settings),
                partial(edge.envelopes_of, settings),
                edge.now_ms,
                _log,
                shadow=shadow,
                socket=socket,
                settled=edge.tune_collector,
            )
        )


def _check(settings: Settings, policy: Policy, brokers: Brokers) -> None:
    """Do all that a start does, up to the first fetch.

    Raises:
        PipelineError: as a start would.
    """
    from pipeline.worker.process import Job, LiveCore, ready_topics  # noqa: PLC0415 - as above

    typer.echo(f"policy {policy.version} ({policy.digest}): holds")
    maker = edge.core_maker(settings, policy)
    loads = partial(edge.sealer_of, settings), partial(edge.envelopes_of, settings)
    core = LiveCore(Job(settings, policy, brokers, maker, *loads, edge.now_ms, _log)).core
    if policy.model:
        typer.echo(f"model {policy.model}: loaded")
    now_ms = edge.now_ms()
    epoch = core.keys.epoch_at(now_ms).name
    days = "" if day_of(now_ms) in core.keys.day_keys else "; no key of today, so client_ip is null: `lethe keys roll`"
    typer.echo(f"keys {settings.keys}: epoch {epoch} is in force{days}")
    typer.echo(_sealing(settings, core, now_ms))
    typer.echo("raw events may be in envelopes" if core.envelopes else "raw events come plain (no LETHE_RAW_KEY)")
    topics = ready_topics(settings, policy, brokers)
    raw = topics["raw"]
    typer.echo(
        f"topics at {settings.brokers}: {len(topics)} are there, {raw.name} with {len(raw.partitions)} partitions"
    )
    typer.echo("a worker can start; `lethe topics verify` says whether the retention bounds hold")


def _sealing(settings: Settings, core: Core, now_ms: int) -> str:
    """Say how content is sealed.

    Raises:
        KeyringError: there is no key of today.
    """
    if not settings.seal:
        return "content is NOT sealed (LETHE_SEAL=false): encryption at rest is the disks' alone"
    sealed = core.sealer.seal(b"{}", request_id="", schema_version=0, received_at_ms=now_ms)
    return f"content is sealed: {sealed.encoding}, keyring {settings.keyring}"


def _supervise(settings: Settings, processes: int, *, shadow: bool) -> int:
    def command(index: int, socket: str) -> list[str]:
        instance = ["--instance", f"{settings.instance_id}-{index}"] if settings.instance_id else []
        shadowed = ["--shadow"] if shadow else []
        return [sys.executable, "-m", "pipeline", "worker", "--socket", socket, *instance, *shadowed]

    listen = (settings.metrics_host, settings.metrics_port) if settings.metrics_port else None
    return supervise(Setup(processes, command, settings.grace_s, listen, _log))


def _log(text: str) -> None:
    """Write a line with its time: container logs have their own, a terminal has none."""
    now = datetime.fromtimestamp(edge.now_ms() / 1000, UTC)
    typer.echo(f"{now:%Y-%m-%dT%H:%M:%S}Z lethe worker: {text}", err=True)
