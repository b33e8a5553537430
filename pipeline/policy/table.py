"""The field table: every leaf of the event with its treatment, where it goes and why; for people and for docs/."""

from collections.abc import Iterator
from dataclasses import dataclass

from pipeline.coarsen import DAY_MS
from pipeline.policy.load import Policy
from pipeline.policy.model import SinkPolicy, StorePolicy
from pipeline.policy.shape import FieldRule

HEADERS = ("field", "treatment", "goes to", "clause", "why")


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table."""

    field: str
    treatment: str
    goes_to: str
    clause: str
    why: str

    def cells(self) -> tuple[str, ...]:
        """Return the cells in the order of `HEADERS`."""
        return (self.field, self.treatment, self.goes_to, self.clause, self.why)


def field_rows(policy: Policy) -> list[Row]:
    """Return a row for each leaf, in the schema's order."""
    return [Row(r.name, str(r.treatment), destinations(r), r.clause, r.why) for r in policy.shape.rules.values()]


def destinations(rule: FieldRule) -> str:
    """Say where a leaf goes: ``operational.client_network (network)``, or ``nowhere``."""
    words = {"value": "", "scrubbed": " (scrubbed)"}
    return ", ".join(f"{t.record}.{t.field}{words.get(t.how, f' ({t.how})')}" for t in rule.targets) or "nowhere"


def markdown(policy: Policy) -> str:
    """Return the policy as Markdown: fields, then sinks."""
    shape = policy.shape
    lines = [
        f"## Fields of {shape.name} v{shape.version}",
        "",
        *_table(HEADERS, (r.cells() for r in field_rows(policy))),
    ]
    lines += ["", "Anything not declared is dropped and counted; neither its value nor its name is kept.", ""]
    lines += ["## Sinks", "", *_table(("sink", "bound", "owner", "clause", "why"), _sink_cells(policy))]
    return "\n".join(lines) + "\n"


def _sink_cells(policy: Policy) -> Iterator[tuple[str, ...]]:
    every: list[SinkPolicy | StorePolicy] = [*policy.sinks.values(), *policy.stores.values()]
    for sink in every:
        yield sink.name, to_days(sink.retention_ms), sink.owner, sink.clause, sink.why


def to_days(ms: int) -> str:
    """Say a retention in days, or hours where it is less than two days."""
    return f"{ms // DAY_MS} days" if ms >= 2 * DAY_MS else f"{ms // (DAY_MS // 24)} hours"


def _table(headers: tuple[str, ...], rows: Iterator[tuple[str, ...]]) -> list[str]:
    escaped = (" | ".join(cell.replace("|", "\\|") for cell in row) for row in rows)
    return [f"| {' | '.join(headers)} |", f"|{'---|' * len(headers)}", *(f"| {row} |" for row in escaped)]
