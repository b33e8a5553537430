"""A store as the archive's loop knows it: batches go in, and every hour it is swept, tagged anew and looked at."""

import threading
from collections.abc import Callable

from pipeline.plan import pseudonym_field
from pipeline.policy.load import Policy
from pipeline.policy.model import Role
from pipeline.retention import Holding
from pipeline.store.client import Store
from pipeline.store.files import files_of
from pipeline.store.intake import Records, RecordWriter, TableReport, schemas_of
from pipeline.store.sweep import SweepReport, sweep
from pipeline.store.tags import add_tag
from pipeline.store.url import Target
from pipeline.store.verify import verify_store


class StoreTarget:
    """A store as the loop's target (follows `pipeline.archive.loop.Target` and `pipeline.archive.upkeep.Kept`).

    Attributes:
        label: what messages call it.
        turn: held while a batch is stored.
        tag: which store it is; another one after each sweep.
    """

    def __init__(
        self,
        store: Store,
        policy: Policy,
        now_ms: Callable[[], int],
        pseudonym_of: Callable[[str], str] | None = None,
        where: Target | None = None,
    ) -> None:
        """Make the tables that are missing, and tag the store.

        Args:
            store: open, and this process' own.
            policy: in force.
            now_ms: the clock, epoch milliseconds.
            pseudonym_of: gives a request's pseudonym under the suppression key; None without keys.
            where: what was opened: of an embedded store the files are looked at, too.

        Raises:
            ConfigError, PolicyError, SinkUnavailable: as `RecordWriter`.
        """
        self._store, self._now_ms, self.label = store, now_ms, store.label
        self._where, self._bound_ms = where, policy.sinks["content"].retention_ms
        self.turn = threading.Lock()
        self._writer = RecordWriter(
            store, schemas_of(policy), policy.sinks, now_ms, pseudonym_of, pseudonym_field(policy.shape, Role.ACCOUNT)
        )
        self.tag = add_tag(store, self._bound_ms, now_ms())

    def write(self, records: Records) -> dict[str, TableReport]:
        """Store a batch durably; nothing else changes between what is looked up for it and what is inserted."""
        with self.turn:
            return self._writer.write(records)

    def sweep(self) -> SweepReport:
        """Remove what is due, and tag the store anew."""
        report = sweep(self._store, self._now_ms())
        self.tag = add_tag(self._store, self._bound_ms, self._now_ms())
        return report

    def look(self) -> list[Holding]:
        """Hold the oldest of everything in the store against its bound."""
        files = None if self._where is None else files_of(self._where)
        return verify_store(self._store, self._now_ms(), files)
