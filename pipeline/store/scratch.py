"""Names of tables for the time of one call, and the removal of those that a killed process left."""

import secrets

from pipeline.store.client import Store

ERASING, BUILDING = "erasing_", "usage_build_"
LEFT_BEHIND_S = 86_400


def scratch_name(prefix: str) -> str:
    """Return a new name.

    Args:
        prefix: one of those above.
    """
    return prefix + secrets.token_hex(8)


def drop_left_behind(store: Store) -> None:
    """Drop scratch tables that are a day old. One that is in use is younger, and left alone.

    In a process that lives on, they would hold request ids and pseudonyms for as long as it does.

    Raises:
        SinkUnavailable: the store did not answer, or refused.
    """
    found = store.query(
        "SELECT name FROM system.tables WHERE database = {database:String} AND (startsWith(name, {erasing:String}) "
        "OR startsWith(name, {building:String})) AND metadata_modification_time < now() - {left_s:UInt32}",
        {"database": store.database, "erasing": ERASING, "building": BUILDING, "left_s": LEFT_BEHIND_S},
    )
    for (name,) in found.rows:
        store.command(f"DROP TABLE IF EXISTS {name} SYNC")
