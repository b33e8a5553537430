"""The documentation says what the code does: generated parts are current, tables complete, commands and links real."""

import fnmatch
import json
import os
import re
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
from docs_parts import DEMO_TITLE, MAKERS, README, all_commands, fenced, run_demo
from test_architecture import DOORS, MODULES, ROOT, imports_of, name_of
from typer.testing import CliRunner

from pipeline import cli
from pipeline.archive.metrics import ArchiveMetrics
from pipeline.errors import Reason
from pipeline.metrics import MetricSet, WorkerMetrics
from pipeline.policy.load import load_policy
from pipeline.worker.expiry import CertificateMetrics
from pipeline.worker.supervisor import EXIT_FLOOD

PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), ROOT / "schemas" / "README.md"])
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
DEPENDENCIES = {
    "Runtime": PROJECT["project"]["dependencies"],
    "Embedded store": PROJECT["project"]["optional-dependencies"]["embedded"],
    "Model": PROJECT["project"]["optional-dependencies"]["ner"],
    "Development": PROJECT["dependency-groups"]["dev"],
}
IMPORT_NAMES = {"kafka-python": "kafka", "faust-streaming": "faust", "python-stdnum": "stdnum", "pyyaml": "yaml"}
ADR_PARTS = ["Context", "Decision", "Rejected", "Measured"]
IGNORED = [".git", *(line.strip("/") for line in (ROOT / ".gitignore").read_text("utf-8").split())]
# Hosts that only a machine's own set-up may name, and folders that exist on one machine only.
FOREIGN = re.compile(
    r"pypi\.org|pythonhosted\.org|repo1?\.maven|npmjs\.|docker\.io|ghcr\.io|quay\.io|artifactor[y]|proxy\.golang"
    r"|(?<![\w.])/(?:root|work|mnt|workspace|builds)/\w"
)


def section(page: Path, title: str) -> str:
    """Return what stands under a heading, up to the next one."""
    pattern = rf"^#+ {re.escape(title)}\n(.*?)(?=^#+ |\Z)"
    found = re.search(pattern, page.read_text("utf-8"), re.MULTILINE | re.DOTALL)
    assert found, f"{page.name} has no section '{title}'"
    return found[1]


def first_cells(text: str) -> list[str]:
    """Return the first cell of each row of a table, without code marks."""
    rows = [line.split("|")[1].strip(" `") for line in text.splitlines() if line.startswith("|")]
    return rows[2:]


def calls_of(page: Path) -> Iterator[list[str]]:
    """Yield the arguments of every call of ``lethe`` in a page's shell blocks and code marks."""
    text = page.read_text("utf-8")
    lines = [line for block in fenced(text, "sh") for line in block.splitlines()]
    lines += re.findall(r"`((?:[A-Z_]+=\S+ )*lethe [^`\n]+)`", text)
    for line in lines:
        lexer = shlex.shlex(line, posix=True, punctuation_chars="|<>")
        lexer.whitespace_split = True
        for part in " ".join(lexer).split(" | "):
            words = part.split()
            if "lethe" in words:
                yield words[words.index("lethe") + 1 :]


def names_of(requirements: list[str]) -> set[str]:
    """Return the names of requirements."""
    return {re.split(r"[^\w.-]", requirement)[0] for requirement in requirements}


def text_files() -> Iterator[tuple[Path, str]]:
    """Yield every text file of the project that is not ignored."""
    for folder, folders, files in os.walk(ROOT):
        folders[:] = [name for name in folders if not any(fnmatch.fnmatch(name, rule) for rule in IGNORED)]
        for name in files:
            path = Path(folder, name)
            data = path.read_bytes()
            if b"\0" not in data and not any(fnmatch.fnmatch(name, rule) for rule in IGNORED):
                yield path, data.decode("utf-8")


@pytest.mark.parametrize("name", MAKERS)
def test_generated_parts_are_current(name: str) -> None:
    """A generated part is what the code and its data make of it now."""
    page, make = MAKERS[name]
    text = (ROOT / page).read_text("utf-8")
    assert text.partition(f"<!-- generated: {name} -->\n")[2].partition(f"\n<!-- end of {name} -->")[0] == make()


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_every_call_exists(page: Path) -> None:
    """Every ``lethe`` command that a page shows exists and has the options that are shown with it."""
    known = all_commands()
    for words in calls_of(page):
        path = tuple(words[: next((n for n in (3, 2, 1) if tuple(words[:n]) in known), 0)])
        options = {name for parameter in known[path].params for name in (*parameter.opts, "--help")}
        is_group = hasattr(known[path], "commands")
        assert not is_group or all(word.startswith("-") for word in words[len(path) :]), f"no such command: {words}"
        assert {word for word in words if word.startswith("-") and word != "-"} <= options, f"no such option: {words}"
        assert CliRunner().invoke(cli.app, [*path, "--help"]).exit_code == 0


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_links_and_paths_resolve(page: Path) -> None:
    """Every link inside the project, and every path in code marks, leads to something that is there."""
    text = page.read_text("utf-8")
    for target, anchor in re.findall(r"\]\((?!https?:)([^)#\s]*)(?:#([^)\s]*))?\)", text):
        file = page.parent / target if target else page
        assert file.exists(), f"{target} is not there"
        titles = re.findall(r"^#+ (.+)$", file.read_text("utf-8"), re.MULTILINE) if anchor else []
        slugs = {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}
        assert not anchor or anchor in slugs, f"{target}#{anchor} is not there"
    paths = re.findall(r"`((?:pipeline|schemas|tests|docs|bench|requirements)/[\w./-]*)`", text)
    assert [path for path in paths if not (ROOT / path).exists()] == []


def test_first_steps_work_as_shown(tmp_path: Path) -> None:
    """The README's first steps run as they stand, one after another, and write what they say."""
    steps = fenced(section(README, "First steps"), "sh")[0]
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    environ = {**os.environ, "PATH": path, "COLUMNS": "80", "PYTHONPATH": str(ROOT)}
    call = ["/bin/bash", "-euo", "pipefail", "-c", steps]
    done = subprocess.run(call, cwd=tmp_path, env=environ, capture_output=True, text=True, check=False)  # noqa: S603 - ours
    assert (done.returncode, done.stderr) == (0, "")
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        "content.jsonl",
        "operational.jsonl",
        "rejected.jsonl",
    }
    assert (tmp_path / "lethe-data").is_dir()


def test_the_demo_prints_what_the_readme_shows(tmp_path: Path) -> None:
    """The README's text of the demo has the titles, columns and rows that the demo prints; figures may differ."""

    def stable(text: str) -> set[str]:
        cells = [re.split(r"[│┃]|\s{2,}", line.strip("│┃ "))[0].strip() for line in text.splitlines()]
        return {re.sub(r"^[\d,]+ events", "N events", cell) for cell in cells if not re.match(r"[━┏┡├└]|$", cell)}

    def is_model(label: str) -> bool:
        return any(model.startswith(label.rstrip("…")) for model in (*models, "other"))

    models = load_policy().catalogues["models"].mapping
    printed = stable(run_demo(300, tmp_path))
    shown = stable(fenced(section(README, DEMO_TITLE), "text")[0])
    assert any(label.startswith("clean: no planted identifier is left") for label in shown)
    assert {s for s in shown if not is_model(s)} == {p for p in printed if not is_model(p)}


def test_tables_are_complete() -> None:
    """Every rejection reason, exit code, decision part and annotation word has its row, and no other."""
    assert first_cells(section(ROOT / "docs" / "errors.md", "Rejections")) == [str(reason) for reason in Reason]
    codes = [0, 1, cli.EXIT_ERROR, cli.edge.EXIT_PENDING, EXIT_FLOOD, cli.EXIT_BUG, cli.EXIT_INTERRUPTED]
    assert first_cells(section(README, "Exit codes")) == [str(code) for code in codes]
    for page in (ROOT / "docs" / "adr").glob("*.md"):
        assert re.findall(r"^## (.+)$", page.read_text("utf-8"), re.MULTILINE) == ADR_PARTS
    meta = json.loads((ROOT / "schemas" / "meta" / "privacy.schema.json").read_text("utf-8"))["properties"]
    to = meta["to"]["items"]["properties"]
    for title, words in {**{k: meta[k] for k in ("treatment", "role", "unit", "format")}, "as": to["as"]}.items():
        assert first_cells(section(ROOT / "schemas" / "README.md", f"Words of {title}")) == words["enum"]


@pytest.mark.parametrize(("page", "metrics"), [("worker.md", WorkerMetrics), ("archive.md", ArchiveMetrics)])
def test_every_metric_has_its_row(page: str, metrics: type[MetricSet]) -> None:
    """A command's page explains each of its metrics, and no other; those of stores alone are no worker's."""
    own = (metrics(), CertificateMetrics()) if metrics is WorkerMetrics else (metrics(),)
    lines = [line for one in own for line in one.render().decode().splitlines()]
    known = {line.split()[2] for line in lines if line.startswith("# TYPE")}
    table = section(ROOT / "docs" / page, "Probes and metrics").splitlines()
    told = {
        name for line in table if line.startswith("| `") for name in re.findall(r"`(lethe_\w+)", line.split("|")[1])
    }
    assert told == known - {"lethe_records_repeated_total", "lethe_records_conflicting_total"}


@pytest.mark.parametrize("title", DEPENDENCIES)
def test_every_dependency_has_its_reason_and_door(title: str) -> None:
    """docs/dependencies.md has a row for each dependency of pyproject.toml, with the modules that import it."""
    text = section(ROOT / "docs" / "dependencies.md", title)
    assert sorted(first_cells(text)) == sorted(names_of(DEPENDENCIES[title]))
    importers = [(i.split(".")[0], name_of(path)) for path in MODULES for i in imports_of(path)]
    for name, line in zip(
        first_cells(text), [line for line in text.splitlines() if line.startswith("| `")], strict=True
    ):
        library = IMPORT_NAMES.get(name, name.replace("-", "_"))
        modules = DOORS.get(library) or {module for imported, module in importers if imported == library}
        doors = set(re.findall(r"`(pipeline[\w.]*)`", line))
        used = {door for door in doors for module in modules if f"{module}.".startswith(f"{door}.")}
        stray = {m for m in modules if not any(f"{m}.".startswith(f"{door}.") for door in doors)}
        assert (used, stray) == (doors, set()), name


def test_the_quoted_rates_are_the_measured_ones() -> None:
    """The rate with detection that the README quotes is the one in docs/benchmarks.md."""
    row = r"^detection on +[\d,]+ +([\d,]+)"  # how many events, and how many a second
    measured = re.search(row, (ROOT / "docs" / "benchmarks.md").read_text("utf-8"), re.MULTILINE)
    assert measured
    assert f"{measured[1]} events a second" in README.read_text("utf-8")


def test_no_file_names_a_machine_or_a_registry() -> None:
    """No text file holds a folder of one machine or the host of a package registry; locks hold no address at all."""
    found = {str(path.relative_to(ROOT)) for path, text in text_files() if FOREIGN.search(text) or str(ROOT) in text}
    locks = {path.name for path in (ROOT / "requirements").glob("*.lock") if "://" in path.read_text("utf-8")}
    assert (found, locks) == (set(), set())
