"""What counts of a model's findings, by policy: schemas/detection/ner.json. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pipeline.detect.entities import EntityTable
from pipeline.detect.node import Node

FILE = "schemas/detection/ner.json"
_KEYS = {"why", "labels", "ignored", "score", "event_chars_max", "model"}


@dataclass(frozen=True, slots=True)
class NerRules:
    """The rules for a model.

    Attributes:
        labels: the model's labels that count, and the entity type of each.
        ignored: its labels that do not.
        score: confidence of its findings, 0 to 1: where one overlaps with another finder's, the higher names the type.
        event_chars_max: how much of one event it is shown, in characters; texts beyond are redacted whole.
        model: identity of the only model that may be used, or "" for any; see `pipeline.detect.nermodel`.
    """

    labels: Mapping[str, str]
    ignored: frozenset[str]
    score: float
    event_chars_max: int
    model: str = ""

    @classmethod
    def from_json(cls, data: Any, table: EntityTable) -> "NerRules":
        """Compile the parsed file; a label whose entity type is not enabled is ignored.

        Raises:
            PolicyError: a field is missing, unknown or wrong; the text names it.
        """
        node = Node(FILE, data, _KEYS)
        node.text("why")
        labels = _labels(node, table)
        ignored, score = frozenset(node.strings("ignored")), node.number("score")
        # Presidio leaves out by the label and then by the type, so PER → PERSON beside an ignored PERSON finds nothing.
        for label in sorted(ignored & {*labels, *labels.values()}):
            node.fail("ignored", f"holds {label}, which labels has too; it must be in one of them")
        for label, entity in labels.items():
            if score < table.entities[entity].score_min:
                node.fail("score", f"is below score_min of {entity}, so no finding of {label} would count")
        enabled = {label: entity for label, entity in labels.items() if table.entities[entity].enabled}
        return cls(
            labels=enabled,
            ignored=ignored | (labels.keys() - enabled.keys()),
            score=score,
            event_chars_max=node.count("event_chars_max", 1 << 18),
            model=node.text("model", ""),
        )


def _labels(node: Node, table: EntityTable) -> dict[str, str]:
    labels = node.data.get("labels")
    if not isinstance(labels, dict) or not labels:
        node.fail("labels", "must be an object that gives at least one label its entity type")
    for label, entity in labels.items():
        if entity not in table.entities:
            node.fail(f"labels/{label}", "is no entity type that entities.json declares")
    return dict(labels)
