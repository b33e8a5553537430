"""How ``lethe topics`` shows a plan and checks: tables for people, JSON for programs."""

import json
from collections.abc import Sequence
from dataclasses import asdict

from rich.console import Console

from pipeline.cli.report import make_table, show_table
from pipeline.topics.derive import DerivedTopic
from pipeline.topics.duration import format_ms
from pipeline.topics.life import Basis
from pipeline.topics.plan import Action, Change, Plan
from pipeline.topics.verify import Check, Outcome, has_failed

_MARKS = {Action.CREATE: "+", Action.ALTER: "~", Action.GROW: "~", Action.BY_HAND: "!"}
_STYLES = {Action.CREATE: "green", Action.ALTER: "yellow", Action.GROW: "yellow", Action.BY_HAND: "bold red"}
_OUTCOME_STYLES = {Outcome.OK: "", Outcome.WARNS: "yellow", Outcome.FAILS: "bold red"}
_ALWAYS_SHOWN = {"bound", "held", "oldest record", "encryption at rest"}


def show_plan(console: Console, basis: Basis, derived: Sequence[DerivedTopic], plan: Plan) -> None:
    """Show the arithmetic, then what would change."""
    _show_lives(console, derived)
    for sink in basis.sinks.values():
        if ending := ", ".join(basis.ending_fields(sink)):
            limit, bound = format_ms(basis.limit_ms(sink)), format_ms(sink.retention_ms)
            console.print(f"{basis.names[sink.name]}: {limit}, not {bound}: a topic cannot end {ending} alone")
        if not sink.managed:
            console.print(f"{basis.names[sink.name]} is unmanaged: left alone; `lethe topics verify` judges it")
    if not plan.changes:
        console.print("\nnothing to do")
        return
    columns = ("", "topic", "setting", "live", "derived", "effect", "why")
    table = make_table(console, *columns, words=columns)
    for change in plan.changes:
        effect = f"{change.effect} life" if change.effect else ""
        texts = (_value(change, change.live), _value(change, change.derived), effect, change.why)
        table.add_row(_MARKS[change.action], change.topic, change.setting, *texts, style=_STYLES[change.action])
    show_table(console, f"{len(plan.changes)} changes: + create, ~ alter, ! by hand", table)
    for move in plan.moves:
        before = "without an end" if move.before_ms is None else format_ms(move.before_ms)
        console.print(f"{move.topic}: records live {before} now, {format_ms(move.after_ms)} then, at most")


def _show_lives(console: Console, derived: Sequence[DerivedTopic]) -> None:
    columns = ("topic", "bound", "- admission", "- slack", "≥ hold", "= retention.ms", "+ segment.ms")
    table = make_table(console, *columns, "+ check interval", "+ delete delay")
    for topic in derived:
        life = topic.life
        bound = f"at least {format_ms(life.limit_ms)}" if life.at_least else format_ms(life.limit_ms)
        slack = () if life.at_least else (life.admission_ms, life.slack_ms)
        terms = (life.hold_ms, life.retention_ms, life.segment_ms, life.check_ms, life.delete_ms)
        cells = [format_ms(ms) for ms in (*slack, *terms)]
        table.add_row(topic.name, bound, *(["", ""] if life.at_least else []), *cells)
    show_table(console, "how long a record is on disk, at most", table)


def _value(change: Change, value: str) -> str:
    if not value:
        return "-" if change.action is Action.CREATE else "not set"
    if change.setting.endswith(".ms") and int(value) >= 0:
        return f"{value} ({format_ms(int(value))})"
    return value


def plan_json(basis: Basis, derived: Sequence[DerivedTopic], plan: Plan) -> str:
    """Return all of it as JSON."""
    topics = [
        {
            "sink": topic.sink.name,
            "topic": topic.name,
            "partitions": topic.partitions,
            "replication": topic.replication,
            "life": asdict(topic.life),
            "settings": {name: asdict(setting) for name, setting in topic.settings.items()},
        }
        for topic in derived
    ]
    document = {
        "topics": topics,
        "unmanaged": [basis.names[sink.name] for sink in basis.sinks.values() if not sink.managed],
        "changes": [asdict(change) for change in plan.changes],
        "moves": [asdict(move) for move in plan.moves],
        "needs_consent": plan.needs_consent,
    }
    return json.dumps(document, indent=2, ensure_ascii=False)


def show_checks(console: Console, checks: Sequence[Check]) -> None:
    """Show what bounds each topic, its oldest record, and every check that did not pass; JSON has the rest."""
    columns = ("topic", "check", "outcome", "found", "needed")
    table = make_table(console, *columns, words=columns)
    for check in checks:
        if check.outcome is Outcome.OK and check.check not in _ALWAYS_SHOWN:
            continue
        style = _OUTCOME_STYLES[check.outcome]
        table.add_row(check.topic or "(brokers)", check.check, check.outcome, check.found, check.needed, style=style)
    failed = sum(check.outcome is Outcome.FAILS for check in checks)
    show_table(console, f"{len(checks)} checks, {failed} failed", table)


def checks_json(checks: Sequence[Check]) -> str:
    """Return the checks as JSON."""
    document = {"passed": not has_failed(checks), "checks": [asdict(check) for check in checks]}
    return json.dumps(document, indent=2, ensure_ascii=False)
