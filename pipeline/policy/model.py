"""The compiled policy: plain frozen data, no I/O. `pipeline.policy.load` makes it from schemas/."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any


class Treatment(StrEnum):
    """What happens to a leaf (design §3). Closed: an unknown word fails at load."""

    DROP = "drop"
    PSEUDONYMIZE = "pseudonymize"
    COARSEN = "coarsen"
    CONTENT = "content"
    OPERATIONAL = "operational"


class Role(StrEnum):
    """What a leaf means to the pipeline, whatever it is called."""

    REQUEST_ID = "request_id"
    RECEIVED_AT = "received_at"
    ACCOUNT = "account"
    API_KEY = "api_key"
    OWN_IDENTIFIER = "own_identifier"
    CLIENT_IP = "client_ip"


REFERRING_ROLES = frozenset({Role.ACCOUNT, Role.API_KEY, Role.OWN_IDENTIFIER, Role.CLIENT_IP})
REFERRING_WAYS = frozenset({"pseudonym", "day_pseudonym", "network"})
"""Roles of leaves, and ways to become a field (`as`), that refer to the account: an erasure makes such fields null."""


class FieldType(StrEnum):
    """Types that a record's field can have; a store derives its columns from them."""

    STRING = "string"
    TIMESTAMP = "timestamp"
    INTEGER = "integer"
    NUMBER = "number"
    BOOLEAN = "boolean"
    COUNTS = "counts"
    BODY = "body"


@dataclass(frozen=True, slots=True)
class RecordField:
    """One field of an output record.

    Attributes:
        name: its name in the record, and its column's name in a store.
        type: its type. ``timestamp`` is ISO 8601 UTC with milliseconds and ``Z``; ``counts`` maps a closed set of
            names to integers; ``body`` is the sealed content.
        nullable: whether it may be null.
        closed: its values come from an enum or a catalogue (a store may dictionary-encode it).
        format: name of the strict format a string follows, or "".
        null_after_ms: the store makes it null this long after received_at, or None.
        why: what it is for.
    """

    name: str
    type: FieldType
    nullable: bool
    closed: bool = False
    format: str = ""
    null_after_ms: int | None = None
    why: str = ""


@dataclass(frozen=True, slots=True)
class RecordSchema:
    """An output record: content, operational or rejection; or an entry of the control topic or audit log.

    Attributes:
        name: ``content``, ``operational``, ``rejection``, ``control`` or ``audit``.
        version: of the schema.
        fields: in order; a record has exactly these.
        links: fields that two records share, each with its declared reason (lint rule 3).
        is_valid: the compiled JSON Schema, catalogues included.
    """

    name: str
    version: int
    fields: tuple[RecordField, ...]
    links: Mapping[str, str]
    is_valid: Callable[[Any], bool] = field(repr=False, compare=False)


@dataclass(frozen=True, slots=True)
class StorePolicy:
    """A declared sink that has no topic (schemas/stores/*.json): tables made from those of another sink.

    Attributes:
        name: ``aggregates``.
        tables: their names.
        made_from: name of that sink.
        owner: who answers for it.
        retention_ms: the bound, from the begin of the period that a line is of to its bytes being gone.
        clause: of the privacy policy.
        why: what it is for.
    """

    name: str
    tables: tuple[str, ...]
    made_from: str
    owner: str
    retention_ms: int
    clause: str
    why: str


@dataclass(frozen=True, slots=True)
class SinkPolicy:
    """A declared sink (schemas/topics/*.json).

    Attributes:
        name: ``raw``, ``content``, ``operational``, ``rejected``, ``control``, ``applied`` or ``audit``.
        topic: topic name after the prefix.
        schema: name of its record schema, or "" where the project does not declare one yet.
        partitions: default number of partitions.
        owner: who answers for it.
        retention_ms: the bound: longest time from the request to the bytes being gone, topic and store together.
        clause: of the privacy policy.
        managed: whether ``lethe topics apply`` may touch it.
        why: what it is for.
    """

    name: str
    topic: str
    schema: str
    partitions: int
    owner: str
    retention_ms: int
    clause: str
    managed: bool
    why: str
