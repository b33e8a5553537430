"""The store as a sink: what is stored already is not stored again, so that a reader sees every event once."""

from collections.abc import Callable, Mapping, Sequence

from pipeline.policy.model import RecordSchema, SinkPolicy
from pipeline.records import Anonymized, Fate, Rejection
from pipeline.sinks.base import WriteReport
from pipeline.store.client import Store
from pipeline.store.ddl import Table, column_types, make_table
from pipeline.store.lookup import find_records, find_rejections
from pipeline.store.rows import Entry, Key, Stamp, Verdict, judge, make_columns, make_entry
from pipeline.store.tables import ensure_tables


class StoreSink:
    """Writes fates into a store (follows `pipeline.sinks.base.Sink`).

    Safe to kill at any moment: an insert is atomic in each partition, content goes first, and each table is asked on
    its own what it has, so writing the same events again, cut into other batches, adds only what is missing. Two
    writers of the same event at the same moment may both insert it; the views still show it once.

    Args:
        store: an open store, which the sink closes.
        schemas: record schemas by name.
        sinks: the policies of ``content``, ``operational`` and ``rejected``, by name.
        clock: returns now, epoch milliseconds.

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
    ) -> None:
        self._store = store
        self._clock = clock
        names = ("content", "operational", "rejected")
        self._content, self._operational, self._rejected = tables = [
            make_table(sinks[name], schemas[sinks[name].schema]) for name in names
        ]
        self._types = {table.name: column_types(table) for table in tables}
        self._content_entry, self._operational_entry, self._rejected_entry = map(make_entry, tables)
        ensure_tables(store, tables)

    def write(self, fates: Sequence[Fate]) -> WriteReport:
        """Store a batch; when this returns, the batch is durable.

        Raises:
            SinkUnavailable: nothing may be assumed written; the same batch may be written again.
        """
        now_ms = self._clock()
        good = [fate for fate in fates if isinstance(fate, Anonymized)]
        content = [self._content_entry(fate.content) for fate in good if fate.content is not None]
        operational = [self._operational_entry(fate.operational) for fate in good]
        rejected = [self._rejected_entry(fate) for fate in fates if isinstance(fate, Rejection)]
        ids = [str(entry.key[0]) for entry in (*content, *operational)]
        in_content, in_operational = find_records(self._store, (self._content, self._operational), ids)
        in_rejected = find_rejections(self._store, self._rejected, (entry.key for entry in rejected))

        report = WriteReport()
        report.content = self._add(self._content, content, in_content, now_ms, report)
        report.operational = self._add(self._operational, operational, in_operational, now_ms, report)
        report.rejected = self._add(self._rejected, rejected, in_rejected, now_ms, report)
        return report

    def close(self, *, complete: bool) -> None:
        """Close the store; nothing is pending, so ``complete`` makes no difference."""
        del complete
        self._store.close()

    def _add(
        self, table: Table, entries: Sequence[Entry], stored: dict[Key, Stamp], now_ms: int, report: WriteReport
    ) -> int:
        """Insert the entries that are new, count the others, and return how many records were stored."""
        fresh = pick_fresh(entries, stored, report)
        if fresh:
            self._store.insert(table.name, make_columns(table, fresh, now_ms), self._types[table.name])
        return len(fresh)


def pick_fresh(entries: Sequence[Entry], stored: Mapping[Key, Stamp], report: WriteReport) -> list[Entry]:
    """Return the entries to insert, at most one for each id; count repeats and conflicts in the report.

    On a conflict the first stays, stored or earlier in the batch: nobody can make a record say something else by
    sending its id again.
    """
    known = dict(stored)
    fresh: dict[Key, Entry] = {}
    for entry in entries:
        verdict = judge(known.get(entry.key), entry.stamp)
        if verdict is Verdict.CONFLICT:
            report.conflicts += 1
        elif verdict is Verdict.REPEATED:
            report.repeated += 1
        else:
            known[entry.key] = entry.stamp
            fresh[entry.key] = entry
    return list(fresh.values())
