"""Makes rejections: pointers to refused raw events, checked like any other output."""

from typing import Any

from pipeline.egress import check_record
from pipeline.errors import Reason
from pipeline.policy.load import Policy
from pipeline.records import Rejection, Source


def make_rejection(
    source: Source, reason: Reason, pointer: str, policy: Policy, *, last_offset: int | None = None
) -> Rejection:
    """Return a rejection; a pointer that the schema does not declare is shown as ``/*``.

    Args:
        source: where the raw event is, or the first of a range.
        reason: why it is refused.
        pointer: where in the event.
        policy: that refuses it.
        last_offset: of a range that nobody has read.

    Raises:
        InvalidEvent: the rejection itself breaks its schema (a source that is no topic); nothing of it may leave.
    """
    shown = pointer if pointer in policy.shape.pointers else "/*"
    known: dict[str, Any] = {
        "topic": source.topic,
        "partition": source.partition,
        "offset": source.offset,
        "last_offset": last_offset,
        "size_bytes": source.size_bytes,
        "reason": str(reason),
        "pointer": shown,
        "schema_version": policy.rejection.version,
        "policy_version": policy.version,
        "policy_digest": policy.digest,
    }
    fields = {declared.name: known.get(declared.name) for declared in policy.rejection.fields}
    check_record(fields, policy.rejection)
    return Rejection(source, reason, shown, fields)
