"""``lethe rejected``: what was refused, as pointers; its shape while raw has it; and, for a reason, one as it is."""

from typing import Annotated

import typer

from pipeline.audit.acting import audited
from pipeline.audit.entry import Action, Subject
from pipeline.cli import edge
from pipeline.cli.privilege import TicketOption, WhyOption, about, deed_of, open_log
from pipeline.cli.replay import ReasonOption, SinceOption
from pipeline.errors import ConfigError

_LIMIT = 1000


def rejected_command(
    reason: ReasonOption = "",
    since: SinceOption = "",
    limit: Annotated[int, typer.Option("--limit", min=1, max=1_000_000, help="The newest so many.")] = _LIMIT,
    summary: Annotated[bool, typer.Option("--summary", help="Count all of them, by reason and raw partition.")] = False,
    show: Annotated[
        bool, typer.Option("--show", help="Look each up in raw, and show its shape: every text and name is redacted.")
    ] = False,
    at: Annotated[
        str, typer.Option("--at", metavar="TOPIC/PARTITION/OFFSET", help="Only the rejection of this raw record.")
    ] = "",
    raw: Annotated[
        bool,
        typer.Option(
            "--raw",
            help="Print the bytes of the raw record of --at as they are. Privileged: needs --why and --ticket, and is "
            "in the audit log.",
        ),
    ] = False,
    why: WhyOption = "",
    ticket: TicketOption = "",
    as_json: Annotated[bool, typer.Option("--json", help="JSON lines, as in a pipe.")] = False,
) -> None:
    """List what was refused, the newest last: where in raw, its size, the reason, and where in the event.

    A table on a terminal, JSON lines in a pipe. A rejection holds nothing of its event; raw has the event for raw's
    bound. With --show the order is that of raw.
    """
    if (summary and (show or at)) or (raw and (summary or show or as_json or reason or since)):
        raise ConfigError("--summary goes with neither --show nor --at, and --raw only with --at and --why")
    if raw and not (at and why.strip()):
        raise ConfigError("--raw is privileged: it needs --at TOPIC/PARTITION/OFFSET, and a reason with --why")
    if (why or ticket) and not raw:
        raise ConfigError("--why and --ticket go with --raw")
    settings = edge.settings()
    from pipeline.cli.looking import Looking  # noqa: PLC0415 - Kafka's clients take a while to import
    from pipeline.recovery.rejections import parse_place, wanted_of  # noqa: PLC0415 - as above

    wanted = wanted_of(reason, since, edge.now_ms())._replace(place=parse_place(at) if at else None)
    policy = edge.policy_of(settings)
    deed = about(deed_of(policy, Action.READ_RAW, why, ticket), settings, Subject.RECORD, at) if raw else None
    looking = Looking(settings, policy, wanted, raw=show or raw, as_json=as_json)
    if summary:
        looking.summarize()
    elif deed is not None:
        with audited(open_log(settings, policy), deed) as tally:
            looking.print_raw(tally)
    elif show:
        looking.show(limit)
    else:
        looking.list(limit)
