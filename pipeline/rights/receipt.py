"""What an erasure from a store says in its receipt. Pure."""

from dataclasses import replace

from pipeline.policy.load import Policy
from pipeline.receipts.model import Place, Receipt
from pipeline.rights.erase import Erased, Operational
from pipeline.suppress import Subject

CONTENT, OPERATIONAL = "store:content", "store:operational"


def begin(receipt_id: str, subject: Subject, pseudonym: str, now_ms: int, policy: Policy, hold: str) -> Receipt:
    """Return a receipt of an erasure that begins: of all that was received up to now.

    Args:
        receipt_id: a UUID; also that of the suppression.
        subject: what is erased.
        pseudonym: which, under the suppression key.
        now_ms: now, epoch milliseconds.
        policy: by which it is done.
        hold: name of a legal hold, "" for none.
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
    )


def record(receipt: Receipt, erased: Erased, operational: Operational, policy: Policy) -> Receipt:
    """Return the receipt with what was done this time, added to what it says already."""
    before = {place.name: place for place in receipt.places}
    content = before.get(CONTENT, Place(CONTENT, {})).plus({"deleted": erased.content})
    receipt = receipt.with_place(content)
    if operational is Operational.KEEP:
        bound_ms = policy.sinks["operational"].retention_ms
        held = f"legal hold {receipt.legal_hold}" if receipt.legal_hold else "kept as asked for"
        until_ms = receipt.requested_ms + bound_ms
        kept = Place(OPERATIONAL, {"kept": erased.requests}, {"rows": erased.requests}, held, until_ms)
        return receipt.with_place(kept)
    done = "unlinked" if operational is Operational.UNLINK else "deleted"
    return receipt.with_place(before.get(OPERATIONAL, Place(OPERATIONAL, {})).plus({done: erased.operational}))


def confirm(receipt: Receipt, now_ms: int) -> Receipt:
    """Return the receipt, complete: the bytes of each place were seen to be gone."""
    for place in receipt.places:
        receipt = receipt.with_place(replace(place, confirmed_ms=now_ms))
    return receipt.complete(now_ms)
