"""From a request to its account: pseudonyms are one-way, so the account must be among those that are given."""

import hmac
from collections.abc import Iterable
from enum import StrEnum
from typing import NamedTuple

from pipeline.errors import ConfigError
from pipeline.pseudonym import pseudonymize
from pipeline.rights.erase import StoreEraser, pseudonym_field
from pipeline.suppress import Subject


class Miss(StrEnum):
    """Why no account can be named, before any was looked at."""

    UNKNOWN = "there is no operational record of that request in this store"
    UNLINKED = "the request's record does not refer to an account any more: it was erased, or had none"


class Match(NamedTuple):
    """What came of a look through a list.

    Attributes:
        account: the one that the request is of, or None.
        scanned: how many were looked at.
    """

    account: str | None
    scanned: int

    def __repr__(self) -> str:
        return f"Match(scanned={self.scanned})"


def find_pseudonym(eraser: StoreEraser, request_id: str) -> str | Miss:
    """Return the pseudonym of a request's account, or why there is none.

    Raises:
        ConfigError: the policy keeps no pseudonym of accounts.
        SinkUnavailable: the store did not answer, or refused.
    """
    field = pseudonym_field(eraser.policy, Subject.ACCOUNT)
    sql = f"SELECT `{field}` FROM operational WHERE request_id = {{id:String}}"  # noqa: S608 - a checked name
    rows = eraser.store.query(sql, {"id": request_id}).rows
    if not rows:
        return Miss.UNKNOWN
    return Miss.UNLINKED if rows[0][0] is None else str(rows[0][0])


def match_account(eraser: StoreEraser, pseudonym: str, accounts: Iterable[str]) -> Match:
    """Return the account that a pseudonym is of; memory does not grow with the list, and the look ends at a match.

    A pseudonym names its key epoch, so an account costs one HMAC, however many epochs there are.

    Args:
        eraser: has the keys.
        pseudonym: of `find_pseudonym`.
        accounts: ids, one by one.

    Raises:
        ConfigError: the key of its epoch is not there.
    """
    name = pseudonym.partition(":")[0]
    epoch = next((one for one in eraser.keys.epochs if one.name == name), None)
    if epoch is None:
        raise ConfigError(f"the request is of key epoch {name}, which the key file does not have")
    field, scanned = pseudonym_field(eraser.policy, Subject.ACCOUNT), 0
    for account in accounts:
        scanned += 1
        if hmac.compare_digest(pseudonymize(epoch.key, name, field, account), pseudonym):
            return Match(account, scanned)
    return Match(None, scanned)
