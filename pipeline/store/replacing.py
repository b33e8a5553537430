"""Puts records in the place of others of the same id, and takes the bytes of those out: a higher version wins.

What is replaced stays beside what replaced it until a merge: readers see the newer one at once, and the older one's
bytes are there. So partitions in which a row is superseded are merged on purpose, and it is waited until the parts from
before are gone.
"""

from collections.abc import Callable, Sequence

from pipeline.coarsen import TIME_MS_MIN, format_timestamp
from pipeline.records import ContentRecord
from pipeline.store.bounds import due_before_ms
from pipeline.store.client import Store
from pipeline.store.ddl import Table, insert_types
from pipeline.store.erasure import count_lingering, find_tombstones, has_tombstones, mask_records, purge_masked
from pipeline.store.holdings import Bounds, active_partitions
from pipeline.store.rows import make_columns, make_entry


def replace_records(
    store: Store, table: Table, records: Sequence[ContentRecord], now_ms: int, pseudonym_of: Callable[[str], str]
) -> int:
    """Insert records of a higher version; return how many. What was erased or is due does not come back.

    An erasure keeps tombstones first and hides rows then. So tombstones are looked up before the insert and after it:
    one that came between had not hidden these rows yet, or could not see them.

    Args:
        store: open.
        table: of content.
        records: what replaces the rows of the same ids, each of a version higher than theirs.
        now_ms: now, epoch milliseconds.
        pseudonym_of: gives a request's pseudonym under the suppression key.

    Raises:
        SinkUnavailable: the store did not answer, or refused.
    """
    due_before = format_timestamp(max(TIME_MS_MIN, due_before_ms(table.bound_ms, now_ms)))
    erased = _erased(store, [record.request_id for record in records], pseudonym_of)
    entry_of = make_entry(table)
    entries = [
        entry_of(record)
        for record in records
        if record.request_id not in erased and str(record.fields[table.time]) >= due_before
    ]
    if not entries:
        return 0
    store.insert(table.name, make_columns(table, entries, now_ms), insert_types(table))
    mask_records(store, table, _erased(store, [str(entry.key[0]) for entry in entries], pseudonym_of))
    return len(entries)


def finish_replacing(store: Store, table: Table) -> bool:
    """Merge what is superseded away, and say whether all its bytes are gone; ask again until they are."""
    for partition in _superseded(store, table):
        store.command(
            f"OPTIMIZE TABLE {table.name} PARTITION ID '{partition}' FINAL SETTINGS optimize_throw_if_noop = 1"
        )
    purge_masked(store, table)
    return not _superseded(store, table) and not count_lingering(store, table)


def _superseded(store: Store, table: Table) -> list[str]:
    """Return the partitions that have more rows than ids."""
    found = active_partitions(store, Bounds(table.name, table.time, table.bound_ms, {}))
    sql = " > ".join(
        f"(SELECT count() FROM {table.name} {final} WHERE _partition_id = {{partition:String}})"  # noqa: S608
        for final in ("", "FINAL")
    )
    return [one for one in found if store.query(f"SELECT {sql}", {"partition": one}).rows[0][0]]


def _erased(store: Store, request_ids: Sequence[str], pseudonym_of: Callable[[str], str]) -> list[str]:
    if not has_tombstones(store):
        return []
    by_pseudonym = {pseudonym_of(one): one for one in request_ids}
    return [by_pseudonym[pseudonym] for pseudonym in find_tombstones(store, list(by_pseudonym))]
