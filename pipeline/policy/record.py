"""Compiles an output schema: fields in order for the stores, one validator for egress."""

from collections.abc import Mapping
from typing import Any

from pipeline.coarsen import DAY_MS
from pipeline.policy.model import FieldType, RecordField, RecordSchema
from pipeline.policy.validator import FORMATS, Validator

_TYPES = {
    "string": FieldType.STRING,
    "integer": FieldType.INTEGER,
    "number": FieldType.NUMBER,
    "boolean": FieldType.BOOLEAN,
}
_TIMES = {"timestamp", "minute"}


def compile_record(schema: Mapping[str, Any], catalogues: Mapping[str, Mapping[str, Any]]) -> RecordSchema:
    """Compile a linted output schema with the catalogues that it names."""
    head = schema["x-record"]
    properties = schema["properties"]
    fields = tuple(_field(name, node) for name, node in properties.items())
    closed = {name: _closed(node, catalogues) for name, node in properties.items()}
    validator = Validator({**{k: v for k, v in schema.items() if not k.startswith(("x-", "$"))}, "properties": closed})
    return RecordSchema(head["name"], head["version"], fields, dict(head["links"]), validator.is_valid)


def json_types(node: Mapping[str, Any]) -> list[str]:
    """Return the JSON types of a property, as a list."""
    declared = node.get("type", [])
    return [declared] if isinstance(declared, str) else list(declared)


def _field(name: str, node: Mapping[str, Any]) -> RecordField:
    types = json_types(node)
    kind = next((t for t in types if t != "null"), "string")
    special = node.get("x-type")
    if special:
        field_type = FieldType(special)
    elif node.get("x-format") in _TIMES:
        field_type = FieldType.TIMESTAMP
    else:
        field_type = _TYPES[kind]
    days = node.get("x-null-after-days")
    return RecordField(
        name=name,
        type=field_type,
        nullable="null" in types,
        closed="x-catalogue" in node or "enum" in node,
        format=node.get("x-format", ""),
        null_after_ms=days * DAY_MS if days else None,
        why=node["x-why"],
    )


def _closed(node: Mapping[str, Any], catalogues: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Return the property with its format as a pattern and its catalogue as an enum."""
    kept = {key: value for key, value in node.items() if not key.startswith("x-")}
    if "x-format" in node:
        kept["pattern"] = FORMATS[node["x-format"]]
    if "x-catalogue" in node:
        catalogue = catalogues[node["x-catalogue"]]
        values = [*catalogue["values"], catalogue["other"]]
        if node.get("x-type") == "counts":
            kept["propertyNames"] = {"enum": values}
        else:
            kept["enum"] = [*values, *([None] if "null" in json_types(node) else [])]
    return kept
