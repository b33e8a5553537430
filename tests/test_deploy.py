"""What is in deploy/: alerts of metrics that exist, each explained and shown to fire; units that call real commands."""

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from typing import Any

import pytest
import yaml
from alerts_run import scaled
from docs_parts import all_commands
from test_architecture import ROOT
from test_docs import section

from pipeline.archive.metrics import ArchiveMetrics
from pipeline.metrics import WorkerMetrics
from pipeline.proof.metrics import AuditMetrics
from pipeline.receipts.pending import ReceiptMetrics
from pipeline.retention_metrics import RetentionMetrics
from pipeline.worker import children
from pipeline.worker.expiry import CertificateMetrics

DEPLOY = ROOT / "deploy"
RULES = DEPLOY / "prometheus" / "lethe.rules.yml"
DASHBOARD = DEPLOY / "grafana" / "dashboards" / "lethe.json"
DASHBOARD_PY = DEPLOY / "grafana" / "dashboard.py"
RUNBOOK = ROOT / "docs" / "runbook.md"


def rules(kind: str) -> list[dict[str, Any]]:
    """Return every rule of a kind: ``alert`` or ``record``."""
    groups = yaml.safe_load(RULES.read_text("utf-8"))["groups"]
    return [rule for group in groups for rule in group["rules"] if kind in rule]


def alerts() -> list[dict[str, Any]]:
    """Return every alert."""
    return rules("alert")


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


@cache
def series() -> dict[str, set[str]]:
    """Return the labels of all series: those of workers, archives and commands, Prometheus' own, and recorded ones."""
    made = (WorkerMetrics(), ArchiveMetrics(), RetentionMetrics(), ReceiptMetrics((), 0), AuditMetrics((), 0))
    scraped = {"job", "instance", "worker"}  # the last is a supervisor's
    known = {"up": {"job", "instance"}, "ALERTS": {"alertname", "alertstate", "severity"}}
    for one in (*made, CertificateMetrics()):
        for name, collector in one.registry._names_to_collectors.items():
            bucket = {"le"} if name.endswith("_bucket") else set()
            known[name] = scraped | set(getattr(collector, "_labelnames", ())) | bucket
    own = dict.fromkeys(re.findall(r"^# TYPE (\S+)", children.metrics([]).decode(), re.MULTILINE), scraped)
    known |= own | {"lethe_event_age_seconds_bucket": scraped | {"le"}}  # its collector says nothing of its series
    for rule in rules("record"):  # in order: one may use those before it
        known[rule["record"]] = kept_labels(rule["expr"], known)
    return known


def kept_labels(expr: str, known: dict[str, set[str]]) -> set[str]:
    """Return the labels that a recorded series has: those that it is summed by, all where there is no sum."""
    if "sum" in expr or "histogram_quantile" in expr:
        return set(re.findall(r"\w+", " ".join(re.findall(r"\bby \((.*?)\)", expr)))) - {"le"}
    return set.union(*(known[name] for name, _ in selectors(expr)))


def selectors(expr: str) -> list[tuple[str, str]]:
    """Return name and matchers of each series that an expression reads."""
    return re.findall(r"\b(lethe[_:][\w:]+|up\b|ALERTS\b)(?:\{(.*?)\})?", expr)


def unknown_of(expr: str) -> set[str]:
    """Return what an expression names and nothing has: series, and labels that it matches or groups by."""
    names = {name for name, _ in selectors(expr)}
    assert names
    missing = names - set(series())
    for name, matchers in selectors(expr):
        missing |= set(re.findall(r"(\w+)[=!]", re.sub(r'"[^"]*"', "", matchers))) - series().get(name, set())
    labels = set.union(*(series().get(name, set()) for name in names))
    return missing | set(re.findall(r"\w+", " ".join(re.findall(r"\b(?:by|on) \((.*?)\)", expr)))) - labels


def test_the_run_s_rules_are_the_same_only_faster() -> None:
    """Of a scaled file every ``for``, range and offset is divided, and nothing else is touched, thresholds neither."""
    given = {
        "groups": [
            {"rules": [{"expr": "rate(a_1h[10m]) > avg_over_time(b[3d] offset 2h) + 86400", "for": "5m"}]},
            {"rules": [{"expr": "time() - c > 15", "labels": {"severity": "5m"}}]},
        ]
    }
    wanted = "rate(a_1h[5000ms]) > avg_over_time(b[2160000ms] offset 60000ms) + 86400"
    found = yaml.safe_load(scaled(yaml.safe_dump(given), 120))
    assert found["groups"][0]["rules"] == [{"expr": wanted, "for": "2500ms"}]
    assert found["groups"][1] == given["groups"][1]
    whole = yaml.safe_load(scaled(RULES.read_text("utf-8"), 1))
    texts = [rule["expr"] for group in whole["groups"] for rule in group["rules"]]
    assert not any(re.search(r"(\[|offset )\d+[smhd]\b", text) for text in texts)


def panels() -> list[dict[str, Any]]:
    """Return the dashboard's rows and panels."""
    found: list[dict[str, Any]] = json.loads(DASHBOARD.read_text("utf-8"))["panels"]
    return found


@pytest.mark.parametrize(
    "rule", [*rules("record"), *alerts()], ids=lambda one: str(one.get("alert", one.get("record")))
)
def test_every_rule_reads_what_exists(rule: dict[str, Any]) -> None:
    """Its series are the code's or recorded ones, and have the labels that it names, in its summary too."""
    assert unknown_of(rule["expr"]) == set()
    labels = set.union(*(series()[name] for name, _ in selectors(rule["expr"])))
    assert set(re.findall(r"\$labels\.(\w+)", str(rule.get("annotations")))) <= labels


@pytest.mark.parametrize(
    ("expr", "unknown"),
    [
        ("sum(lethe_nothing)", {"lethe_nothing"}),
        ('lethe_lag_records{sink="raw"}', {"sink"}),
        ("sum by (entity) (lethe_lag_records)", {"entity"}),
        ("lethe:redactions:per_content2h", set()),
        ('lethe:redactions:per_content2h{reason="x"}', {"reason"}),
    ],
)
def test_what_does_not_exist_is_noticed(expr: str, unknown: set[str]) -> None:
    """The check of rules and panels sees series and labels that nothing has."""
    assert unknown_of(expr) == unknown


def test_the_dashboard_shows_what_exists() -> None:
    """It is what its script prints; each panel reads series and labels that exist, and none hides another."""
    printed = subprocess.run([sys.executable, DASHBOARD_PY], capture_output=True, text=True, check=True).stdout  # noqa: S603 - ours
    assert DASHBOARD.read_text("utf-8") == printed
    graphs = [panel for panel in panels() if panel["type"] != "row"]
    for target in (target for panel in graphs for target in panel["targets"]):
        assert unknown_of(target["expr"]) == set()
        shown = set(re.findall(r"{{(\w+)}}", target["legendFormat"]))
        assert shown <= set.union(*(series()[name] for name, _ in selectors(target["expr"])))
    cells = [
        (place["x"] + x, place["y"] + y)
        for place in (panel["gridPos"] for panel in panels())
        for x in range(place["w"])
        for y in range(place["h"])
    ]
    assert len(cells) == len(set(cells))
    assert len({panel["id"] for panel in panels()}) == len(panels())
    assert [panel["title"] for panel in panels() if panel["type"] == "row"] == [
        *("Overview", "Worker", "Detection", "Rejections", "Retention", "Archive", "Rights")
    ]


@pytest.mark.parametrize("alert", alerts(), ids=lambda one: str(one["alert"]))
def test_every_alert_can_fire_and_says_what_to_do(alert: dict[str, Any]) -> None:
    """The tests of promtool have it fire, and the runbook has its entry, in three parts."""
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
