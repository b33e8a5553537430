"""Looks for identifiers in what was anonymized, apart from the detector: other rules, no sieve, no budget. Pure."""

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from pipeline.codec import texts_of
from pipeline.detect.allow import AllowList
from pipeline.detect.checksums import has_checksum, is_check
from pipeline.detect.node import Node

FILE = "schemas/detection/witness.json"
_KEYS = {"regex", "check", "why", "examples", "counter_examples"}


@dataclass(frozen=True, slots=True)
class Rule:
    """What one kind of identifier looks like.

    Attributes:
        entity: its entity type.
        regex: matches a whole value, in its surroundings.
        check: name of the checksum that it has too, "" for none.
        examples, counter_examples: texts in which it is found, and is not.
    """

    entity: str
    regex: re.Pattern[str]
    check: str
    examples: tuple[str, ...]
    counter_examples: tuple[str, ...]

    def values_in(self, text: str) -> Iterator[str]:
        """Yield what it finds in a text."""
        for found in self.regex.finditer(text):
            if not self.check or has_checksum(self.check, found[0]):
                yield found[0]


class Witness:
    """All rules, with the values that the policy leaves on purpose."""

    def __init__(self, data: Any, allowed: Mapping[str, Any]) -> None:
        """Compile.

        Args:
            data: schemas/detection/witness.json, parsed.
            allowed: schemas/detection/allow.json, parsed: what a policy leaves is no leak.

        Raises:
            PolicyError: a field is missing, unknown or wrong; the text names it.
        """
        top = Node(FILE, data, {"why", "rules"})
        top.text("why")
        self.rules = [_rule(entity, node) for entity, node in top.children("rules", _KEYS)]
        self._allow = AllowList.from_json(allowed)

    def look(self, value: Any) -> Counter[str]:
        """Count by entity type what is found in every text of a JSON value, keys included."""
        found: Counter[str] = Counter()
        for text in texts_of(value):
            for rule in self.rules:
                found[rule.entity] += sum(not self._allow.holds(rule.entity, one) for one in rule.values_in(text))
        return +found


def _rule(entity: str, node: Node) -> Rule:
    node.text("why")
    regex = node.regex("regex")
    if regex is None:
        node.fail("regex", "is missing")
    check = node.text("check", "")
    if check and not is_check(check):
        node.fail("check", "there is no such checksum")
    return Rule(entity, regex, check, tuple(node.strings("examples")), tuple(node.strings("counter_examples")))
