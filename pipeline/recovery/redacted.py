"""A raw event for eyes that may not read it: its shape, and the operational figures that keep to their schema. Pure."""

from typing import Any

from pipeline.codec import decode
from pipeline.content.coding import round_size
from pipeline.errors import InvalidEvent
from pipeline.policy.load import Policy
from pipeline.policy.model import Treatment
from pipeline.policy.shape import Node
from pipeline.records import Json
from pipeline.seal import RawOpener, open_raw

MEMBERS_MAX = 30
"""Of a list or an object so many are shown."""
_TYPES = {int: "integer", float: "number", bool: "boolean", type(None): "null"}


class Redactor:
    """Shows raw events of one policy with every leaf redacted."""

    def __init__(self, policy: Policy, envelopes: RawOpener | None = None) -> None:
        """Take the policy, and what opens raw events that are sealed."""
        self._policy = policy
        self._envelopes = envelopes
        self._shape = policy.shape

    def redact(self, raw: bytes) -> Json:
        """Return an event's shape.

        A string becomes ``<str N>`` and a name that the event schema does not declare ``<key N>``: N is the length in
        characters, to two digits. Of a number, a boolean or null the type is shown, and the value only where it stands
        in a declared operational leaf and is what that leaf's schema allows. Bytes that are no event become their size
        and the reason.
        """
        size = f"{round_size(len(raw))} bytes"
        try:
            limits = self._policy.limits
            event = open_raw(raw, self._envelopes, limits.event_bytes_max)
            decoded = decode(event, size_max=limits.event_bytes_max, depth_max=limits.depth_max)
        except InvalidEvent as error:
            return f"<{size}: {error.reason}>"
        return self._walk(decoded.event, self._shape.tree)

    def _walk(self, value: Any, node: Node | tuple[str, ...] | None) -> Json:
        if isinstance(value, dict):
            return self._object(value, node if isinstance(node, dict) else {})
        if isinstance(value, list):
            shown: list[Json] = [self._walk(member, None) for member in value[:MEMBERS_MAX]]
            return [*shown, _more(len(value))] if len(value) > MEMBERS_MAX else shown
        if isinstance(value, str):
            return f"<str {round_size(len(value))}>"
        if isinstance(node, tuple) and self._is_operational(value, node):
            return value  # type: ignore[no-any-return]  # a number, a boolean or null: nothing else is left
        return f"<{_TYPES[type(value)]}>"

    def _object(self, value: dict[str, Any], node: Node) -> Json:
        """Show an object; what is declared comes in any case, of the rest the first."""
        shown: dict[str, Json] = {}
        undeclared = 0
        for key, member in value.items():
            child = node.get(key)
            if child is not None:
                shown[key] = self._walk(member, child)
                continue
            undeclared += 1
            if undeclared <= MEMBERS_MAX:
                shown[_distinct(f"<key {round_size(len(key))}>", shown)] = self._walk(member, None)
        if undeclared > MEMBERS_MAX:
            shown["<more>"] = _more(undeclared)
        return shown

    def _is_operational(self, value: Any, names: tuple[str, ...]) -> bool:
        """Tell whether a leaf goes into the operational record as it is, and holds what it may hold.

        A number outside its range can be a phone or a card in the wrong field. A time as a number has no range in the
        schema.
        """
        rules = [self._shape.rules[name] for name in names]
        if not rules or any(rule.treatment is not Treatment.OPERATIONAL or rule.unit == "epoch" for rule in rules):
            return False
        if value is None:
            return True
        faults = self._shape.validator.errors(dict.fromkeys(names, value))
        # What is missing is reported too, under its own name.
        return not any(path and path[0] in names for path, _ in faults)


def _more(count: int) -> str:
    return f"<{round_size(count - MEMBERS_MAX)} more>"


def _distinct(marker: str, taken: dict[str, Json]) -> str:
    """Number a marker that occurs again in the same object."""
    number, name = 1, marker
    while name in taken:
        number += 1
        name = f"{marker[:-1]} #{number}>"
    return name
