"""A privileged action about somebody, as commands do it: whom it names, the audit log around it, store and brokers."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pipeline.audit import entry as audit
from pipeline.audit.acting import Tally, audited
from pipeline.cli import edge
from pipeline.cli.privilege import about, deed_of, open_log
from pipeline.config import Settings
from pipeline.errors import ConfigError, SinkUnavailable
from pipeline.keys.keyfile import load_keyring
from pipeline.keys.keyring import Keyring
from pipeline.policy.load import Policy
from pipeline.rights.erase import Named, StoreEraser
from pipeline.store.client import Store
from pipeline.store.folder import existing_folder
from pipeline.store.intake import make_tables, schemas_of
from pipeline.store.opening import open_existing, open_store
from pipeline.store.tables import ensure_tables
from pipeline.store.url import DATABASE, EmbeddedTarget, parse_store_url
from pipeline.suppress import Subject

if TYPE_CHECKING:
    from pipeline.rights.barrier import Barrier

LINE_CHARS_MAX = 4096

AccountOption = Annotated[str, typer.Option("--account", metavar="ID", help="An account; - reads the id from stdin.")]
ApiKeyOption = Annotated[str, typer.Option("--api-key", metavar="ID", help="An API key; - reads the id from stdin.")]
RequestOption = Annotated[str, typer.Option("--request", metavar="ID", help="One request; - reads it from stdin.")]
StoreOnlyOption = Annotated[
    bool, typer.Option("--store-only", help="There are no brokers and workers: a store that lethe run fills.")
]
NoWorkersOption = Annotated[
    bool, typer.Option("--no-workers", help="No worker has read any of what raw holds: none has ever run.")
]
WaitOption = Annotated[float, typer.Option("--wait-s", min=0.0, help="How long each step may wait.")]
StoreOption = Annotated[
    str, typer.Option("--store", envvar="LETHE_STORE", help="chdb:DIR or clickhouse://…; default chdb:./lethe-data.")
]


@dataclass(frozen=True, slots=True)
class Act:
    """A privileged action that is under way.

    Attributes:
        settings, policy, keys: as they are.
        pseudonym: whom it is about, under the suppression key.
        tally: of the audit log.
    """

    settings: Settings
    policy: Policy
    keys: Keyring = field(repr=False)
    pseudonym: str
    tally: Tally

    @contextmanager
    def opened(self, *, is_new: bool = False) -> Iterator[StoreEraser]:
        """Yield what erases in the store, and close it.

        Args:
            is_new: make it where there is none.

        Raises:
            ConfigError, SinkUnavailable: as `opened_store`.
        """
        with opened_store(self.settings.store, self.policy, is_new=is_new) as store:
            yield StoreEraser(store, self.policy, self.keys)

    def check_store(self) -> None:
        """See that there is a store, as far as can be seen without opening it.

        Raises:
            ConfigError: there is none.
        """
        target = parse_store_url(self.settings.store, database=DATABASE)
        if isinstance(target, EmbeddedTarget):
            existing_folder(target.folder, target.label)

    def barrier(self) -> "Barrier":
        """Return the way through the brokers.

        Raises:
            ConfigError, SinkUnavailable: topics or brokers are not there.
        """
        from pipeline.rights.barrier import NEEDED, Barrier, Place  # noqa: PLC0415 - Kafka's clients take a while

        where = self.settings.topic_settings(self.policy.sinks)
        topics = {name: where.topic_of(self.policy.sinks[name]) for name in NEEDED}
        problem = ""
        try:
            place = Place(self.settings.reach(), self.settings.group, topics, self.settings.batch_bytes_max)
            return Barrier(place, self.policy.applied)
        except SinkUnavailable as error:
            problem = str(error)
        raise SinkUnavailable(f"{problem}. For a store that `lethe run` fills, without workers: --store-only")


@contextmanager
def acting(named: Named, action: audit.Action, why: str, ticket: str, store_url: str) -> Iterator[Act]:
    """Do a privileged action inside: it is on record before anything is looked at, and its end after it."""
    settings = edge.settings({"store": store_url})
    policy = edge.policy_of(settings)
    keys = load_keyring(Path(settings.keys))
    deed = about(deed_of(policy, action, why, ticket), settings, audit.Subject(str(named.subject)), named.value)
    with audited(open_log(settings, policy), deed) as tally:
        yield Act(settings, policy, keys, keys.suppression(named.subject, named.value), tally)


@contextmanager
def opened_store(url: str, policy: Policy, *, is_new: bool = False) -> Iterator[Store]:
    """Open a store that is there, and expire what is due: of a new one, nothing found would be a wrong answer.

    Args:
        url: of the store.
        policy: its tables are made where they are missing.
        is_new: make the store where there is none.

    Raises:
        ConfigError: there is none, it is in use, or of another schema.
        SinkUnavailable: it cannot be reached, or refused.
    """
    now_ms = edge.now_ms()
    with open_store(url, now_ms=now_ms) if is_new else open_existing(url, now_ms=now_ms) as store:
        ensure_tables(store, make_tables(schemas_of(policy), policy.sinks))
        yield store


def named_by(account: str = "", api_key: str = "", request: str = "") -> Named:
    """Return the one subject that the options name; ``-`` reads its id from the first line of standard input.

    Raises:
        ConfigError: none or several are named, or there is no id.
    """
    given = [
        (subject, value)
        for subject, value in ((Subject.ACCOUNT, account), (Subject.API_KEY, api_key), (Subject.REQUEST, request))
        if value
    ]
    if len(given) != 1:
        raise ConfigError("name one subject, with - to read its id from standard input")
    ((subject, value),) = given
    return Named(subject, read_line() if value == "-" else value)


def read_line() -> str:
    """Return the first line of standard input, without what surrounds it.

    Raises:
        ConfigError: it is empty, or too long to be an id or a term.
    """
    line = sys.stdin.readline(LINE_CHARS_MAX + 1)
    if len(line) > LINE_CHARS_MAX:
        raise ConfigError(f"standard input: a line is longer than {LINE_CHARS_MAX} characters")
    if not line.strip():
        raise ConfigError("standard input has no line")
    return line.strip()
