"""Find Java, and fetch Kafka's jars once for each content of pom.xml."""

import contextlib
import fcntl
import functools
import hashlib
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

FOLDER = Path(__file__).resolve().parent.parent
JAVA_MIN = 17
FETCH_TIMEOUT_S = 600
SHOWN_LINES = 15


class LocalKafkaError(Exception):
    """A local broker cannot run. The text says why and what to do about it."""


def find_java() -> str:
    """Return the path of a Java that can run Kafka: JAVA_HOME's, else the first on PATH.

    Raises:
        LocalKafkaError: there is none, or it is too old.
    """
    home = os.environ.get("JAVA_HOME")
    java = shutil.which(f"{home}/bin/java") if home else shutil.which("java")
    need = f"A local Kafka needs Java {JAVA_MIN} or newer"
    fix = f"set JAVA_HOME, or install one (Debian and Ubuntu: openjdk-{JAVA_MIN}-jre-headless)"
    if java is None:
        raise LocalKafkaError(f"{need}, and there is no java {'in JAVA_HOME' if home else 'on PATH'}: {fix}.")
    major = _java_major(_java_version(java))
    if major is None or major < JAVA_MIN:
        raise LocalKafkaError(f"{need}; {java} is {f'Java {major}' if major else 'not a working Java'}: {fix}.")
    return java


def _java_major(said: str) -> int | None:
    found = re.search(r'version "(\d+)(?:\.(\d+))?', said)
    if found is None:
        return None
    # Before Java 9 a version read 1.8.
    return int(found[2]) if found[1] == "1" and found[2] else int(found[1])


@functools.cache
def _java_version(java: str) -> str:
    done = subprocess.run([java, "-version"], capture_output=True, text=True, timeout=60, check=False)  # noqa: S603 - a java that which() found
    return "" if done.returncode else done.stderr + done.stdout


def classes_file(java: str, jars: Path) -> Path:
    """Return where the class archive of this Java and these jars belongs, whether it exists or not (archive.py)."""
    return jars / f"classes-{hashlib.sha256(_java_version(java).encode()).hexdigest()[:16]}.jsa"


@contextlib.contextmanager
def locked(libs: Path) -> Iterator[None]:
    """Let one process at a time change the folder of jars."""
    libs.mkdir(exist_ok=True)
    with (libs / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def fetch_jars(folder: Path = FOLDER) -> Path:
    """Return the folder of Kafka's jars; Maven fetches them when this pom.xml was never fetched before.

    Several processes may call this at once: one fetches and the others wait. A fetch that is cut off leaves nothing
    that a later one would take for whole.

    Args:
        folder: holds pom.xml; the jars go into ``libs/`` below it.

    Raises:
        LocalKafkaError: Maven is missing or failed.
    """
    pom = folder / "pom.xml"
    libs = folder / "libs"
    jars = libs / hashlib.sha256(pom.read_bytes()).hexdigest()[:16]
    if jars.is_dir():
        return jars
    with locked(libs):
        if not jars.is_dir():
            for stale in libs.glob(".part-*"):
                shutil.rmtree(stale)
            part = Path(tempfile.mkdtemp(prefix=".part-", dir=libs))
            _run_maven(pom, part)
            part.rename(jars)
    return jars


def _run_maven(pom: Path, target: Path) -> None:
    mvn = shutil.which("mvn")
    if mvn is None:
        raise LocalKafkaError(
            "Kafka's jars are fetched by Maven the first time, and there is no mvn on PATH: install Maven "
            "(Debian and Ubuntu: maven), or copy libs/ from a machine that has fetched them."
        )
    command = [mvn, "--quiet", "--batch-mode", "--file", str(pom), "dependency:copy-dependencies"]
    command += ["-DincludeScope=runtime", f"-DoutputDirectory={target}"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=FETCH_TIMEOUT_S, check=False)  # noqa: S603 - Maven, on our own pom
    except subprocess.TimeoutExpired as late:
        raise LocalKafkaError(f"Maven did not fetch Kafka's jars within {FETCH_TIMEOUT_S} s.") from late
    if done.returncode or not any(target.glob("*.jar")):
        said = "\n".join((done.stdout + done.stderr).strip().splitlines()[-SHOWN_LINES:])
        raise LocalKafkaError(
            f"Maven could not fetch Kafka's jars (exit {done.returncode}). Behind a mirror or a proxy, set it in "
            f"Maven's own settings.xml. The end of what it said:\n{said}"
        )
