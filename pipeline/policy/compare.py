"""What one policy keeps beyond another: asked before going back to an older version. Pure.

Only what is surely less counts as less: a leaf that is dropped, a target that is gone, a shorter bound, one more entity
type. Everything else that differs keeps more, or nobody can weigh it, and is told as such.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from pipeline.policy.load import Policy
from pipeline.policy.model import SinkPolicy, StorePolicy, Treatment
from pipeline.policy.shape import FieldRule
from pipeline.policy.table import destinations, to_days

_WHOLE = ("rules", "recognizers", "allow", "names", "ner", "common_words", "user_agents", "body")
"""Parts of a policy that are compared whole: whether another pattern finds less, only texts can tell."""


@dataclass(frozen=True, slots=True)
class Difference:
    """One thing that two policies do otherwise.

    Attributes:
        place: ``field client.ip``, ``sink content``, ``entity PHONE_NUMBER``.
        before, after: what each does.
        keeps_more: whether the second may keep something that the first does not.
    """

    place: str
    before: str
    after: str
    keeps_more: bool


def differences(before: Policy, after: Policy) -> list[Difference]:
    """Return what changes from one policy to another, in a stable order; empty when nothing that decides bytes does."""
    return [
        *_fields(before, after),
        *_kept_in_records(before, after),
        *_catalogues(before, after),
        *_sinks({**before.sinks, **before.stores}, {**after.sinks, **after.stores}),
        *_entities(before.entities["entities"], after.entities["entities"]),
        *_whole(before, after),
    ]


def _fields(before: Policy, after: Policy) -> Iterator[Difference]:
    old, new = before.shape.rules, after.shape.rules
    for name in dict.fromkeys([*old, *new]):
        was, becomes = old.get(name), new.get(name)
        if _decides(was) != _decides(becomes):
            yield Difference(f"field {name}", _said(was), _said(becomes), keeps_more=not _is_less(was, becomes))


def _decides(rule: FieldRule | None) -> Any:
    """Return what decides bytes: a leaf that is not declared is dropped."""
    if rule is None or (rule.treatment is Treatment.DROP and not rule.role):
        return None
    return rule.targets, _way(rule)


def _way(rule: FieldRule) -> FieldRule:
    """Return a rule without its targets and its reasons: all else decides what becomes of a leaf."""
    return replace(rule, targets=(), why="", clause="")


def _said(rule: FieldRule | None) -> str:
    return "dropped" if rule is None or not rule.targets else f"{rule.treatment}: {destinations(rule)}"


def _is_less(was: FieldRule | None, becomes: FieldRule | None) -> bool:
    """Tell whether a leaf surely goes to less: nowhere, or in the same way to fewer fields."""
    if becomes is None or becomes.treatment is Treatment.DROP:
        return was is None or (was.role is None and not was.entity)  # one whose value is also looked for in content
    if was is None:
        return False
    return _way(was) == _way(becomes) and set(becomes.targets) <= set(was.targets)


def _kept_in_records(before: Policy, after: Policy) -> Iterator[Difference]:
    """Fields that a store makes null some time after the request."""
    old = {field.name: field.null_after_ms for field in before.operational.fields}
    for field in after.operational.fields:
        was, becomes = old.get(field.name), field.null_after_ms
        if field.name in old and was != becomes:
            less = becomes is not None and (was is None or becomes < was)
            yield Difference(f"null after, {field.name}", _life(was), _life(becomes), keeps_more=not less)


def _life(ms: int | None) -> str:
    return "never" if ms is None else to_days(ms)


def _catalogues(before: Policy, after: Policy) -> Iterator[Difference]:
    for name in dict.fromkeys([*before.catalogues, *after.catalogues]):
        was, becomes = before.catalogues.get(name), after.catalogues.get(name)
        if was != becomes:
            fewer = becomes is None or (was is not None and becomes.mapping.items() <= was.mapping.items())
            values = [0 if one is None else len(set(one.mapping.values())) for one in (was, becomes)]
            yield Difference(f"catalogue {name}", f"{values[0]} values", f"{values[1]} values", keeps_more=not fewer)


_Sinks = Mapping[str, SinkPolicy | StorePolicy]


def _sinks(before: _Sinks, after: _Sinks) -> Iterator[Difference]:
    for name in dict.fromkeys([*before, *after]):
        was, becomes = (one.get(name) for one in (before, after))
        bounds = [0 if one is None else one.retention_ms for one in (was, becomes)]
        if bounds[0] != bounds[1]:
            old, new = (to_days(ms) if ms else "not there" for ms in bounds)
            yield Difference(f"sink {name}", old, new, keeps_more=bounds[1] > bounds[0])


def _entities(before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[Difference]:
    for name in dict.fromkeys([*before, *after]):
        was, becomes = (_looked_for(one.get(name)) for one in (before, after))
        if was != becomes:
            old, new = ("looked for" if one else "not looked for" for one in (was, becomes))
            yield Difference(f"entity {name}", old, "otherwise" if was and becomes else new, keeps_more=was is not None)


def _looked_for(entity: Mapping[str, Any] | None) -> Any:
    """Return what decides what is found of an entity type; None when it is not looked for."""
    if not entity or not entity.get("enabled", True):
        return None
    return {key: value for key, value in entity.items() if key != "why"}


def _whole(before: Policy, after: Policy) -> Iterator[Difference]:
    pairs = {name: (getattr(before, name), getattr(after, name)) for name in _WHOLE}
    pairs |= {name: (before.entities.get(name), after.entities.get(name)) for name in ("recognizers", "patterns")}
    for name, (was, becomes) in pairs.items():
        if was != becomes:
            yield Difference(f"detection, {name.replace('_', ' ')}", "one", "another", keeps_more=True)
