"""An erasure, step by step: each is in the receipt before the next begins, so that a crash repeats one at most.

Published, applied by every worker, all done that was in raw before, archived, taken out of the store, its bytes seen
to be gone.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pipeline.coarsen import format_timestamp
from pipeline.errors import ConfigError
from pipeline.policy.load import Policy
from pipeline.receipts.model import Receipt
from pipeline.rights.erase import Erased, Named, Operational, StoreEraser
from pipeline.rights.patience import wait_until
from pipeline.rights.receipt import (
    BEHIND,
    Ends,
    Mark,
    Step,
    applied,
    archived,
    confirm,
    ends_of,
    entry_of,
    foretell,
    mark_of,
    noted,
    published,
    record,
    step_of,
)
from pipeline.store.client import Store
from pipeline.store.entries import add_entry, ensure_entries
from pipeline.store.tags import has_tags
from pipeline.suppress import ControlRecord, encode_entry

if TYPE_CHECKING:  # Kafka's clients take a while to import, and an erasure from a store alone needs none
    from pipeline.rights.barrier import Barrier

NOBODY = "no worker is a member of the group {}; one that joins applies it first"
UNSAID = "no archive has said which store it writes into (one of an older version does not): {} is taken for its"
OTHER = (
    "{} is not the store that the archive writes into (group {}-archive), or is an older copy of it: LETHE_STORE must "
    "be the archive's. Nothing was taken out of it, and the receipt waits. If it is that store, restored, or a replica "
    "that is behind, start the archive again, and do the same again"
)
WAITS_FOR = {
    Step.PUBLISH: "its entry is to be published on the control topic",
    Step.WORKERS: "workers are to apply it",
    Step.BACKLOG: "workers are to be done with what was in raw before",
    Step.ARCHIVE: "the archive is to store what was made before",
    Step.STORE: "it is to be taken out of the store",
    Step.BYTES: "its bytes are to be gone from the store's disk",
    Step.NOTHING: "nothing: it is complete",
}


@dataclass(frozen=True, slots=True)
class Steps:
    """How an erasure is done.

    Attributes:
        policy: by which records were made.
        operational: what becomes of operational records.
        wait_s: how long each step may wait.
        now_ms: the clock, epoch milliseconds.
        save: keeps a receipt, durably.
        tell: says a line to whoever asked for it.
    """

    policy: Policy
    operational: Operational
    wait_s: float
    now_ms: Callable[[], int]
    save: Callable[[Receipt], None]
    tell: Callable[[str], None]

    def through_topics(self, receipt: Receipt, barrier: "Barrier") -> Receipt:
        """Publish, and wait for workers and archive; return the receipt, which may wait for either still.

        Raises:
            ConfigError, SinkUnavailable: Kafka is not there, or refuses, or no workers are known; what was done until
                then is in the receipt.
        """
        if step_of(receipt) is Step.PUBLISH:
            entry = encode_entry(entry_of(receipt, self.operational), self.policy.control)
            at = barrier.publish(receipt.pseudonym, entry)
            receipt = self._saved(published(receipt, at, barrier.until_ms("control", self.now_ms())))
        if (mark := mark_of(receipt)) and step_of(receipt) is Step.WORKERS:
            receipt = self._wait_for_workers(receipt, barrier, mark)
        if (ends := ends_of(receipt, "raw")) is not None and step_of(receipt) is Step.BACKLOG:
            receipt = self._wait_for_backlog(receipt, barrier, ends)
        if (ends := ends_of(receipt, *BEHIND)) is not None and step_of(receipt) is Step.ARCHIVE:
            receipt = self._wait_for_archive(receipt, barrier, ends)
        return receipt

    def _wait_for_workers(self, receipt: Receipt, barrier: "Barrier", mark: Mark) -> Receipt:
        waited = barrier.wait_for_workers(mark, receipt.requested_ms, self.wait_s)
        if waited.left:
            self.tell(f"{waited.left} of {waited.members} workers have not applied it yet")
            return receipt
        if not waited.members:
            self.tell(NOBODY.format(barrier.group))
        receipt = applied(receipt, waited.members, self.now_ms())
        return self._noted(receipt, barrier, barrier.backlog())

    def _wait_for_backlog(self, receipt: Receipt, barrier: "Barrier", ends: Ends) -> Receipt:
        waited = barrier.wait_for_backlog(ends, self.wait_s)
        if waited.left:
            self.tell(f"the workers have {waited.left:,} events before them that were in raw before: do they run?")
            return receipt
        return self._noted(receipt, barrier, barrier.ends(*BEHIND))

    def _noted(self, receipt: Receipt, barrier: "Barrier", ends: Ends) -> Receipt:
        now_ms = self.now_ms()
        return self._saved(noted(receipt, ends, {name: barrier.until_ms(name, now_ms) for name in ends}))

    def _wait_for_archive(self, receipt: Receipt, barrier: "Barrier", ends: Ends) -> Receipt:
        waited = barrier.wait_for_archive(ends, self.wait_s)
        if waited.left:
            self.tell(f"the archive has {waited.left:,} records before it that were made before: does it run?")
            return receipt
        return self._saved(archived(receipt, self.now_ms()))

    def check_store(self, receipt: Receipt, barrier: "Barrier", store: Store) -> None:
        """See that a store is the archive's: what is taken out of another one stays where it is.

        Raises:
            ConfigError: it lacks a tag that the archive has said.
            SinkUnavailable: Kafka or the store is not there.
        """
        tags = barrier.wait_for_archive(ends_of(receipt, *BEHIND) or {}, 0).tags  # said first: the store had it before
        if not has_tags(store, tags - {""}):
            raise ConfigError(OTHER.format(store.label, barrier.group))
        if "" in (tags or {""}):
            self.tell(UNSAID.format(store.label))

    def in_store(self, receipt: Receipt, named: Named, eraser: StoreEraser) -> tuple[Receipt, Erased]:
        """Take a subject out of a store; return the receipt, complete when the bytes are gone, and what was found.

        Raises:
            ConfigError: the policy has no field by which such a subject could be found.
            SinkUnavailable: the store did not answer, or refused.
        """
        keep_entry(eraser, entry_of(receipt, self.operational))
        begun = receipt

        def about_to(found: Erased) -> None:
            nonlocal begun
            begun = self._saved(foretell(receipt, found))

        erased = eraser.erase(named, receipt.requested_ms, self.now_ms(), self.operational, about_to)
        receipt = self._saved(record(begun, erased, self.operational, self.policy))
        if not wait_until(lambda: eraser.finish(self.operational), self.wait_s):
            return receipt, erased
        return self._saved(confirm(receipt, self.now_ms())), erased

    def _saved(self, receipt: Receipt) -> Receipt:
        self.save(receipt)
        return receipt


def keep_entry(eraser: StoreEraser, entry: ControlRecord) -> None:
    """Keep a suppression in a store, durable before anything is taken out: `lethe run` into it goes by these."""
    ensure_entries(eraser.store, eraser.policy.sinks["control"].retention_ms)
    add_entry(eraser.store, entry.entry_id, entry.issued_at_ms, encode_entry(entry, eraser.policy.control))


def describe_status(receipt: Receipt) -> str:
    """Say how far an erasure is, and what it waits for."""
    since = f"requested {format_timestamp(receipt.requested_ms)}"
    return f"{receipt.status}, {since}; waits for: {WAITS_FOR[step_of(receipt)]}"
