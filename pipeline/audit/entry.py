"""Entries of the audit log: their fields, canonical bytes and hashes. Pure.

An entry is one line of JSON: keys sorted, no white space, no floats. Its hash is SHA-256 over a constant and the line
without ``hash``; each entry holds the hash of the one before. So whoever changes, takes out or moves an entry has to
write all later ones anew, and a head that was published before, or a signed checkpoint, then does not fit.
"""

import hashlib
from collections.abc import Mapping
from enum import StrEnum
from typing import Any, NamedTuple

import orjson

from pipeline.coarsen import format_timestamp
from pipeline.errors import PipelineError
from pipeline.keys.signing import CHECKPOINT, Signer, is_signed
from pipeline.policy.model import RecordSchema

ENTRY_BYTES_MAX = 4096
GENESIS = "0" * 64
"""What stands for the hash before the first entry."""

_DOMAIN = b"lethe audit v1\0"


class AuditFault(PipelineError):  # noqa: N818 - as its neighbours in pipeline.errors
    """The audit log cannot be written, or does not hold. What was to be recorded must not be done."""


class Action(StrEnum):
    """What is done; the first three are the log's own. The same list as in schemas/record/v1/audit.schema.json."""

    CHECKPOINT = "checkpoint"
    REPAIR = "repair"
    EXPIRE = "expire"
    READ_RAW = "read_raw"
    EXPORT = "export"
    ERASE = "erase"
    RESTRICT = "restrict"
    LIFT = "lift"
    FIND = "find"
    RESOLVE = "resolve"
    SEARCH = "search"
    OPEN = "open"
    PURGE = "purge"
    RESCRUB = "rescrub"
    PSEUDONYM = "pseudonym"
    KEYS = "keys"


class Outcome(StrEnum):
    """How far an action went."""

    STARTED = "started"
    DONE = "done"
    REFUSED = "refused"
    FAILED = "failed"


class Subject(StrEnum):
    """What a pseudonym of an entry stands for; a record is ``topic/partition/offset`` of raw."""

    ACCOUNT = "account"
    API_KEY = "api_key"
    REQUEST = "request"
    RECORD = "record"


class Operator(NamedTuple):
    """Who acts.

    Attributes:
        actor: as LETHE_ACTOR says, or else the login.
        login: of the process.
        host: the machine.
    """

    actor: str
    login: str
    host: str


class Deed(NamedTuple):
    """A privileged action that is to be done.

    Attributes:
        action: what.
        reason: why, of the catalogue audit_reasons; None for the log's own.
        ticket: where the reason is written down, such as ``ABUSE-17``; None with the reason ``schedule``.
        subject: what the pseudonym stands for, or None.
        pseudonym: whom it is about, from `pipeline.keys.keyring.Keyring.suppression`, or None.
    """

    action: Action
    reason: str | None = None
    ticket: str | None = None
    subject: Subject | None = None
    pseudonym: str | None = None


class Head(NamedTuple):
    """Where a chain ends: its log, and the sequence and hash of its last entry."""

    log: str
    sequence: int
    hash: str

    def __str__(self) -> str:
        return f"{self.log}:{self.sequence}:{self.hash}"


Entry = Mapping[str, Any]


def make_entry(
    head: Head,
    deed: Deed,
    outcome: Outcome,
    operator: Operator,
    at_ms: int,
    schema: RecordSchema,
    *,
    started: int | None = None,
    counts: Mapping[str, int] | None = None,
    signer: Signer | None = None,
) -> tuple[bytes, Head]:
    """Return the next entry's line, without its end, and the head that it makes.

    Args:
        head: of the chain so far; a new chain has the sequence -1 and the hash `GENESIS`.
        deed: what is done.
        outcome: how far it went.
        operator: who does it.
        at_ms: epoch milliseconds.
        schema: of entries.
        started: sequence of the entry that began it, where this one ends it.
        counts: numbers by name, of the catalogue audit_counts.
        signer: signs it; of a checkpoint only.

    Raises:
        AuditFault: it does not hold to its schema; the text holds nothing of it.
    """
    fields: dict[str, Any] = {
        "log": head.log,
        "sequence": head.sequence + 1,
        "at": format_timestamp(at_ms),
        **operator._asdict(),
        "action": str(deed.action),
        "subject": None if deed.subject is None else str(deed.subject),
        "pseudonym": deed.pseudonym,
        "reason": deed.reason,
        "ticket": deed.ticket,
        "outcome": str(outcome),
        "started": started,
        "counts": dict(counts or {}),
        "previous": head.hash,
        "schema_version": schema.version,
        "signer": None if signer is None else signer.public,
    }
    fields["signature"] = None if signer is None else signer.sign(CHECKPOINT, canonical(fields))
    fields["hash"] = hash_of(fields)
    line = canonical(fields)
    if not schema.is_valid(fields) or len(line) > ENTRY_BYTES_MAX:
        raise AuditFault(
            "an entry does not hold to schemas/record/v1/audit.schema.json: the reason must be one of its catalogue "
            "but `other`, with a ticket such as ABUSE-17 unless it is `schedule`"
        )
    return line, Head(head.log, fields["sequence"], fields["hash"])


def parse_entry(line: bytes, schema: RecordSchema) -> Entry | str:
    """Read a line, without its end.

    Returns:
        The entry; or what is wrong with it, without anything of it.
    """
    try:
        fields = orjson.loads(line) if len(line) <= ENTRY_BYTES_MAX else None
    except orjson.JSONDecodeError:
        fields = None
    if not isinstance(fields, dict):
        return "is no entry"
    if not schema.is_valid(fields):
        return "does not hold to the schema of entries"
    if canonical(fields) != line or fields["hash"] != hash_of(fields):
        return "was changed: its hash does not fit"
    return fields


def head_of(entry: Entry) -> Head:
    """Return the head that an entry makes."""
    return Head(entry["log"], entry["sequence"], entry["hash"])


def is_signed_by(entry: Entry, public: str) -> bool:
    """Tell whether an entry is a checkpoint that a public key of 64 hex digits signed."""
    fields = {name: value for name, value in entry.items() if name not in {"signature", "hash"}}
    return entry["signer"] == public and is_signed(public, CHECKPOINT, canonical(fields), entry["signature"])


def hash_of(entry: Entry) -> str:
    """Return the hash of an entry, whatever hash it holds."""
    fields = {name: value for name, value in entry.items() if name != "hash"}
    return hashlib.sha256(_DOMAIN + canonical(fields)).hexdigest()


def canonical(fields: Entry) -> bytes:
    """Return the canonical bytes of fields."""
    return orjson.dumps(fields, option=orjson.OPT_SORT_KEYS)
