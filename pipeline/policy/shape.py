"""An event shape: where each declared leaf stands in the raw event, and what becomes of it."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from pipeline.policy.model import Role, Treatment
from pipeline.policy.validator import FORMATS, Validator

DEFAULT_AS = {
    Treatment.OPERATIONAL: "value",
    Treatment.PSEUDONYMIZE: "pseudonym",
    Treatment.CONTENT: "scrubbed",
}
"""What a target's ``as`` is where the annotation leaves it out; coarsening always names it."""


@dataclass(frozen=True, slots=True)
class Target:
    """One field that a leaf becomes: ``how`` is the annotation's ``as``."""

    record: str
    field: str
    how: str


@dataclass(frozen=True, slots=True)
class FieldRule:
    """One declared leaf of an event.

    Attributes:
        name: dotted path in the schema.
        pointer: JSON pointer into the raw event, with ``*`` over lists and ``[key]`` for a key-value list.
        treatment, targets, role, format, unit, catalogue, entity, why, clause: as annotated.
        values: an enum's values, or empty.
        whole: it is an integer, which JSON may spell ``200.0``.
    """

    name: str
    pointer: str
    treatment: Treatment
    targets: tuple[Target, ...]
    why: str
    clause: str
    role: Role | None = None
    format: str = ""
    unit: str = ""
    catalogue: str = ""
    entity: str = ""
    values: frozenset[str] = frozenset()
    whole: bool = False


Node = dict[str, "Node | tuple[str, ...]"]


@dataclass(frozen=True, slots=True)
class EventShape:
    """A compiled event schema.

    Attributes:
        name, version: of the schema.
        rules: every leaf, in the schema's order, by name.
        tree: the declared names of the raw event; a leaf holds the names of the rules that read it.
        paths: rules whose pointer needs more than a look-up by name, with their steps.
        required: names of leaves that must be there.
        validator: checks the extracted leaves, a flat object by rule name.
        pointers: every pointer that a rejection may name.
    """

    name: str
    version: int
    rules: Mapping[str, FieldRule]
    tree: Node = field(repr=False)
    paths: tuple[tuple[str, tuple[str, ...]], ...] = field(repr=False)
    required: tuple[str, ...]
    validator: Validator = field(repr=False)
    pointers: frozenset[str] = field(repr=False)

    def role(self, role: Role) -> FieldRule:
        """Return the one rule that has this role; lint has made sure of it for the required roles."""
        return next(rule for rule in self.rules.values() if rule.role is role)


def walk_leaves(schema: Mapping[str, Any], path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Yield (path, schema) of every leaf below an object schema: a property that declares no properties."""
    for name, child in schema.get("properties", {}).items():
        here = (*path, name)
        if isinstance(child, Mapping) and "properties" in child and "x-privacy" not in child:
            yield from walk_leaves(child, here)
        else:
            yield here, child


def required_leaves(schema: Mapping[str, Any], path: tuple[str, ...] = ()) -> Iterator[str]:
    """Yield dotted names of the leaves that must be present: required all the way down."""
    for name in schema.get("required", ()):
        child = schema.get("properties", {}).get(name, {})
        here = (*path, name)
        if "properties" in child and "x-privacy" not in child:
            yield from required_leaves(child, here)
        else:
            yield ".".join(here)


def split_pointer(pointer: str) -> tuple[str, ...]:
    """Split a JSON pointer (RFC 6901) into its unescaped steps."""
    return tuple(step.replace("~1", "/").replace("~0", "~") for step in pointer.split("/")[1:])


def is_plain(steps: tuple[str, ...]) -> bool:
    """Tell whether every step is a member's name: no ``*``, no ``[key]``."""
    return not any(step == "*" or (step.startswith("[") and step.endswith("]")) for step in steps)


def compile_shape(schema: Mapping[str, Any]) -> EventShape:
    """Compile a linted event schema."""
    rules: dict[str, FieldRule] = {}
    properties: dict[str, Any] = {}
    for path, leaf in walk_leaves(schema):
        rule = _compile_rule(path, leaf)
        rules[rule.name] = rule
        properties[rule.name] = _flat_property(rule, leaf)
    required = tuple(required_leaves(schema))
    validator = Validator({"type": "object", "properties": properties, "required": list(required)})
    head = schema["x-event"]
    tree, paths = _plan(rules)
    return EventShape(head["name"], head["version"], rules, tree, paths, required, validator, _pointers(rules))


def _plan(rules: Mapping[str, FieldRule]) -> tuple[Node, tuple[tuple[str, tuple[str, ...]], ...]]:
    """Return the tree of names to look up, and the pointers that need more than that."""
    tree: Node = {}
    steps = {name: split_pointer(rule.pointer) for name, rule in rules.items()}
    for name, path in steps.items():
        if is_plain(path):
            _plant(tree, path, name)
    paths = tuple((name, path) for name, path in steps.items() if not is_plain(path))
    for _, path in paths:
        tree.setdefault(path[0], ())  # declared, so not counted as unknown
    return tree, paths


def _compile_rule(path: tuple[str, ...], leaf: Mapping[str, Any]) -> FieldRule:
    note = leaf["x-privacy"]
    treatment = Treatment(note["treatment"])
    targets = tuple(
        Target(to["record"], to["field"], to.get("as") or DEFAULT_AS[treatment]) for to in note.get("to", ())
    )
    return FieldRule(
        name=".".join(path),
        pointer=note.get("from") or "/" + "/".join(step.replace("~", "~0").replace("/", "~1") for step in path),
        treatment=treatment,
        targets=targets,
        why=note["why"],
        clause=note["clause"],
        role=Role(note["role"]) if "role" in note else None,
        format=note.get("format", ""),
        unit=note.get("unit", ""),
        catalogue=note.get("catalogue", ""),
        entity=note.get("entity", ""),
        values=frozenset(leaf.get("enum", ())),
        whole="integer" in leaf.get("type", ()),  # one type or a list of them
    )


def _flat_property(rule: FieldRule, leaf: Mapping[str, Any]) -> dict[str, Any]:
    """Return the leaf's own constraints; an enum's unknown values become ``other`` and are no fault."""
    kept = {key: value for key, value in leaf.items() if not key.startswith("x-") and key != "enum"}
    if rule.format in FORMATS:
        kept["pattern"] = FORMATS[rule.format]
    return kept


def _plant(tree: Node, steps: tuple[str, ...], name: str) -> None:
    node = tree
    for step in steps[:-1]:
        child = node.setdefault(step, {})
        assert isinstance(child, dict)  # noqa: S101 - lint refuses a leaf and an object at one place
        node = child
    last = node.setdefault(steps[-1], ())
    assert isinstance(last, tuple)  # noqa: S101 - as above
    node[steps[-1]] = (*last, name)


def _pointers(rules: Mapping[str, FieldRule]) -> frozenset[str]:
    found = {"", "/*"}
    for rule in rules.values():
        steps = rule.pointer.split("/")[1:]
        found.update("/" + "/".join(steps[: n + 1]) for n in range(len(steps)))
    return frozenset(found)
