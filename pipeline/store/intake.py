"""The one write path into a store, of `lethe run` and of the archive: what is new goes in, the rest is counted.

What is due already is not stored (design §4): a sweep would remove it at once, and an hour of life is one too many.
"""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from pipeline.coarsen import TIME_MS_MIN, format_timestamp
from pipeline.errors import ConfigError
from pipeline.policy.load import Policy
from pipeline.policy.model import RecordSchema, SinkPolicy
from pipeline.records import ContentRecord, OperationalRecord, Rejection
from pipeline.store.bounds import due_before_ms
from pipeline.store.client import Store
from pipeline.store.ddl import Table, insert_types, make_table
from pipeline.store.erasure import (
    add_tombstones,
    delete_records,
    drop_relinked,
    ensure_tombstones,
    find_tombstones,
    last_tombstone,
    mask_records,
    purge_masked,
)
from pipeline.store.lookup import find_records, find_rejections
from pipeline.store.rows import UNLINKED, Entry, Key, Stamp, Verdict, judge, make_columns, make_entry, unlinked
from pipeline.store.tables import ensure_tables

STORED_SINKS = ("content", "operational", "rejected")
"""The sinks that a store has tables of, in the order in which they are written."""


class Records(NamedTuple):
    """Records to store, by sink."""

    content: Sequence[ContentRecord] = ()
    operational: Sequence[OperationalRecord] = ()
    rejected: Sequence[Rejection] = ()


@dataclass(slots=True)
class TableReport:
    """What a write did to one table, in records.

    Attributes:
        inserted: newly stored.
        repeated: there already with the same bytes, or under a higher policy version.
        expired: due already, and so not stored.
        erased: of requests that were erased from the store, and so not stored again.
        conflicts: identities of those that were there already with other bytes; the first stays.
    """

    inserted: int = 0
    repeated: int = 0
    expired: int = 0
    erased: int = 0
    conflicts: list[Key] = field(default_factory=list)


class RecordWriter:
    """Writes records into a store's tables, which it makes where they are missing.

    Safe to kill at any moment: an insert is atomic in each partition, and each table is asked on its own what it has.
    So writing the same records again, cut into other batches, adds only what is missing. Operational records go first:
    by them an erasure finds content. Two writers of the same record at the same moment may both insert it; the views
    still show it once.

    No content stays of a request whose operational record has no account: that was made after its erasure, perhaps by a
    worker that did again what another one had sent half of.

    Args:
        store: an open store.
        schemas: record schemas by name.
        sinks: the policies of ``content``, ``operational`` and ``rejected``, by name.
        clock: returns now, epoch milliseconds.
        pseudonym_of: gives a request's pseudonym under the suppression key; None where there are no keys, which goes
            as long as nothing was erased from the store.
        account: operational field of the account, null only in records of what was erased; None where there is none.

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
        self._pseudonym_of = pseudonym_of
        self._clock = clock
        tables = make_tables(schemas, sinks)
        self._content, self._operational, self._rejected = tables
        self._types = {table.name: insert_types(table) for table in tables}
        self._content_entry, operational_entry, self._rejected_entry = map(make_entry, tables)
        self._operational_entry = unlinked(operational_entry, account)
        ensure_tables(store, tables)

    def write(self, records: Records) -> dict[str, TableReport]:
        """Store a batch; when this returns, the batch is durable.

        Returns:
            What became of the records of each sink.

        Raises:
            ConfigError: something was erased, and there are no keys to tell what must not come back.
            SinkUnavailable: nothing may be assumed written; the same batch may be written again.
        """
        now_ms = self._clock()
        reports = {name: TableReport() for name in STORED_SINKS}
        content = _living(self._content, map(self._content_entry, records.content), now_ms, reports["content"])
        operational = _living(
            self._operational, map(self._operational_entry, records.operational), now_ms, reports["operational"]
        )
        rejected = [self._rejected_entry(record) for record in records.rejected]
        ids = [str(entry.key[0]) for entry in (*content, *operational)]
        seen = last_tombstone(self._store)
        # First what is stored, then tombstones; an erasure writes these before it takes anything out. So of a record
        # that it takes out between the two, the tombstone is seen. The first tombstones of all are seen at the end.
        in_content, in_operational = find_records(self._store, (self._content, self._operational), ids)
        if ids and seen:
            tombstones = self._tombstones(ids)
            content = _unerased(content, tombstones, reports["content"])
            whole = {request_id for request_id, is_whole in tombstones.items() if is_whole}
            operational = _unerased(operational, whole, reports["operational"])
        late = {entry.key for entry in operational if entry.stamp.digest == UNLINKED}
        gone = late | {key for key, stamp in in_operational.items() if stamp.digest == UNLINKED}
        content = _unerased(content, {str(key[0]) for key in gone}, reports["content"])
        in_rejected = find_rejections(self._store, self._rejected, (entry.key for entry in rejected))

        fresh_operational = pick_fresh(operational, in_operational, reports["operational"])
        fresh_content = pick_fresh(content, in_content, reports["content"])
        self._add(self._operational, fresh_operational, now_ms)
        self._add(self._content, fresh_content, now_ms)
        self._add(self._rejected, pick_fresh(rejected, in_rejected, reports["rejected"]), now_ms)
        if (fresh_operational or fresh_content) and last_tombstone(self._store) != seen:
            self._take_back([str(entry.key[0]) for entry in (*fresh_content, *fresh_operational)])
        self._erase_late([str(key[0]) for key in late & in_content.keys()], now_ms)
        return reports

    def _tombstones(self, request_ids: Sequence[str]) -> dict[str, bool]:
        """Return which requests were erased, and whether with their operational records."""
        if self._pseudonym_of is None:
            raise ConfigError(
                f"{self._store.label}: requests were erased from this store; LETHE_KEYS must name the key file, or "
                "nobody can tell which must not come back"
            )
        by_pseudonym = {self._pseudonym_of(one): one for one in dict.fromkeys(request_ids)}
        found = find_tombstones(self._store, list(by_pseudonym))
        return {by_pseudonym[pseudonym]: is_whole for pseudonym, is_whole in found.items()}

    def _take_back(self, request_ids: Sequence[str]) -> None:
        """Take out what was inserted after an erasure had passed, whose tombstones were not there yet before.

        One that keeps its tombstones after this finds the rows. A served store has turns, and nothing comes between;
        a server has none, and a second archive, or one that was stopped, may be late.
        """
        if self._pseudonym_of is None:  # nobody can tell which: none stays, and what is written again stays then
            self._mask(request_ids)
        found = self._tombstones(request_ids)
        self._mask(list(found))
        delete_records(self._store, self._operational, [one for one, is_whole in found.items() if is_whole])
        drop_relinked(self._store, self._operational, [one for one, is_whole in found.items() if not is_whole])

    def _erase_late(self, request_ids: Sequence[str], now_ms: int) -> None:
        """Take out content that was stored before its request turned out to be erased, as an erasure does."""
        if request_ids and self._pseudonym_of is not None:  # or one that reads it meanwhile might write it again
            ensure_tombstones(self._store, self._content.bound_ms)
            add_tombstones(self._store, list(map(self._pseudonym_of, request_ids)), now_ms, is_whole=False)
        self._mask(request_ids)

    def _mask(self, request_ids: Sequence[str]) -> None:
        """Take content out, bytes included."""
        if mask_records(self._store, self._content, request_ids):
            purge_masked(self._store, self._content)

    def _add(self, table: Table, fresh: Sequence[Entry], now_ms: int) -> None:
        if fresh:
            self._store.insert(table.name, make_columns(table, fresh, now_ms), self._types[table.name])


def make_tables(schemas: Mapping[str, RecordSchema], sinks: Mapping[str, SinkPolicy]) -> list[Table]:
    """Return the tables of the stored sinks, in their order.

    Raises:
        PolicyError: a schema cannot be a table, or a bound is too short for one.
    """
    return [make_table(sinks[name], schemas[sinks[name].schema]) for name in STORED_SINKS]


def schemas_of(policy: Policy) -> dict[str, RecordSchema]:
    """Return the record schemas of the stored sinks, by the name that the sinks call them."""
    records = {"content": policy.content, "operational": policy.operational, "rejected": policy.rejection}
    return {policy.sinks[name].schema: schema for name, schema in records.items()}


def pick_fresh(entries: Sequence[Entry], stored: Mapping[Key, Stamp], report: TableReport) -> list[Entry]:
    """Return the entries to insert, at most one for each id; count all of them in the report.

    On a conflict the first stays, stored or earlier in the batch: nobody can make a record say something else by
    sending its id again.
    """
    known = dict(stored)
    fresh: dict[Key, Entry] = {}
    for entry in entries:
        verdict = judge(known.get(entry.key), entry.stamp)
        if verdict is Verdict.CONFLICT:
            report.conflicts.append(entry.key)
        elif verdict is Verdict.REPEATED:
            report.repeated += 1
        else:
            known[entry.key] = entry.stamp
            fresh[entry.key] = entry
    report.inserted = len(fresh)
    return list(fresh.values())


def _unerased(entries: Sequence[Entry], erased: Collection[str], report: TableReport) -> list[Entry]:
    kept = [entry for entry in entries if entry.key[0] not in erased]
    report.erased += len(entries) - len(kept)
    return kept


def _living(table: Table, entries: Iterable[Entry], now_ms: int, report: TableReport) -> list[Entry]:
    """Return the entries that are not due; timestamps of records all have one form, so they compare as text."""
    due_before = format_timestamp(max(TIME_MS_MIN, due_before_ms(table.bound_ms, now_ms)))
    coming = list(entries)
    living = [entry for entry in coming if str(entry.fields[table.time]) >= due_before]
    report.expired = len(coming) - len(living)
    return living
