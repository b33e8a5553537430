"""``lethe erase``, ``restrict`` and ``export``: rights of the account holder over a store (policy §8).

They work on a store alone, such as ``lethe run`` fills. Suppressions are kept in it, so that the next run of the same
events brings nothing back.
"""

import sys
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from pipeline.audit import entry as audit
from pipeline.audit.acting import Tally, audited
from pipeline.cli import edge
from pipeline.cli.privilege import TicketOption, WhyOption, about, deed_of, open_log
from pipeline.config import Settings
from pipeline.errors import ConfigError
from pipeline.keys.keyfile import load_keyring
from pipeline.keys.signingfile import load_signer
from pipeline.policy.load import Policy
from pipeline.receipts.files import load_receipt, save_receipt
from pipeline.receipts.model import Receipt, Status
from pipeline.rights.erase import Named, Operational, StoreEraser
from pipeline.rights.export import Exporter
from pipeline.rights.receipt import begin, confirm, record
from pipeline.seal import PlainSealer
from pipeline.store.client import Store
from pipeline.store.entries import add_entry, ensure_entries
from pipeline.store.intake import make_tables, schemas_of
from pipeline.store.opening import open_store
from pipeline.store.tables import ensure_tables
from pipeline.suppress import Action, ControlRecord, Subject, encode_entry

EXIT_PENDING = 3
_POLL_S = 0.2

AccountOption = Annotated[str, typer.Option("--account", metavar="ID", help="An account; - reads the id from stdin.")]
ApiKeyOption = Annotated[str, typer.Option("--api-key", metavar="ID", help="An API key; - reads the id from stdin.")]
RequestOption = Annotated[str, typer.Option("--request", metavar="ID", help="One request; - reads it from stdin.")]
StoreOption = Annotated[
    str, typer.Option("--store", envvar="LETHE_STORE", help="chdb:DIR or clickhouse://…; default chdb:./lethe-data.")
]


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
    wait_s: Annotated[float, typer.Option(min=0.0, help="How long to wait until the bytes are gone.")] = 60.0,
    why: WhyOption = "",
    ticket: TicketOption = "",
) -> None:
    """Erase a subject from a store: content goes, bytes included; operational records are unlinked.

    Exits with 0 when the receipt is complete, with 3 when bytes are still there: do the same again, with the same
    receipt. A broker's topics are not looked at: where workers run, this is not the whole erasure.
    """
    named = _named(account, api_key, request)
    keep = Operational.KEEP if hold else operational
    with _acting(named, audit.Action.ERASE, why, ticket, store) as act:
        signer = load_signer(Path(act.settings.receipt_key))
        known = load_receipt(receipt, signer.public) if receipt.exists() else None
        pseudonym = act.eraser.keys.suppression(named.subject, named.value)
        if known is not None and (known.pseudonym, known.legal_hold) != (pseudonym, hold):
            raise ConfigError(f"{receipt} is about another subject or hold: give another file")
        begun = known or begin(str(uuid.uuid4()), named.subject, pseudonym, edge.now_ms(), act.policy, hold)
        save_receipt(receipt, begun, signer)
        if begun.status is Status.PENDING:
            act.suppress(begun, Action.ERASE, unlink=keep is not Operational.KEEP)
            erased = act.eraser.erase(named, begun.requested_ms, edge.now_ms(), keep)
            act.tally.counts.update(requests=erased.requests, content=erased.content, operational=erased.operational)
            begun = record(begun, erased, keep, act.policy)
            save_receipt(receipt, begun, signer)
            if _is_gone(act.eraser, keep, wait_s):
                begun = confirm(begun, edge.now_ms())
                save_receipt(receipt, begun, signer)
    typer.echo(f"{begun.status}: {receipt}")
    if begun.status is Status.PENDING:
        raise typer.Exit(EXIT_PENDING)


def restrict_command(
    account: AccountOption = "",
    api_key: ApiKeyOption = "",
    lift: Annotated[bool, typer.Option("--lift", help="End a restriction.")] = False,
    store: StoreOption = "",
    why: WhyOption = "",
    ticket: TicketOption = "",
) -> None:
    """Have no content of a subject stored from now on, by whatever writes into this store; --lift ends that."""
    named = _named(account, api_key, "")
    action = audit.Action.LIFT if lift else audit.Action.RESTRICT
    with _acting(named, action, why, ticket, store) as act:
        pseudonym = act.eraser.keys.suppression(named.subject, named.value)
        begun = begin(str(uuid.uuid4()), named.subject, pseudonym, edge.now_ms(), act.policy, "")
        act.suppress(begun, Action.LIFT if lift else Action.RESTRICT, unlink=True)
    typer.echo(f"{'lifted' if lift else 'restricted'}: one {named.subject}")


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
    named = _named(account, api_key, request)
    with _acting(named, audit.Action.EXPORT, why, ticket, store) as act:
        exporter = Exporter(act.store, act.policy, act.eraser)
        counts = exporter.export(named, folder, edge.now_ms(), PlainSealer() if content else None)
        act.tally.counts.update({name.removesuffix(".jsonl"): count for name, count in counts.items()})
    typer.echo(", ".join(f"{count:,} records in {folder / name}" for name, count in counts.items()))


@dataclass(frozen=True, slots=True)
class _Act:
    """A privileged action on a store that is under way."""

    settings: Settings
    policy: Policy
    store: Store
    eraser: StoreEraser
    tally: Tally

    def suppress(self, begun: Receipt, action: Action, *, unlink: bool) -> None:
        """Keep the suppression in the store, durable before anything is taken out."""
        until_ms = begun.requested_ms if action is Action.ERASE else None
        subject = Subject(begun.subject)
        entry = ControlRecord(
            begun.receipt_id, action, subject, begun.pseudonym, begun.requested_ms, until_ms, unlink=unlink
        )
        ensure_entries(self.store, self.policy.sinks["control"].retention_ms)
        add_entry(self.store, entry.entry_id, entry.issued_at_ms, encode_entry(entry, self.policy.control))


@contextmanager
def _acting(named: Named, action: audit.Action, why: str, ticket: str, store_url: str) -> Iterator[_Act]:
    """Do a privileged action on a store inside: it is on record before the store is opened, and its end after it."""
    settings = edge.settings({"store": store_url})
    policy = edge.policy_of(settings)
    keys = load_keyring(Path(settings.keys))
    deed = about(deed_of(policy, action, why, ticket), settings, audit.Subject(str(named.subject)), named.value)
    with (
        audited(open_log(settings, policy), deed) as tally,
        open_store(settings.store, now_ms=edge.now_ms()) as store,
    ):
        ensure_tables(store, make_tables(schemas_of(policy), policy.sinks))
        yield _Act(settings, policy, store, StoreEraser(store, policy, keys), tally)


def _is_gone(eraser: StoreEraser, operational: Operational, wait_s: float) -> bool:
    until_s = time.monotonic() + wait_s
    while not eraser.finish(operational):
        if time.monotonic() >= until_s:
            return False
        time.sleep(_POLL_S)
    return True


def _named(account: str, api_key: str, request: str) -> Named:
    """Return the one subject that the options name."""
    given = [
        (subject, value)
        for subject, value in ((Subject.ACCOUNT, account), (Subject.API_KEY, api_key), (Subject.REQUEST, request))
        if value
    ]
    if len(given) != 1:
        raise ConfigError("name one subject: --account, --api-key or --request, with - to read the id from stdin")
    ((subject, value),) = given
    if value == "-":
        value = sys.stdin.readline().strip()
    if not value:
        raise ConfigError("standard input has no id")
    return Named(subject, value)
