"""Suppressions: whose events are restricted or erased, read from entries of the control topic (policy §8). Pure.

An entry names its subject by a pseudonym under the suppression key, which is made for this alone and never rotates: an
erasure must still find its account when the key epochs of its records are long gone. Entries of one subject follow one
another, because they have the pseudonym as their key.
"""

from collections.abc import Iterable, Mapping
from enum import StrEnum
from typing import Any, NamedTuple

from pipeline.coarsen import TIME_MS_MIN, format_timestamp, parse_timestamp
from pipeline.codec import decode, encode
from pipeline.errors import InvalidEvent, PipelineError
from pipeline.policy.model import RecordSchema

_ENTRY_BYTES_MAX = 4096
_DEPTH_MAX = 8
_NEVER_MS = TIME_MS_MIN - 1
_UNTIL = "must have received_until when it is an erasure, and only then"


class ControlFault(PipelineError):  # noqa: N818 - as its neighbours in pipeline.errors
    """An entry is none. Whoever reads it must stop: to pass over it could keep what someone had erased."""


class Action(StrEnum):
    """What an entry does.

    RESTRICT: no content of the subject is stored from now on. LIFT ends that. ERASE: nothing of the subject's requests
    up to a time is made any more, apart from what the entry says of the operational record.
    """

    RESTRICT = "restrict"
    LIFT = "lift"
    ERASE = "erase"


class Subject(StrEnum):
    """What a pseudonym of an entry stands for."""

    ACCOUNT = "account"
    API_KEY = "api_key"
    REQUEST = "request"


class ControlRecord(NamedTuple):
    """One entry of the control topic, see schemas/record/v1/control.schema.json.

    Attributes:
        entry_id: a UUID, the same when an entry is written again.
        action: what it does.
        subject: what the pseudonym stands for.
        pseudonym: ``s1:`` and a digest, from `pipeline.keys.keyring.Keyring.suppression`. Also the record's key.
        issued_at_ms: when it was written, epoch milliseconds.
        received_until_ms: of an erasure: the latest received_at that it applies to. None otherwise.
        unlink: of an erasure: operational records lose what refers to the account; otherwise they stay as they are
            (a legal hold).
    """

    entry_id: str
    action: Action
    subject: Subject
    pseudonym: str
    issued_at_ms: int
    received_until_ms: int | None = None
    unlink: bool = True

    def __repr__(self) -> str:
        return f"ControlRecord({self.action} {self.subject}, {self.entry_id})"


class Verdict(NamedTuple):
    """What suppressions say of one event.

    Attributes:
        outcome: why its content is not made: ``restricted`` or ``erased``; "" when it is.
        unlink: whether the operational record loses what refers to the account.
    """

    outcome: str = ""
    unlink: bool = False


CLEAR = Verdict()


class Suppressions:
    """Those in force. The core only asks; whoever reads the control topic applies entries, perhaps meanwhile."""

    def __init__(self) -> None:
        self._restricted: set[str] = set()
        self._toggled: set[tuple[str, Action, str]] = set()
        # Latest received_at by pseudonym: what is erased up to then, and what is unlinked too. They are kept apart,
        # so that of two erasures the one that keeps (a legal hold) is not widened by the one that unlinks.
        self._erased: dict[str, int] = {}
        self._unlinked: dict[str, int] = {}

    def __bool__(self) -> bool:
        return bool(self._restricted or self._erased)

    def __repr__(self) -> str:
        return f"Suppressions({len(self._restricted)} restrictions, {len(self._erased)} erasures)"

    def apply(self, entry: ControlRecord) -> None:
        """Take an entry into account. The same one again changes nothing; erasures add up, and nothing ends them.

        Raises:
            ControlFault: it is an erasure that does not say until when.
        """
        if entry.action is Action.ERASE:
            self._erase(entry)
            return
        toggle = entry.entry_id, entry.action, entry.pseudonym
        if toggle not in self._toggled:  # a lift that is written again must not end a later restriction
            self._toggled.add(toggle)
            change = self._restricted.add if entry.action is Action.RESTRICT else self._restricted.discard
            change(entry.pseudonym)

    def _erase(self, entry: ControlRecord) -> None:
        until_ms = entry.received_until_ms
        if until_ms is None:
            raise ControlFault(_UNTIL)
        # What unlinks comes first: a thread that judges meanwhile must not see the erasure without it.
        for ends in (self._unlinked, self._erased) if entry.unlink else (self._erased,):
            ends[entry.pseudonym] = max(ends.get(entry.pseudonym, until_ms), until_ms)

    def judge(self, pseudonyms: Iterable[str], received_at_ms: int) -> Verdict:
        """Say what becomes of an event.

        Args:
            pseudonyms: of its account, API key and request, under the suppression key.
            received_at_ms: when its request came in.
        """
        outcome, unlink = "", False
        for pseudonym in pseudonyms:
            if received_at_ms <= self._erased.get(pseudonym, _NEVER_MS):
                outcome = "erased"
                unlink = unlink or received_at_ms <= self._unlinked.get(pseudonym, _NEVER_MS)
            elif pseudonym in self._restricted:
                outcome = outcome or "restricted"
        return Verdict(outcome, unlink)


def encode_entry(entry: ControlRecord, schema: RecordSchema) -> bytes:
    """Return an entry's bytes.

    Raises:
        ControlFault: it does not hold to its schema.
    """
    until_ms = entry.received_until_ms
    fields: dict[str, Any] = {
        "entry_id": entry.entry_id,
        "action": str(entry.action),
        "subject": str(entry.subject),
        "pseudonym": entry.pseudonym,
        "issued_at": format_timestamp(entry.issued_at_ms),
        "received_until": None if until_ms is None else format_timestamp(until_ms),
        "operational": "unlink" if entry.unlink else "keep",
        "schema_version": schema.version,
    }
    _check(fields, schema)
    return encode(fields)


def decode_entry(raw: bytes, schema: RecordSchema) -> ControlRecord:
    """Read an entry's bytes.

    Raises:
        ControlFault: they are none; the text holds nothing of them.
    """
    fields = _parse(raw)
    _check(fields, schema)
    until = fields["received_until"]
    return ControlRecord(
        entry_id=fields["entry_id"],
        action=Action(fields["action"]),
        subject=Subject(fields["subject"]),
        pseudonym=fields["pseudonym"],
        issued_at_ms=_to_ms(fields["issued_at"]),
        received_until_ms=None if until is None else _to_ms(until),
        unlink=fields["operational"] == "unlink",
    )


def _parse(raw: bytes) -> Mapping[str, Any]:
    try:
        decoded = decode(raw, size_max=_ENTRY_BYTES_MAX, depth_max=_DEPTH_MAX)
    except InvalidEvent as fault:
        reason = str(fault.reason)
    else:
        if not decoded.duplicate_keys:  # of two values of one field neither is to be trusted
            return decoded.event
        reason = "repeated keys"
    raise ControlFault(f"is no entry of the control topic ({reason})")


def _check(fields: Mapping[str, Any], schema: RecordSchema) -> None:
    if fields.get("schema_version") != schema.version:
        raise ControlFault(f"is not of schema version {schema.version}: this lethe may be older than what wrote it")
    if not schema.is_valid(fields):
        raise ControlFault("does not hold to schemas/record/v1/control.schema.json")
    if (fields["action"] == Action.ERASE) != (fields["received_until"] is not None):
        raise ControlFault(_UNTIL)


def _to_ms(text: str) -> int:
    time_ms = parse_timestamp(text)
    if time_ms is None:
        raise ControlFault("has a time that is none")
    return time_ms
