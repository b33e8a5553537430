"""Record schemas, sinks and fates for the tests of the store, written by hand so that they need no policy files."""

import json
import os
import time
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pipeline.errors import Reason
from pipeline.policy.files import default_schemas_dir
from pipeline.policy.load import Policy
from pipeline.policy.model import FieldType, RecordField, RecordSchema, SinkPolicy
from pipeline.records import Anonymized, ContentRecord, Facts, OperationalRecord, Rejection, Sealed, Source

DAY_MS = 86_400_000
NOW_MS = int(time.time()) * 1000
"""The real time: the engine's own TTLs run by its clock, so rows must be young by that too."""


def _field(name: str, kind: FieldType, *, nullable: bool = False, **more: Any) -> RecordField:
    return RecordField(name, kind, nullable, **more)


S, T, I, N, B = FieldType.STRING, FieldType.TIMESTAMP, FieldType.INTEGER, FieldType.NUMBER, FieldType.BOOLEAN  # noqa: E741

CONTENT = RecordSchema(
    name="content",
    version=1,
    fields=(
        _field("request_id", S),
        _field("received_at", T),
        _field("endpoint", S, closed=True),
        _field("model", S, closed=True),
        _field("schema_version", I),
        _field("policy_version", I),
        _field("policy_digest", S),
        _field("redactions", FieldType.COUNTS),
        _field("body", FieldType.BODY),
    ),
    links={},
    is_valid=lambda _: True,
)
OPERATIONAL = RecordSchema(
    name="operational",
    version=1,
    fields=(
        _field("request_id", S),
        _field("received_at", T),
        _field("account", S, nullable=True),
        _field("api_key", S, nullable=True),
        _field("client_network", S, nullable=True, null_after_ms=30 * DAY_MS),
        _field("client_ip", S, nullable=True, null_after_ms=30 * DAY_MS),
        _field("user_agent", S, closed=True),
        _field("user_agent_major", I, nullable=True),
        _field("endpoint", S, closed=True),
        _field("stream", B, nullable=True),
        _field("status", I),
        _field("latency_ms", N, nullable=True),
        _field("prompt_tokens", I, nullable=True),
        _field("error_type", S, nullable=True, closed=True),
        _field("schema_version", I),
        _field("policy_version", I),
        _field("policy_digest", S),
    ),
    links={},
    is_valid=lambda _: True,
)
REJECTION = RecordSchema(
    name="rejection",
    version=1,
    fields=(
        _field("topic", S),
        _field("partition", I),
        _field("offset", I),
        _field("size_bytes", I),
        _field("reason", S, closed=True),
        _field("pointer", S),
    ),
    links={},
    is_valid=lambda _: True,
)
SCHEMAS = {schema.name: schema for schema in (CONTENT, OPERATIONAL, REJECTION)}


def make_sink(name: str, schema: str, days: int) -> SinkPolicy:
    """Return a sink's policy with a bound in days."""
    return SinkPolicy(name, name, schema, 6, "platform", days * DAY_MS, "§5", managed=True, why="a test")


SINKS = {
    "content": make_sink("content", "content", 30),
    "operational": make_sink("operational", "operational", 400),
    "rejected": make_sink("rejected", "rejection", 30),
}


def declared_tables() -> list[dict[str, Any]]:
    """Return what is declared of the tables of a store, `schemas/stores/tables/`."""
    folder = default_schemas_dir() / "stores" / "tables"
    return [json.loads(path.read_text("utf-8")) for path in sorted(folder.glob("*.json"))]


def bound_of(declared: Mapping[str, Any], policy: Policy) -> int:
    """Return the declared bound of a table, in milliseconds."""
    of, plus_ms = declared["bound"]["of"], int(declared["bound"]["plus_ms"])
    bounds = {name: one.retention_ms for every in (policy.sinks, policy.stores) for name, one in every.items()}
    return plus_ms + (bounds[of] if of else 0)


def holds(folder: Path, needle: bytes) -> bool:
    """Return whether any file below a folder has these bytes; one that vanishes meanwhile has them no more."""
    for parent, _, names in os.walk(folder):
        for name in names:
            with suppress(OSError):
                if needle in Path(parent, name).read_bytes():
                    return True
    return False


def to_iso(at_ms: int) -> str:
    """Return epoch milliseconds as a record's timestamp."""
    return datetime.fromtimestamp(at_ms / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def make_event(
    number: int,
    at_ms: int = NOW_MS,
    *,
    operational: Mapping[str, Any] | None = None,
    content: Mapping[str, Any] | None = None,
    body: bytes | None = b'{"prompt":"hello"}',
) -> Anonymized:
    """Return the two records of one made-up event; ``body`` None makes no content record."""
    request_id = f"req_{number:032x}"
    shared: dict[str, Any] = {
        "request_id": request_id,
        "schema_version": 1,
        "policy_version": 1,
        "policy_digest": "d" * 16,
    }
    metadata: dict[str, Any] = {
        **dict.fromkeys((field.name for field in OPERATIONAL.fields), None),
        **shared,
        "received_at": to_iso(at_ms),
        "account": "e1:" + "a" * 32,
        "client_network": "203.0.113.0/24",
        "client_ip": "d1:" + "b" * 32,
        "user_agent": "example-sdk",
        "user_agent_major": 2,
        "endpoint": "/v1/chat/completions",
        "stream": False,
        "status": 200,
        "latency_ms": 12.5,
        "prompt_tokens": number % 1000,
    }
    clear: dict[str, Any] = {
        **shared,
        "received_at": to_iso(at_ms - at_ms % 60_000),
        "endpoint": "/v1/chat/completions",
        "model": "other",
        "redactions": {"EMAIL": 2},
    }
    record = ContentRecord(request_id, {**clear, **(content or {})}, Sealed("json", body)) if body is not None else None
    return Anonymized(record, OperationalRecord(request_id, {**metadata, **(operational or {})}), Facts())


def make_rejection(offset: int, *, topic: str = "file:00ff", reason: Reason = Reason.NOT_JSON) -> Rejection:
    """Return a rejection of one made-up event."""
    source = Source(topic, 0, offset, 120)
    return Rejection(source, reason, "/account", {**source._asdict(), "reason": str(reason), "pointer": "/account"})
