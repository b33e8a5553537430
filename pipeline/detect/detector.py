"""Puts the detector together from the policy: Presidio's recognizers, our own rules, names, and the scan in front."""

import gc
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from pipeline.detect.allow import AllowList
from pipeline.detect.cache import cache_path, read_whole, write_whole
from pipeline.detect.columns import Columns
from pipeline.detect.engine import Engine
from pipeline.detect.entities import EntityTable
from pipeline.detect.gates import Finder
from pipeline.detect.gazetteer import load_tables
from pipeline.detect.names import Names
from pipeline.detect.ner import WithModel
from pipeline.detect.nermodel import Model
from pipeline.detect.nerrules import NerRules
from pipeline.detect.patterns import DIALECT, Patterns
from pipeline.detect.presidio import make_owners_recognizers, make_recognizers
from pipeline.detect.rules import rules_from_json
from pipeline.detect.sieve import Sieve
from pipeline.detect.spans import Detector
from pipeline.detect.views import VIEWERS, Viewer
from pipeline.errors import ConfigError, PolicyError
from pipeline.policy.load import Policy


@contextmanager
def _collector_paused() -> Iterator[None]:
    """Let the garbage collector rest: what is made here stays, and to look at it over and over takes a sixth of it."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


@_collector_paused()
def make_detector(policy: Policy, cache_dir: Path | None = None) -> Engine:
    """Return the detector of a policy.

    Args:
        policy: its entity types, recognizers, rules and allow-list.
        cache_dir: where the compiled scan is kept; without, it is compiled each time, which takes seconds.

    Raises:
        PolicyError: the policy names what there is not.
    """
    path = cache_path(cache_dir, "patterns", (DIALECT, policy.digest), ("patterns",))
    patterns = Patterns(read_whole(path))
    table = EntityTable.from_json(policy.entities, patterns.compile)
    # First, for what it takes to read them is free again for what comes then.
    names = (
        [Names.from_json(policy.names, policy.common_words, patterns.compile, load_tables(cache_dir))]
        if table.entities["PERSON"].enabled
        else []
    )
    rules = rules_from_json(policy.rules, patterns)
    if patterns.is_new:
        write_whole(path, patterns.dump())
    for rule in rules:
        if rule.entity not in table.entities:
            raise PolicyError(f"rule {rule.name}: its entity is not declared in entities.json")
    recognizers = [*make_recognizers(table), *make_owners_recognizers(table, policy.recognizers)]
    finders: list[Finder] = [
        *(recognizer for recognizer in recognizers if not recognizer.rule.yields),
        *(rule for rule in rules if table.entities[rule.entity].enabled),
        *names,
        Columns(*(_enabled(heads, table) for heads in (policy.body.secret_keys, policy.body.column_heads))),
        *(recognizer for recognizer in recognizers if recognizer.rule.yields),
    ]
    return make_engine(finders, AllowList.from_json(policy.allow), cache_dir, VIEWERS, policy.common_words)


def add_model(detector: Detector, policy: Policy, model: Model | None, processes: int = 1) -> Detector:
    """Return a detector that asks a model besides; the same one when there is no model, and none is required.

    Args:
        detector: of `make_detector`.
        policy: loaded for this model: its digest says which one found what.
        model: of `pipeline.detect.nermodel.find_model`.
        processes: how many hold the model.

    Raises:
        PolicyError: the policy has no rules for a model, or they are wrong.
        ConfigError: the policy requires another model, or this one cannot be loaded.
    """
    if model is None and not policy.ner.get("model"):
        return detector
    if not policy.ner:
        raise PolicyError('policy.json: "ner" is missing, so it says of no label what it is; see the shipped one')
    rules = NerRules.from_json(policy.ner, EntityTable.from_json(policy.entities))
    if model is None or rules.model not in ("", model.identity):
        raise ConfigError(
            f"LETHE_NER_MODEL must name the model that detection/ner.json requires, which is {rules.model}; it names "
            f"{model.identity if model else 'none'}"
        )
    if policy.model != model.identity:
        raise ConfigError("LETHE_NER_MODEL: the policy was loaded for another model, or its files have changed")
    from pipeline.detect.nerchild import Setup  # noqa: PLC0415 - only who has a model pays for it
    from pipeline.detect.nerpool import Pool  # noqa: PLC0415 - as above

    setup = Setup(model, dict(rules.labels), sorted(rules.ignored), rules.score)
    allowed = AllowList.from_json(policy.allow)
    return WithModel(detector, Pool(setup, processes).read, allowed, event_chars_max=rules.event_chars_max)


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
