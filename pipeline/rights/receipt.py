"""What an erasure says in its receipt, which is also how far it has come: done again, it goes on from there. Pure."""

from collections.abc import Mapping
from dataclasses import replace
from enum import StrEnum
from typing import NamedTuple

from pipeline.policy.load import Policy
from pipeline.receipts.model import Place, Receipt
from pipeline.rights.erase import Erased, Operational
from pipeline.suppress import Action, ControlRecord, Subject

CONTENT, OPERATIONAL = "store:content", "store:operational"
AGGREGATES = "store:aggregates"
CONTROL, RAW = "topic:control", "topic:raw"
BEHIND = ("content", "operational")
"""The sinks whose topics an archive reads, and which hold what was made before an erasure."""
_TOPICS = {name: f"topic:{name}" for name in BEHIND}
DELETED = "deleted"
_PARTITION, _OFFSET, _END, _BEGUN = "partition", "offset", "end_offset.", "begun"
_DONE = {Operational.UNLINK: "unlinked", Operational.DELETE: DELETED, Operational.KEEP: "kept"}
_MADE = "what was made before: time alone removes it from a topic, and the store"
_WHY = {
    CONTROL: "the entry itself, a pseudonym: it keeps out what comes again",
    _TOPICS["content"]: f"{_MADE} takes none of it again",
    _TOPICS["operational"]: f"{_MADE} links none of it",
    RAW: "events of before, as they came: time alone removes them, and no content is made of them any more",
}
Ends = Mapping[str, Mapping[int, int]]
"""Where topics ended, by sink and partition."""


class Mark(NamedTuple):
    """Where an entry of the control topic is."""

    partition: int
    offset: int


class Waited(NamedTuple):
    """How a wait ended.

    Attributes:
        left: how many workers, or records, are still waited for; 0 is the end.
        members: how many workers there are.
        tags: what offsets say of the archive's store, "" where they say nothing.
    """

    left: int
    members: int = 0
    tags: frozenset[str] = frozenset()


class Step(StrEnum):
    """What an erasure waits for."""

    PUBLISH = "publish"
    WORKERS = "workers"
    BACKLOG = "backlog"
    ARCHIVE = "archive"
    STORE = "store"
    BYTES = "bytes"
    NOTHING = "nothing"


def begin(
    receipt_id: str,
    subject: Subject,
    pseudonym: str,
    now_ms: int,
    policy: Policy,
    hold: str,
    operational: Operational,
    *,
    with_topics: bool,
    audit: tuple[str, int],
) -> Receipt:
    """Return a receipt of an erasure that begins: of all that was received up to now.

    Args:
        receipt_id: a UUID; also that of the suppression.
        subject: what is erased.
        pseudonym: which, under the suppression key.
        now_ms: now, epoch milliseconds.
        policy: by which it is done.
        hold: name of a legal hold, "" for none.
        operational: what becomes of operational records.
        with_topics: whether it is of an installation with brokers.
        audit: log and sequence of the entry that began it.
    """
    return Receipt(
        receipt_id,
        "erase",
        str(subject),
        pseudonym,
        requested_ms=now_ms,
        received_until_ms=now_ms,
        policy_version=policy.version,
        policy_digest=policy.digest,
        legal_hold=hold,
        audit_log=audit[0],
        audit_sequence=audit[1],
        places=(
            *([Place(CONTROL, {})] if with_topics else []),
            *(Place(CONTENT, {}), Place(OPERATIONAL, {_DONE[operational]: 0})),
        ),
    )


def is_chosen(receipt: Receipt, operational: Operational) -> bool:
    """Tell whether this is what was to become of operational records when the erasure began."""
    return _DONE[operational] in _get(receipt, OPERATIONAL).counts


def entry_of(receipt: Receipt, operational: Operational) -> ControlRecord:
    """Return the suppression of an erasure: the same each time it is asked for."""
    return ControlRecord(
        receipt.receipt_id,
        Action.ERASE,
        Subject(receipt.subject),
        receipt.pseudonym,
        receipt.requested_ms,
        receipt.received_until_ms,
        unlink=operational is not Operational.KEEP,
    )


def published(receipt: Receipt, mark: Mark, until_ms: int | None) -> Receipt:
    """Return the receipt once its suppression is on the control topic, and stays there until a time."""
    counts = {"entries": 1, _PARTITION: mark.partition, _OFFSET: mark.offset}
    return receipt.with_place(_remaining(Place(CONTROL, counts, {}, _WHY[CONTROL], until_ms), {"entries": 1}))


def mark_of(receipt: Receipt) -> Mark | None:
    """Return where the suppression is on the control topic; None while it is not."""
    counts = _get(receipt, CONTROL).counts
    return Mark(counts[_PARTITION], counts[_OFFSET]) if _OFFSET in counts else None


def applied(receipt: Receipt, workers: int, now_ms: int) -> Receipt:
    """Return the receipt once so many workers, which are all, have applied the suppression."""
    place = _get(receipt, CONTROL)
    return receipt.with_place(replace(place, counts={**place.counts, "workers": workers}, confirmed_ms=now_ms))


def noted(receipt: Receipt, ends: Ends, untils_ms: Mapping[str, int | None]) -> Receipt:
    """Return the receipt with where topics ended.

    Args:
        receipt: that far: for raw, every worker has applied it; for those behind raw, what was in raw then is done.
        ends: of raw, or of content and operational.
        untils_ms: when what is before these ends is gone, by sink; epoch milliseconds. None where nothing bounds it.
    """
    for sink, numbers in ends.items():
        name = f"topic:{sink}"
        counts = {f"{_END}{number}": end for number, end in sorted(numbers.items())}
        receipt = receipt.with_place(Place(name, counts, {}, _WHY[name], untils_ms[sink]))
    return receipt


def ends_of(receipt: Receipt, *sinks: str) -> Ends | None:
    """Return where the topics of some sinks ended; None while that is not noted."""
    found = {sink: _find(receipt, f"topic:{sink}") for sink in sinks}
    ends = {
        sink: {int(name.removeprefix(_END)): end for name, end in place.counts.items() if name.startswith(_END)}
        for sink, place in found.items()
        if place is not None
    }
    return ends if len(ends) == len(sinks) else None


def archived(receipt: Receipt, now_ms: int) -> Receipt:
    """Return the receipt once the store has all that lay before these ends: nothing of it comes later."""
    for name in _TOPICS.values():
        receipt = receipt.with_place(replace(_get(receipt, name), confirmed_ms=now_ms))
    return receipt


def foretell(receipt: Receipt, found: Erased) -> Receipt:
    """Return the receipt with what is about to be done in the store: after a crash nothing else knows how much it was.

    What was begun before and is found again is one and the same.
    """
    for name, count in ((CONTENT, found.content), (OPERATIONAL, found.operational)):
        receipt = receipt.with_place(about_to(_get(receipt, name), count))
    return receipt


def about_to(place: Place, count: int) -> Place:
    """Return a place with how much is about to be done there, or was the last time, if that was more."""
    return replace(place, counts={**place.counts, _BEGUN: max(count, place.counts.get(_BEGUN, 0))})


def done(place: Place, name: str, count: int) -> Place:
    """Return a place with what was done there, at least as much as was begun."""
    before = {known: one for known, one in place.counts.items() if known != _BEGUN}
    return replace(place, counts=before).plus({name: max(count, place.counts.get(_BEGUN, 0))})


def record(receipt: Receipt, erased: Erased, operational: Operational, policy: Policy) -> Receipt:
    """Return the receipt with what was done in the store this time, added to what it says already."""
    content = done(_get(receipt, CONTENT), DELETED, erased.content)
    receipt = receipt.with_place(content)
    if operational is Operational.KEEP:
        held = f"legal hold {receipt.legal_hold}" if receipt.legal_hold else "kept as asked for"
        until_ms = receipt.requested_ms + policy.sinks["operational"].retention_ms
        place = Place(OPERATIONAL, {"kept": erased.requests}, {"rows": erased.requests}, held, until_ms)
    else:
        place = done(_get(receipt, OPERATIONAL), _DONE[operational], erased.operational)
    receipt = receipt.with_place(place)
    if erased.days:  # their lines are gone, and come back without the subject when the days are built anew
        receipt = receipt.with_place(_get(receipt, AGGREGATES).plus({"days": erased.days}))
    for name, count in (("content", sum(content.counts.values())), ("operational", sum(place.counts.values()))):
        if topic := _find(receipt, _TOPICS[name]):  # each row came from there, perhaps more than once, or too long ago
            receipt = receipt.with_place(_remaining(topic, {"requests_at_most": count}))
    return receipt


def confirm(receipt: Receipt, now_ms: int) -> Receipt:
    """Return the receipt, complete: the bytes of each place were seen to be gone, or what remains has its end."""
    for place in receipt.places:
        if place.confirmed_ms is None:
            receipt = receipt.with_place(replace(place, confirmed_ms=now_ms))
    return receipt.complete(now_ms)


def is_through_topics(receipt: Receipt) -> bool:
    """Tell whether an erasure is of an installation with brokers."""
    return _find(receipt, CONTROL) is not None


def step_of(receipt: Receipt) -> Step:
    """Return what an erasure waits for."""
    if receipt.completed_ms is not None:
        return Step.NOTHING
    if is_through_topics(receipt):
        if mark_of(receipt) is None:
            return Step.PUBLISH
        if ends_of(receipt, "raw") is None:
            return Step.WORKERS
        if ends_of(receipt, *BEHIND) is None:
            return Step.BACKLOG
        if _get(receipt, _TOPICS["content"]).confirmed_ms is None:
            return Step.ARCHIVE
    counts = _get(receipt, CONTENT).counts
    return Step.BYTES if DELETED in counts and _BEGUN not in counts else Step.STORE


def _remaining(place: Place, counts: Mapping[str, int]) -> Place:
    """Return a place with what remains there, where it is known until when."""
    return place if place.until_ms is None else replace(place, remaining=counts)


def _find(receipt: Receipt, name: str) -> Place | None:
    return next((place for place in receipt.places if place.name == name), None)


def _get(receipt: Receipt, name: str) -> Place:
    return _find(receipt, name) or Place(name, {})
