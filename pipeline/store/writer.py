"""The store as a sink: what is stored already is not stored again, so that a reader sees every event once."""

from collections.abc import Callable, Mapping, Sequence

from pipeline.policy.model import RecordSchema, SinkPolicy
from pipeline.records import Anonymized, Fate, Rejection
from pipeline.sinks.base import WriteReport
from pipeline.store.client import Store
from pipeline.store.intake import Records, RecordWriter


class StoreSink:
    """Writes fates into a store (follows `pipeline.sinks.base.Sink`), by way of `pipeline.store.intake.RecordWriter`.

    Args:
        store: an open store, which the sink closes.
        schemas: record schemas by name.
        sinks: the policies of ``content``, ``operational`` and ``rejected``, by name.
        clock: returns now, epoch milliseconds.
        pseudonym_of, account: as of `RecordWriter`.

    Raises:
        ConfigError: the store's tables were made by another schema.
        PolicyError: a schema cannot be a table, or a bound is too short for one.
        SinkUnavailable: the store did not answer, or refused.
    """

    def __init__(
        self,
        store: Store,
        schemas: Mapping[str, RecordSchema],
        sinks: Mapping[str, SinkPolicy],
        clock: Callable[[], int],
        pseudonym_of: Callable[[str], str] | None = None,
        account: str | None = None,
    ) -> None:
        self._store = store
        self._writer = RecordWriter(store, schemas, sinks, clock, pseudonym_of, account)

    def write(self, fates: Sequence[Fate]) -> WriteReport:
        """Store a batch; when this returns, the batch is durable.

        Raises:
            ConfigError: something was erased from the store, and there are no keys.
            SinkUnavailable: nothing may be assumed written; the same batch may be written again.
        """
        good = [fate for fate in fates if isinstance(fate, Anonymized)]
        done = self._writer.write(
            Records(
                content=[fate.content for fate in good if fate.content is not None],
                operational=[fate.operational for fate in good],
                rejected=[fate for fate in fates if isinstance(fate, Rejection)],
            )
        )
        return WriteReport(
            **{sink: report.inserted for sink, report in done.items()},
            repeated=sum(report.repeated for report in done.values()),
            conflicts=sum(len(report.conflicts) for report in done.values()),
            expired=sum(report.expired for report in done.values()),
            erased=sum(report.erased for report in done.values()),
        )

    def close(self, *, complete: bool) -> None:
        """Close the store; nothing is pending, so ``complete`` makes no difference."""
        del complete
        self._store.close()
