"""Rule 4 (design §3): every sink has a retention; content at most 30 days, raw the shortest, control the longest.

A sink without a topic, tables of a store, keeps nothing for longer than what it is made from.
"""

from collections.abc import Iterable, Iterator, Mapping

from pipeline.coarsen import DAY_MS
from pipeline.policy.files import Document, PolicyFiles
from pipeline.policy.lint_types import Finding
from pipeline.policy.validator import Validator

SINKS = ("raw", "content", "operational", "rejected", "control", "applied", "audit")
STORES = ("aggregates",)
CONTENT_BOUND_MS = 30 * DAY_MS


def lint_sinks(files: PolicyFiles) -> list[Finding]:
    """Check the declared sinks: their form first, then their bounds against each other."""
    findings = [*_lint_form(files)]
    return findings or [*_lint_bounds(files)]


def _lint_form(files: PolicyFiles) -> Iterator[Finding]:
    yield from _lint_folder("topics", files.sinks, SINKS, Validator(files.meta["sink"]))
    yield from _lint_folder("stores", files.stores, STORES, Validator(files.meta["store"]))


def _lint_folder(
    folder: str, sinks: Mapping[str, Document], expected: Iterable[str], meta: Validator
) -> Iterator[Finding]:
    for name in expected:
        if name not in sinks:
            yield Finding("4", f"{folder}/{name}.json", "/", "is missing: every sink is declared, with its retention")
    for name, sink in sinks.items():
        for path, keyword in meta.errors(sink):
            yield Finding("4", f"{folder}/{name}.json", "/" + "/".join(map(str, path)), f"breaks '{keyword}'")
        if sink.get("name") != name:
            yield Finding("4", f"{folder}/{name}.json", "/name", "must be the file's name")


def _lint_bounds(files: PolicyFiles) -> Iterator[Finding]:
    bounds = {name: sink["retention_ms"] for name, sink in files.sinks.items()}
    if bounds["content"] > CONTENT_BOUND_MS:
        yield Finding("4", "topics/content.json", "/retention_ms", "is over 30 days, which policy §5 promises")
    if bounds["raw"] > min(bounds.values()):
        yield Finding("4", "topics/raw.json", "/retention_ms", "must be the shortest: raw is the richest copy")
    if bounds["control"] < max(bounds.values()):
        yield Finding(
            "4", "topics/control.json", "/retention_ms", "must be the longest: erasures outlive what they erase"
        )
    for name, one in files.stores.items():
        if one["retention_ms"] > bounds[one["made_from"]]:
            text = f"must be no longer than that of {one['made_from']}, which it is made from"
            yield Finding("4", f"stores/{name}.json", "/retention_ms", text)
    if len({sink["topic"] for sink in files.sinks.values()}) < len(files.sinks):
        yield Finding("4", "topics", "/", "two sinks share a topic")
