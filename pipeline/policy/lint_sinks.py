"""Rule 4 (design §3): every sink has a retention; content at most 30 days, raw the shortest, control the longest."""

from collections.abc import Iterator

from pipeline.coarsen import DAY_MS
from pipeline.policy.files import PolicyFiles
from pipeline.policy.lint_types import Finding
from pipeline.policy.validator import Validator

SINKS = ("raw", "content", "operational", "rejected", "control", "applied", "audit")
CONTENT_BOUND_MS = 30 * DAY_MS


def lint_sinks(files: PolicyFiles) -> list[Finding]:
    """Check the declared sinks: their form first, then their bounds against each other."""
    findings = [*_lint_form(files)]
    return findings or [*_lint_bounds(files)]


def _lint_form(files: PolicyFiles) -> Iterator[Finding]:
    meta = Validator(files.meta["sink"])
    for name in SINKS:
        if name not in files.sinks:
            yield Finding("4", f"topics/{name}.json", "/", "is missing: every sink is declared, with its retention")
    for name, sink in files.sinks.items():
        for path, keyword in meta.errors(sink):
            yield Finding("4", f"topics/{name}.json", "/" + "/".join(map(str, path)), f"breaks '{keyword}'")
        if sink.get("name") != name:
            yield Finding("4", f"topics/{name}.json", "/name", "must be the file's name")


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
    if len({sink["topic"] for sink in files.sinks.values()}) < len(files.sinks):
        yield Finding("4", "topics", "/", "two sinks share a topic")
