"""Erases a subject from a store, in steps that can be done again (policy §8).

Whoever calls this has published the suppression before, so that nothing new comes in meanwhile.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

from pipeline import plan
from pipeline.errors import ConfigError
from pipeline.keys.keyring import Keyring
from pipeline.policy.load import Policy
from pipeline.policy.model import Role
from pipeline.store.client import Store
from pipeline.store.ddl import Table
from pipeline.store.erasure import (
    add_tombstones,
    count_lingering,
    count_records,
    delete_records,
    ensure_tombstones,
    find_requests,
    mask_records,
    purge_masked,
    unlink_records,
)
from pipeline.store.intake import make_tables, schemas_of
from pipeline.suppress import Subject
from pipeline.usage.stale import mark_days, withdraw

_ROLES = {Subject.ACCOUNT: Role.ACCOUNT, Subject.API_KEY: Role.API_KEY}


class Operational(StrEnum):
    """What becomes of the operational records: they lose what refers to the account, go, or stay (a legal hold)."""

    UNLINK = "unlink"
    DELETE = "delete"
    KEEP = "keep"


class Named(NamedTuple):
    """A subject by its real name, which leaves this process only as pseudonyms.

    Attributes:
        subject: what it is.
        value: account id, API key id or request id.
    """

    subject: Subject
    value: str

    def __repr__(self) -> str:
        return f"Named({self.subject})"


class Erased(NamedTuple):
    """What an erasure found and changed this time; done again it finds less, and in the end nothing.

    Attributes:
        requests: requests of the subject.
        content: content records hidden from every reader.
        operational: operational records unlinked or deleted.
        days: days whose aggregates counted these, and were taken out until they are built anew.
    """

    requests: int
    content: int
    operational: int
    days: int = 0


@dataclass(frozen=True, slots=True)
class StoreEraser:
    """Erases in one store.

    Attributes:
        store: open; its tables exist.
        policy: as its records were made by.
        keys: all key epochs of which there are records.
    """

    store: Store
    policy: Policy
    keys: Keyring

    def erase(
        self,
        named: Named,
        until_ms: int,
        now_ms: int,
        operational: Operational,
        foretell: Callable[[Erased], None] = lambda _: None,
    ) -> Erased:
        """Take a subject's requests out.

        A crash at any point leaves what is needed to do the rest: tombstones come first, and operational records, by
        which the requests are found, last.

        Args:
            named: the subject.
            until_ms: latest received_at of its requests, epoch milliseconds.
            now_ms: now, likewise.
            operational: what becomes of operational records.
            foretell: is told what is about to be done, before anything is: after a crash it cannot be found any more.

        Raises:
            ConfigError: the policy has no operational field by which such a subject could be found.
            SinkUnavailable: the store did not answer, or refused.
        """
        request_ids = self.requests_of(named, until_ms)
        foretell(self._count(request_ids, operational))
        ensure_tombstones(self.store, self.policy.sinks["content"].retention_ms)
        tombstones = [self.keys.suppression(Subject.REQUEST, one) for one in request_ids]
        add_tombstones(self.store, tombstones, now_ms, is_whole=operational is Operational.DELETE)
        content = mask_records(self.store, self.table("content"), request_ids)
        days = 0 if operational is Operational.KEEP else mark_days(self.store, self.table("operational"), request_ids)
        changed = self._change_operational(operational, request_ids)
        withdraw(self.store)
        return Erased(len(request_ids), content, changed, days)

    def _count(self, request_ids: Sequence[str], operational: Operational) -> Erased:
        content, rows = (
            count_records(self.store, self.table(name), request_ids) for name in ("content", "operational")
        )
        return Erased(len(request_ids), content, 0 if operational is Operational.KEEP else rows)

    def requests_of(self, named: Named, until_ms: int) -> list[str]:
        """Return the ids of a subject's requests, received up to a time, over all key epochs.

        Raises:
            ConfigError: the policy has no operational field by which such a subject could be found.
        """
        if named.subject is Subject.REQUEST:
            return [named.value]
        field = pseudonym_field(self.policy, named.subject)
        pseudonyms = self.keys.pseudonyms(field, named.value)
        return find_requests(self.store, self.table("operational"), field, pseudonyms, until_ms)

    def finish(self, operational: Operational) -> bool:
        """Have parts rewritten without what is hidden, and say whether all bytes are gone; ask again until they are."""
        content = self.table("content")
        purge_masked(self.store, content)
        changed = [content] if operational is Operational.KEEP else [content, self.table("operational")]
        return not any(count_lingering(self.store, table) for table in changed)

    def _change_operational(self, operational: Operational, request_ids: Sequence[str]) -> int:
        table = self.table("operational")
        if operational is Operational.UNLINK:
            return unlink_records(self.store, table, plan.referring_fields(self.policy.shape), request_ids)
        return delete_records(self.store, table, request_ids) if operational is Operational.DELETE else 0

    def table(self, name: str) -> Table:
        """Return the table of a stored sink."""
        tables = make_tables(schemas_of(self.policy), self.policy.sinks)
        return next(table for table in tables if table.sink == name)


def pseudonym_field(policy: Policy, subject: Subject) -> str:
    """Return the operational field that holds the pseudonym of an account or API key.

    Raises:
        ConfigError: the policy has none.
    """
    field = plan.pseudonym_field(policy.shape, _ROLES[subject])
    if field is not None:
        return field
    raise ConfigError(f"the policy keeps no pseudonym of an {subject} in operational records: name requests instead")
