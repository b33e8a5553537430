"""A receipt: what was done about a subject, where, what remains, why and until when. Pure."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum

from pipeline.errors import PipelineError
from pipeline.policy.validator import FORMATS

_COUNT_MAX = (1 << 53) - 1
_PLACES_MAX = 1000
_TEXT = re.compile(r"[^\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]{1,300}")
_NAME = re.compile(r"[a-z][a-z0-9_.:-]{0,79}", re.ASCII)
_UUID, _SUBJECT, _HEX = (re.compile(FORMATS[name]) for name in ("uuid", "suppression", "hex"))


class ReceiptFault(PipelineError):  # noqa: N818 - as its neighbours in pipeline.errors
    """A receipt does not hold, or cannot be made. The text names a field and holds nothing of it."""


class Status(StrEnum):
    """PENDING: bytes may still be there. COMPLETE: each place is confirmed; what remains has a reason and an end."""

    PENDING = "pending"
    COMPLETE = "complete"


@dataclass(frozen=True, slots=True)
class Place:
    """One place that was looked at, such as the topic or the table of content.

    Attributes:
        name: ``store:content``, ``topic:operational``; unique in its receipt.
        counts: what was done, by what: ``{"deleted": 12, "unlinked": 3}``.
        remaining: what is still there, by what: ``{"rows": 3}``; empty or zeros for nothing.
        why: why it remains, a sentence of the policy's; "" where nothing does. Never anything about the subject.
        until_ms: when what remains is gone at the latest, epoch milliseconds; None where nothing remains.
        confirmed_ms: when it was seen that nothing else is there, bytes on disk included; None for not yet.
    """

    name: str
    counts: Mapping[str, int]
    remaining: Mapping[str, int] = field(default_factory=dict)
    why: str = ""
    until_ms: int | None = None
    confirmed_ms: int | None = None

    def __post_init__(self) -> None:
        """Refuse what cannot be signed, and what remains without a reason and an end."""
        for numbers in (self.counts, self.remaining):
            if not all(_NAME.fullmatch(name) and _is_count(count) for name, count in numbers.items()):
                raise ReceiptFault("a place's counts are no names with whole numbers")
        if not _NAME.fullmatch(self.name) or (self.why and not _TEXT.fullmatch(self.why)):
            raise ReceiptFault("a place's name or reason is none")
        if any(self.remaining.values()) and not (self.why and self.until_ms is not None):
            raise ReceiptFault("a place where something remains must say why and until when")

    def plus(self, counts: Mapping[str, int]) -> "Place":
        """Return the place with more done there: an action that is taken up again after a crash finds only the rest."""
        names = {**self.counts, **counts}
        return replace(self, counts={name: self.counts.get(name, 0) + counts.get(name, 0) for name in names})


@dataclass(frozen=True, slots=True)
class Receipt:
    """What is signed. Change it with `with_place` and `complete`; each change is signed anew.

    Attributes:
        receipt_id: a UUID, the same while it goes from pending to complete.
        action: ``erase``, ``restrict``, …: as in the audit log.
        subject: ``account``, ``api_key`` or ``request``.
        pseudonym: whom it is about, under the suppression key.
        requested_ms: when the action began, epoch milliseconds.
        received_until_ms: the latest received_at that it applies to; None where it has no such end.
        policy_version, policy_digest: the policy by which it was done.
        legal_hold: name of the hold that keeps operational rows, "" for none.
        audit_log: id of the audit log that has the action, "" for none.
        audit_sequence: of the entry there that began it; -1 for none.
        places: what was done where.
        completed_ms: when it was complete; None while it is pending.
    """

    receipt_id: str
    action: str
    subject: str
    pseudonym: str
    requested_ms: int
    received_until_ms: int | None
    policy_version: int
    policy_digest: str
    legal_hold: str = ""
    audit_log: str = ""
    audit_sequence: int = -1
    places: tuple[Place, ...] = ()
    completed_ms: int | None = None

    def __post_init__(self) -> None:
        """Refuse what cannot be signed."""
        forms = (
            *((_UUID, self.receipt_id), (_NAME, self.action), (_NAME, self.subject), (_SUBJECT, self.pseudonym)),
            *((_HEX, self.policy_digest), (_NAME, self.legal_hold or "none")),
            (_UUID, self.audit_log or self.receipt_id),
        )
        numbers = self.policy_version, self.audit_sequence + 1
        if not all(form.fullmatch(text) for form, text in forms) or not all(map(_is_count, numbers)):
            raise ReceiptFault("a receipt's id, action, subject, pseudonym, policy, hold or audit log has another form")
        names = {place.name for place in self.places}
        if len(names) != len(self.places) or len(self.places) > _PLACES_MAX:
            raise ReceiptFault("a receipt names a place twice, or too many places")
        if self.completed_ms is not None and any(place.confirmed_ms is None for place in self.places):
            raise ReceiptFault("a receipt is complete when each of its places is confirmed, not before")

    def __repr__(self) -> str:
        return f"Receipt({self.receipt_id}, {self.status}, {len(self.places)} places)"

    @property
    def status(self) -> Status:
        """Return how far it is."""
        return Status.PENDING if self.completed_ms is None else Status.COMPLETE

    def with_place(self, place: Place) -> "Receipt":
        """Return the receipt with a place more, or with that place as it is now.

        Raises:
            ReceiptFault: it is complete.
        """
        if self.completed_ms is not None:
            raise ReceiptFault("a complete receipt does not change")
        known = {each.name: each for each in self.places} | {place.name: place}
        return replace(self, places=tuple(known.values()))

    def complete(self, now_ms: int) -> "Receipt":
        """Return the receipt, complete; one that is stays as it is.

        Args:
            now_ms: epoch milliseconds.

        Raises:
            ReceiptFault: a place is not confirmed yet.
        """
        return self if self.completed_ms is not None else replace(self, completed_ms=now_ms)


def _is_count(count: object) -> bool:
    return type(count) is int and 0 <= count <= _COUNT_MAX
