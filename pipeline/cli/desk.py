"""What the desk's commands share: they act on a store that is there, on record, no oftener than a person does."""

import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import orjson
import typer

from pipeline.audit.acting import Tally, audited
from pipeline.audit.entry import Action
from pipeline.audit.entry import Subject as AuditSubject
from pipeline.audit.operator import find_operator
from pipeline.audit.rate import WINDOW_MS, find_excess
from pipeline.cli import edge
from pipeline.cli.privilege import about, deed_of, open_log
from pipeline.cli.report import make_table, show_table
from pipeline.cli.subjects import opened_store
from pipeline.coarsen import parse_timestamp
from pipeline.config import Settings
from pipeline.errors import ConfigError
from pipeline.keys.keyfile import load_keyring
from pipeline.keys.keyring import Keyring
from pipeline.policy.load import Policy
from pipeline.rights.erase import Named, StoreEraser
from pipeline.seal import Opener
from pipeline.topics.duration import parse_ms

_DAY = re.compile(r"\d{4}-\d{2}-\d{2}", re.ASCII)

SinceOption = Annotated[
    str, typer.Option("--since", metavar="TIME", help="From then on: 2h (ago), 2026-11-23 or 2026-11-23T10:00:00Z.")
]
UntilOption = Annotated[str, typer.Option("--until", metavar="TIME", help="Up to then, likewise; a day is its begin.")]
WaitOption = Annotated[float, typer.Option("--wait-s", min=0.0, help="How long to wait until the bytes are gone.")]
JsonOption = Annotated[bool, typer.Option("--json", help="JSON, as in a pipe.")]


@dataclass(frozen=True, slots=True)
class Acting:
    """A privileged action that is under way.

    Attributes:
        settings: of the process.
        policy: in force.
        keys: all key epochs.
        tally: what the action says of itself.
    """

    settings: Settings
    policy: Policy
    keys: Keyring = field(repr=False)
    tally: Tally

    @property
    def opener(self) -> Opener:
        """Return what opens content; whoever looks at no content needs no keyring.

        Raises:
            ConfigError, KeyringError: there are no keys.
        """
        return edge.opener_of(self.settings)


@contextmanager
def acting(
    settings: Settings,
    action: Action,
    why: str,
    ticket: str,
    named: Named | None = None,
    counts: Mapping[str, int] | None = None,
) -> Iterator[Acting]:
    """Do a privileged action inside: on record before it begins and when it ends, refused where it is one too many.

    Args:
        settings: of the process.
        action: what is done.
        why: the reason as it was given.
        ticket: where the reason is written down.
        named: whom it is about, or None.
        counts: what is known of it before it begins.

    Raises:
        AuditFault: it cannot be recorded, and did not begin.
        ConfigError: the reason or ticket is none, or the operator has done as much as one may.
    """
    policy = edge.policy_of(settings)
    keys = load_keyring(Path(settings.keys))
    deed = deed_of(policy, action, why, ticket)
    if named is not None:
        deed = about(deed, settings, AuditSubject(str(named.subject)), named.value)
    log = open_log(settings, policy)
    with audited(log, deed, counts) as tally:
        now_ms = edge.now_ms()
        entries = log.read_since(now_ms - WINDOW_MS)
        excess = find_excess(entries, find_operator(settings.actor), settings.rates(), now_ms)
        if excess:
            raise tally.refuse(ConfigError(f"{action} is refused: {excess}; that it was asked for is on record"))
        yield Acting(settings, policy, keys, tally)


@contextmanager
def store_of(act: Acting) -> Iterator[StoreEraser]:
    """Open the store that the settings name, if there is one: an empty answer of a new one would be a wrong one.

    Raises:
        ConfigError: there is none, it is in use, or of another schema.
        SinkUnavailable: it cannot be reached, or refused.
    """
    with opened_store(act.settings.store, act.policy) as store:
        yield StoreEraser(store, act.policy, act.keys)


def read_ids(source: Iterable[str]) -> Iterator[tuple[int, str]]:
    """Yield the number of each line, from 1, and the id in it; blank lines are left out."""
    for number, line in enumerate(source, 1):
        if value := line.strip():
            yield number, value


def time_of(name: str, text: str, now_ms: int) -> int | None:
    """Return a time as epoch milliseconds, None for none.

    Args:
        name: what an error calls it.
        text: a duration until now, a day, an RFC 3339 time, or "".
        now_ms: now, epoch milliseconds.

    Raises:
        ConfigError: it is none of these; the text does not repeat it.
    """
    if not text:
        return None
    at_ms = parse_timestamp(f"{text}T00:00:00Z" if _DAY.fullmatch(text) else text)
    return max(0, now_ms - parse_ms(name, text)) if at_ms is None else at_ms


def show(document: Mapping[str, object], title: str, *, as_json: bool) -> None:
    """Show a flat document: a table on a terminal, a line of JSON in a pipe."""
    console = edge.console()
    if as_json or not console.is_terminal:
        typer.echo(orjson.dumps(document).decode())
        return
    table = make_table(console, "what", "", words=("what",))
    for name, value in document.items():
        table.add_row(name, f"{value:,}" if isinstance(value, int) else str(value))
    show_table(console, title, table)
