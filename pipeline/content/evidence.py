"""Key names as evidence (design §6): what stands under ``password`` is one, whatever it looks like."""

from collections.abc import Mapping
from typing import Any

from pipeline.policy.body import BodyRules, normalize_key

# JSON Schema (2020-12, and what OpenAPI adds): an object of these describes a value and holds none.
_KEYWORDS = frozenset({
    "$comment", "$defs", "$id", "$ref", "additionalItems", "additionalProperties", "allOf", "anyOf", "const",
    "contains", "contentEncoding", "contentMediaType", "default", "dependentRequired", "deprecated", "description",
    "discriminator", "else", "enum", "example", "examples", "exclusiveMaximum", "exclusiveMinimum", "format", "if",
    "items", "maxItems", "maxLength", "maxProperties", "maximum", "minItems", "minLength", "minProperties", "minimum",
    "multipleOf", "not", "nullable", "oneOf", "optional", "pattern", "patternProperties", "prefixItems", "properties",
    "propertyNames", "readOnly", "required", "then", "title", "type", "unevaluatedItems", "unevaluatedProperties",
    "uniqueItems", "writeOnly",
})  # fmt: skip
_MARKS = ("$ref", "anyOf", "oneOf", "allOf", "enum")
_TYPES = frozenset({"string", "number", "integer", "boolean", "array", "object", "null"})
VALUE_KEYWORDS = frozenset({"const", "default", "example", "examples"})
"""Keywords of a schema that hold a value after all."""


def is_schema(source: Mapping[str, Any]) -> bool:
    """Tell whether an object is the JSON Schema of a value, as tool definitions have them."""
    kind = source.get("type")
    kinds = kind if isinstance(kind, list) else [kind]
    is_typed = bool(kinds) and all(isinstance(k, str) and k.lower() in _TYPES for k in kinds)
    if not is_typed and (kind is not None or not any(mark in source for mark in _MARKS)):
        return False
    return all(key in _KEYWORDS or key.startswith("x-") for key in source)


def named_secret(source: Mapping[str, Any], rules: BodyRules) -> str | None:
    """Return what the ``value`` of a name-value pair is by its name, as in ``{"name": "DB_PASSWORD", "value": …}``."""
    for key in ("name", "key"):
        name = source.get(key)
        if isinstance(name, str):
            return rules.secret_keys.get(normalize_key(name))
    return None
