"""``lethe search`` and ``open``: the abuse desk's way into living content (policy §5: what it is kept for)."""

import os
import sys
from itertools import islice
from pathlib import Path
from typing import Annotated

import orjson
import typer

from pipeline.audit.entry import Action
from pipeline.cli import desk, edge
from pipeline.cli.privilege import TicketOption, WhyOption
from pipeline.cli.rejected_report import printable
from pipeline.cli.subjects import RequestOption, StoreOption, named_by, read_line
from pipeline.errors import ConfigError, KeyringError
from pipeline.policy.load import Policy
from pipeline.records import PLAIN, ContentRecord, Sealed
from pipeline.rights.search import Hit, Search
from pipeline.rights.term import make_finder
from pipeline.store.reading import Selection, open_body, read_record
from pipeline.wire import content_bytes

EXIT_NOTHING = 1
_LIMIT, _LIMIT_MAX = 100, 10_000


def search_command(
    source: Annotated[str, typer.Argument(metavar="-", help="The term, in the first line of standard input.")],
    regex: Annotated[bool, typer.Option("--regex", help="The term is a regular expression.")] = False,
    ignore_case: Annotated[bool, typer.Option("--ignore-case", help="Upper and lower case are the same.")] = False,
    since: desk.SinceOption = "",
    until: desk.UntilOption = "",
    model: Annotated[str, typer.Option("--model", help="Only of this model.")] = "",
    endpoint: Annotated[str, typer.Option("--endpoint", help="Only of this endpoint.")] = "",
    limit: Annotated[int, typer.Option("--limit", min=1, max=_LIMIT_MAX, help="Stop after so many.")] = _LIMIT,
    snippets: Annotated[bool, typer.Option("--snippets", help="Show the text around the term, as stored.")] = False,
    store: StoreOption = "",
    why: WhyOption = "",
    ticket: TicketOption = "",
) -> None:
    """Find living content that has a term: request ids and minutes, the newest day first; JSON lines in a pipe.

    The term is looked for in each text of a body by itself. It is read from standard input and kept nowhere: it can be
    a person's name.
    """
    if source != "-":
        raise ConfigError("the term is read from standard input: give -, and no term as an argument")
    now_ms = edge.now_ms()
    find = make_finder(read_line(), is_regex=regex, ignore_case=ignore_case)
    selection = Selection(
        desk.time_of("--since", since, now_ms), desk.time_of("--until", until, now_ms), model, endpoint
    )
    with (
        desk.acting(edge.settings({"store": store}), Action.SEARCH, why, ticket) as act,
        desk.store_of(act) as eraser,
    ):
        _check_catalogues(act.policy, selection)
        search = Search(eraser.store, eraser.table("content"), act.opener, find)
        counts = act.tally.counts
        counts.update(found=0, content=0, scanned=0)
        try:
            for hit in islice(search.run(selection), limit):
                counts.update(found=1, content=int(snippets))
                _print_hit(hit, with_snippet=snippets)
        finally:
            counts["scanned"] = search.scanned
    if counts["found"] == limit:
        typer.echo(f"lethe: stopped after {limit:,}: --limit takes more, --since and --until less", err=True)
    if search.closed:
        typer.echo(f"lethe: {search.closed:,} records stayed closed: {search.why_closed}", err=True)
    if search.closed and not search.scanned:
        raise KeyringError("nothing could be opened: are LETHE_KEYRING and LETHE_KEK those of this store?")
    if not counts["found"]:
        typer.echo(f"lethe: the term is in none of {search.scanned:,} records", err=True)
        raise typer.Exit(EXIT_NOTHING)


def open_command(
    request: RequestOption = "",
    out: Annotated[
        Path | None, typer.Option("--out", metavar="FILE", help="Write a new file, readable by its owner only.")
    ] = None,
    store: StoreOption = "",
    why: WhyOption = "",
    ticket: TicketOption = "",
) -> None:
    """Show the content of one request, anonymized as it is stored: one JSON object. Exits with 1 when there is none."""
    named = named_by(request=request)
    with (
        desk.acting(edge.settings({"store": store}), Action.OPEN, why, ticket, named) as act,
        desk.store_of(act) as eraser,
    ):
        record = read_record(eraser.store, eraser.table("content"), named.value)
        act.tally.counts["content"] = int(record is not None)
        if record is not None:
            body = Sealed(PLAIN, open_body(act.opener, record))
            _give(content_bytes(ContentRecord(named.value, record.fields, body)), out)
    if record is None:
        typer.echo("lethe: there is no content of that request: expired, erased, restricted or never there", err=True)
        raise typer.Exit(EXIT_NOTHING)


def _check_catalogues(policy: Policy, selection: Selection) -> None:
    for option, value in (("model", selection.model), ("endpoint", selection.endpoint)):
        catalogue = policy.catalogues[f"{option}s"]
        if value and value not in {*catalogue.mapping.values(), catalogue.other}:
            raise ConfigError(f"--{option} is none of schemas/catalogues/{option}s.json: any other is `other`")


def _print_hit(hit: Hit, *, with_snippet: bool) -> None:
    if sys.stdout.isatty():
        snippet = printable(hit.snippet.encode("utf-8", "replace")).replace("\n", " ") if with_snippet else ""
        typer.echo(f"{hit.request_id}  {hit.minute}  {snippet}".rstrip())
        return
    fields = {"request_id": hit.request_id, "received_at": hit.minute}
    typer.echo(orjson.dumps(fields | ({"snippet": hit.snippet} if with_snippet else {})).decode())


def _give(line: bytes, out: Path | None) -> None:
    """Write a record where it was asked for: to a terminal in a form in which nothing is to be obeyed."""
    if out is None:
        text = printable(orjson.dumps(orjson.loads(line), option=orjson.OPT_INDENT_2))
        typer.echo(text if sys.stdout.isatty() else line.decode())
        return
    problem = ""
    try:
        descriptor = os.open(out, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(line + b"\n")
    except OSError as error:
        problem = error.strerror or "cannot be written"
    if problem:
        raise ConfigError(f"{out}: {problem}")
