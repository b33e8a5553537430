"""Entries of the control topic, kept in a store: without a broker they are what suppresses the next run (policy §8)."""

from collections.abc import Sequence

from pipeline.store.client import Store
from pipeline.store.sidetables import create_side_table

ENTRIES = "control_rows"
_TYPES = {"entry_id": "String", "issued_at": "DateTime64(3, 'UTC')", "entry": "String"}


def ensure_entries(store: Store, bound_ms: int) -> None:
    """Make their table where there is none.

    Args:
        store: an open store.
        bound_ms: of the control sink: it holds the longest one, for an entry must outlive what it suppresses.
    """
    create = create_side_table(
        ENTRIES, _TYPES, key="entry_id", time="issued_at", bound_ms=bound_ms, partition="toYYYYMM"
    )
    store.command(create)


def add_entry(store: Store, entry_id: str, issued_at_ms: int, entry: bytes) -> None:
    """Keep an entry; the same one again changes nothing. When this returns it is durable."""
    store.insert(ENTRIES, {"entry_id": [entry_id], "issued_at": [issued_at_ms], "entry": [entry]}, _TYPES)


def read_entries(store: Store) -> Sequence[bytes]:
    """Return all entries, each once, in the order in which they were issued; none where there is no table."""
    found = store.query(
        "SELECT 1 FROM system.tables WHERE database = {database:String} AND name = {name:String}",
        {"database": store.database, "name": ENTRIES},
    )
    if not found.rows:
        return []
    sql = f"SELECT entry FROM {ENTRIES} FINAL ORDER BY issued_at, entry_id"  # noqa: S608 - a constant
    return [bytes(entry) for (entry,) in store.query(sql, binary=("entry",)).rows]
