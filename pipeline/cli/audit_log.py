"""``lethe audit-log``: whether the record of privileged actions holds; its checkpoints, its topic, its expiry."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pipeline.audit.chain import Chain
from pipeline.audit.entry import GENESIS, Action, Deed, Head
from pipeline.audit.verify import read_folder, verify_folder
from pipeline.cli import edge
from pipeline.cli.privilege import SCHEDULE, open_log, signer_of
from pipeline.config import Settings
from pipeline.errors import ConfigError
from pipeline.keys.signing import parse_public
from pipeline.policy.load import Policy

if TYPE_CHECKING:
    from pipeline.audit.publishing import Place

EXIT_BROKEN = 1
_HEAD_PARTS = 3

app = typer.Typer(help="The audit log of privileged actions.", no_args_is_help=True)


@app.command()
def verify(
    public_key: Annotated[
        str,
        typer.Option("--public-key", metavar="KEY", help="ed25519:…; must have signed each checkpoint."),
    ] = "",
    head: Annotated[
        list[str] | None,
        typer.Option("--head", metavar="HEAD", help="A head that a checkpoint printed: the log must still have it."),
    ] = None,
    topic: Annotated[bool, typer.Option("--topic", help="Compare with the audit topic.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False,
) -> None:
    """Check the whole log: nothing taken out, changed, moved or added. Exits with 1 when it does not hold."""
    settings = edge.settings()
    policy = edge.policy_of(settings)
    public = parse_public(public_key) if public_key else _own_key(settings)
    known = {one.sequence: one for one in map(_parse_head, head or ())}
    chain = Chain(policy.audit, public, strict=bool(public_key), known=known)
    notes: list[str] = []
    if topic:
        notes += _with_topic(settings, policy, chain)
    else:
        verify_folder(Path(settings.audit), chain)
    _report(chain, [*_notes(chain), *notes], as_json=as_json)
    if chain.findings:
        raise typer.Exit(EXIT_BROKEN)


@app.command()
def checkpoint() -> None:
    """Write a checkpoint, signed where there is a receipt key, and print the head: keep it somewhere else."""
    settings = edge.settings()
    typer.echo(str(open_log(settings, edge.policy_of(settings)).checkpoint()))


@app.command()
def publish() -> None:
    """Send the entries that the audit topic does not hold yet, by a timer. Sends none of a log that does not hold."""
    settings = edge.settings()
    policy = edge.policy_of(settings)
    from pipeline.audit.publishing import publish as send  # noqa: PLC0415 - Kafka's clients take a while to import

    place = _place_of(settings, policy)
    typer.echo(f"published {send(place, Path(settings.audit), policy.audit):,} entries to {place.topic}")


@app.command()
def expire() -> None:
    """Delete the months that are due by the audit sink's bound; run it daily. The log itself says what went."""
    settings = edge.settings()
    policy = edge.policy_of(settings)
    deed = Deed(Action.EXPIRE, SCHEDULE)
    gone = open_log(settings, policy).expire(policy.sinks["audit"].retention_ms, deed)
    typer.echo(f"deleted {gone} segments of {settings.audit}")


def _own_key(settings: Settings) -> str:
    """Return the public key of this installation, "" where it has none: then signatures are not asked for."""
    signer = signer_of(settings)
    return "" if signer is None else signer.public


def _with_topic(settings: Settings, policy: Policy, chain: Chain) -> list[str]:
    """Look at topic and files, in this order: what is written meanwhile is not published yet, and no fault."""
    from pipeline.audit.publishing import read_published  # noqa: PLC0415 - Kafka's clients take a while to import

    published = read_published(_place_of(settings, policy), Path(settings.audit), policy.audit)
    waiting = 0
    for entry, _ in read_folder(Path(settings.audit), chain):
        published.compare(entry)
        waiting += entry["sequence"] > published.last
    chain.finish()
    end = -1 if chain.head is None else chain.head.sequence
    if published.last > end:
        chain.find("the end", f"is gone: the topic ends with {published.last} and the files with {end}")
    for finding in published.chain.findings:
        chain.find(f"the topic, {finding.place}", finding.text)
    return [f"{len(published.hashes):,} entries are in the topic, {waiting:,} not yet"]


def _place_of(settings: Settings, policy: Policy) -> "Place":
    from pipeline.audit.publishing import Place  # noqa: PLC0415 - Kafka's clients take a while to import

    where = settings.topic_settings(policy.sinks)
    return Place(settings.reach(), where.topic_of(policy.sinks["audit"]), settings.batch_bytes_max)


def _parse_head(text: str) -> Head:
    log, _, rest = text.partition(":")
    sequence, _, digest = rest.partition(":")
    if not (sequence.isascii() and sequence.isdigit() and len(sequence) < len(GENESIS) and len(digest) == len(GENESIS)):
        raise ConfigError("--head takes LOG:SEQUENCE:HASH, as `lethe audit-log checkpoint` prints it")
    return Head(log, int(sequence), digest)


def _notes(chain: Chain) -> list[str]:
    """Say from where to where the chain was seen, and what is no fault and yet to be known."""
    if chain.first is None or chain.head is None:
        return []
    first = chain.first["sequence"]
    notes = [
        f"{chain.entries:,} entries",
        f"whole from {first} ({chain.first['at']}) to {chain.head.sequence} ({chain.last_at})"
        if not chain.findings
        else f"read from {first} ({chain.first['at']}) to {chain.head.sequence} ({chain.last_at})",
    ]
    if first:
        notes.append(f"entries before {first} are gone; the log says that they expired, or see below")
    if chain.open:
        some = ", ".join(map(str, sorted(chain.open)[:10]))
        notes.append(f"{len(chain.open):,} actions began and did not end: sequence {some}")
    early = [sequence for sequence in chain.known if sequence < first]
    if early:
        notes.append(f"{len(early)} heads are from before the beginning, and prove nothing any more")
    if chain.signed >= 0:
        notes.append(f"signed up to {chain.signed}")
    notes.append(f"head {chain.head}")
    return notes


def _report(chain: Chain, notes: list[str], *, as_json: bool) -> None:
    if as_json:
        found = [{"place": finding.place, "text": finding.text} for finding in chain.findings]
        document = {"holds": not found, "findings": found, "more": chain.more, "notes": notes}
        typer.echo(json.dumps(document))
        return
    for note in notes:
        typer.echo(note)
    for finding in chain.findings:
        typer.echo(f"! {finding}")
    if chain.more:
        typer.echo(f"! and {chain.more:,} more")
    typer.echo("the log does not hold" if chain.findings else "the log holds")
