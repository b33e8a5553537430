"""Scrubs a body: walk, detect over all its texts at once, replace, and put the strings of JSON together again."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from pipeline.codec import encode
from pipeline.content.walk import Embedded, Joined, Renamed, Walk
from pipeline.detect.entities import EntityTable
from pipeline.detect.own import find_own
from pipeline.detect.spans import Detector, OwnIdentifier, merge_spans
from pipeline.policy.load import Policy
from pipeline.redact import REDACTED, Placeholders, escape, redact


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
    """
    walk = Walk(policy.body, leaf_max=policy.limits.leaf_bytes_max, depth_max=policy.limits.depth_max)
    copy = walk.copy(body)
    placeholders = Placeholders(table)
    replaced = _replace_texts(walk, own, policy, placeholders, detector)
    for index, slot in enumerate(walk.slots):
        if slot is not None and replaced[index] is not walk.texts[index]:
            slot[0][slot[1]] = replaced[index]
    for finisher in reversed(walk.finishers):
        _finish(finisher, walk.texts, replaced)
    counts = {**placeholders.counts, **walk.counts}
    if walk.links:
        counts["CALL"] = len(walk.links)
    return Scrubbed(copy, dict(sorted(counts.items())) if counts else counts, walk.dropped)


def _replace_texts(
    walk: Walk, own: Sequence[OwnIdentifier], policy: Policy, placeholders: Placeholders, detector: Detector
) -> list[str]:
    """Return each text's replacement: the very same object where nothing had to change."""
    texts = walk.texts
    found = detector.find_spans(texts)
    own_found = find_own(texts, own, policy.common_words)
    replaced: list[str] = []
    for index, text in enumerate(texts):
        spans = found[index]
        if walk.forced and index in walk.forced:
            replaced.append(placeholders.label(walk.forced[index], text))
        elif spans is None:
            walk.counts["REDACTED"] = walk.counts.get("REDACTED", 0) + 1
            replaced.append(REDACTED)
        elif spans or own_found[index]:
            replaced.append(redact(text, merge_spans([*spans, *own_found[index]]), placeholders))
        else:
            replaced.append(escape(text))
    return replaced


def _finish(finisher: Embedded | Joined | Renamed, texts: list[str], replaced: list[str]) -> None:
    if isinstance(finisher, Joined):
        finisher.owner[finisher.key] = "".join(finisher.pieces)
    elif isinstance(finisher, Renamed):
        _rename(finisher.owner, {key: replaced[index] for key, index in finisher.keys.items()})
    else:
        first, last = finisher.texts
        changed = finisher.changes or any(replaced[i] is not texts[i] for i in range(first, last))
        finisher.owner[finisher.key] = encode(finisher.holder[0]).decode() if changed else finisher.text


def _rename(owner: dict[str, Any], names: dict[str, str]) -> None:
    """Give scrubbed keys their new names, in place and in order; names that collide are numbered."""
    if all(old is new for old, new in names.items()):
        return
    taken = {key for key in owner if names.get(key, key) == key}
    members = list(owner.items())
    owner.clear()
    for old, value in members:
        name = wanted = names.get(old, old)
        number = 1
        while name != old and name in taken:
            number += 1
            name = f"{wanted}#{number}"
        taken.add(name)
        owner[name] = value
