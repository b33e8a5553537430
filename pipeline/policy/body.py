"""The compiled rules for bodies (schemas/detection/body.json): what to drop, number anew, replace or not scan."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pipeline.errors import PolicyError

CODINGS = frozenset({"tokens", "token_ids", "vector", "opaque", "media"})


@dataclass(frozen=True, slots=True)
class KeyRule:
    """Applies to a key of an object, at any depth.

    Attributes:
        action: ``drop``, ``link`` (numbered anew), or a coding: ``tokens`` (whatever stands there), ``token_ids``
            (lists of numbers only), ``vector``, ``opaque``, ``media``.
        beside: applies only where the object has this key too, or "".
        values: and only where that key has one of these values, or empty for any.
    """

    action: str
    beside: str = ""
    values: frozenset[str] = frozenset()

    def applies(self, owner: Mapping[str, Any]) -> bool:
        """Tell whether the rule applies to a key of this object."""
        if not self.beside:
            return True
        if self.beside not in owner:
            return False
        value = owner[self.beside]
        return not self.values or (isinstance(value, str) and value in self.values)


@dataclass(frozen=True, slots=True)
class BodyRules:
    """What the content walk goes by.

    Attributes:
        keys: rules of each key, first that applies wins.
        secret_keys: entity type of what stands under a key, by the key's normalized name.
        column_heads: the same for heads of columns that tell only beside another such head.
        known_keys: keys of the APIs themselves, not scanned.
        known_values: values of the APIs themselves, not scanned.
        known_numbers: keys whose integers are never phones or cards.
        media_types: media types that a placeholder may name.
        tokens_min, vector_min: lengths from which a list of numbers is content in another coding.
    """

    keys: Mapping[str, tuple[KeyRule, ...]]
    secret_keys: Mapping[str, str]
    column_heads: Mapping[str, str]
    known_keys: frozenset[str]
    known_values: frozenset[str]
    known_numbers: frozenset[str]
    media_types: frozenset[str]
    tokens_min: int
    vector_min: int


def normalize_key(key: str) -> str:
    """Return a key as the secret-key list compares it: ``X-API-Key``, ``api_key`` and ``apiKey`` are alike."""
    return key.lower().replace("-", "").replace("_", "").replace(" ", "")


def compile_body_rules(data: Mapping[str, Any]) -> BodyRules:
    """Compile body.json.

    Raises:
        PolicyError: something is missing or not of the expected form; the text names it.
    """
    keys: dict[str, list[KeyRule]] = {}
    problem = ""
    try:
        for section in ("drop", "link", "coded"):
            for entry in data[section]:
                action = section if section != "coded" else entry["as"]
                if section == "coded" and action not in CODINGS:
                    problem = f"body.json: coded: '{action}' is not one of {', '.join(sorted(CODINGS))}"
                rule = KeyRule(action, entry.get("beside", ""), frozenset(entry.get("values", ())))
                keys.setdefault(entry["key"], []).append(rule)
        vocabulary, lists = data["vocabulary"], data["coded_lists"]
        rules = BodyRules(
            keys={key: tuple(found) for key, found in keys.items()},
            secret_keys=_entities(data["secret_keys"]),
            column_heads=_entities(data["column_heads"]),
            known_keys=frozenset(vocabulary["keys"]),
            known_values=frozenset(vocabulary["values"]),
            known_numbers=frozenset(vocabulary["numbers"]),
            media_types=frozenset(data["media_types"]),
            tokens_min=int(lists["tokens_min"]),
            vector_min=int(lists["vector_min"]),
        )
    except KeyError as error:
        problem = f"body.json: '{error.args[0]}' is missing"
    if problem:
        raise PolicyError(problem)
    return rules


def _entities(section: Mapping[str, Any]) -> dict[str, str]:
    """Return entity types by normalized key."""
    return {normalize_key(key): entity for entity, keys in section.items() if entity != "why" for key in keys}
