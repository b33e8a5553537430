"""``lethe erase``, ``restrict`` and ``export``: rights of the account holder (policy §8).

Erasures and restrictions go through the brokers, to every worker, before the store. For a store that ``lethe run``
fills there are none: that must be said (``--store-only``), or a platform's workers would go on unawares.
"""

import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pipeline.audit import entry as audit
from pipeline.cli import edge
from pipeline.cli.privilege import TicketOption, WhyOption
from pipeline.cli.subjects import (
    AccountOption,
    Act,
    ApiKeyOption,
    NoWorkersOption,
    RequestOption,
    StoreOnlyOption,
    StoreOption,
    WaitOption,
    acting,
    named_by,
)
from pipeline.coarsen import format_timestamp
from pipeline.errors import ConfigError
from pipeline.keys.signing import Signer
from pipeline.keys.signingfile import load_signer
from pipeline.receipts.files import load_receipt, save_receipt
from pipeline.receipts.model import Receipt, Status
from pipeline.rights.erase import Named, Operational
from pipeline.rights.export import Exporter
from pipeline.rights.receipt import Step, Waited, begin, is_chosen, is_through_topics, step_of
from pipeline.rights.steps import NOBODY, Steps, describe_status, keep_entry
from pipeline.suppress import Action, ControlRecord, encode_entry

if TYPE_CHECKING:
    from pipeline.rights.barrier import Barrier

_NO_ARCHIVE = (
    "LETHE_ARCHIVE is false: nothing can be taken out of a topic before its time, and there is no store behind it. "
    "`lethe restrict` has no more content made; what is there goes with the topics' retention"
)


def erase_command(
    account: AccountOption = "",
    api_key: ApiKeyOption = "",
    request: RequestOption = "",
    store: StoreOption = "",
    operational: Annotated[
        Operational, typer.Option(help="What becomes of operational records: billing needs them without the account.")
    ] = Operational.UNLINK,
    hold: Annotated[
        str, typer.Option(metavar="NAME", help="A legal hold: operational records stay as they are; never content.")
    ] = "",
    receipt: Annotated[
        Path, typer.Option(metavar="FILE", help="Where the receipt goes; one that is pending there is gone on with.")
    ] = Path("receipt.json"),
    store_only: StoreOnlyOption = False,
    no_workers: NoWorkersOption = False,
    status: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Say how far the erasure of a receipt is; do nothing.")
    ] = None,
    wait_s: WaitOption = 60.0,
    why: WhyOption = "",
    ticket: TicketOption = "",
) -> None:
    """Erase a subject: workers make nothing of it any more, the store loses it, bytes included.

    Operational records are unlinked. The receipt says what remains in topics and until when. Exits with 0 when it is
    complete, with 3 when a worker, the archive or bytes are still waited for: do the same again, with the same receipt.
    """
    if status is not None:
        _show_status(status)
        return
    named = named_by(account, api_key, request)
    keep = Operational.KEEP if hold else operational
    with acting(named, audit.Action.ERASE, why, ticket, store) as act:
        if not store_only and not act.settings.archive:
            raise act.tally.refuse(ConfigError(_NO_ARCHIVE))
        signer = load_signer(Path(act.settings.receipt_key))
        begun = _begun(receipt, act, signer, named, (hold, keep), with_topics=not store_only)
        steps = Steps(act.policy, keep, wait_s, edge.now_ms, lambda now: save_receipt(receipt, now, signer), _tell)
        barrier = None
        if begun.status is Status.PENDING:
            act.check_store()
            barrier = None if store_only else _barrier(act, begun, no_workers=no_workers)
        steps.save(begun)
        if barrier is not None:
            begun = steps.through_topics(begun, barrier)
        if step_of(begun) in {Step.STORE, Step.BYTES}:
            with act.opened() as eraser:
                if barrier is not None:
                    steps.check_store(begun, barrier, eraser.store)
                begun, erased = steps.in_store(begun, named, eraser)
            act.tally.counts.update(erased._asdict())
    typer.echo(f"{begun.status}: {receipt}")
    if begun.status is Status.PENDING:
        raise typer.Exit(edge.EXIT_PENDING)


def restrict_command(
    account: AccountOption = "",
    api_key: ApiKeyOption = "",
    lift: Annotated[bool, typer.Option("--lift", help="End a restriction.")] = False,
    store: StoreOption = "",
    store_only: StoreOnlyOption = False,
    no_workers: NoWorkersOption = False,
    wait_s: WaitOption = 60.0,
    why: WhyOption = "",
    ticket: TicketOption = "",
) -> None:
    """Have no content of a subject made from now on; --lift ends that. Says from when on it holds.

    Exits with 3 when a worker has not applied it yet: it will as soon as it goes on, before anything else.
    """
    named = named_by(account, api_key, "")
    done = "lifted" if lift else "restricted"
    with acting(named, audit.Action.LIFT if lift else audit.Action.RESTRICT, why, ticket, store) as act:
        action = Action.LIFT if lift else Action.RESTRICT
        entry = ControlRecord(str(uuid.uuid4()), action, named.subject, act.pseudonym, edge.now_ms())
        waited = _restrict_in_store(act, entry) if store_only else _restrict(act, entry, wait_s, no_workers=no_workers)
    if waited.left:
        _tell(f"{waited.left} of {waited.members} workers have not applied it yet")
        typer.echo(f"pending: one {named.subject}")
        raise typer.Exit(edge.EXIT_PENDING)
    typer.echo(f"{done}: one {named.subject}, since {format_timestamp(edge.now_ms())}")


def export_command(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="Empty, or not there yet.")],
    account: AccountOption = "",
    api_key: ApiKeyOption = "",
    request: RequestOption = "",
    content: Annotated[bool, typer.Option("--content", help="Content too, anonymized as it is stored.")] = False,
    store: StoreOption = "",
    why: WhyOption = "",
    ticket: TicketOption = "",
) -> None:
    """Write what a store has of a subject into a folder: JSON lines and a manifest, readable by their owner only."""
    named = named_by(account, api_key, request)
    with acting(named, audit.Action.EXPORT, why, ticket, store) as act:
        with act.opened() as eraser:
            exporter = Exporter(eraser.store, act.policy, eraser)
            counts = exporter.export(named, folder, edge.now_ms(), edge.opener_of(act.settings) if content else None)
        act.tally.counts.update({name.removesuffix(".jsonl"): count for name, count in counts.items()})
    typer.echo(", ".join(f"{count:,} records in {folder / name}" for name, count in counts.items()))


def _begun(
    path: Path, act: Act, signer: Signer, named: Named, asked: tuple[str, Operational], *, with_topics: bool
) -> Receipt:
    """Return the receipt to go on with: that of the file, if it is of the same erasure, or a new one."""
    if not path.exists():
        audit_entry = act.tally.log, act.tally.sequence
        return begin(
            *(str(uuid.uuid4()), named.subject, act.pseudonym, edge.now_ms(), act.policy, *asked),
            with_topics=with_topics,
            audit=audit_entry,
        )
    known = load_receipt(path, signer.public)
    hold, operational = asked
    if (known.action, known.pseudonym, known.legal_hold) != ("erase", act.pseudonym, hold):
        raise ConfigError(f"{path} is about another subject or hold: give another file")
    if not is_chosen(known, operational):
        raise ConfigError(f"{path} was begun with another --operational: go on with it so, or give another file")
    if is_through_topics(known) is not with_topics:
        how = "without" if is_through_topics(known) else "with"
        raise ConfigError(f"{path} was begun {how} --store-only: go on with it so, or give another file")
    if known.completed_ms is not None:
        at = format_timestamp(known.requested_ms)
        _tell(f"complete already. What was received after {at} is not erased: for that give another --receipt")
    return known


def _barrier(act: Act, begun: Receipt, *, no_workers: bool) -> "Barrier":
    """Return the way through the brokers; before anything is published, see that somebody listens."""
    barrier = act.barrier()
    if step_of(begun) is Step.PUBLISH and not no_workers:
        barrier.check_group()
    return barrier


def _restrict(act: Act, entry: ControlRecord, wait_s: float, *, no_workers: bool) -> Waited:
    barrier = act.barrier()
    if not no_workers:
        barrier.check_group()
    mark = barrier.publish(entry.pseudonym, encode_entry(entry, act.policy.control))
    waited = barrier.wait_for_workers(mark, entry.issued_at_ms, wait_s)
    if not waited.members:
        _tell(NOBODY.format(barrier.group))
    return waited


def _restrict_in_store(act: Act, entry: ControlRecord) -> Waited:
    with act.opened(is_new=True) as eraser:
        keep_entry(eraser, entry)
    return Waited(0)


def _show_status(path: Path) -> None:
    """Say how far an erasure is; exits as the erasure itself would."""
    known = load_receipt(path, load_signer(Path(edge.settings().receipt_key)).public)
    typer.echo(f"{path}: {describe_status(known)}")
    if known.status is Status.PENDING:
        raise typer.Exit(edge.EXIT_PENDING)


def _tell(text: str) -> None:
    typer.echo(f"lethe: {text}", err=True)
