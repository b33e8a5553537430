"""``lethe rescrub`` and ``purge``: content that should not be as it is, redacted by today's policy or deleted."""

from pathlib import Path
from typing import Annotated

import typer

from pipeline.audit.entry import Action
from pipeline.cli import desk, edge
from pipeline.cli.desk import Acting
from pipeline.cli.privilege import TicketOption, WhyOption
from pipeline.cli.subjects import StoreOption
from pipeline.errors import ConfigError
from pipeline.keys.signingfile import load_signer
from pipeline.receipts.files import load_receipt, save_receipt
from pipeline.receipts.model import Status
from pipeline.rights.patience import wait_until
from pipeline.rights.purge import Purger, begin_purge, deleted_by, foretell_purge, record_purge
from pipeline.rights.receipt import confirm
from pipeline.rights.rescrub import Rescrubbed, Rescrubber
from pipeline.store.reading import Selection
from pipeline.store.replacing import finish_replacing
from pipeline.suppress import Subject


def rescrub_command(
    since: desk.SinceOption = "",
    until: desk.UntilOption = "",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Count what would be redacted; change nothing.")] = False,
    wait_s: desk.WaitOption = 60.0,
    store: StoreOption = "",
    why: WhyOption = "",
    ticket: TicketOption = "",
    as_json: desk.JsonOption = False,
) -> None:
    """Redact living content once more, by today's policy: what a lower policy version made, and has a gap.

    Changed records replace the older ones, whose bytes go. Exits with 0 when they are gone, with 3 when some are still
    there: do the same again.
    """
    now_ms, report = edge.now_ms(), Rescrubbed()
    times = desk.time_of("--since", since, now_ms), desk.time_of("--until", until, now_ms)
    is_gone = True
    with (
        desk.acting(edge.settings({"store": store}), Action.RESCRUB, why, ticket) as act,
        desk.store_of(act) as eraser,
    ):
        table = eraser.table("content")
        rescrubber = Rescrubber(eraser.store, table, edge.core_of(act.settings, act.policy), act.opener, edge.now_ms)
        others = rescrubber.count_others()
        try:
            rescrubber.run(*times, dry_run=dry_run, report=report)
        finally:
            act.tally.counts.update(scanned=report.scanned, found=report.found, content=report.replaced)
        if not dry_run:
            is_gone = wait_until(lambda: finish_replacing(eraser.store, table), wait_s)
    if others:
        typer.echo(
            f"lethe: warning: {others:,} records are of another policy, but not of a lower version than this one "
            f"({act.policy.version}): they were not looked at. Raise the version in policy.json",
            err=True,
        )
    counts = {"scanned": report.scanned, "found": report.found, "replaced": report.replaced}
    status = "dry run" if dry_run else Status.COMPLETE if is_gone else Status.PENDING
    desk.show(
        {"status": status, **counts, "redactions": dict(sorted(report.redactions.items()))}, "rescrub", as_json=as_json
    )
    if not is_gone:
        raise typer.Exit(edge.EXIT_PENDING)


def purge_command(
    since: desk.SinceOption = "",
    until: desk.UntilOption = "",
    entity_type: Annotated[
        str, typer.Option("--entity-type", metavar="TYPE", help="In which that was redacted: EMAIL_ADDRESS, …")
    ] = "",
    yes: Annotated[bool, typer.Option("--yes", help="Delete; without it, count only.")] = False,
    receipt: Annotated[
        Path, typer.Option(metavar="FILE", help="Where the receipt goes; one that is pending there is gone on with.")
    ] = Path("purge-receipt.json"),
    wait_s: desk.WaitOption = 60.0,
    store: StoreOption = "",
    why: WhyOption = "",
    ticket: TicketOption = "",
    as_json: desk.JsonOption = False,
) -> None:
    """Delete content by time or by what was found in it, bytes included, for good; counts only, unless --yes is given.

    Exits with 0 when the receipt is complete, with 3 when bytes are still there: do the same again, with the same
    receipt.
    """
    if not (since or until or entity_type):
        raise ConfigError("say what is to be deleted: --since, --until or --entity-type")
    with (
        desk.acting(edge.settings({"store": store}), Action.PURGE, why, ticket) as act,
        desk.store_of(act) as eraser,
    ):
        if entity_type and entity_type not in act.policy.catalogues["redactions"].mapping:
            raise ConfigError("--entity-type is none of schemas/catalogues/redactions.json")
        purger = Purger(eraser.store, eraser.table("content"), lambda one: act.keys.suppression(Subject.REQUEST, one))
        if yes:
            status = _purge(act, purger, (since, until, entity_type), receipt, wait_s)
        else:
            counts = purger.count(_selection(since, until, entity_type, edge.now_ms()))
            act.tally.counts.update(found=sum(counts.values()), content=0)
    if not yes:
        desk.show({"records": sum(counts.values()), "days": counts}, "would be deleted", as_json=as_json)
        typer.echo("lethe: nothing was deleted: give --yes", err=True)
        return
    typer.echo(f"{status}: {receipt}")
    if status is Status.PENDING:
        raise typer.Exit(edge.EXIT_PENDING)


def _purge(act: Acting, purger: Purger, what: tuple[str, str, str], path: Path, wait_s: float) -> Status:
    """Delete, with a receipt that is on the disk before anything is gone; return how far it is."""
    signer = load_signer(Path(act.settings.receipt_key))
    known = load_receipt(path, signer.public) if path.exists() else None
    # What is meant by "2h ago" does not change when a purge is gone on with.
    requested_ms = edge.now_ms() if known is None else known.requested_ms
    selection = _selection(*what, requested_ms)
    begun = begin_purge(selection, act.keys, requested_ms, act.policy)
    if known is not None and known.pseudonym != begun.pseudonym:
        raise ConfigError(f"{path} is about something else: give another file")
    begun = known or begun
    if begun.status is Status.COMPLETE:
        return begun.status
    before = deleted_by(begun)
    begun = foretell_purge(begun, sum(purger.count(selection).values()))
    save_receipt(path, begun, signer)
    begun = record_purge(begun, purger.purge(selection, edge.now_ms()))
    act.tally.counts["content"] = deleted_by(begun) - before  # what a killed try did is on no other entry
    save_receipt(path, begun, signer)
    if wait_until(purger.finish, wait_s):
        begun = confirm(begun, edge.now_ms())
        save_receipt(path, begun, signer)
    return begun.status


def _selection(since: str, until: str, entity_type: str, now_ms: int) -> Selection:
    until_ms = desk.time_of("--until", until, now_ms)
    return Selection(
        desk.time_of("--since", since, now_ms), now_ms if until_ms is None else until_ms, entity=entity_type
    )
