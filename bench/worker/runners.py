"""The runners: what is compared, each as a command line. A runner finds its work in the environment (peer.Job).

lethe's rows are the workers that everything is compared with. Their commands stand first in each table.
"""

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
OURS = sys.executable
PEERS_PYTHON = HERE.parent.parent / ".venv-bench" / "bin" / "python"
LETHE = "lethe"

# What runs lethe's worker with `peer.split` in place of the core: a process that reads the variables of peer.Job.
# `--lethe-trivial` of compare.py sets another for one run.
LETHE_TRIVIAL: tuple[str, ...] = (OURS, str(HERE / "lethe_trivial.py"))
# What runs lethe's worker as it is, likewise. LETHE_KEYS names a key file that covers the events.
LETHE_CORE: tuple[str, ...] = (str(Path(OURS).with_name("lethe")), "worker")

_PEER_PACKAGES = "BENCH_PEER_PACKAGES"
_VERSIONS = "import importlib.metadata as m; print(*(f'{p} {m.version(p)}' for p in %r), sep=', ')"
_THEIRS = ("confluent-kafka", "quixstreams", "bytewax", "orjson")
_OURS = ("faust-streaming", "aiokafka", "orjson")


@dataclass(frozen=True, slots=True)
class Runner:
    """One thing that is measured.

    Attributes:
        name: as the table shows it.
        command: what starts it; empty leaves it out.
    """

    name: str
    command: tuple[str, ...]


def trivial_runners(peers_python: Path, lethe: tuple[str, ...] = LETHE_TRIVIAL) -> list[Runner]:
    """Return those that share the trivial transform."""
    theirs = str(peers_python)
    return [
        Runner(LETHE, lethe),
        Runner("bytewax", (theirs, _script("bytewax_flow.py"))),
        Runner("confluent-kafka loop", (theirs, _script("confluent_loop.py"))),
        Runner("quixstreams", (theirs, _script("quix_app.py"))),
        Runner("aiokafka loop", (OURS, _script("aiokafka_loop.py"))),
        Runner("faust take(500)", (OURS, _script("faust_agents.py"), "take")),
        Runner("faust naive", (OURS, _script("faust_agents.py"), "naive")),
        Runner("faust naive, delivered", (OURS, _script("faust_agents.py"), "delivered")),
    ]


def core_runners(lethe: tuple[str, ...] = LETHE_CORE) -> list[Runner]:
    """Return those that run the real core, detection on."""
    return [Runner(LETHE, lethe), Runner("confluent-kafka loop", (OURS, _script("core_loop.py")))]


def peer_packages(peers_python: Path) -> Path:
    """Return the folder of the peers' packages.

    Raises:
        SystemExit: it is not there; the text says what to do.
    """
    found = sorted(peers_python.parent.parent.glob("lib/python*/site-packages"))
    if not found or not (found[0] / "confluent_kafka").is_dir():
        sys.exit(f"{peers_python} has no confluent-kafka: run 'make bench-worker', or name another --peers-python")
    return found[0]


def peer_environ(peers_python: Path) -> dict[str, str]:
    """Return what core_loop.py needs in its environment."""
    return {_PEER_PACKAGES: str(peer_packages(peers_python))}


def describe_versions(peers_python: Path) -> str:
    """Name the packages' versions, ours and theirs."""
    shown = []
    for python, packages in ((OURS, _OURS), (str(peers_python), _THEIRS)):
        command = [python, "-c", _VERSIONS % (packages,)]
        shown.append(subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip())  # noqa: S603 - our own command
    return f"lethe's virtualenv: {shown[0]}; the peers': {shown[1]}"


def _script(name: str) -> str:
    return str(HERE / name)
