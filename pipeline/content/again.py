"""Scrubs a body that was scrubbed before, by the policy of today: for a gap in detection found when raw is gone.

What the body has already stays: placeholders are none of its text, literal look-alikes are escaped, and new ones go on
from the numbers that are there. The account's own identifiers cannot be looked for again: nobody knows them.
"""

from typing import Any

from pipeline.codec import encode
from pipeline.content.scrub import Scrubbed, find_spans
from pipeline.content.walk import Walk
from pipeline.detect.entities import EntityTable
from pipeline.detect.spans import Detector, merge_spans
from pipeline.policy.load import Policy
from pipeline.redact import REDACTED, Placeholders, highest_numbers, is_placeholder, redact_again

_LINK = "CALL"


class _Again(Walk):
    """A walk that leaves alone what is a placeholder already, and counts only what is new."""

    def _string(self, owner: Any, key: Any, value: str, depth: int, secret: str | None) -> None:
        if is_placeholder(value):
            owner[key] = value
        else:
            super()._string(owner, key, value, depth, secret)

    def _by_rule(self, source: dict[str, Any], out: dict[str, Any], key: str, value: Any) -> bool:
        if isinstance(value, str) and is_placeholder(value):
            rule = next((one for one in self._rules.keys[key] if one.applies(source)), None)
            if rule is None or rule.action != "drop":
                return False
        return super()._by_rule(source, out, key, value)


def scrub_again(body: dict[str, Any], policy: Policy, table: EntityTable, detector: Detector) -> Scrubbed:
    """Return an anonymized copy of a body that came out of the core; what is counted is what is new.

    Args:
        body: content of a record, opened and decoded.
        policy: of today: body rules and limits.
        table: entity types and their placeholders.
        detector: of today; where it fails, the text is redacted whole.

    Raises:
        DetectorLost: it cannot work any more.
    """
    limits = policy.limits
    last = highest_numbers(encode(body).decode())
    walk = _Again(policy.body, leaf_max=limits.leaf_bytes_max, depth_max=limits.depth_max)
    known_links = {f"<{_LINK}_{number}>": number for number in range(1, last.get(_LINK, 0) + 1)}
    walk.links.update(known_links)
    copy = walk.copy(body)
    placeholders = Placeholders(table, last)
    replaced = _replace_texts(walk, placeholders, detector)
    for (owner, key), text, new in zip(walk.slots, walk.texts, replaced, strict=True):
        if new is not text:
            owner[key] = new
    for part in reversed(walk.parts):
        part.finish(walk.texts, replaced)
    counts = dict(placeholders.counts)
    for kind, count in [*walk.counts.items(), (_LINK, len(walk.links) - len(known_links))]:
        counts[kind] = counts.get(kind, 0) + count
    return Scrubbed(copy, {kind: count for kind, count in sorted(counts.items()) if count}, walk.dropped)


def _replace_texts(walk: Walk, placeholders: Placeholders, detector: Detector) -> list[str]:
    """Return each text's replacement: the very same object where nothing is new."""
    seen = ["" if index in walk.forced else text for index, text in enumerate(walk.texts)]
    found = find_spans(detector, seen, ())
    replaced: list[str] = []
    for index, text in enumerate(walk.texts):
        spans = found[index]
        if index in walk.forced:
            replaced.append(placeholders.label(walk.forced[index], text))
        elif spans is None:
            walk.counts["REDACTED"] = walk.counts.get("REDACTED", 0) + 1
            replaced.append(REDACTED)
        else:
            replaced.append(redact_again(text, merge_spans(spans), placeholders) if spans else text)
    return replaced
