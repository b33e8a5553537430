"""How far a reader has applied the control topic, as records of the topic ``applied`` (policy §8). Pure.

A reader is named by a digest of its member id: the coordinator of its group gives that out anew at each start, so what
one process has said counts for no other.
"""

import hashlib
from typing import Any, NamedTuple

from pipeline.coarsen import format_timestamp
from pipeline.codec import decode, encode
from pipeline.errors import InvalidEvent, PipelineError
from pipeline.policy.model import RecordSchema

_RECORD_BYTES_MAX = 4096
_DEPTH_MAX = 4
_READER_BYTES = 16
WORKER = "worker"


class Applied(NamedTuple):
    """One record of the topic, see schemas/record/v1/applied.schema.json.

    Attributes:
        reader: of `reader_of`. Also the record's key.
        role: of which group it is a member: ``worker`` or ``archive``.
        partition: of the control topic.
        offset: every entry before it is applied.
        at_ms: when it was written, epoch milliseconds.
    """

    reader: str
    role: str
    partition: int
    offset: int
    at_ms: int


def reader_of(member_id: str) -> str:
    """Return what a member of a group is called: 32 hex digits, whatever its broker makes member ids of."""
    return hashlib.blake2b(member_id.encode(), digest_size=_READER_BYTES).hexdigest()


def encode_applied(record: Applied, schema: RecordSchema) -> bytes:
    """Return a record's bytes.

    Raises:
        PipelineError: it does not hold to its schema.
    """
    fields: dict[str, Any] = {
        "reader": record.reader,
        "role": record.role,
        "partition": record.partition,
        "offset": record.offset,
        "at": format_timestamp(record.at_ms),
        "schema_version": schema.version,
    }
    if not schema.is_valid(fields):
        raise PipelineError("what was applied does not hold to schemas/record/v1/applied.schema.json")
    return encode(fields)


def decode_applied(raw: bytes, schema: RecordSchema) -> tuple[str, int, int] | None:
    """Return reader, partition and offset of a record; None when it is none, which then confirms nothing."""
    try:
        fields = decode(raw, size_max=_RECORD_BYTES_MAX, depth_max=_DEPTH_MAX).event
    except InvalidEvent:
        return None
    if not schema.is_valid(fields) or fields["schema_version"] != schema.version:
        return None
    return fields["reader"], fields["partition"], fields["offset"]
