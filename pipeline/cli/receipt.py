"""``lethe receipt``: the key that signs receipts, and whether one holds."""

import json
import secrets
from pathlib import Path
from typing import Annotated

import typer

from pipeline.cli import edge
from pipeline.cli.metrics_file import check_metrics_path, write_metrics
from pipeline.coarsen import format_timestamp
from pipeline.keys.signing import SEED_BYTES, format_public, parse_public
from pipeline.keys.signingfile import init_signer, load_signer
from pipeline.receipts.files import verify_file
from pipeline.receipts.model import Receipt, ReceiptFault
from pipeline.receipts.pending import ReceiptMetrics, broken, find_receipts, pending
from pipeline.receipts.signed import to_document
from pipeline.rights.steps import describe_status

EXIT_BROKEN = 1

# No locals in a traceback: they could be keys.
app = typer.Typer(
    help="Receipts: signed, so that anyone can check them.", no_args_is_help=True, pretty_exceptions_show_locals=False
)


@app.command("key")
def key_command() -> None:
    """Make the key that signs receipts and checkpoints (LETHE_RECEIPT_KEY). Refuses to overwrite one."""
    path = Path(edge.settings().receipt_key)
    signer = init_signer(path, secrets.token_bytes(SEED_BYTES))
    typer.echo(f"made {path} (mode 0600); its public key: {format_public(signer.public)}")


@app.command("public-key")
def public_key_command() -> None:
    """Print the public key, with which anyone verifies: hand it on by another way than the receipts."""
    typer.echo(format_public(load_signer(Path(edge.settings().receipt_key)).public))


PublicKeyOption = Annotated[
    str, typer.Option("--public-key", metavar="KEY", help="ed25519:…; default: that of LETHE_RECEIPT_KEY.")
]


@app.command("verify")
def verify_command(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The receipt.")],
    public_key: PublicKeyOption = "",
    as_json: Annotated[bool, typer.Option("--json", help="JSON, on a terminal too.")] = False,
) -> None:
    """Check a receipt's signature, and say what it says. Exits with 1 when the signature does not hold."""
    public = _public(public_key)
    problem = ""
    try:
        receipt = verify_file(file, public)
    except ReceiptFault as fault:
        problem = str(fault)
    if problem:
        typer.echo(f"{file}: {problem}")
        raise typer.Exit(EXIT_BROKEN)
    if as_json:
        typer.echo(json.dumps(to_document(receipt), ensure_ascii=False))
    else:
        _show(file, receipt)


@app.command("pending")
def pending_command(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="Where receipts are kept: its files *.json.")],
    textfile: Annotated[
        Path | None, typer.Option("--textfile", metavar="FILE", help="Write Prometheus gauges there, whole or not.")
    ] = None,
    public_key: PublicKeyOption = "",
) -> None:
    """List the receipts of a folder that are pending, the oldest first: erasures that are not whole yet.

    Exits with 0 when none is, with 3 when some are, and with 1 when a file is no receipt of this key's.
    """
    check_metrics_path("--textfile", textfile)
    found = find_receipts(folder, _public(public_key))
    waiting, faults = pending(found), broken(found)
    for path, receipt in waiting:
        typer.echo(f"{path}: {receipt.action}: {describe_status(receipt)}")
    for one in faults:
        typer.echo(f"{one.path}: {one.fault}")
    typer.echo(f"{len(found)} receipts, {len(waiting)} pending, {len(faults)} that do not hold", err=True)
    written = textfile is None or write_metrics("--textfile", textfile, ReceiptMetrics(found, edge.now_ms()))
    if not written:
        raise typer.Exit(2)
    if faults or waiting:
        raise typer.Exit(EXIT_BROKEN if faults else edge.EXIT_PENDING)


def _public(given: str) -> str:
    """Return the public key that is given, or that of the settings."""
    return parse_public(given) if given else load_signer(Path(edge.settings().receipt_key)).public


def _show(file: Path, receipt: Receipt) -> None:
    times = f"requested {format_timestamp(receipt.requested_ms)}"
    if receipt.completed_ms is not None:
        times += f", complete {format_timestamp(receipt.completed_ms)}"
    typer.echo(f"{file}: the signature holds: {receipt.action} of one {receipt.subject}, {receipt.status}; {times}")
    if receipt.legal_hold:
        typer.echo(f"legal hold: {receipt.legal_hold}")
    for place in receipt.places:
        done = ", ".join(f"{count:,} {name}" for name, count in place.counts.items()) or "nothing"
        left = ", ".join(f"{count:,} {name}" for name, count in place.remaining.items() if count)
        until = "" if place.until_ms is None else f" until {format_timestamp(place.until_ms)}"
        rest = f"; remains: {left or 'what nobody counts'}{until} ({place.why})" if left or place.why else ""
        seen = "confirmed" if place.confirmed_ms is not None else "not confirmed yet"
        typer.echo(f"{place.name}: {done}; {seen}{rest}")
