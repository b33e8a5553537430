"""Records as columns, and the rule that decides what a record is to the one already stored under its id. Pure."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from enum import Enum, auto
from hashlib import blake2b
from operator import itemgetter
from typing import Any, NamedTuple

import orjson

from pipeline.errors import PipelineError
from pipeline.policy.model import FieldType
from pipeline.records import ContentRecord, Fields, OperationalRecord, Rejection, Sealed
from pipeline.store.bounds import due_before_ms
from pipeline.store.ddl import DIGEST, INSERTED_AT, Table, encoding_column

Key = tuple[str | int, ...]
UNLINKED = 0
"""Digest of a row without its account: what comes again under its id, made before or after that, is a repeat."""


class Verdict(Enum):
    """What a record is to the row already stored under its id."""

    NEW = auto()
    REPLACES = auto()
    REPEATED = auto()
    CONFLICT = auto()


class Stamp(NamedTuple):
    """What a row is compared by.

    Attributes:
        digest: of all bytes of the record but its lapsing fields: a digest that outlives an address would let anyone
            who can guess the address confirm it.
        version: policy version, 0 where the table has none.
        lapsing: values of the lapsing fields, in order.
    """

    digest: int
    version: int
    lapsing: tuple[str | None, ...]


class Entry(NamedTuple):
    """A record on its way into a table; a named tuple, like its stamp, because two are made for every event.

    Attributes:
        key: its identity.
        stamp: what it is compared by.
        fields: the record's clear fields.
        body: the record's body, where it has one.
    """

    key: Key
    stamp: Stamp
    fields: Fields
    body: Sealed | None


def judge(stored: Stamp | None, coming: Stamp) -> Verdict:
    """Decide what a record is to the stored row of the same id (design §5).

    A higher policy version replaces the row. A lower one (a worker not yet upgraded) is a repeat of what is already
    better known. At the same version other bytes are a conflict, except where a lapsing field is null on one side: its
    day key is gone, or the store has nulled it. A row that lost its account in an erasure never gets it back, and a
    record that was made after its erasure is none to the row from before, which the erasure finds by itself.
    """
    if stored is None:
        return Verdict.NEW
    if UNLINKED in {stored.digest, coming.digest}:
        return Verdict.REPEATED
    if stored.version != coming.version:
        return Verdict.REPLACES if coming.version > stored.version else Verdict.REPEATED
    lapsing = zip(stored.lapsing, coming.lapsing, strict=True)
    if stored.digest != coming.digest or any(None not in pair and pair[0] != pair[1] for pair in lapsing):
        return Verdict.CONFLICT
    return Verdict.REPEATED


def make_entry(table: Table) -> Callable[[ContentRecord | OperationalRecord | Rejection], Entry]:
    """Return the function that turns records of one table into entries."""
    lasting = [field for field in table.fields if field.null_after_ms is None and field.type is not FieldType.BODY]
    lasting_of = _tuple_getter([field.name for field in lasting])
    lapsing_of = _tuple_getter([field.name for field in table.lapsing])
    key_of = _tuple_getter(table.key)
    version = table.version

    def entry(record: ContentRecord | OperationalRecord | Rejection) -> Entry:
        fields: Mapping[str, Any] = record.fields
        body = record.body if isinstance(record, ContentRecord) else None
        digest = _digest(lasting_of(fields), body)
        stamp = Stamp(digest, fields[version] if version else 0, lapsing_of(fields))
        return Entry(key_of(fields), stamp, fields, body)

    return entry


def unlinked(
    entry_of: Callable[[OperationalRecord], Entry], account: str | None
) -> Callable[[OperationalRecord], Entry]:
    """Return the function that makes entries likewise, and gives those without an account the digest `UNLINKED`.

    Args:
        entry_of: makes them.
        account: operational field of the account; None where there is none.
    """
    if account is None:
        return entry_of

    def entry(record: OperationalRecord) -> Entry:
        made = entry_of(record)
        return made if made.fields[account] is not None else made._replace(stamp=made.stamp._replace(digest=UNLINKED))

    return entry


def make_columns(table: Table, entries: Sequence[Entry], now_ms: int) -> dict[str, list[Any]]:
    """Return the entries as columns, ready for a native insert; lapsing fields that are due are already null.

    Args:
        table: their table.
        entries: what to insert.
        now_ms: now, epoch milliseconds.
    """
    times = (
        [now_ms] * len(entries) if table.time == INSERTED_AT else _to_ms(entry.fields[table.time] for entry in entries)
    )
    columns: dict[str, list[Any]] = {}
    for field in table.fields:
        if field.type is FieldType.BODY:
            bodies = [entry.body for entry in entries if entry.body is not None]
            columns[field.name] = [body.data for body in bodies]
            columns[encoding_column(field.name)] = [body.encoding for body in bodies]
            continue
        values: list[Any] = [entry.fields[field.name] for entry in entries]
        if field.type is FieldType.TIMESTAMP:
            values = times if field.name == table.time else _to_ms(values)
        if field.null_after_ms is not None:
            due_before = due_before_ms(field.null_after_ms, now_ms)
            values = [None if time < due_before else value for time, value in zip(times, values, strict=True)]
        columns[field.name] = values
    if table.time == INSERTED_AT:
        columns[INSERTED_AT] = times
    columns[DIGEST] = [entry.stamp.digest for entry in entries]
    return columns


def _tuple_getter(names: Sequence[str]) -> Callable[[Mapping[str, Any]], tuple[Any, ...]]:
    """Return the function that reads some fields of a record as a tuple; itemgetter does so for two and more."""
    if len(names) > 1:
        return itemgetter(*names)
    return lambda fields: tuple(fields[name] for name in names)


def _digest(values: tuple[Any, ...], body: Sealed | None) -> int:
    data = orjson.dumps(values, option=orjson.OPT_SORT_KEYS)
    if body is not None:
        data = b"\0".join((data, body.encoding.encode(), body.data))  # one update costs less than three
    return int.from_bytes(blake2b(data, digest_size=8).digest(), "big")


def _to_ms(stamps: Iterable[Any]) -> list[Any]:
    with suppress(TypeError, ValueError):  # their text repeats the value: a fresh error is raised below
        return [None if text is None else round(datetime.fromisoformat(text).timestamp() * 1000) for text in stamps]
    raise PipelineError("a record has a timestamp that is not ISO 8601")
