"""The signed form of a receipt. Pure.

One line of JSON as RFC 8785 writes it, restricted to what needs no judgement: keys sorted, no white space, no floats,
integers of at most 53 bits, texts without control characters. So one receipt has one form, and any other byte is a
fault.
"""

from collections.abc import Mapping
from typing import Any

import orjson

from pipeline.coarsen import format_timestamp, parse_timestamp
from pipeline.keys.signing import RECEIPT, Signer, is_signed
from pipeline.receipts.model import Place, Receipt, ReceiptFault

RECEIPT_VERSION = 1
RECEIPT_BYTES_MAX = 1 << 20
BROKEN = "the signature does not hold"


def sign(receipt: Receipt, signer: Signer) -> bytes:
    """Return a receipt's signed form: its line, with its end."""
    document = {**to_document(receipt), "key": signer.public}
    document["signature"] = signer.sign(RECEIPT, canonical(document))
    return canonical(document) + b"\n"


def verify(data: bytes, public: str) -> Receipt:
    """Return the receipt that a signed form holds.

    Args:
        data: the whole file.
        public: 64 hex digits of the key that must have signed it.

    Raises:
        ReceiptFault: the signature does not hold. What is wrong with it is not told: nothing of an unsigned document
            is to be believed.
    """
    receipt = None
    if len(data) <= RECEIPT_BYTES_MAX:
        try:
            document = orjson.loads(data)
            if canonical(document) + b"\n" == data:
                signature = document.pop("signature")
                if document.pop("key") == public and is_signed(
                    public, RECEIPT, canonical({**document, "key": public}), signature
                ):
                    receipt = from_document(document)
        except (ValueError, TypeError, KeyError, AttributeError, ReceiptFault):  # their texts can quote the document
            receipt = None
    if receipt is None:
        raise ReceiptFault(BROKEN)
    return receipt


def to_document(receipt: Receipt) -> dict[str, Any]:
    """Return a receipt as JSON has it, without key and signature."""
    audit = {"log": receipt.audit_log, "sequence": receipt.audit_sequence} if receipt.audit_log else None
    return {
        "receipt_version": RECEIPT_VERSION,
        "receipt_id": receipt.receipt_id,
        "action": receipt.action,
        "status": str(receipt.status),
        "subject": {"kind": receipt.subject, "pseudonym": receipt.pseudonym},
        "requested_at": format_timestamp(receipt.requested_ms),
        "completed_at": _to_text(receipt.completed_ms),
        "received_until": _to_text(receipt.received_until_ms),
        "policy": {"version": receipt.policy_version, "digest": receipt.policy_digest},
        "legal_hold": receipt.legal_hold or None,
        "audit": audit,
        "places": [
            {
                "name": place.name,
                "counts": dict(place.counts),
                "remaining": dict(place.remaining),
                "why": place.why or None,
                "until": _to_text(place.until_ms),
                "confirmed_at": _to_text(place.confirmed_ms),
            }
            for place in receipt.places
        ],
    }


def from_document(document: Mapping[str, Any]) -> Receipt:
    """Return the receipt of a document, without key and signature.

    Raises:
        ReceiptFault, KeyError, TypeError, ValueError: it is none.
    """
    audit = document["audit"] or {"log": "", "sequence": -1}
    receipt = Receipt(
        document["receipt_id"],
        document["action"],
        document["subject"]["kind"],
        document["subject"]["pseudonym"],
        _to_ms(document["requested_at"]),
        _to_ms_or_none(document["received_until"]),
        document["policy"]["version"],
        document["policy"]["digest"],
        document["legal_hold"] or "",
        audit["log"],
        audit["sequence"],
        tuple(_to_place(place) for place in document["places"]),
        _to_ms_or_none(document["completed_at"]),
    )
    if to_document(receipt) != document:  # a member more or less, or a status that is not that of the rest
        raise ReceiptFault("the document is no receipt of this version")
    return receipt


def canonical(document: Mapping[str, Any]) -> bytes:
    """Return the bytes that are signed.

    Raises:
        TypeError: it holds what JSON or this form has not.
    """
    return orjson.dumps(document, option=orjson.OPT_SORT_KEYS | orjson.OPT_STRICT_INTEGER)


def _to_place(place: Mapping[str, Any]) -> Place:
    times = _to_ms_or_none(place["until"]), _to_ms_or_none(place["confirmed_at"])
    return Place(place["name"], place["counts"], place["remaining"], place["why"] or "", *times)


def _to_text(time_ms: int | None) -> str | None:
    return None if time_ms is None else format_timestamp(time_ms)


def _to_ms_or_none(text: str | None) -> int | None:
    return None if text is None else _to_ms(text)


def _to_ms(text: str) -> int:
    time_ms = parse_timestamp(text)
    if time_ms is None:
        raise ReceiptFault("a time is none")
    return time_ms
