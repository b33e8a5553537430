"""Records as bytes: one JSON object a record, the same bytes in a file and on a topic."""

import base64
from typing import Any

import orjson

from pipeline.codec import encode
from pipeline.egress import check_record
from pipeline.policy.load import Policy
from pipeline.records import ContentRecord, OperationalRecord, Rejection


def content_bytes(record: ContentRecord) -> bytes:
    """Encode a content record; a sealed body becomes base64 beside the name of its encoding."""
    if record.body.encoding == "json":
        return orjson.dumps({**record.fields, "body": orjson.Fragment(record.body.data)})
    sealed = {"body_encoding": record.body.encoding, "body": base64.b64encode(record.body.data).decode()}
    return orjson.dumps({**record.fields, **sealed})


def operational_bytes(record: OperationalRecord) -> bytes:
    """Encode an operational record."""
    return encode(record.fields)


def rejection_fields(rejection: Rejection, policy: Policy) -> dict[str, Any]:
    """Return the fields of a rejection in its schema's order.

    Raises:
        InvalidEvent: the rejection itself breaks its schema; nothing of it may leave.
    """
    known = {
        "topic": rejection.source.topic,
        "partition": rejection.source.partition,
        "offset": rejection.source.offset,
        "size_bytes": rejection.source.size_bytes,
        "reason": str(rejection.reason),
        "pointer": rejection.pointer if rejection.pointer in policy.shape.pointers else "/*",
        "schema_version": policy.rejection.version,
        "policy_version": policy.version,
        "policy_digest": policy.digest,
    }
    fields = {declared.name: known.get(declared.name) for declared in policy.rejection.fields}
    check_record(fields, policy.rejection)
    return fields
