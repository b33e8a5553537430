"""Which store is it? The archive tags the one that it writes into, and says the tag with its offsets (docs/rights.md).

An erasure looks whether the store that it was given has the tags that were said: otherwise it would be complete in one
store, while content lies in another. A tag is random. It is made anew each time the archive starts and after each
sweep, so a copy of a store, which has its tags, lacks the next one.
"""

import re
import secrets
from collections.abc import Collection

from pipeline.store.client import Store
from pipeline.store.sidetables import create_side_table

TAGS = "archive_tag_rows"
_TYPES = {"tag": "String", "tagged_at": "DateTime64(3, 'UTC')"}
_SAID = re.compile(r"store:([0-9a-f]{32})", re.ASCII)


def add_tag(store: Store, bound_ms: int, now_ms: int) -> str:
    """Give a store one more tag, and return it. When this returns the tag is durable.

    Args:
        store: an open store.
        bound_ms: how long tags are kept: that of content. An archive that runs makes one an hour.
        now_ms: now, epoch milliseconds.

    Raises:
        SinkUnavailable: the store did not answer, or refused.
    """
    create = create_side_table(TAGS, _TYPES, key="tag", time="tagged_at", bound_ms=bound_ms, partition="toDate")
    store.command(create)
    tag = secrets.token_hex(16)
    store.insert(TAGS, {"tag": [tag], "tagged_at": [now_ms]}, _TYPES)
    return tag


def to_metadata(tag: str) -> str:
    """Return what is committed beside an offset; "" for no tag."""
    return tag and f"store:{tag}"


def from_metadata(text: str | None) -> str:
    """Return the tag that was committed beside an offset; "" where it is none of an archive's."""
    found = _SAID.fullmatch(text or "")
    return found[1] if found else ""


def has_tags(store: Store, tags: Collection[str]) -> bool:
    """Tell whether a store has all of some tags.

    Raises:
        SinkUnavailable: the store did not answer, or refused.
    """
    there = "SELECT 1 FROM system.tables WHERE database = {database:String} AND name = {name:String}"
    if not store.query(there, {"database": store.database, "name": TAGS}).rows:
        return not tags
    sql = f"SELECT uniqExact(tag) FROM {TAGS} WHERE tag IN {{tags:Array(String)}}"  # noqa: S608 - a constant
    return int(store.query(sql, {"tags": sorted(tags)}).rows[0][0]) == len(set(tags))
