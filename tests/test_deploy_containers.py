"""The image, the compose files, the chart and the services: pinned, closed, with real settings and time to end."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest
import yaml
from test_architecture import ROOT
from test_deploy import DEPLOY, RULES, calls, services

from pipeline.config import Settings, load_settings, unknown_settings
from pipeline.worker.health import HealthServer, probe

CHART = DEPLOY / "helm" / "lethe"
TEMPLATES = sorted((CHART / "templates").glob("*"))
VALUES = yaml.safe_load((CHART / "values.yaml").read_text("utf-8"))
SCHEMA = json.loads((CHART / "values.schema.json").read_text("utf-8"))
DOCKERFILE = (DEPLOY / "Dockerfile").read_text("utf-8")
DEFAULTS = Settings()
VERSION = re.search(r'^version = "(.+)"$', (ROOT / "pyproject.toml").read_text("utf-8"), re.MULTILINE)
WRITES_ITS_ROOT = {"apache/kafka", "clickhouse/clickhouse-server"}
"""Images that write their own configuration when they start."""


def deployed() -> list[Path]:
    """Return the files that say how lethe is run."""
    suffixes = {".yaml", ".yml", ".tpl", ".service", ".env", ".txt"}
    return [
        DEPLOY / "Dockerfile",
        *ROOT.glob("docker-compose*.yml"),
        *(p for p in DEPLOY.rglob("*") if p.suffix in suffixes),
    ]


def seconds(text: str) -> int:
    """Return a time of compose or systemd."""
    return int(text.removesuffix("s"))


def merged(below: dict[str, Any], above: dict[str, Any]) -> dict[str, Any]:
    """Lay values over values, as Helm does."""
    both = {
        key: merged(below[key], value) if isinstance(value, dict) and isinstance(below.get(key), dict) else value
        for key, value in above.items()
    }
    return below | both


def jobs() -> list[dict[str, Any]]:
    """Return the pods of deploy/kubernetes."""
    found = [yaml.safe_load_all(path.read_text("utf-8")) for path in sorted((DEPLOY / "kubernetes").glob("*.yaml"))]
    return [job["spec"]["jobTemplate"]["spec"]["template"]["spec"] for file in found for job in file]


def test_every_image_is_pinned() -> None:
    """By a whole version, which for lethe is this one: what "latest" is changes under whoever runs it."""
    files = "\n".join(path.read_text("utf-8") for path in deployed() if path.parent.name != "templates")
    images = re.findall(r"^ *(?:image:|FROM) +(?:&image )?([^\s{*]+)", files, re.MULTILINE)
    assert len(images) > 15
    assert [image for image in images if not re.search(r":v?\d+\.\d+\.\d+", image)] == []
    assert VERSION
    assert {image for image in images if image.startswith("lethe")} == {f"lethe:{VERSION[1]}"}
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text("utf-8"))
    assert (chart["appVersion"], VALUES["image"]["tag"]) == (VERSION[1], "")


def test_every_setting_in_deploy_is_one() -> None:
    """A name that is none would be a warning at run time, and its default in force."""
    names = {name for path in deployed() for name in re.findall(r"\bLETHE_[A-Z_]+\b", path.read_text("utf-8"))}
    assert len(names) > 20
    assert unknown_settings(dict.fromkeys(names, "x")) == []


def test_values_cannot_say_what_the_chart_says() -> None:
    """A variable that comes twice in a pod has the last value: `settings` takes none that a template sets."""
    text = "".join(path.read_text("utf-8") for path in TEMPLATES)
    sets = set(re.findall(r"name: (LETHE_\w+)", text)) | {"LETHE_RECEIPT_KEY"}
    taken = re.compile(SCHEMA["properties"]["settings"]["propertyNames"]["not"]["pattern"])
    assert {name for name in sets if not taken.match(name)} == set()
    assert taken.match("LETHE_SASL_PASSWORD")


@pytest.mark.parametrize(("name", "service"), services().items(), ids=services())
def test_every_service_of_compose_is_closed(name: str, service: dict[str, Any]) -> None:
    """A user that is not root, no capability, and a root file system that cannot be written to, but for two images."""
    assert service["user"].split(":")[0] not in {"", "0", "root"}, name
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service.get("read_only", False) is (service["image"].split(":")[0] not in WRITES_ITS_ROOT)
    assert all(port.startswith("127.0.0.1:") for port in service.get("ports", ()))


def test_every_pod_is_closed() -> None:
    """Of deploy/kubernetes by what it says; of the chart by the two parts that every pod and container takes."""
    for pod in jobs():
        assert not pod["automountServiceAccountToken"]
        assert pod["securityContext"]["runAsNonRoot"]
        for container in (*pod.get("initContainers", ()), *pod["containers"]):
            assert container["securityContext"]["readOnlyRootFilesystem"]
            assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
            assert not container["securityContext"]["allowPrivilegeEscalation"]
    for path in TEMPLATES:
        text = path.read_text("utf-8")
        containers = re.findall(
            r"- name: .+\n +\{\{- include \"lethe\.container\" \. .*\n(?: +\{\{.*\n)* +args: ", text
        )
        assert len(containers) >= len(re.findall(r"\b(?:initContainers|containers):", text))
        pods = len(re.findall(r"include \"lethe\.(?:pod|cronPod)\"", text))
        assert pods >= len(re.findall(r"^kind: (?:StatefulSet|Job|CronJob)$", text, re.MULTILINE))
    helpers = (CHART / "templates" / "_helpers.tpl").read_text("utf-8")
    for wanted in (
        "runAsNonRoot: true",
        "readOnlyRootFilesystem: true",
        "allowPrivilegeEscalation: false",
        "capabilities: {drop: [ALL]}",
        "seccompProfile: {type: RuntimeDefault}",
        "automountServiceAccountToken: false",
        # A Service lethe-metrics would make a variable LETHE_METRICS_PORT, which is a setting.
        "enableServiceLinks: false",
    ):
        assert f"\n{wanted}" in helpers or f"\n  {wanted}" in helpers, wanted


def test_whatever_serves_has_time_to_end() -> None:
    """A supervisor waits LETHE_GRACE_S and 5 s more before it kills: whoever kills it must wait longer."""
    least = DEFAULTS.grace_s + 5
    assert all(seconds(services()[name]["stop_grace_period"]) > least for name in ("worker", "archive"))
    for name in ("worker", "archive"):
        unit = (DEPLOY / "systemd" / f"lethe-{name}.service").read_text("utf-8")
        assert seconds(re.findall(r"^TimeoutStopSec=(.+)$", unit, re.MULTILINE)[0]) > least
        template = (CHART / "templates" / f"{name}.yaml").read_text("utf-8")
        more = re.findall(r"terminationGracePeriodSeconds: \{\{ add \.Values\.graceS (\d+) \}\}", template)
        assert [int(one) > 5 for one in more] == [True]
    assert VALUES["graceS"] == DEFAULTS.grace_s


def test_no_secret_stands_in_a_file() -> None:
    """Compose has them from outside, or is refused; the chart names the Secrets of others, and makes none."""
    for name, service in services().items():
        for variable, value in (service.get("environment") or {}).items():
            if re.search(r"PASSWORD$|SECRET|TOKEN|LETHE_STORE", variable):
                assert re.search(r"\$\{[A-Z_]+:\?[^}]+\}", value), (name, variable)
    text = "".join(path.read_text("utf-8") for path in TEMPLATES)
    assert not re.search(r"kind: Secret|stringData|b64enc", text)
    assert "valueFrom: {secretKeyRef: {name: {{ $store.secret }}" in text
    assert re.findall(r"^\w+=$", (DEPLOY / "compose" / "example.env").read_text("utf-8"), re.MULTILINE)


def test_ports_are_those_of_the_settings() -> None:
    """Metrics and probes where Prometheus, the chart and the image look for them."""
    scrapes = (DEPLOY / "prometheus" / "prometheus.yml").read_text("utf-8")
    assert set(re.findall(r"port: (\d+)|:(\d+)\"", scrapes)) == {
        (str(DEFAULTS.metrics_port), ""),
        ("", str(DEFAULTS.metrics_port)),
    }
    assert VALUES["metricsPort"] == DEFAULTS.metrics_port
    assert f"or {DEFAULTS.metrics_port})" in DOCKERFILE


def test_the_chart_has_the_rules_of_prometheus() -> None:
    """A chart reads files inside itself alone, so it has a copy: after a change, copy them anew."""
    assert (CHART / "files" / RULES.name).read_text("utf-8") == RULES.read_text("utf-8")


def test_the_chart_has_the_jobs_of_kubernetes() -> None:
    """What is due by time is due there too, whether one takes the chart or not."""
    by_chart = [" ".join(call) for where, call in calls() if where == "chart: cronjobs.yaml"]
    plain = {" ".join(c["args"]) for pod in jobs() for c in (*pod.get("initContainers", ()), *pod["containers"])}
    assert {one for one in plain if not any(f"{made} ".startswith(f"{one} ") for made in by_chart)} == set()


@pytest.mark.parametrize("path", sorted((CHART / "ci").glob("*.yaml")), ids=lambda path: path.stem)
def test_good_values_pass_and_wrong_ones_do_not(path: Path) -> None:
    """The schema knows every value: a misspelled one is refused, and so is none for the brokers."""
    valid = jsonschema_rs.validator_for(SCHEMA)
    values = merged(VALUES, yaml.safe_load(path.read_text("utf-8")))
    assert [str(error) for error in valid.iter_errors(values)] == []
    assert not valid.is_valid(VALUES)
    for wrong in (
        {"worker": {"replica": 3}},
        {"image": {"tag": "latest"}},
        {"kafka": {"security": "plaintext", "plaintextAllowed": False}},
        {"settings": {"LETHE_STORE": "chdb:x"}},
    ):
        assert not valid.is_valid(merged(values, wrong)), wrong
    assert load_settings({name: str(value) for name, value in values["settings"].items()})


@pytest.mark.parametrize("reason", ["", "stuck", None], ids=["healthy", "unhealthy", "nobody"])
def test_the_check_of_the_image_tells(reason: str | None) -> None:
    """The very call of the Dockerfile, at a server of probes; 1 for unhealthy, as Docker wants it."""
    call = re.search(r'HEALTHCHECK .*?"-c", \\\n  "(.+?)"\]$', DOCKERFILE, re.MULTILINE | re.DOTALL)
    assert call
    server = HealthServer(("127.0.0.1", 0), {"/healthz": probe(lambda: reason or "")})
    port = server.address[1]
    if reason is None:
        server.close()
    done = subprocess.run(  # noqa: S603 - the Dockerfile's
        [sys.executable, "-c", call[1]], env={"LETHE_METRICS_PORT": str(port)}, capture_output=True, check=False
    )
    server.close()
    assert done.returncode == (0 if reason == "" else 1)


def test_the_image_gets_what_it_is_built_of_and_nothing_else() -> None:
    """Files of keys and stores lie about in a checkout: only what is named goes to the builder."""
    ignored = (ROOT / ".dockerignore").read_text("utf-8").splitlines()
    let_in = {line.removeprefix("!") for line in ignored if line.startswith("!")}
    copied = {one for line in re.findall(r"^COPY (?!--)(.+) \S+$", DOCKERFILE, re.MULTILINE) for one in line.split()}
    assert "*" in ignored
    assert let_in == copied
    assert [one for one in copied if not (ROOT / one).exists()] == []
    stages = DOCKERFILE.split("\nFROM ")
    assert len(stages) == 3
    assert re.findall(r"^(?:USER|ENTRYPOINT) .+", stages[-1], re.MULTILINE) == [
        "USER 10001:10001",
        'ENTRYPOINT ["/opt/lethe/bin/lethe"]',
    ]
    assert (
        DOCKERFILE.count("pip install --require-hashes") + DOCKERFILE.count("--no-index")
        == DOCKERFILE.count("pip install") + 1
    )


def test_compose_has_a_way_to_each_file_that_it_mounts() -> None:
    """What is mounted from this tree is there, but for what tls.sh makes."""
    paths = {v.split(":")[0] for s in services().values() for v in s.get("volumes", ()) if v.startswith("./")}
    assert {one for one in paths if not (ROOT / one).exists()} == {
        f"./deploy/compose/tls/{role}" for role in ("kafka", "admin", "worker", "archive", "operator")
    }


@pytest.mark.skipif(shutil.which("openssl") is None, reason="needs openssl")
def test_what_tls_sh_makes_is_for_its_reader_alone(tmp_path: Path) -> None:
    """Every file is its owner's, each login has a password of its own, and nothing is written over."""
    script, out = DEPLOY / "compose" / "tls.sh", tmp_path / "tls"
    assert subprocess.run([script, out], check=False, capture_output=True).returncode == 0  # noqa: S603 - our own
    files = [path for path in out.rglob("*") if path.is_file()]
    assert {path.stat().st_mode & 0o777 for path in files} == {0o600}
    passwords = {(out / login / "password").read_text("utf-8") for login in ("worker", "archive", "operator")}
    assert len(passwords) == 3
    again = subprocess.run([script, out], check=False, capture_output=True)  # noqa: S603 - as above
    assert again.returncode == 2
