"""The parts of the documentation that are made from the code and its data.

They stand between ``<!-- generated: NAME -->`` and ``<!-- end of NAME -->``. tests/test_docs.py keeps them current;
after a change, ``python tests/docs_parts.py`` writes them anew.
"""

import json
import os
import re
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

import typer
from conftest import CACHE_DIR, KEYS, OPEN_DOOR
from store_fixtures import DAY_MS, bound_of, declared_tables
from test_architecture import LAYERS, ROOT

from pipeline import cli
from pipeline.anonymize import make_core, process
from pipeline.config import Settings, variable_of
from pipeline.config_types import setting_of
from pipeline.detect.detector import make_detector
from pipeline.detect.entities import EntityTable
from pipeline.detect.rules import rules_from_json
from pipeline.policy.access import read_roles
from pipeline.policy.files import default_schemas_dir
from pipeline.policy.load import load_policy
from pipeline.policy.table import markdown
from pipeline.records import Anonymized, Source
from pipeline.wire import content_bytes, operational_bytes

README = ROOT / "README.md"
SPEND_LOG = "spend_log/v1/event.schema.json"
DEMO_TITLE = "What make demo prints"
LINE_CHARS = 120


def fenced(text: str, language: str) -> list[str]:
    """Return the fenced blocks of a language."""
    return re.findall(rf"^ *```{language}\n(.*?)^ *```$", text, re.MULTILINE | re.DOTALL)


def table(headers: str, rows: Sequence[tuple[str, ...]]) -> str:
    """Return a Markdown table; headers are separated by ``|``."""
    cells = [tuple(headers.split(" | ")), *(tuple(cell.replace("|", "\\|") for cell in row) for row in rows)]
    lines = [f"| {' | '.join(row)} |" for row in cells]
    return "\n".join([lines[0], f"|{'---|' * len(cells[0])}", *lines[1:]])


def lay_out(value: Any, indent: str = "") -> str:
    """Return JSON for a page: an object that does not fit into its line has a line for each member."""
    flat = json.dumps(value, ensure_ascii=False)
    if not isinstance(value, dict) or (indent and len(indent) + len(flat) < LINE_CHARS):
        return flat
    inner = f"{indent}  "
    members = ",\n".join(f'{inner}"{name}": {lay_out(member, inner)}' for name, member in value.items())
    return f"{{\n{members}\n{indent}}}"


def all_commands() -> dict[tuple[str, ...], Any]:
    """Return every command by its words after ``lethe``; the root itself by none."""
    found: dict[tuple[str, ...], Any] = {}

    def walk(command: Any, words: tuple[str, ...]) -> None:
        found[words] = command
        for name, inner in getattr(command, "commands", {}).items():
            walk(inner, (*words, name))

    walk(typer.main.get_command(cli.app), ())
    return found


def make_commands() -> str:
    """Return the table of commands and their options."""
    rows = []
    for words, command in all_commands().items():
        if words and not hasattr(command, "commands"):
            arguments = [p.metavar or p.name.upper() for p in command.params if p.param_type_name == "argument"]
            options = ["/".join(p.opts) for p in command.params if p.param_type_name == "option"]
            usage = " ".join(["lethe", *words, *arguments])
            rows.append((f"`{usage}`", command.help.partition("\n")[0], " ".join(f"`{name}`" for name in options)))
    return table("command | what it does | options", rows)


def make_settings() -> str:
    """Return the table of settings."""
    rows = []
    for described in fields(Settings):
        known = setting_of(described)
        default = str(described.default).lower() if isinstance(described.default, bool) else described.default
        shown = f"`{default}`" if default != "" else "none"
        rows.append((f"`{variable_of(described.name)}`", shown, known.unit, known.must_be, known.meaning))
    return table("variable | default | unit | must be | meaning", rows)


def make_example() -> str:
    """Return what becomes of the README's raw event: its two records, without nulls, digests shortened."""
    raw = json.dumps(json.loads(fenced(README.read_text("utf-8"), "json")[0])).encode()
    policy = load_policy()
    core = make_core(policy, make_detector(policy, CACHE_DIR), KEYS)
    fate = process(raw, Source("example", 0, 1, len(raw)), core, OPEN_DOOR)
    assert isinstance(fate, Anonymized)
    assert fate.content is not None
    blocks = []
    for title, data in (("content", content_bytes(fate.content)), ("operational", operational_bytes(fate.operational))):
        text = lay_out({name: value for name, value in json.loads(data).items() if value is not None})
        text = re.sub(r"([0-9a-f]{8})[0-9a-f]{56}", r"\1…", text)
        text = re.sub(r'("policy_digest": )"\w+"', r'\1"…"', text)
        blocks.append(f"The {title} record:\n\n```json\n{text}\n```")
    return "\n\n".join(blocks)


def make_entities() -> str:
    """Return the table of entity types and what finds them."""
    policy = load_policy()
    entities = EntityTable.from_json(policy.entities)
    rules = Counter(rule.entity for rule in rules_from_json(policy.rules))
    rules.update(rule.entity for rule in entities.recognizers if rule.regex)
    presidio = Counter(rule.entity for rule in entities.recognizers if not rule.regex)
    names = policy.body.secret_keys.values()
    rows = []
    for entity in entities.entities.values():
        found = [
            *([f"{presidio[entity.name]} of Presidio's recognizers"] if presidio[entity.name] else []),
            *([f"{rules[entity.name]} rules"] if rules[entity.name] else []),
            *(["cues and a gazetteer"] if entity.name == "PERSON" else []),
            *(["the key or column it stands under"] if entity.name in names else []),
        ]
        by = ", ".join(found) if entity.enabled and found else "only as the account's own"
        rows.append((f"`{entity.name}`", f"`<{entity.placeholder}_1>`", by, entity.why))
    return table("type | placeholder | found by | why", rows)


def make_body_keys() -> str:
    """Return the table of keys that are dropped from bodies at any depth."""
    body = json.loads((ROOT / "schemas" / "detection" / "body.json").read_text("utf-8"))
    rows = []
    for entry in body["drop"]:
        some = ", for some of its values" if "values" in entry else ""
        beside = f"`{entry['beside']}`{some}" if "beside" in entry else ""
        rows.append((f"`{entry['key']}`", beside, entry["why"]))
    return table("key | only beside | why", rows)


def make_roles() -> str:
    """Return who may do what with the topics."""
    rows = []
    for role in read_roles(default_schemas_dir()).values():
        topics = "; ".join(f"`{sink}`: {', '.join(operations)}" for sink, operations in role.topics.items())
        others = [f"group `{group}`: {', '.join(operations)}" for group, operations in role.groups.items()]
        others += [f"cluster: {', '.join(role.cluster)}"] * bool(role.cluster)
        rows.append((f"`{role.name}`", role.why, topics, "; ".join(others)))
    return table("role | what for | topics | groups and cluster", rows)


def make_store_tables() -> str:
    """Return what the tables of a store hold, for how long and why."""
    policy, rows = load_policy(), []
    for one in declared_tables():
        columns = [f"`{name}` ({column['holds']})" for name, column in one["columns"].items()]
        fields = ["the record's fields"] if "record" in one else []
        bound = f"{bound_of(one, policy) // DAY_MS} d"
        rows.append(
            (
                ", ".join(f"`{name}`" for name in one["tables"]),
                f"{one['holds']} Columns: {', '.join(fields + columns)}",
                f"{bound} from `{one['aged_from']}`" if one["aged_from"] else f"the call; {bound} at most",
                f"{one['clause']}: {one['why']}",
            )
        )
    return table("table | holds | for | why", rows)


def make_layers() -> str:
    """Return the layers of tests/test_architecture.py, the lowest last."""
    rows = [(str(n), ", ".join(f"`{m}`" for m in sorted(names))) for n, names in enumerate(LAYERS, start=1)]
    return table("layer | modules and packages", rows[::-1])


MAKERS: Mapping[str, tuple[str, Callable[[], str]]] = {
    "commands": ("README.md", make_commands),
    "settings": ("docs/settings.md", make_settings),
    "example": ("README.md", make_example),
    "policy": ("docs/policy.md", lambda: markdown(load_policy()).strip()),
    "policy-spend-log": ("docs/policy-spend-log.md", lambda: markdown(load_policy(event=SPEND_LOG)).strip()),
    "entities": ("docs/detection.md", make_entities),
    "body-keys": ("docs/detection.md", make_body_keys),
    "layers": ("docs/architecture.md", make_layers),
    "roles": ("docs/access.md", make_roles),
    "store-tables": ("docs/retention.md", make_store_tables),
}


def run_demo(count: int, folder: Path) -> str:
    """Return what the demo prints after its before-and-after, without the figures' own width."""
    call = [sys.executable, "-m", "pipeline", "demo", "-n", str(count)]
    environ = {**os.environ, "COLUMNS": "80", "NO_COLOR": "1", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(call, cwd=folder, env=environ, capture_output=True, text=True, check=True)  # noqa: S603 - ours
    return done.stdout[done.stdout.index(f"{count:,} events →") :].strip()


def write_all() -> None:
    """Write every generated part anew, and what the demo prints."""
    for name, (page, make) in MAKERS.items():
        _write(ROOT / page, rf"(<!-- generated: {name} -->\n).*?(\n?<!-- end of {name} -->)", f"{make()}\n")
    with tempfile.TemporaryDirectory() as folder:
        _write(README, rf"(## {DEMO_TITLE}\n.*?```text\n).*?(```)", f"{run_demo(1000, Path(folder))}\n")


def _write(page: Path, pattern: str, part: str) -> None:
    replace = lambda match: f"{match[1]}{part}{match[2].lstrip()}"  # noqa: E731
    text, times = re.subn(pattern, replace, page.read_text("utf-8"), count=1, flags=re.DOTALL)
    assert times == 1, f"{page.name}: no place for this part"
    page.write_text(text, "utf-8")


if __name__ == "__main__":
    write_all()
