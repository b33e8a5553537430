"""Finding Java and fetching Kafka's jars: once for each pom.xml, by one process at a time, and clear when it fails."""

import os
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from kafka_broker import Cluster, LocalKafkaError, fetch_jars, find_java

MVN = """#!/bin/sh
echo called >> "$MVN_CALLS"
for argument in "$@"; do case "$argument" in -DoutputDirectory=*) target="${argument#*=}";; esac; done
echo jar > "$target/kafka.jar"
exit "${MVN_EXIT:-0}"
"""


def make_program(folder: Path, name: str, script: str) -> Path:
    """Write a shell program."""
    program = folder / name
    program.parent.mkdir(parents=True, exist_ok=True)
    program.write_text(script, "utf-8")
    program.chmod(0o755)
    return program


@pytest.fixture
def calls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Put a Maven that only counts its calls on PATH, before everything else; return the file it counts in."""
    make_program(tmp_path / "bin", "mvn", MVN)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    monkeypatch.setenv("MVN_CALLS", str(tmp_path / "calls"))
    (tmp_path / "pom.xml").write_text("<project/>", "utf-8")
    return tmp_path / "calls"


def test_jars_are_fetched_once(tmp_path: Path, calls: Path) -> None:
    """A second run finds the jars without calling Maven, or even having it."""
    first = fetch_jars(tmp_path)
    assert (fetch_jars(tmp_path), [jar.name for jar in first.iterdir()]) == (first, ["kafka.jar"])
    assert calls.read_text("utf-8") == "called\n"


def test_a_changed_pom_is_fetched_again(tmp_path: Path, calls: Path) -> None:
    """Jars belong to the content of pom.xml."""
    before = fetch_jars(tmp_path)
    (tmp_path / "pom.xml").write_text("<project></project>", "utf-8")
    assert fetch_jars(tmp_path) != before
    assert calls.read_text("utf-8") == "called\n" * 2


def test_first_runs_at_once_fetch_once(tmp_path: Path, calls: Path) -> None:
    """Of several that need the jars at once, one fetches and all get the same."""
    with ThreadPoolExecutor(6) as pool:
        found = set(pool.map(fetch_jars, [tmp_path] * 6))
    assert (len(found), calls.read_text("utf-8")) == (1, "called\n")


def test_a_failed_fetch_leaves_nothing_to_believe(tmp_path: Path, calls: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """When Maven fails half-way the error says so, and the next run fetches again."""
    monkeypatch.setenv("MVN_EXIT", "7")
    with pytest.raises(LocalKafkaError, match=r"Maven could not fetch Kafka's jars \(exit 7\)"):
        fetch_jars(tmp_path)
    monkeypatch.setenv("MVN_EXIT", "0")
    jars = fetch_jars(tmp_path)
    assert sorted(entry.name for entry in (tmp_path / "libs").iterdir()) == [".lock", jars.name]
    assert calls.read_text("utf-8") == "called\n" * 2


def test_a_missing_maven_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without Maven and without jars, the message names Maven and how to get it."""
    monkeypatch.setenv("PATH", "")
    (tmp_path / "pom.xml").write_text("<project/>", "utf-8")
    with pytest.raises(LocalKafkaError, match=r"no mvn on PATH: install Maven"):
        fetch_jars(tmp_path)


def test_a_missing_java_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without Java a cluster does not start, and the message names Java, JAVA_HOME and how to get it."""
    monkeypatch.setenv("PATH", "")
    monkeypatch.delenv("JAVA_HOME", raising=False)
    with (
        Cluster(tmp_path) as cluster,
        pytest.raises(LocalKafkaError, match=r"needs Java 17 or newer.*no java on PATH: set JAVA_HOME, or install"),
    ):
        cluster.start()


def test_a_wrong_java_home_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A JAVA_HOME without a java is an error, not a reason to take another one silently."""
    monkeypatch.setenv("JAVA_HOME", str(tmp_path))
    with pytest.raises(LocalKafkaError, match="no java in JAVA_HOME"):
        find_java()


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ('openjdk version "11.0.2" 2019-01-15', "is Java 11"),
        ('java version "1.8.0_202"', "is Java 8"),
        ("no runtime present", "is not a working Java"),
    ],
)
def test_an_old_java_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: str, told: str) -> None:
    """A Java that is too old, or only a placeholder, is named with its version before anything starts."""
    make_program(tmp_path / "bin", "java", f"#!/bin/sh\necho '{said}' >&2\n")
    monkeypatch.setenv("JAVA_HOME", str(tmp_path))
    with pytest.raises(LocalKafkaError, match=f"needs Java 17 or newer; .*bin/java {told}"):
        find_java()


def test_java_home_comes_before_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """JAVA_HOME decides when it is set."""
    java = make_program(tmp_path / "bin", "java", "#!/bin/sh\necho 'openjdk version \"21\" 2023-09-19' >&2\n")
    assert shutil.which("java") != str(java)
    monkeypatch.setenv("JAVA_HOME", str(tmp_path))
    assert find_java() == str(java)
