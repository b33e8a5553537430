"""Records as bytes: one JSON object a record, the same bytes in a file and on a topic."""

import base64

import orjson

from pipeline.codec import encode
from pipeline.records import PLAIN, ContentRecord, OperationalRecord, Rejection


def content_bytes(record: ContentRecord) -> bytes:
    """Encode a content record; a sealed body becomes base64 beside the name of its encoding."""
    if record.body.encoding == PLAIN:
        return orjson.dumps({**record.fields, "body": orjson.Fragment(record.body.data)})
    sealed = {"body_encoding": record.body.encoding, "body": base64.b64encode(record.body.data).decode()}
    return orjson.dumps({**record.fields, **sealed})


def operational_bytes(record: OperationalRecord) -> bytes:
    """Encode an operational record."""
    return encode(record.fields)


def rejection_bytes(rejection: Rejection) -> bytes:
    """Encode a rejection."""
    return encode(rejection.fields)
