"""What lint says, and which strings are safe to be operational (design §3, rule 2)."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pipeline.policy.record import json_types

SAFE_FORMATS = frozenset({"request_id", "date-time", "uuid", "ulid", "hex"})


@dataclass(frozen=True, slots=True)
class Finding:
    """One broken rule: number of the rule in design §3, file, place in it, and what is wrong."""

    rule: str
    file: str
    place: str
    message: str

    def __str__(self) -> str:
        return f"{self.file}{self.place}: {self.message} [rule {self.rule}]"


def is_safe_string(leaf: Mapping[str, Any]) -> bool:
    """Tell whether an operational leaf of an event cannot carry free text."""
    types = json_types(leaf)
    note = leaf["x-privacy"]
    if not types or {"object", "array"} & set(types):
        return False
    if "string" not in types:
        return True
    enum = leaf.get("enum")
    return bool(note.get("catalogue")) or note.get("format") in SAFE_FORMATS or bool(enum and "other" in enum)


def kinds(node: Mapping[str, Any], note: Mapping[str, Any]) -> set[str]:
    """Return the JSON types of a leaf or field, null apart; a number on one side takes integers on the other."""
    found = set(json_types(node)) - {"null"}
    if note.get("unit") == "epoch":
        found = {"string"}
    return found | ({"integer"} if "number" in found and not note else set())
