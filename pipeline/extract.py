"""Reads the declared leaves out of a raw event and validates them. What is not declared is counted and left behind."""

from collections.abc import Mapping
from typing import Any

from pipeline.errors import Reason, reject
from pipeline.policy.model import Treatment
from pipeline.policy.shape import EventShape, FieldRule, Node

_REASONS = {
    "required": Reason.MISSING_FIELD,
    "type": Reason.WRONG_TYPE,
    "minimum": Reason.OUT_OF_RANGE,
    "maximum": Reason.OUT_OF_RANGE,
    "exclusiveMinimum": Reason.OUT_OF_RANGE,
    "exclusiveMaximum": Reason.OUT_OF_RANGE,
}


def extract(event: dict[str, Any], shape: EventShape) -> tuple[dict[str, Any], int]:
    """Read and validate the declared leaves of an event.

    Returns:
        Values by rule name, nulls left out; and how many members the schema does not declare.

    Raises:
        InvalidEvent: a required leaf is missing, or a value is not what its schema says.
    """
    values: dict[str, Any] = {}
    unknown = _collect(event, shape.tree, values, "")
    for name, steps in shape.paths:
        found = _follow(event, steps)
        if shape.rules[name].treatment is not Treatment.CONTENT:
            found = _first(found)
        if found is not None and found != []:
            values[name] = found
    if not shape.validator.is_valid(values):
        _reject_first(values, shape)
    return values, unknown


def _collect(source: dict[str, Any], node: Node, values: dict[str, Any], place: str) -> int:
    unknown = 0
    for key, value in source.items():
        child = node.get(key)
        if child is None:
            unknown += 1
        elif value is None:
            continue
        elif type(child) is tuple:
            for name in child:
                values[name] = value
        elif type(value) is dict and type(child) is dict:
            unknown += _collect(value, child, values, f"{place}/{key}")
        else:
            reject(Reason.WRONG_TYPE, f"{place}/{key}")
    return unknown


def _follow(value: Any, steps: tuple[str, ...]) -> Any:
    """Follow a pointer with ``*`` (each member of a list: a list of what is found) and ``[key]`` (a key-value list)."""
    for index, step in enumerate(steps):
        if step == "*":
            members = value if isinstance(value, list) else []
            found = (_follow(member, steps[index + 1 :]) for member in members)
            return [item for item in found if item is not None]
        if step.startswith("[") and step.endswith("]"):
            value = _look_up(value, step[1:-1])
        else:
            value = value.get(step) if isinstance(value, Mapping) else None
        if value is None:
            return None
    return value


def _first(found: Any) -> Any:
    """Return the first of what ``*`` found: a field has one value, only content has many."""
    while isinstance(found, list):
        found = found[0] if found else None
    return found


def _look_up(pairs: Any, key: str) -> Any:
    """Return the value of a key in a list of ``{"key": …, "value": …}``."""
    if not isinstance(pairs, list):
        return None
    return next((p.get("value") for p in pairs if isinstance(p, Mapping) and p.get("key") == key), None)


def _reject_first(values: dict[str, Any], shape: EventShape) -> None:
    """Reject with the first fault in the schema's order, so that the same event always gets the same rejection."""
    order = {name: index for index, name in enumerate(shape.rules)}
    faults = [(order.get(str(path[0]), -1), keyword) for path, keyword in shape.validator.errors(values) if path]
    index, keyword = min(faults)
    rule: FieldRule = list(shape.rules.values())[index]
    reject(_REASONS.get(keyword, Reason.BAD_FORMAT), rule.pointer)
