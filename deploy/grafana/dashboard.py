#!/usr/bin/env python3
"""Prints the dashboard that Grafana provisions; ``deploy/grafana/dashboards/lethe.json`` is what it prints.

With ``--rules`` it prints each panel's query as a recording rule, so that ``promtool check rules`` reads them all.
"""

import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

WINDOW = "$__rate_interval"
"""Grafana's word for the shortest window that has a rate at the chosen zoom."""
WIDTH, HEIGHT, COLUMNS = 8, 8, 3


@dataclass(frozen=True, slots=True)
class Panel:
    """A graph; of ``kind`` stat, the last value.

    Attributes:
        title: above it.
        unit: Grafana's name of one.
        queries: PromQL and the legend of its series.
        note: what to know, shown beside the title.
        kind: ``timeseries`` or ``stat``.
    """

    title: str
    unit: str
    queries: tuple[tuple[str, str], ...]
    note: str = ""
    kind: str = "timeseries"


def _stage(metric: str) -> tuple[tuple[str, str], ...]:
    """Return the 95th percentile of each stage of a histogram."""
    return ((f"histogram_quantile(0.95, sum by (stage, le) (rate({metric}_bucket[{WINDOW}])))", "{{stage}}"),)


ROWS: dict[str, tuple[Panel, ...]] = {
    "Overview": (
        Panel("Alerts that fire", "short", (('count(ALERTS{alertstate="firing"}) or vector(0)', ""),), kind="stat"),
        Panel("Events a second", "reqps", (("lethe:events:rate10m", ""),), kind="stat"),
        Panel(
            "Processes that answer", "short", (('count by (job) (up{job=~".*lethe.*"} == 1)', "{{job}}"),), kind="stat"
        ),
        Panel("Events", "reqps", ((f"sum by (fate) (rate(lethe_events_total[{WINDOW}]))", "{{fate}}"),)),
        Panel(
            "Age of events",
            "s",
            (("lethe:event_age_seconds:p95_10m", "95 of 100"),),
            "From received_at until every sink has the records.",
        ),
        Panel("Events that wait", "short", (("sum by (instance) (lethe_lag_records)", "{{instance}}"),)),
    ),
    "Worker": (
        Panel(
            "Oldest raw event",
            "s",
            (
                ("max by (instance) (lethe_oldest_raw_age_seconds)", "{{instance}}"),
                ('0.5 * max(lethe_retention_bound_seconds{sink="raw"})', "half of raw's bound"),
            ),
        ),
        Panel("Stages, 95 of 100", "s", _stage("lethe_stage_seconds")),
        Panel("Commits", "ops", ((f"sum by (outcome) (rate(lethe_commits_total[{WINDOW}]))", "{{outcome}}"),)),
        Panel("Bytes read", "Bps", ((f"sum by (instance) (rate(lethe_raw_bytes_total[{WINDOW}]))", "{{instance}}"),)),
        Panel(
            "Partitions and processes",
            "short",
            (
                ("sum by (instance) (lethe_partitions)", "partitions of {{instance}}"),
                ("lethe_workers_up", "processes of {{instance}}"),
            ),
        ),
        Panel(
            "Restarts and rebalances in an hour",
            "short",
            (
                ("sum by (instance) (increase(lethe_worker_restarts_total[1h]))", "restarts of {{instance}}"),
                ("sum by (instance) (increase(lethe_rebalances_total[1h]))", "rebalances of {{instance}}"),
            ),
        ),
        Panel(
            "Keys and certificates: time left",
            "s",
            (
                ("min by (keys) (lethe_keys_newest_day_timestamp_seconds) + 86400 - time()", "{{keys}} keys"),
                ("min by (certificate) (lethe_certificate_expiry_timestamp_seconds) - time()", "{{certificate}}"),
            ),
            "Keys: until the last day that has one is over.",
        ),
        Panel(
            "Policies in force",
            "short",
            (("count by (version, digest) (lethe_policy_info)", "{{version}} {{digest}}"),),
        ),
        Panel("Expired unread, in an hour", "short", (("sum(increase(lethe_raw_expired_total[1h]))", "events lost"),)),
    ),
    "Detection": (
        Panel(
            "Redactions per event with content",
            "short",
            (("lethe:redactions:per_content2h", "{{entity}}"),),
            "By type, over two hours. A type that falls silent is a leak.",
        ),
        Panel(
            "Beside what is usual",
            "percentunit",
            (("lethe:redactions:per_content2h / lethe:redactions:per_content3d", "{{entity}}"),),
            "1: as in the three days before. Alerts below a half and above four, of types that are not rare.",
        ),
        Panel("Content", "reqps", ((f"sum by (outcome) (rate(lethe_content_total[{WINDOW}]))", "{{outcome}}"),)),
        Panel("Undeclared fields per event", "short", (("lethe:unknown_fields:per_event10m", "dropped"),)),
        Panel("Audit: what is wrong", "short", (("lethe_audit_found", "{{clause}} {{check}}"),)),
        Panel(
            "Audit: verdicts",
            "short",
            (("lethe_audit_verdict", "{{clause}} {{check}}"),),
            "0 holds, 1 late, 2 unseen, 3 broken.",
        ),
    ),
    "Rejections": (
        Panel("By reason", "reqps", ((f"sum by (reason) (rate(lethe_rejections_total[{WINDOW}])) > 0", "{{reason}}"),)),
        Panel("Share of all events", "percentunit", (("lethe:rejections:share10m", "rejected"),)),
        Panel("Keys that objects repeat", "short", ((f"sum(rate(lethe_duplicate_keys_total[{WINDOW}]))", "a second"),)),
    ),
    "Retention": (
        Panel(
            "Time left until the bound",
            "s",
            (("lethe:retention:slack_seconds", "{{sink}} {{kind}} {{field}}"),),
            "Below 0, a promise is broken.",
        ),
        Panel(
            "Verdicts",
            "short",
            (("lethe_retention_verdict", "{{sink}} {{kind}} {{field}}"),),
            "0 holds, 1 late, 2 unseen, 3 broken.",
        ),
        Panel("Held", "bytes", (("lethe_retention_held_bytes", "{{sink}} {{kind}} {{field}}"),)),
    ),
    "Archive": (
        Panel("Records", "ops", ((f"sum by (sink) (rate(lethe_archive_inserted_total[{WINDOW}]))", "{{sink}}"),)),
        Panel("Oldest that waits", "s", (("lethe_archive_oldest_uncommitted_seconds", "{{instance}}"),)),
        Panel("Stages, 95 of 100", "s", _stage("lethe_archive_stage_seconds")),
        Panel(
            "Not stored",
            "ops",
            (
                (f"sum(rate(lethe_archive_repeated_total[{WINDOW}]))", "there already"),
                (f"sum(rate(lethe_archive_expired_total[{WINDOW}]))", "expired"),
                (f"sum(rate(lethe_archive_erased_total[{WINDOW}]))", "erased"),
                (f"sum(rate(lethe_archive_conflicts_total[{WINDOW}]))", "conflicts"),
            ),
        ),
        Panel("Records that wait", "short", (("sum by (sink) (lethe_archive_lag_records)", "{{sink}}"),)),
        Panel("Failed calls of the store", "ops", ((f"sum(rate(lethe_archive_store_failures_total[{WINDOW}]))", ""),)),
    ),
    "Rights": (
        Panel(
            "Erasures that are not whole",
            "short",
            (("lethe_receipts_pending", "pending"), ("lethe_receipts_broken", "broken")),
        ),
        Panel("The oldest of them", "s", (("lethe_receipts_oldest_pending_seconds", ""),)),
        Panel(
            "Entries of restrictions and erasures",
            "short",
            (("max by (instance) (lethe_control_entries)", "{{instance}}"),),
        ),
    ),
}


def dashboard() -> dict[str, Any]:
    """Return the dashboard as Grafana reads it."""
    source = {"name": "datasource", "label": "Prometheus", "type": "datasource", "query": "prometheus", "hide": 0}
    return {
        "uid": "lethe",
        "title": "lethe",
        "tags": ["lethe"],
        "editable": False,
        "schemaVersion": 39,
        "refresh": "1m",
        "time": {"from": "now-6h", "to": "now"},
        "timezone": "utc",
        "templating": {"list": [source]},
        "panels": [*_panels()],
    }


def _panels() -> Iterator[dict[str, Any]]:
    top = number = 0
    for title, panels in ROWS.items():
        number += 1
        place = {"h": 1, "w": WIDTH * COLUMNS, "x": 0, "y": top}
        yield {"id": number, "type": "row", "title": title, "collapsed": False, "gridPos": place, "panels": []}
        for index, panel in enumerate(panels):
            number += 1
            row, column = divmod(index, COLUMNS)
            place = {"h": HEIGHT, "w": WIDTH, "x": column * WIDTH, "y": top + 1 + row * HEIGHT}
            yield {"id": number, "gridPos": place, **_panel(panel)}
        top += 1 + -(-len(panels) // COLUMNS) * HEIGHT


def _panel(panel: Panel) -> dict[str, Any]:
    source = {"type": "prometheus", "uid": "${datasource}"}
    return {
        "type": panel.kind,
        "title": panel.title,
        "description": panel.note,
        "datasource": source,
        "fieldConfig": {"defaults": {"unit": panel.unit}, "overrides": []},
        "targets": [
            {"refId": chr(ord("A") + index), "datasource": source, "expr": expr, "legendFormat": legend or "__auto"}
            for index, (expr, legend) in enumerate(panel.queries)
        ],
    }


def queries() -> list[tuple[str, str]]:
    """Return PromQL and legend of every series."""
    return [query for panels in ROWS.values() for panel in panels for query in panel.queries]


def as_rules() -> dict[str, Any]:
    """Return every query as a recording rule; Grafana's window becomes one that PromQL knows."""
    made = [{"record": f"panel:{n}", "expr": expr.replace(WINDOW, "5m")} for n, (expr, _) in enumerate(queries())]
    return {"groups": [{"name": "panels", "rules": made}]}


if __name__ == "__main__":
    json.dump(as_rules() if "--rules" in sys.argv[1:] else dashboard(), sys.stdout, indent=1)
    sys.stdout.write("\n")
