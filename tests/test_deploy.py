"""What is in deploy/: alerts of metrics that exist, each explained and shown to fire; units that call real commands."""

import re
from typing import Any

import pytest
import yaml
from test_architecture import ROOT
from test_docs import section

from pipeline.archive.metrics import ArchiveMetrics
from pipeline.metrics import WorkerMetrics
from pipeline.retention_metrics import RetentionMetrics

DEPLOY = ROOT / "deploy"
RULES = DEPLOY / "prometheus" / "lethe.rules.yml"
RUNBOOK = ROOT / "docs" / "runbook.md"


def alerts() -> list[dict[str, Any]]:
    """Return every alert."""
    groups = yaml.safe_load(RULES.read_text("utf-8"))["groups"]
    return [alert for group in groups for alert in group["rules"]]


def metrics() -> set[str]:
    """Return the names of all series that workers, archives and looks at retention have."""
    pages = [made().render().decode() for made in (WorkerMetrics, ArchiveMetrics, RetentionMetrics)]
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
