"""Scrubs a body: walk, detect over all its texts at once, replace, and put the strings of JSON together again."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from pipeline.content.walk import Walk
from pipeline.detect.entities import EntityTable
from pipeline.detect.own import find_own
from pipeline.detect.spans import Detector, OwnIdentifier, Span, merge_spans
from pipeline.errors import DetectorLost
from pipeline.policy.load import Policy
from pipeline.redact import REDACTED, Placeholders, escape, redact

# Identifiers of digits only are looked for among the numbers too; shorter ones are everywhere, longer ones nowhere.
_DIGITS_MIN = 4
_DIGITS_MAX = 32


class Scrubbed(NamedTuple):
    """An anonymized body, what was replaced in it by type, and how many keys were dropped."""

    body: dict[str, Any]
    redactions: dict[str, int]
    dropped: int

    def __repr__(self) -> str:
        return f"Scrubbed(redactions={sum(self.redactions.values())}, dropped={self.dropped})"


def scrub(
    body: dict[str, Any], own: Sequence[OwnIdentifier], policy: Policy, table: EntityTable, detector: Detector
) -> Scrubbed:
    """Return an anonymized copy of a body; the body itself is not changed.

    Args:
        body: content leaves of one event, by their place in the record.
        own: the account's own identifiers (policy §5).
        policy: body rules and limits.
        table: entity types and their placeholders.
        detector: finds identifying spans; where it fails, the text is redacted whole.

    Raises:
        DetectorLost: it cannot work any more.
    """
    limits = policy.limits
    walk = Walk(policy.body, leaf_max=limits.leaf_bytes_max, depth_max=limits.depth_max, own_numbers=_own_numbers(own))
    copy = walk.copy(body)
    placeholders = Placeholders(table)
    replaced = _replace_texts(walk, own, policy, placeholders, detector)
    for (owner, key), text, new in zip(walk.slots, walk.texts, replaced, strict=True):
        if new is not text:
            owner[key] = new
    for part in reversed(walk.parts):
        part.finish(walk.texts, replaced)
    counts = dict(placeholders.counts)
    for kind, count in walk.counts.items():
        counts[kind] = counts.get(kind, 0) + count
    if walk.links:
        counts["CALL"] = len(walk.links)
    return Scrubbed(copy, dict(sorted(counts.items())) if counts else counts, walk.dropped)


def find_spans(
    detector: Detector, texts: Sequence[str], own: Sequence[OwnIdentifier]
) -> Sequence[Sequence[Span] | None]:
    """Ask the detector; one that fails, or answers for other texts than it was asked about, has seen none of them."""
    found: Sequence[Sequence[Span] | None] = ()
    try:
        found = detector.find_spans(texts, own)
    except DetectorLost:
        raise
    except Exception:  # noqa: BLE001 - it wraps other people's code: whatever it raises, nothing may pass unread
        found = ()
    return found if len(found) == len(texts) else [None] * len(texts)


def _own_numbers(own: Sequence[OwnIdentifier]) -> dict[int, tuple[str, str]]:
    return {
        int(value): (entity, value)
        for entity, value in own
        if _DIGITS_MIN <= len(value) <= _DIGITS_MAX and value.isdecimal()
    }


def _replace_texts(
    walk: Walk, own: Sequence[OwnIdentifier], policy: Policy, placeholders: Placeholders, detector: Detector
) -> list[str]:
    """Return each text's replacement: the very same object where nothing had to change."""
    texts, forced = walk.texts, walk.forced
    seen = ["" if index in forced else text for index, text in enumerate(texts)] if forced else texts
    found = find_spans(detector, seen, own)
    own_found = find_own(seen, own, policy.common_words)
    replaced: list[str] = []
    for index, text in enumerate(texts):
        spans = found[index]
        if index in forced:
            replaced.append(placeholders.label(forced[index], text))
        elif spans is None:
            walk.counts["REDACTED"] = walk.counts.get("REDACTED", 0) + 1
            replaced.append(REDACTED)
        elif spans or own_found[index]:
            replaced.append(redact(text, merge_spans([*spans, *own_found[index]]), placeholders))
        else:
            replaced.append(escape(text))
    return replaced
