"""The closed list of entity types and what finds them, compiled from schemas/detection/entities.json. Pure."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pipeline.detect.node import Compile, Node
from pipeline.errors import PolicyError

FILE = "schemas/detection/entities.json"
RESERVED = ("REDACTED", "OPAQUE", "TOKENS", "VECTOR", "MEDIA")
SAME_VALUE = ("text", "words", "digits", "alnum")
PIECE_CHARS_MAX = 1 << 11
TEXT_CHARS_MAX = 1 << 18
_LABEL = re.compile(r"[A-Z]+(?:_[A-Z]+)*")


@dataclass(frozen=True, slots=True)
class EntityRule:
    """One entity type.

    Attributes:
        name: the type, as spans carry it.
        placeholder: label of its placeholders; several types may share one.
        enabled: whether a detector looks for it.
        score_min: a finding below this confidence, 0 to 1, is not one.
        same_value: what two texts must share to be one value: the whole ``text``, its ``words``, ``digits`` or
            letters and digits (``alnum``).
        why: why it is on the list.
    """

    name: str
    placeholder: str
    enabled: bool
    score_min: float
    same_value: str
    why: str


@dataclass(frozen=True, slots=True)
class Shape:
    """A shape in which a finding needs no context word.

    Attributes:
        text: matches the whole finding.
        before: matches the text that ends where the finding starts.
        after: matches the text that starts where the finding ends.
    """

    text: re.Pattern[str]
    before: re.Pattern[str]
    after: re.Pattern[str]


@dataclass(frozen=True, slots=True)
class RecognizerRule:
    """One recognizer: a Presidio class by name, or a pattern of our own.

    Attributes:
        name: Presidio class, or the pattern's name.
        entity: the type its findings have.
        why: why it is enabled.
        gate: a regex that matches in every run (see ``piece``) with a finding; "" when there is none.
        scan: patterns of the scan, one of which is in every text with a finding that has no context word near it;
            empty for those of the Presidio class.
        regex: our own pattern, or "" for a Presidio class.
        score: confidence of our own pattern.
        context_required: a finding without a context word near it is not one.
        context_words: lower-case words that count as context; empty for the recognizer's own.
        piece: a regex of one character class whose longest runs contain every finding whole; the recognizer is
            shown those runs that pass the gate, with two characters on either side. "" for the whole text.
        piece_chars_max: a longer run is not looked at closely but redacted whole.
        text_chars_max: characters of such runs that it is shown of one text; beyond, the text is redacted whole.
        yields: what a better finding holds, it need not find; it is then asked last.
        lines: no finding holds a line break, and no pattern looks beyond one.
        gate_alone: a regex that matches in every run with a finding that has no context word near it, or "".
        alone: when there are any, a finding without a context word must have one of these shapes.
        ignore: findings that are no identifier, or None.
        ignore_before: text before a finding that makes it no identifier, or None.
        ignore_after: text after a finding that makes it no identifier, or None.
        without: names of the class's patterns that are left out.
        options: arguments of the Presidio class.
        examples: texts in which it finds something.
        counterexamples: texts in which it finds nothing.
    """

    name: str
    entity: str
    why: str
    gate: str = ""
    scan: tuple[str, ...] = ()
    piece: str = ""
    piece_chars_max: int = PIECE_CHARS_MAX
    text_chars_max: int = TEXT_CHARS_MAX
    yields: bool = False
    lines: bool = False
    gate_alone: str = ""
    regex: str = ""
    score: float = 0.0
    context_required: bool = False
    context_words: tuple[str, ...] = ()
    alone: tuple[Shape, ...] = ()
    ignore: re.Pattern[str] | None = None
    ignore_before: re.Pattern[str] | None = None
    ignore_after: re.Pattern[str] | None = None
    without: tuple[str, ...] = ()
    options: Mapping[str, Any] = field(default_factory=dict)
    examples: tuple[str, ...] = ()
    counterexamples: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class EntityTable:
    """Entity types, the recognizers that find them, and the placeholders they become."""

    entities: Mapping[str, EntityRule]
    recognizers: tuple[RecognizerRule, ...]

    @classmethod
    def from_json(cls, data: Any, compile_regex: Compile = re.compile) -> "EntityTable":
        """Compile the parsed file.

        Args:
            data: schemas/detection/entities.json.
            compile_regex: as `re.compile`.

        Raises:
            PolicyError: a field is missing, unknown or wrong; the text names it.
        """
        top = Node(FILE, data, {"why", "entities", "recognizers", "patterns"}, compile_regex)
        entities = {name: _entity(name, node) for name, node in top.children("entities", _ENTITY_KEYS)}
        recognizers = [_recognizer(name, node) for name, node in top.children("recognizers", _RECOGNIZER_KEYS)]
        patterns = [_pattern(name, node) for name, node in top.children("patterns", _PATTERN_KEYS)]
        for rule in (*recognizers, *patterns):
            if rule.entity not in entities:
                raise PolicyError(f"{FILE}: {rule.name}/entity is not declared under entities")
        return cls(entities=entities, recognizers=(*recognizers, *patterns))


_ENTITY_KEYS = {"placeholder", "enabled", "score_min", "same_value", "why"}
_SHARED = (
    "entity",
    "why",
    "gate",
    "scan",
    "piece",
    "piece_chars_max",
    "text_chars_max",
    "gate_alone",
    "lines",
    "yields",
    "context",
    "context_words",
    "alone",
)
_RULE_KEYS = {*_SHARED, "ignore", "ignore_before", "ignore_after"}
_RECOGNIZER_KEYS = _RULE_KEYS | {"options", "without"}
_PATTERN_KEYS = _RULE_KEYS | {"regex", "score", "examples", "counterexamples"}


def _entity(name: str, node: Node) -> EntityRule:
    placeholder = node.text("placeholder")
    if not _LABEL.fullmatch(placeholder) or placeholder in RESERVED:
        node.fail("placeholder", f"must be upper-case words joined by _, and none of {', '.join(RESERVED)}")
    enabled = node.data.get("enabled")
    if not isinstance(enabled, bool):
        node.fail("enabled", "must be true or false")
    same_value = node.text("same_value", "text")
    if same_value not in SAME_VALUE:
        node.fail("same_value", f"must be one of {', '.join(SAME_VALUE)}")
    return EntityRule(name, placeholder, enabled, node.number("score_min"), same_value, node.text("why"))


def _recognizer(name: str, node: Node) -> RecognizerRule:
    options = node.data.get("options", {})
    if not isinstance(options, dict):
        node.fail("options", "must be an object")
    return RecognizerRule(name=name, options=options, without=node.strings("without"), **_shared(node))


def _pattern(name: str, node: Node) -> RecognizerRule:
    examples, counterexamples = node.strings("examples"), node.strings("counterexamples")
    if not examples or not counterexamples:
        node.fail("examples", "a pattern needs examples and counterexamples")
    node.regex("regex")
    return RecognizerRule(
        name=name,
        regex=node.text("regex"),
        score=node.number("score"),
        examples=examples,
        counterexamples=counterexamples,
        **_shared(node),
    )


def _shared(node: Node) -> dict[str, Any]:
    context = node.text("context", "helps")
    if context not in ("helps", "required"):
        node.fail("context", "must be helps or required")
    for key in ("gate", "piece", "gate_alone"):
        node.regex(key)
    return {
        "entity": node.text("entity"),
        "why": node.text("why"),
        "gate": node.text("gate", ""),
        "scan": node.strings("scan"),
        "piece": node.text("piece", ""),
        "piece_chars_max": node.count("piece_chars_max", PIECE_CHARS_MAX),
        "text_chars_max": node.count("text_chars_max", TEXT_CHARS_MAX),
        "gate_alone": node.text("gate_alone", ""),
        "lines": node.flag("lines"),
        "yields": node.flag("yields"),
        "context_required": context == "required",
        "context_words": node.strings("context_words", lambda word: bool(word) and word == word.lower()),
        "alone": _shapes(node),
        "ignore": node.regex("ignore"),
        "ignore_before": node.regex("ignore_before"),
        "ignore_after": node.regex("ignore_after"),
    }


def _shapes(node: Node) -> tuple[Shape, ...]:
    shapes = []
    for index, data in enumerate(node.data.get("alone", [])):
        shape = Node(f"{node.where}/alone/{index}", data, {"text", "before", "after"}, node.compile)
        text, before, after = shape.regex("text"), shape.regex("before"), shape.regex("after")
        if text is None or before is None or after is None:
            shape.fail("text", "text, before and after are all needed")
        shapes.append(Shape(text, before, after))
    return tuple(shapes)
