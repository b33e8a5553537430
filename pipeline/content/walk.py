"""Walks a body once: copies its skeleton, drops and replaces by rule, and gathers the texts that a detector must see.

The walk never changes what it is given. Texts stand in order of first appearance, strings of JSON are walked as part of
the body, and every text knows the place in the copy where its replacement goes.
"""

from collections.abc import Mapping
from typing import Any

from pipeline.codec import check_depth, parse_embedded, replace_surrogates
from pipeline.content.coding import (
    coded_list,
    coded_value,
    find_media,
    is_longer,
    is_media,
    may_hold_media,
    media_label,
    media_type_beside,
)
from pipeline.content.evidence import VALUE_KEYWORDS, is_schema, named_secret
from pipeline.content.parts import Embedded, Joined, Part, Renamed
from pipeline.errors import InvalidEvent
from pipeline.policy.body import BodyRules, KeyRule, normalize_key
from pipeline.redact import REDACTED

# Seconds since 1970 (2001 to 2030), and the same in milli-, micro- and nanoseconds: times, not phones.
_EPOCHS = tuple((10**9 * unit, 19 * 10**8 * unit) for unit in (1, 10**3, 10**6, 10**9))
_DIGITS_FROM = 10**9
"""A number below this has too few digits for a phone or a card, unless its key says otherwise."""

_JSON_ENDS = frozenset('}]" \t\r\n')
"""How a string that holds JSON can end."""


class Walk:
    """One body's walk.

    Attributes:
        texts: what a detector must see, in order.
        slots: owner and key of each text's place in the copy.
        forced: entity types of texts that are replaced whole because of their key, by number.
        parts: what is put together once the texts are done, innermost last.
        counts: leaves replaced whole, by kind.
        links: ids that are numbered anew, in order of first appearance.
        dropped: keys dropped by rule.
    """

    def __init__(
        self,
        rules: BodyRules,
        *,
        leaf_max: int,
        depth_max: int,
        own_numbers: Mapping[int, tuple[str, str]] | None = None,
    ) -> None:
        """Prepare a walk; ``own_numbers`` are the account's identifiers of digits only: entity and text by number."""
        self._rules = rules
        self._leaf_max = leaf_max
        self._depth_max = depth_max
        self._own_numbers = own_numbers or {}
        self.texts: list[str] = []
        self.slots: list[tuple[Any, Any]] = []
        self.forced: dict[int, str] = {}
        self.parts: list[Part] = []
        self.counts: dict[str, int] = {}
        self.links: dict[str, int] = {}
        self.dropped = 0
        self._changes = 0

    def copy(self, body: dict[str, Any]) -> dict[str, Any]:
        """Return the copy of a body, its texts still as they were."""
        return self._object(body, self._depth_max, None)

    def _object(self, source: dict[str, Any], depth: int, secret: str | None) -> dict[str, Any]:
        """Return the copy of an object: ``secret`` is what its leaves are by a key above it, unless it is a schema."""
        rules, known = self._rules.keys, self._rules.known_keys
        in_schema = secret is not None and is_schema(source)
        out: dict[str, Any] = {}
        renamed: Renamed | None = None
        for key, value in source.items():
            if key in rules and self._by_rule(source, out, key, value):
                continue
            evidence = None if in_schema and key not in VALUE_KEYWORDS else secret
            if key not in known:
                if renamed is None:
                    renamed = Renamed(out)
                    self.parts.append(renamed)
                self._string(renamed.names, key, key, depth, None)
                found = self._rules.secret_keys.get(normalize_key(key))
                evidence = found or (named_secret(source, self._rules) if key == "value" else None) or evidence
            kind = type(value)  # as `_value` does, without its call: this loop sees most of an event
            if kind is str:
                self._string(out, key, value, depth, evidence)
            elif kind is dict:
                out[key] = self._object(value, depth - 1, evidence)
            else:
                self._other(out, key, value, depth, evidence, key)
        return out

    def _other(self, owner: Any, key: Any, value: Any, depth: int, secret: str | None, name: str) -> None:
        """Put the copy of a list or scalar at its place: ``name`` is the nearest key above it."""
        kind = type(value)
        if kind is list:
            owner[key] = self._list(value, depth - 1, secret, name)
        else:
            owner[key] = value
            if kind is int or kind is float:
                self._number(owner, key, value, secret, name)

    def _value(self, owner: Any, key: Any, value: Any, depth: int, secret: str | None, name: str) -> None:
        """Put the copy of any value at its place."""
        kind = type(value)
        if kind is str:
            self._string(owner, key, value, depth, secret)
        elif kind is dict:
            owner[key] = self._object(value, depth - 1, secret)
        else:
            self._other(owner, key, value, depth, secret, name)

    def _list(self, source: list[Any], depth: int, secret: str | None, name: str) -> list[Any] | str:
        coded = coded_list(source, self._rules.tokens_min, self._rules.vector_min)
        if coded:
            return self._whole(coded)
        out: list[Any] = [None] * len(source)
        for index, member in enumerate(source):
            self._value(out, index, member, depth, secret, name)
        return out

    def _string(self, owner: Any, key: Any, value: str, depth: int, secret: str | None) -> None:
        owner[key] = value
        if not value or (secret is None and value in self._rules.known_values):
            return
        if is_longer(value, self._leaf_max):
            owner[key] = self._whole(media_label(value, None, self._rules.media_types) if is_media(value) else REDACTED)
        elif secret:
            self._force(owner, key, value, secret)
        elif value[-1] in _JSON_ENDS and self._embedded(owner, key, value, depth):
            return
        elif may_hold_media(value):
            self._prose(owner, key, value)
        else:
            self.texts.append(value)
            self.slots.append((owner, key))

    def _prose(self, owner: Any, key: Any, value: str) -> None:
        """Take the media out of a text and keep the pieces between for the detector."""
        pieces: list[str] = []
        end = 0
        for start, stop in find_media(value):
            pieces += [value[end:start], self._whole(media_label(value[start:stop], None, self._rules.media_types))]
            end = stop
        if not pieces:
            self._text(value, owner, key)
            return
        pieces.append(value[end:])
        self.parts.append(Joined(owner, key, pieces))
        for index in range(0, len(pieces), 2):
            if pieces[index]:
                self._text(pieces[index], pieces, index)

    def _embedded(self, owner: Any, key: Any, value: str, depth: int) -> bool:
        """Walk a string that holds JSON; tell whether it does."""
        edges = value.strip()
        if edges[:1] + edges[-1:] not in ("{}", "[]", '""') or len(edges) < 2:  # noqa: PLR2004 - a lone quote
            return False
        deep = False
        parsed: tuple[Any, int] | None = None
        try:
            parsed = parse_embedded(value)
            if parsed is not None:
                check_depth([parsed[0]], depth - 1)
        except (RecursionError, InvalidEvent):
            deep = True
        if deep:
            owner[key] = self._whole(REDACTED)
            return True
        if parsed is None:
            return False
        held, hidden = parsed
        embedded = Embedded(owner, key, value, [None])
        self.parts.append(embedded)
        first, before = len(self.texts), self._changes
        if "\\ud" in value or "\\uD" in value:
            clean = replace_surrogates(held)
            hidden += clean != held  # two keys may have become one
            held = clean
        # What a repeated key hides was seen by nobody, so such a string is written anew, and so is the one around it.
        self._changes += hidden
        self._value(embedded.holder, 0, held, depth - 1, None, "")
        embedded.texts = (first, len(self.texts))
        embedded.changes = self._changes - before
        return True

    def _number(self, owner: Any, key: Any, value: float, secret: str | None, name: str) -> None:
        if secret:
            self._force(owner, key, str(value), secret)
            return
        if (abs(value) < _DIGITS_FROM and not self._own_numbers) or name in self._rules.known_numbers:
            return
        whole = abs(int(value))
        if whole != abs(value):
            return  # a fraction
        if whole in self._own_numbers:
            entity, text = self._own_numbers[whole]
            self._force(owner, key, text, entity)
        elif whole >= _DIGITS_FROM and not any(low <= whole < high for low, high in _EPOCHS):
            self._text(str(whole), owner, key)

    def _by_rule(self, source: dict[str, Any], out: dict[str, Any], key: str, value: Any) -> bool:
        """Apply the first rule of a key that fits; tell whether that settled it."""
        rule = next((r for r in self._rules.keys[key] if r.applies(source)), None)
        if rule is None:
            return False
        if rule.action == "drop":
            self.dropped += 1
            self._changes += 1
            return True
        if rule.action == "link":
            if not isinstance(value, str):
                return False
            out[key] = f"<CALL_{self.links.setdefault(value, len(self.links) + 1)}>"
            self._changes += 1
            return True
        if type(value) is dict and is_schema(value):
            return False  # a tool's parameter of that name
        label = self._media(rule, source, value) if rule.action == "media" else coded_value(rule.action, value)
        if label:
            out[key] = self._whole(label)
        return label is not None

    def _media(self, rule: KeyRule, source: dict[str, Any], value: Any) -> str | None:
        if not isinstance(value, str) or not is_media(value):
            return None
        return media_label(value, media_type_beside(source, rule.beside), self._rules.media_types)

    def _whole(self, label: str) -> str:
        kind = label[1:-1].partition(" ")[0]
        self.counts[kind] = self.counts.get(kind, 0) + 1
        self._changes += 1
        return label

    def _force(self, owner: Any, key: Any, text: str, entity: str) -> None:
        self.forced[len(self.texts)] = entity
        self._text(text, owner, key)

    def _text(self, text: str, owner: Any, key: Any) -> None:
        self.texts.append(text)
        self.slots.append((owner, key))
