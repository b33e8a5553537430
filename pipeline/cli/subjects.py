"""A privileged action about somebody, as commands do it: whom it names, the audit log around it, store and brokers."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
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
from pipeline.store.intake import make_tables, schemas_of
from pipeline.store.opening import open_store
from pipeline.store.tables import ensure_tables
from pipeline.suppress import Subject

if TYPE_CHECKING:
    from pipeline.rights.barrier import Barrier

AccountOption = Annotated[str, typer.Option("--account", metavar="ID", help="An account; - reads the id from stdin.")]
ApiKeyOption = Annotated[str, typer.Option("--api-key", metavar="ID", help="An API key; - reads the id from stdin.")]
RequestOption = Annotated[str, typer.Option("--request", metavar="ID", help="One request; - reads it from stdin.")]
StoreOnlyOption = Annotated[
    bool, typer.Option("--store-only", help="There are no brokers and workers: a store that lethe run fills.")
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
    keys: Keyring
    pseudonym: str
    tally: Tally

    @contextmanager
    def opened(self) -> Iterator[StoreEraser]:
        """Yield what erases in the store, and close it."""
        with open_store(self.settings.store, now_ms=edge.now_ms()) as store:
            ensure_tables(store, make_tables(schemas_of(self.policy), self.policy.sinks))
            yield StoreEraser(store, self.policy, self.keys)

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
            place = Place(where.brokers, self.settings.group, topics, self.settings.batch_bytes_max)
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


def named_by(account: str, api_key: str, request: str) -> Named:
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
