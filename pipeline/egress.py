"""The last look before anything leaves: an independent check of each record against its own schema and size.

It does not ask how a record was made. Whatever a fault upstream lets through, a string that is no timestamp,
identifier, pseudonym or value of a catalogue is not an operational string (design §3, rule 2), and a field that the
record's schema does not declare does not leave.
"""

from typing import Any

from pipeline.errors import Reason, reject
from pipeline.policy.model import RecordSchema


def check_record(fields: dict[str, Any], schema: RecordSchema) -> None:
    """Check a record against its schema.

    Raises:
        InvalidEvent: it does not hold; the pointer names the record's schema, never a field's value.
    """
    if not schema.is_valid(fields):
        reject(Reason.EGRESS)


def is_oversize(size_bytes: int, bytes_max: int) -> bool:
    """Tell whether a body is over what a sink takes, encoded or sealed."""
    return size_bytes > bytes_max
