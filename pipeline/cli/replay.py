"""``lethe replay``: recorded events into the raw topic, at a rate; or rejected ones once more, after a fix."""

from typing import Annotated

import typer

from pipeline.cli import edge
from pipeline.errors import ConfigError
from pipeline.inputs import Inputs

ReasonOption = Annotated[str, typer.Option("--reason", help="Only rejections of this reason.")]
SinceOption = Annotated[str, typer.Option("--since", metavar="DURATION", help="Only of the last 2h, 30min, 1d, …")]


def replay_command(
    files: Annotated[
        list[str] | None,
        typer.Argument(metavar="FILE...", help="JSON lines: plain, .gz, .zst, or - for standard input."),
    ] = None,
    rejected: Annotated[
        bool, typer.Option("--rejected", help="The raw events of rejections that raw still has, in place of files.")
    ] = False,
    reason: ReasonOption = "",
    since: SinceOption = "",
    rate: Annotated[
        float | None, typer.Option("--rate", min=0.001, help="Events a second; default: as fast as it goes.")
    ] = None,
) -> None:
    """Send raw events to the raw topic, each as it is, and wait until all are acknowledged.

    Lines of files go without a key and are spread over the partitions; rejected events go where they were, with the
    key they had. Blank lines are left out. Lines longer than LETHE_EVENT_BYTES_MAX are named and not sent, and the
    command exits with 2. Ctrl-C ends it well: what was taken up is acknowledged and counted.
    """
    if rejected and files:
        raise ConfigError("give files or --rejected, not both")
    if not rejected and (reason or since):
        raise ConfigError("--reason and --since go with --rejected")
    if not rejected and not files:
        raise ConfigError("nothing to send: name a file, - for standard input, or give --rejected")
    settings = edge.settings()
    inputs = Inputs(files or (), line_bytes_max=settings.event_bytes_max)
    from pipeline.cli import sending  # noqa: PLC0415 - Kafka's clients take a while to import
    from pipeline.recovery.rejections import wanted_of  # noqa: PLC0415 - as above

    wanted = wanted_of(reason, since, edge.now_ms())
    policy = edge.policy_of(settings)
    if rejected:
        sending.replay_rejected(settings, policy, wanted, rate)
    else:
        sending.replay_files(settings, policy, inputs, rate)
