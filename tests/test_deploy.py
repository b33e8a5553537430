"""What is in deploy/: alerts of metrics that exist, each explained and shown to fire; units that call real commands."""

import re
from collections.abc import Iterator
from functools import cache
from typing import Any

import pytest
import yaml
from docs_parts import all_commands
from test_architecture import ROOT
from test_docs import section

from pipeline.archive.metrics import ArchiveMetrics
from pipeline.metrics import WorkerMetrics
from pipeline.receipts.pending import ReceiptMetrics
from pipeline.retention_metrics import RetentionMetrics

DEPLOY = ROOT / "deploy"
RULES = DEPLOY / "prometheus" / "lethe.rules.yml"
RUNBOOK = ROOT / "docs" / "runbook.md"


def alerts() -> list[dict[str, Any]]:
    """Return every alert."""
    groups = yaml.safe_load(RULES.read_text("utf-8"))["groups"]
    return [alert for group in groups for alert in group["rules"]]


def calls() -> Iterator[tuple[str, list[str]]]:
    """Yield where in deploy/ lethe is called, and the arguments."""
    for path in sorted((DEPLOY / "systemd").glob("*.service")):
        for call in re.findall(r"^Exec\w+=.*?\blethe ([^'\n]+)", path.read_text("utf-8"), re.MULTILINE):
            yield path.name, re.sub(r"\$\(.*\)", "1", call).split()
    for path in sorted((DEPLOY / "kubernetes").glob("*.yaml")):
        for job in yaml.safe_load_all(path.read_text("utf-8")):
            pod = job["spec"]["jobTemplate"]["spec"]["template"]["spec"]
            for container in (*pod.get("initContainers", ()), *pod["containers"]):
                yield job["metadata"]["name"], container["args"]
    for path in sorted((DEPLOY / "helm" / "lethe" / "templates").glob("*.yaml")):
        for call in re.findall(r"^ *args: (\[.*?\])(?: #.*)?$", path.read_text("utf-8"), re.MULTILINE):
            yield f"chart: {path.name}", yaml.safe_load(re.sub(r'"?\{\{.*?\}\}"?', "'1'", call))
    for name, service in services().items():
        if service["image"].startswith("lethe:"):
            yield f"compose: {name}", service["command"]


@cache
def services() -> dict[str, dict[str, Any]]:
    """Return the services of the compose files, one over the other as compose lays them: each member as a whole."""
    made: dict[str, dict[str, Any]] = {}
    for name in ("docker-compose.yml", "docker-compose.tls.yml"):
        text = (ROOT / name).read_text("utf-8").replace("!override ", "")
        for service, members in yaml.safe_load(text)["services"].items():
            made[service] = made.get(service, {}) | members
    return made


def metrics() -> set[str]:
    """Return the names of all series that workers, archives and looks at retention have."""
    made = (WorkerMetrics(), ArchiveMetrics(), RetentionMetrics(), ReceiptMetrics((), 0))
    pages = [one.render().decode() for one in made]
    found = re.findall(r"^# TYPE (\S+) (\S+)$", "\n".join(pages), re.MULTILINE)
    parts = {"histogram": ("_bucket", "_sum", "_count")}
    return {f"{name}{part}" for name, kind in found for part in parts.get(kind, ("",))}


@pytest.mark.parametrize("alert", alerts(), ids=lambda one: str(one["alert"]))
def test_every_alert_can_fire_and_says_what_to_do(alert: dict[str, Any]) -> None:
    """Its metrics exist in the code, promtool's tests have it fire, and the runbook has its entry, in three parts."""
    used = set(re.findall(r"lethe_\w+", alert["expr"]))
    assert used
    assert used - metrics() == set()
    assert f'alertname="{alert["alert"]}"' in RULES.with_suffix(".test.yml").read_text("utf-8")
    entry = section(RUNBOOK, alert["alert"])
    assert re.findall(r"^\*\*(.+?):\*\*", entry, re.MULTILINE) == ["Means", "Look at", "Do"]


def test_the_runbook_has_no_other_entry() -> None:
    """An entry of an alert that is gone would be looked for in vain."""
    titles = re.findall(r"^### (.+)$", RUNBOOK.read_text("utf-8"), re.MULTILINE)
    assert titles == [alert["alert"] for alert in alerts()]


@pytest.mark.parametrize(("where", "call"), [*calls()], ids=lambda one: one if isinstance(one, str) else " ".join(one))
def test_every_unit_calls_a_command_that_exists(where: str, call: list[str]) -> None:
    """The command exists and has the options that it is given."""
    del where
    known = all_commands()
    words = tuple(call[: next(n for n in (3, 2, 1) if tuple(call[:n]) in known)])
    assert {one for one in call if one.startswith("-")} <= {o for p in known[words].params for o in p.opts}
    assert not hasattr(known[words], "commands")


def test_what_is_due_by_time_has_its_timer() -> None:
    """By systemd and Kubernetes: sweep, aggregates, publishing and then expiry, a report, what is pending, keys."""
    wanted = [
        "aggregates build",
        "audit",
        "audit-log publish",
        "audit-log expire",
        "retention sweep",
        "receipt pending",
        "keys roll",
    ]
    for suffix in (".service", ""):
        found = [" ".join(call) for where, call in calls() if where.endswith(".service") is bool(suffix)]
        assert [any(f"{one} ".startswith(f"{want} ") for one in found) for want in wanted] == [True] * len(wanted)
        assert found.index("audit-log publish") + 1 == found.index("audit-log expire")
    units = {path.stem for path in (DEPLOY / "systemd").glob("*.service")} - {"lethe-worker", "lethe-archive"}
    assert {path.stem for path in (DEPLOY / "systemd").glob("*.timer")} == units
