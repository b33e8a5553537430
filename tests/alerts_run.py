"""``make alerts``: a real Prometheus, while a worker is killed, its detector broken and the broker's disk filled.

A real broker on a small disk, a worker with its metrics on a port, Debian's Prometheus with `deploy/prometheus` at
`DIVISOR` times the speed, and generated traffic. It mounts a tmpfs, and so must be root. Some minutes; it exits with 1
when an alert that should fire does not, or another does that should not.
"""

import argparse
import functools
import http.server
import json
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "tests"), str(ROOT)]

from kafka_broker import QUICK_JVM, Cluster, PortClaims, prepare  # noqa: E402 - found by the line above
from worker_harness import Bench, Worker, ending  # noqa: E402 - as above

RULES = ROOT / "deploy" / "prometheus" / "lethe.rules.yml"
DIVISOR = 120.0
"""Two hours become a minute, five minutes two and a half seconds."""
RATE = 60
"""Events a second."""
DISK = "400m"
BROKEN = "EMAIL_ADDRESS"
_UNITS_MS = {"ms": 1, "s": 1000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}
_DURATION = r"(\d+)(ms|s|m|h|d)"
GRAPHS = (
    "sum by (fate) (rate(lethe_events_total[10s]))",
    'lethe:redactions:per_content2h{entity=~"EMAIL_ADDRESS|PERSON|PHONE_NUMBER"}',
    "sum(lethe_lag_records)",
)


def scaled(rules: str, divisor: float) -> str:
    """Return rules whose time goes faster: each ``for``, range and offset divided, thresholds as they are.

    Args:
        rules: a rules file.
        divisor: by what; a duration never gets below a millisecond.
    """

    def divide(found: re.Match[str]) -> str:
        return f"{found[1]}{max(1, round(int(found[2]) * _UNITS_MS[found[3]] / divisor))}ms"

    document = yaml.safe_load(rules)
    for rule in (rule for group in document["groups"] for rule in group["rules"]):
        rule["expr"] = re.sub(rf"(\[|\boffset ){_DURATION}\b", divide, rule["expr"])
        if "for" in rule:
            rule["for"] = re.sub(rf"(){_DURATION}", divide, rule["for"])
    return str(yaml.safe_dump(document, sort_keys=False, width=120))


class Prometheus:
    """The real one, and what its API says."""

    def __init__(self, folder: Path, worker_port: int, files_port: int) -> None:
        ports = PortClaims()
        self.address = f"127.0.0.1:{ports.take_any()}"
        ports.close()
        (folder / "rules.yml").write_text(scaled(RULES.read_text("utf-8"), DIVISOR), "utf-8")
        jobs = {"lethe-worker": f"127.0.0.1:{worker_port}", "files": f"127.0.0.1:{files_port}"}
        config = {
            "global": {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"},
            "rule_files": ["rules.yml"],
            "scrape_configs": [
                {"job_name": job, "static_configs": [{"targets": [target]}]}
                | ({"metrics_path": "/lethe.prom"} if job == "files" else {})
                for job, target in jobs.items()
            ],
        }
        (folder / "prometheus.yml").write_text(yaml.safe_dump(config), "utf-8")
        self._command = [
            "prometheus",
            f"--config.file={folder / 'prometheus.yml'}",
            f"--storage.tsdb.path={folder / 'data'}",
            f"--web.listen-address={self.address}",
        ]
        self._log = folder / "prometheus.log"

    @contextmanager
    def running(self) -> Iterator[None]:
        """Run it meanwhile."""
        with self._log.open("wb") as log, subprocess.Popen(self._command, stdout=log, stderr=log) as process:  # noqa: S603 - the system's
            try:
                yield
            finally:
                process.terminate()

    def ask(self, path: str) -> Any:
        """Return what its API answers."""
        with urllib.request.urlopen(f"http://{self.address}/api/v1/{path}", timeout=10) as answer:
            return json.load(answer)["data"]

    def firing(self) -> set[str]:
        """Return which alerts fire, each with its entity type, where it has one."""
        found = [one["labels"] for one in self.ask("alerts")["alerts"] if one["state"] == "firing"]
        return {" ".join(filter(None, (one["alertname"], one.get("entity", "")))) for one in found}


class Run:
    """One run: what is done, what fires then, and how long it took."""

    def __init__(self, bench: Bench, prometheus: Prometheus, port: int, disk: Path) -> None:
        self._bench, self._prometheus, self._disk = bench, prometheus, disk
        self._settings = {"LETHE_METRICS_PORT": str(port), "LETHE_DELIVERY_S": "60", "LETHE_STUCK_S": "60"}
        self.failures: list[str] = []
        self._began_s = time.monotonic()

    def worker(self, **more: str) -> Worker:
        """Start a worker."""
        return self._bench.worker(**self._settings, **more).wait_assigned()

    def replace(self, worker: Worker, **more: str) -> None:
        """Start another in the place of one that has ended."""
        started = self.worker(**more)
        worker.process, worker.log = started.process, started.log

    def feed(self, count: int, rate: int) -> "subprocess.Popen[bytes]":
        """Send generated traffic."""
        call = [sys.executable, "-m", "pipeline", "generate", "--to", "kafka:", "-n", str(count), "--rate", str(rate)]
        quiet = subprocess.DEVNULL
        return subprocess.Popen(call, cwd=self._bench.folder, env=self._bench.environ(), stdout=quiet, stderr=quiet)  # noqa: S603 - our own command

    def say(self, text: str) -> None:
        """Print a line with the time since the beginning."""
        sys.stdout.write(f"{time.monotonic() - self._began_s:5.0f} s  {text}\n")
        sys.stdout.flush()

    def quiet(self, seconds: float, patience_s: float = 150.0) -> None:
        """Wait until nothing fires, and has not for a while."""
        deadline, since = time.monotonic() + patience_s, time.monotonic()
        while time.monotonic() - since < seconds:
            firing = self._prometheus.firing()
            if firing:
                since = time.monotonic()
            if time.monotonic() > deadline:
                self._fail(f"not quiet: {', '.join(sorted(firing)) or 'it was a moment ago'}")
                return
            time.sleep(0.5)
        self.say(f"nothing fires, for {seconds:g} s")

    def expect(self, what: str, wanted: set[str], also: set[str], patience_s: float = 120.0) -> None:
        """Wait until alerts fire.

        Args:
            what: was done.
            wanted: must fire.
            also: may fire, too: they follow from the same.
            patience_s: how long to wait for all.
        """
        began_s, seen = time.monotonic(), set[str]()
        while not wanted <= seen and time.monotonic() - began_s < patience_s:
            for name in sorted(self._prometheus.firing() - seen):
                self.say(f"  fires: {name}, {time.monotonic() - began_s:.0f} s after {what}")
                seen.add(name)
            time.sleep(0.5)
        if not wanted <= seen:
            self._fail(f"after {what} did not fire: {', '.join(sorted(wanted - seen))}")
        if stray := seen - wanted - also:
            self._fail(f"after {what} fired too: {', '.join(sorted(stray))}")

    def _fail(self, text: str) -> None:
        self.failures.append(text)
        self.say(f"FAILED: {text}")

    def fill_disk(self) -> None:
        """Leave no byte on the broker's disk."""
        with suppress(OSError), (self._disk / "filler").open("wb") as stream:
            while True:
                stream.write(b"0" * 65_536)
                stream.flush()


def broken_schemas(folder: Path) -> Path:
    """Return a copy of the policy whose allow-list takes every address for nobody's, by one careless expression."""
    shutil.copytree(ROOT / "schemas", folder)
    table = folder / "detection" / "allow.json"
    allowed = json.loads(table.read_text("utf-8"))
    allowed["lists"]["example_domains"] |= {"enabled": True, "regex": "(?i).+@.+"}
    table.write_text(json.dumps(allowed), "utf-8")
    return folder


def kill(run: Run, worker: Worker, _folder: Path) -> None:
    """End the worker without a word, and start another."""
    run.say("kill -9 of the worker")
    worker.kill()
    run.expect("kill -9", {"LetheDown", "LetheWorkersGone"}, {"LetheLagHigh"})
    run.replace(worker)
    run.say("a worker again")
    run.quiet(20.0)


def detector(run: Run, worker: Worker, folder: Path) -> None:
    """Have a worker at work whose detector is broken, and then the right one again."""
    schemas = broken_schemas(folder / "schemas")
    run.say(f"another worker in its place, whose policy leaves every {BROKEN}")
    worker.stop()
    run.replace(worker, LETHE_SCHEMAS=str(schemas))
    run.quiet(5.0)
    run.expect("the change", {f"LetheRedactionsDropped {BROKEN}"}, set())
    worker.stop()
    run.replace(worker)
    run.say("the right policy again")
    run.quiet(10.0)


def disk(run: Run, worker: Worker, _folder: Path) -> None:
    """Fill the broker's disk while the worker has events before it; nothing mends that."""
    run.say("a burst of events, and the broker's disk is filled while they wait")
    burst = run.feed(30_000, 30_000)
    time.sleep(10.0)
    worker.signal(signal.SIGSTOP)
    run.fill_disk()
    worker.signal(signal.SIGCONT)
    burst.kill()
    burst.wait()
    follows = {"LetheWorkersGone", "LetheLagHigh", "LetheWorkerStalled"}
    run.expect("the disk was full", {"LetheDown"}, follows)
    lines = [line for line in worker.said().splitlines() if "lethe worker:" in line]
    run.say(f"the worker's last word: {lines[-1].partition('lethe worker: ')[2]}")


TROUBLES = {"kill": kill, "detector": detector, "disk": disk}


def play(run: Run, folder: Path, troubles: list[str]) -> None:
    """See that nothing fires when all is well, and then one trouble after another."""
    worker = run.worker()
    with ending(worker):
        feeder = run.feed(1_000_000, RATE)
        try:
            run.quiet(150.0 if "detector" in troubles else 30.0, 240.0)  # what is usual must be known first
            for name in troubles:
                TROUBLES[name](run, worker, folder)
        finally:
            feeder.kill()
            feeder.wait()


def picture(prometheus: Prometheus, path: Path) -> None:
    """Take a picture of Prometheus' own graphs of the whole run."""
    parts = [
        f"g{number}.expr={urllib.parse.quote(expr)}&g{number}.tab=0&g{number}.range_input=10m"
        for number, expr in enumerate(GRAPHS)
    ]
    call = ["chromium", "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--window-size=1100,2244"]
    address = f"http://{prometheus.address}/classic/graph?{'&'.join(parts)}"
    subprocess.run(  # noqa: S603 - the system's
        [*call, "--virtual-time-budget=20000", f"--screenshot={path}", address],
        capture_output=True,
        check=True,
        timeout=120,
    )


@contextmanager
def small_disk(folder: Path) -> Iterator[Path]:
    """Mount a tmpfs meanwhile."""
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={DISK}", "lethe-alerts", str(folder)], check=True)  # noqa: S603, S607 - the system's
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)  # noqa: S603, S607 - as above


@contextmanager
def files_served(folder: Path) -> Iterator[int]:
    """Serve a folder meanwhile, as node_exporter would show its files; yield the port."""

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(folder))) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield server.server_port
        finally:
            server.shutdown()


def main() -> int:
    """Run, and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--picture", type=Path, help="take one of Prometheus' graphs, with chromium")
    parser.add_argument("--only", nargs="+", choices=TROUBLES, default=[*TROUBLES], help="what is done (default: all)")
    given = parser.parse_args()
    if not shutil.which("prometheus"):
        sys.stderr.write("prometheus is missing: apt-get install prometheus\n")
        return 1
    prepare()
    with ExitStack() as stack:
        folder = Path(
            stack.enter_context(tempfile.TemporaryDirectory(prefix="lethe-alerts-", ignore_cleanup_errors=True))
        )
        disk = stack.enter_context(small_disk(folder / "disk"))
        cluster = stack.enter_context(Cluster(disk / "kafka", 1, jvm=QUICK_JVM))
        cluster.start()
        (folder / "bench").mkdir()
        (folder / "shown").mkdir()
        bench = Bench(cluster, folder / "bench", "alerts.", {}).prepare(partitions=2)
        bench.lethe(
            "retention", "verify", "--no-store", "--textfile", str(folder / "shown" / "lethe.prom"), check=False
        )
        ports = PortClaims()
        port = ports.take_any()
        ports.close()
        prometheus = Prometheus(folder, port, stack.enter_context(files_served(folder / "shown")))
        stack.enter_context(prometheus.running())
        run = Run(bench, prometheus, port, disk)
        play(run, folder, given.only)
        if given.picture:
            picture(prometheus, given.picture)
        run.say("all as expected" if not run.failures else f"{len(run.failures)} failures")
        return bool(run.failures)


if __name__ == "__main__":
    sys.exit(main())
