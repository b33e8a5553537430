"""Records of the topics as the records they were made from: the way back of `pipeline.wire`. Pure.

What is read here was written by lethe's worker, so anything else is a fault of the system and no bad event: it raises,
and the archive stops at it (docs/archive.md). A reason says what is wrong, never with a value. Bodies stay as they are:
that one is whole is looked at, what is in it is not.
"""

import base64
import binascii
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any

import orjson

from pipeline.errors import PipelineError, Reason
from pipeline.policy.load import Policy
from pipeline.policy.model import FieldType, RecordSchema
from pipeline.records import PLAIN, ContentRecord, OperationalRecord, Rejection, Sealed, Source

Header = tuple[str, bytes]
Decoded = ContentRecord | OperationalRecord | Rejection
Decode = Callable[[bytes | None, bytes | None, Sequence[Header]], Decoded]
"""Takes key, value and headers of a record."""

_BODY = b',"body":'
"""Where the clear fields of a content record end: inside a string its quotes would have backslashes."""
_INT_END = 1 << 63
_COUNT_END = 1 << 32
_YEARS = range(2000, 2100)


class NotARecord(PipelineError):  # noqa: N818 - a judgement about a record, as InvalidEvent
    """A record that no worker wrote. The text says what is wrong with it, and repeats nothing of it."""


def decoders(policy: Policy) -> dict[str, Decode]:
    """Return what decodes the records of each stored sink, by the sink's name. They raise `NotARecord`."""
    return {
        "content": _checked(policy.content, policy.digest, _content),
        "operational": _checked(policy.operational, policy.digest, _operational),
        "rejected": _checked(policy.rejection, policy.digest, _rejection),
    }


_Parse = Callable[[bytes, RecordSchema], tuple[bytes, Decoded]]
"""Takes a value; returns the key that its record has, and the record."""


def _checked(schema: RecordSchema, digest: str, parse: _Parse) -> Decode:
    """Return a decoder: headers first, then the value, then whether the key is the record's."""
    named = f"{schema.name}/{schema.version}"

    def decode(key: bytes | None, value: bytes | None, headers: Sequence[Header]) -> Decoded:
        if value is None:
            raise NotARecord("is a tombstone: it has no value")
        said = dict(headers)
        if said.get("schema") != named.encode():
            raise NotARecord(f"has no header that says its schema is {named}")
        problem = ""
        try:
            own_key, record = parse(value, schema)
        except NotARecord as fault:
            problem = str(fault)
        if problem:
            ours = said.get("policy_digest") == digest.encode()
            raise NotARecord(problem if ours else f"{problem}; its policy is not this archive's: give both the same")
        if own_key != key:
            raise NotARecord("has another key than its identity")
        return record

    return decode


def _content(value: bytes, schema: RecordSchema) -> tuple[bytes, ContentRecord]:
    """Take a content record apart without touching its body; the body is the last member of the object."""
    head, found, rest = value.partition(_BODY)
    if not found or not rest.endswith(b"}"):
        raise NotARecord("is no content record: it has no body at its end")
    fields = _object(head + b"}")
    encoding = fields.pop("body_encoding", PLAIN)
    data = rest[:-1]
    if encoding == PLAIN:
        _object(data)
    else:
        data = _unsealed(data)
    _check(schema, fields, {**fields, "body": {}})
    if not isinstance(encoding, str) or not encoding.isascii() or len(encoding) > 64:  # noqa: PLR2004 - a name
        raise NotARecord("has a body of no encoding")
    request_id = fields["request_id"]
    return request_id.encode(), ContentRecord(request_id, fields, Sealed(encoding, data))


def _operational(value: bytes, schema: RecordSchema) -> tuple[bytes, OperationalRecord]:
    fields = _object(value)
    _check(schema, fields, fields)
    request_id = fields["request_id"]
    return request_id.encode(), OperationalRecord(request_id, fields)


def _rejection(value: bytes, schema: RecordSchema) -> tuple[bytes, Rejection]:
    fields = _object(value)
    _check(schema, fields, fields)
    source = Source(fields["topic"], fields["partition"], fields["offset"], fields["size_bytes"])
    key = f"{source.topic}/{source.partition}/{source.offset}".encode()
    return key, Rejection(source, Reason(fields["reason"]), fields["pointer"], fields)


def _object(data: bytes) -> dict[str, Any]:
    parsed: Any = None
    try:
        parsed = orjson.loads(data)
    except orjson.JSONDecodeError:
        parsed = None  # reported outside: the exception holds the whole input
    if not isinstance(parsed, dict):
        raise NotARecord("is not the JSON of one record")
    return parsed


def _unsealed(quoted: bytes) -> bytes:
    """Return the bytes of a sealed body, which stands as a string of base64."""
    data = None
    if len(quoted) > 1 and quoted.startswith(b'"') and quoted.endswith(b'"'):
        try:
            data = base64.b64decode(quoted[1:-1], validate=True)
        except binascii.Error:
            data = None
    if data is None:
        raise NotARecord("has a sealed body that is no base64")
    return data


def _check(schema: RecordSchema, fields: Mapping[str, Any], whole: Mapping[str, Any]) -> None:
    """Hold a record to its schema, and to what a column takes: a store that refuses a row would refuse it for ever."""
    if not schema.is_valid(whole):
        raise NotARecord(f"does not hold to schema {schema.name}/{schema.version}")
    if fields.get("schema_version", schema.version) != schema.version:
        raise NotARecord(f"says that its schema is another version than {schema.name}/{schema.version}")
    for field in schema.fields:
        value = fields.get(field.name)
        if value is not None and not _fits(field.type, value):
            raise NotARecord(f"has a value in {field.name} that no column takes")


def _fits(kind: FieldType, value: Any) -> bool:
    if kind is FieldType.INTEGER:
        return isinstance(value, int) and -_INT_END <= value < _INT_END
    if kind is FieldType.COUNTS:
        return all(isinstance(count, int) and count < _COUNT_END for count in value.values())
    return kind is not FieldType.TIMESTAMP or _is_moment(value)


def _is_moment(text: str) -> bool:
    try:
        return datetime.fromisoformat(text).year in _YEARS
    except ValueError:
        return False
