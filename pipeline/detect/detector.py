"""Puts the detector together from the policy: Presidio's recognizers, our own rules, names, and the scan in front."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from pipeline.detect.allow import AllowList
from pipeline.detect.columns import Columns
from pipeline.detect.engine import Engine
from pipeline.detect.entities import EntityTable
from pipeline.detect.gates import Finder
from pipeline.detect.names import Names
from pipeline.detect.presidio import make_owners_recognizers, make_recognizers
from pipeline.detect.rules import rules_from_json
from pipeline.detect.sieve import Sieve
from pipeline.detect.views import VIEWERS, Viewer
from pipeline.errors import PolicyError
from pipeline.policy.load import Policy


def make_detector(policy: Policy, cache_dir: Path | None = None) -> Engine:
    """Return the detector of a policy.

    Args:
        policy: its entity types, recognizers, rules and allow-list.
        cache_dir: where the compiled scan is kept; without, it is compiled each time, which takes seconds.

    Raises:
        PolicyError: the policy names what there is not.
    """
    table = EntityTable.from_json(policy.entities)
    rules = rules_from_json(policy.rules)
    for rule in rules:
        if rule.entity not in table.entities:
            raise PolicyError(f"rule {rule.name}: its entity is not declared in entities.json")
    recognizers = [*make_recognizers(table), *make_owners_recognizers(table, policy.recognizers)]
    finders: list[Finder] = [
        *(recognizer for recognizer in recognizers if not recognizer.rule.yields),
        *(rule for rule in rules if table.entities[rule.entity].enabled),
        *([Names.from_json(policy.names, policy.common_words)] if table.entities["PERSON"].enabled else ()),
        Columns(*(_enabled(heads, table) for heads in (policy.body.secret_keys, policy.body.column_heads))),
        *(recognizer for recognizer in recognizers if recognizer.rule.yields),
    ]
    return make_engine(finders, AllowList.from_json(policy.allow), cache_dir, VIEWERS, policy.common_words)


def make_engine(
    finders: Sequence[Finder],
    allowed: AllowList,
    cache_dir: Path | None = None,
    viewers: Sequence[Viewer] = (),
    common_words: frozenset[str] = frozenset(),
) -> Engine:
    """Return an engine over finders and viewers."""
    gates = [*(finder.gate for finder in finders), *(viewer.gate for viewer in viewers)]
    sieve = Sieve(gates, cache_dir)
    return Engine(finders, viewers, sieve, allowed=allowed, common_words=common_words)


def _enabled(keys: Mapping[str, str], table: EntityTable) -> dict[str, str]:
    return {key: entity for key, entity in keys.items() if table.entities[entity].enabled}
