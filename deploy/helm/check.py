"""Lints lethe's chart, holds what it makes of each file in ci/ to Kubernetes' schemas, and has it refuse what is wrong.

``python deploy/helm/check.py HELM KUBECTL_VALIDATE PROMTOOL``; `make test-deploy` brings the first two.
"""

import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

CHART = Path(__file__).with_name("lethe")
GOOD = "ci/server-values.yaml"
VERSIONS = ("1.27", "1.30")
"""Of Kubernetes: the oldest that the chart names, and the newest whose schemas the validator has."""
CLUSTER = ("--kube-version", f"{VERSIONS[-1]}.0")
OPERATORS = "monitoring.coreos.com/v1"
"""Resources of the operator of Prometheus have no schema here."""
REFUSED = (
    "image.tag=latest",
    "kafka.brokers=",
    "kafka.security=ssl",
    "kafka.security=plaintext",
    "kafka.roles.worker.passwordSecret=",
    "settings.LETHE_STORE=chdb:x",
    "settings.LETHE_SASL_PASSWORD=x",
    "worker.replica=3",
    "store.mode=both",
    "networkPolicy.brokerPorts=null",
)


def run(*call: str, good: bool = True) -> str:
    """Run a program that is to succeed, or to fail; return what it printed."""
    done = subprocess.run(call, capture_output=True, text=True, check=False)  # noqa: S603 - what make was given
    if (done.returncode == 0) is not good:
        sys.exit(f"{' '.join(call)}: ended with {done.returncode}\n{done.stdout[-2000:]}{done.stderr}")
    return done.stdout


def rendered(helm: str, values: Path) -> list[dict[str, Any]]:
    """Return what the chart makes of values."""
    text = run(helm, "template", "lethe", str(CHART), "--values", str(values), *CLUSTER)
    return [one for one in yaml.safe_load_all(text) if one]


def check(tools: Sequence[str], values: Path, folder: Path) -> None:
    """Lint the chart with values, and validate what it makes of them."""
    helm, validate, promtool = tools
    run(helm, "lint", "--strict", "--quiet", str(CHART), "--values", str(values), *CLUSTER)
    made = rendered(helm, values)
    file = folder / values.name
    file.write_text(yaml.safe_dump_all([one for one in made if one["apiVersion"] != OPERATORS]), "utf-8")
    for version in VERSIONS:
        run(validate, "--version", version, str(file))
    for one in made:
        if one["kind"] == "PrometheusRule":
            (folder / "rules.yml").write_text(yaml.safe_dump(one["spec"]), "utf-8")
            run(promtool, "check", "rules", str(folder / "rules.yml"))
    print(f"{values.name}: {len(made)} resources hold")


def main() -> None:
    """Check all files of values, the jobs that need no chart, and the refusals."""
    helm, validate, promtool = sys.argv[1:]
    with tempfile.TemporaryDirectory() as folder:
        for values in sorted((CHART / "ci").glob("*.yaml")):
            check((helm, validate, promtool), values, Path(folder))
    for path in sorted((CHART.parents[1] / "kubernetes").glob("*.yaml")):
        run(validate, "--version", VERSIONS[-1], str(path))
    for wrong in REFUSED:
        run(helm, "template", "lethe", str(CHART), "--values", str(CHART / GOOD), "--set", wrong, *CLUSTER, good=False)
    print(f"{len(REFUSED)} wrong values are refused")


if __name__ == "__main__":
    main()
