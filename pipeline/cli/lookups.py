"""``lethe find``, ``resolve`` and ``pseudonym``: from a name to what there is of it, and back (design §8)."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from itertools import islice
from pathlib import Path
from typing import Annotated, Any, TextIO

import orjson
import typer

from pipeline.audit.entry import Action
from pipeline.cli import desk, edge
from pipeline.cli.privilege import TicketOption, WhyOption
from pipeline.cli.subjects import AccountOption, ApiKeyOption, RequestOption, StoreOption, named_by
from pipeline.coarsen import format_timestamp
from pipeline.errors import ConfigError
from pipeline.rights.erase import pseudonym_field
from pipeline.rights.find import Finder, suppressed
from pipeline.rights.resolve import Match, Miss, find_pseudonym, match_account
from pipeline.store.entries import read_entries
from pipeline.suppress import Subject, decode_entry

EXIT_NOTHING = 1


def find_command(
    account: AccountOption = "",
    api_key: ApiKeyOption = "",
    request: RequestOption = "",
    store: StoreOption = "",
    why: WhyOption = "",
    ticket: TicketOption = "",
    as_json: desk.JsonOption = False,
) -> None:
    """Say what a store has about a subject: how many records, from when, erased, restricted or held; no content."""
    named = named_by(account, api_key, request)
    with (
        desk.acting(edge.settings({"store": store}), Action.FIND, why, ticket, named) as act,
        desk.store_of(act) as eraser,
    ):
        finder = Finder(eraser)
        sinks = finder.find(named)
        entries = [decode_entry(raw, act.policy.control) for raw in read_entries(eraser.store)]
        state = suppressed(entries, act.keys.suppression(named.subject, named.value))
        document: dict[str, Any] = {"subject": str(named.subject)}
        for sink, found in sinks.items():
            document |= {sink: found.records}
            document |= {f"{sink}_from": found.first_day, f"{sink}_to": found.last_day}
        document["key_epochs"] = finder.epochs(named)
        document["tombstones"] = finder.count_tombstones(named, edge.now_ms())
        document |= {name.removesuffix("_ms"): _shown(value) for name, value in asdict(state).items()}
        act.tally.counts.update({sink: found.records for sink, found in sinks.items()})
    desk.show(document, f"what there is about one {named.subject}", as_json=as_json)


def resolve_command(
    request: RequestOption = "",
    accounts: Annotated[
        Path | None,
        typer.Option("--accounts", metavar="FILE", help="Account ids, one a line; default: the rest of stdin."),
    ] = None,
    store: StoreOption = "",
    why: WhyOption = "",
    ticket: TicketOption = "",
) -> None:
    """Name the account that a request is of, out of a list of accounts: a pseudonym cannot be turned back.

    Standard input has the request's id in its first line (--request -) and the accounts in the lines after it, unless
    --accounts names a file. Exits with 1 when none of them is it.
    """
    named = named_by(request=request)
    match = Match(None, 0)
    with (
        desk.acting(edge.settings({"store": store}), Action.RESOLVE, why, ticket, named) as act,
        desk.store_of(act) as eraser,
        _lines_of(accounts) as lines,
    ):
        pseudonym = find_pseudonym(eraser, named.value)
        if not isinstance(pseudonym, Miss):
            match = match_account(eraser, pseudonym, (account for _, account in desk.read_ids(lines)))
        act.tally.counts.update(scanned=match.scanned, found=int(match.account is not None))
    if match.account is None:
        reason = pseudonym if isinstance(pseudonym, Miss) else f"none of {match.scanned:,} accounts is that of it"
        typer.echo(f"lethe: {reason}", err=True)
        raise typer.Exit(EXIT_NOTHING)
    typer.echo(match.account)


def pseudonym_command(
    source: Annotated[str, typer.Argument(metavar="-", help="Ids, one a line, on standard input.")],
    api_key: Annotated[bool, typer.Option("--api-key", help="The ids are those of API keys, not of accounts.")] = False,
    why: WhyOption = "",
    ticket: TicketOption = "",
) -> None:
    """Give the pseudonyms of ids, for billing: JSON lines {"line", "pseudonyms"}, one pseudonym a key epoch.

    The line's number stands for the id, so that what comes out holds none.
    """
    if source != "-":
        raise ConfigError("ids are read from standard input: give -, and no id as an argument")
    settings = edge.settings()
    ids = list(islice(desk.read_ids(sys.stdin), settings.desk_ids_day_max + 1))  # one too many is enough to refuse
    subject = Subject.API_KEY if api_key else Subject.ACCOUNT
    with desk.acting(settings, Action.PSEUDONYM, why, ticket, counts={"ids": len(ids)}) as act:
        field = pseudonym_field(act.policy, subject)
        for number, value in ids:
            line = {"line": number, "pseudonyms": act.keys.pseudonyms(field, value)}
            sys.stdout.write(orjson.dumps(line).decode() + "\n")


def _shown(value: object) -> object:
    """Return a time as text, and what is none as it is."""
    return format_timestamp(value) if type(value) is int else value


@contextmanager
def _lines_of(path: Path | None) -> Iterator[TextIO]:
    if path is None:
        yield sys.stdin
        return
    problem = ""
    try:
        file = path.open(encoding="utf-8", errors="surrogateescape")
    except OSError as error:
        problem = error.strerror or "cannot be read"
    if problem:
        raise ConfigError(f"{path}: {problem}")
    with file:
        yield file
