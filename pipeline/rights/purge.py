"""Deletes content by when it was received or by what was found in it, whoever it is of (design §8)."""

import uuid
from collections.abc import Callable

from pipeline.audit.entry import Action
from pipeline.coarsen import format_timestamp
from pipeline.keys.keyring import Keyring
from pipeline.policy.load import Policy
from pipeline.receipts.model import Place, Receipt
from pipeline.rights.receipt import CONTENT, DELETED, about_to, done
from pipeline.store.client import Store
from pipeline.store.ddl import Table
from pipeline.store.erasure import (
    add_tombstones,
    count_lingering,
    ensure_tombstones,
    mask_records,
    purge_masked,
)
from pipeline.store.reading import Selection, count_records, partitions_of, read_ids


def begin_purge(selection: Selection, keys: Keyring, now_ms: int, policy: Policy) -> Receipt:
    """Return a receipt of a purge that begins. It is about no person, so it says in clear what is deleted.

    Args:
        selection: what; its until must be set.
        keys: name it, so that a receipt is gone on with by the same purge only.
        now_ms: now, epoch milliseconds.
        policy: by which it is done.
    """
    since = "" if selection.since_ms is None else f":from:{format_timestamp(selection.since_ms)}"
    name = f"{CONTENT}{since}{selection.entity and ':'}{selection.entity}".lower()
    return Receipt(
        str(uuid.uuid4()),
        str(Action.PURGE),
        "content",
        keys.suppression("purge", f"{name} until {selection.until_ms}"),
        requested_ms=now_ms,
        received_until_ms=selection.until_ms,
        policy_version=policy.version,
        policy_digest=policy.digest,
        places=(Place(name, {}),),
    )


def foretell_purge(receipt: Receipt, count: int) -> Receipt:
    """Return the receipt with how many records are about to go: after a crash nothing else knows how many they were."""
    (place,) = receipt.places
    return receipt.with_place(about_to(place, count))


def record_purge(receipt: Receipt, deleted: int) -> Receipt:
    """Return the receipt with what was deleted this time, added to what it says already, and no less than was begun."""
    (place,) = receipt.places
    return receipt.with_place(done(place, DELETED, deleted))


def deleted_by(receipt: Receipt) -> int:
    """Return how many records a receipt says are gone."""
    (place,) = receipt.places
    return place.counts.get(DELETED, 0)


class Purger:
    """Deletes from the content of one store, in steps that can be done again."""

    def __init__(self, store: Store, table: Table, pseudonym_of: Callable[[str], str]) -> None:
        """Take an open store, its table of content, and what names requests under the suppression key."""
        self._store = store
        self._table = table
        self._pseudonym_of = pseudonym_of

    def count(self, selection: Selection) -> dict[str, int]:
        """Return how many records are selected, by the UTC day or month that the store keeps them in."""
        store, table = self._store, self._table
        found = {one: count_records(store, table, one, selection) for one in partitions_of(store, table, selection)}
        return {partition: count for partition, count in sorted(found.items()) if count}

    def purge(self, selection: Selection, now_ms: int) -> int:
        """Hide what is selected from every reader, for good, and return how much; `finish` takes the bytes.

        Tombstones come first: a crash between leaves no record that could come back once it is hidden.

        Raises:
            SinkUnavailable: the store did not answer, or refused; do it again.
        """
        ensure_tombstones(self._store, self._table.bound_ms)
        deleted = 0
        for partition in partitions_of(self._store, self._table, selection):
            for ids in read_ids(self._store, self._table, partition, selection):
                add_tombstones(self._store, [self._pseudonym_of(one) for one in ids], now_ms, is_whole=False)
                deleted += mask_records(self._store, self._table, ids)
        return deleted

    def finish(self) -> bool:
        """Have parts rewritten without what is hidden, and say whether all bytes are gone; ask again until they are."""
        purge_masked(self._store, self._table)
        return not count_lingering(self._store, self._table)
