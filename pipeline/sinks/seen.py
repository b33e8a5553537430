"""What a run has written already, in little memory however long the run.

A private temporary database: SQLite keeps some megabytes of it in memory and spills the rest into an unnamed file that
is gone when its process is, however that ends. It holds digests only.
"""

import sqlite3
from collections.abc import Sequence
from enum import Enum, auto
from hashlib import blake2b

from pipeline.errors import SinkUnavailable

_CACHE_KIB = 8 * 1024
_KEY_BYTES, _DIGEST_BYTES = 16, 12
_ABSENT = bytes(_DIGEST_BYTES)


class Known(Enum):
    """What a record is to the one written before it under its identity."""

    NEW = auto()
    REPEATED = auto()
    CONFLICT = auto()


class Seen:
    """Remembers identities, and a digest of each record that came first under one."""

    def __init__(self) -> None:
        self._database = sqlite3.connect("", isolation_level=None)
        for pragma in ("journal_mode=OFF", "synchronous=OFF", f"cache_size=-{_CACHE_KIB}"):
            self._database.execute(f"PRAGMA {pragma}")
        self._database.execute("CREATE TABLE seen (identity BLOB PRIMARY KEY, digests BLOB) WITHOUT ROWID")
        self._database.execute("BEGIN")  # never committed: a transaction for each row would cost twice the time

    def compare(self, identity: str, records: Sequence[bytes | None]) -> list[Known]:
        """Compare the records of an event with what came before under its identity, and remember what is new.

        Args:
            identity: of the event.
            records: its records, always in the same order; None for one that it does not have.

        Raises:
            SinkUnavailable: the disk of temporary files is full.
        """
        failed = False
        try:
            return self._compare(_digest(identity.encode(), _KEY_BYTES), [_digest(record) for record in records])
        except sqlite3.Error:
            failed = True
        assert failed  # noqa: S101 - says why we are here, outside the except block
        raise SinkUnavailable("the temporary list of what was written cannot grow: is the disk of TMPDIR full?")

    def close(self) -> None:
        """Forget everything."""
        self._database.close()

    def _compare(self, key: bytes, coming: list[bytes]) -> list[Known]:
        insert = "INSERT OR IGNORE INTO seen VALUES (?, ?)"
        if self._database.execute(insert, (key, b"".join(coming))).rowcount:
            return [Known.NEW] * len(coming)
        (row,) = self._database.execute("SELECT digests FROM seen WHERE identity = ?", (key,)).fetchone()
        known = [row[begin : begin + _DIGEST_BYTES] for begin in range(0, len(row), _DIGEST_BYTES)]
        pairs = list(zip(known, coming, strict=True))
        if _ABSENT in known:  # an event whose content could not be stored before
            merged = b"".join(new if old == _ABSENT else old for old, new in pairs)
            self._database.execute("UPDATE seen SET digests = ? WHERE identity = ?", (merged, key))
        return [_judge(old, new) for old, new in pairs]


def _judge(old: bytes, new: bytes) -> Known:
    if old == _ABSENT:
        return Known.NEW
    return Known.REPEATED if old == new else Known.CONFLICT


def _digest(record: bytes | None, size: int = _DIGEST_BYTES) -> bytes:
    return _ABSENT if record is None else blake2b(record, digest_size=size).digest()
