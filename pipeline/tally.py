"""Counts of a batch: what became of its events. Pure; the names under which it counts come from closed lists only."""

from collections import Counter
from dataclasses import dataclass, field

from pipeline.records import Fate, Rejection


@dataclass(slots=True)
class Tally:
    """What became of some events.

    Attributes:
        events: how many.
        bytes_read: size of the raw events.
        accepted: events that became records.
        rejections: refused events, by reason.
        redactions: spans and leaves that were replaced, by entity type.
        outcomes: accepted events, by what became of their content.
        models: accepted events, by the model of the operational record, where it has one.
        unknown_fields: undeclared fields that were dropped.
        dropped_fields: declared fields and body keys that were dropped.
        duplicate_keys: keys that an object repeated.
    """

    events: int = 0
    bytes_read: int = 0
    accepted: int = 0
    rejections: Counter[str] = field(default_factory=Counter)
    redactions: Counter[str] = field(default_factory=Counter)
    outcomes: Counter[str] = field(default_factory=Counter)
    models: Counter[str] = field(default_factory=Counter)
    unknown_fields: int = 0
    dropped_fields: int = 0
    duplicate_keys: int = 0

    def count(self, fate: Fate) -> None:
        """Count one event, its size by its source aside: see ``bytes_read``."""
        self.events += 1
        if isinstance(fate, Rejection):
            self.rejections[str(fate.reason)] += 1
            return
        facts = fate.facts
        self.accepted += 1
        self.outcomes[facts.content_outcome] += 1
        redactions = self.redactions
        for entity, count in facts.redactions.items():
            redactions[entity] += count
        model = fate.operational.fields.get("model")
        if isinstance(model, str):
            self.models[model] += 1
        self.unknown_fields += facts.unknown_fields
        self.dropped_fields += facts.dropped_fields
        self.duplicate_keys += facts.duplicate_keys
