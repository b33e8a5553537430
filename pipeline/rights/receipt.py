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
_PARTITION, _OFFSET, _END = "partition", "offset", "end_offset."
_WHY = {
    CONTROL: "the entry itself, a pseudonym: it keeps out what comes again",
    _TOPICS[
        "content"
    ]: "what was made before: time alone removes it from a topic, and the store takes none of it again",
    _TOPICS["operational"]: "what was made before: time alone removes it from a topic, and the store links none of it",
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
    """

    left: int
    members: int = 0


class Step(StrEnum):
    """What an erasure waits for."""

    PUBLISH = "publish"
    WORKERS = "workers"
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
        places=(Place(CONTROL, {}),) if with_topics else (),
    )


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
    counts = {**place.counts, "workers": workers}
    return receipt.with_place(replace(place, counts=counts, confirmed_ms=now_ms))


def noted(receipt: Receipt, ends: Ends, untils_ms: Mapping[str, int | None]) -> Receipt:
    """Return the receipt with where the topics ended when every worker had applied the suppression.

    Args:
        receipt: that far.
        ends: of content and operational.
        untils_ms: when what is before these ends, and what is in raw, is gone, by sink; epoch milliseconds. None where
            nothing bounds it.
    """
    for sink, name in _TOPICS.items():
        counts = {f"{_END}{number}": end for number, end in sorted(ends[sink].items())}
        receipt = receipt.with_place(Place(name, counts, {}, _WHY[name], untils_ms[sink]))
    return receipt.with_place(Place(RAW, {}, {}, _WHY[RAW], untils_ms["raw"]))


def ends_of(receipt: Receipt) -> Ends | None:
    """Return where the topics ended; None while that is not noted."""
    if _find(receipt, RAW) is None:
        return None
    counts = {sink: _get(receipt, name).counts for sink, name in _TOPICS.items()}
    return {
        sink: {int(name.removeprefix(_END)): end for name, end in found.items() if name.startswith(_END)}
        for sink, found in counts.items()
    }


def archived(receipt: Receipt, now_ms: int) -> Receipt:
    """Return the receipt once the store has all that lay before these ends: nothing of it comes later."""
    for name in _TOPICS.values():
        receipt = receipt.with_place(replace(_get(receipt, name), confirmed_ms=now_ms))
    return receipt


def record(receipt: Receipt, erased: Erased, operational: Operational, policy: Policy) -> Receipt:
    """Return the receipt with what was done in the store this time, added to what it says already."""
    content = _get(receipt, CONTENT).plus({"deleted": erased.content})
    receipt = receipt.with_place(content)
    if operational is Operational.KEEP:
        bound_ms = policy.sinks["operational"].retention_ms
        held = f"legal hold {receipt.legal_hold}" if receipt.legal_hold else "kept as asked for"
        until_ms = receipt.requested_ms + bound_ms
        place = Place(OPERATIONAL, {"kept": erased.requests}, {"rows": erased.requests}, held, until_ms)
    else:
        done = "unlinked" if operational is Operational.UNLINK else "deleted"
        place = _get(receipt, OPERATIONAL).plus({done: erased.operational})
    receipt = receipt.with_place(place)
    if erased.days:  # their lines are gone, and come back without the subject when the days are built anew
        receipt = receipt.with_place(_get(receipt, AGGREGATES).plus({"days": erased.days}))
    for name, count in (("content", sum(content.counts.values())), ("operational", sum(place.counts.values()))):
        topic = _find(receipt, _TOPICS[name])
        if topic is not None:  # each row came from there, perhaps more than once, and perhaps too long ago
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
    if _find(receipt, CONTENT) is not None:
        return Step.BYTES
    if not is_through_topics(receipt):
        return Step.STORE
    if mark_of(receipt) is None:
        return Step.PUBLISH
    if ends_of(receipt) is None:
        return Step.WORKERS
    return Step.ARCHIVE if _get(receipt, _TOPICS["content"]).confirmed_ms is None else Step.STORE


def _remaining(place: Place, counts: Mapping[str, int]) -> Place:
    """Return a place with what remains there, where it is known until when."""
    return place if place.until_ms is None else replace(place, remaining=counts)


def _find(receipt: Receipt, name: str) -> Place | None:
    return next((place for place in receipt.places if place.name == name), None)


def _get(receipt: Receipt, name: str) -> Place:
    return _find(receipt, name) or Place(name, {})
