"""What lethe is made of: every package by its hash, tools apart from it, and a check that does not pass unseen."""

import re
import subprocess
from pathlib import Path

import pytest
from test_architecture import ROOT

REQUIREMENTS = ROOT / "requirements"


def locked(name: str) -> dict[str, str]:
    """Return what stands about each package of a lock."""
    text = (REQUIREMENTS / name).read_text("utf-8")
    return dict(
        re.findall(
            r"^([\w.-]+)(?:\[[\w,-]+\])?==(.*?)(?=^[\w.-]+(?:\[[\w,-]+\])?==|\Z)", text, re.MULTILINE | re.DOTALL
        )
    )


@pytest.mark.parametrize(
    "name", ["runtime.lock", "dev.lock", "bench.lock", "supply.lock", "embedded.lock", "build.lock"]
)
def test_every_package_is_locked_by_its_hash(name: str) -> None:
    """A package without a hash could be another one tomorrow."""
    packages = locked(name)
    assert len(packages) > (20 if name != "build.lock" else 2)
    assert [package for package, text in packages.items() if "--hash=sha256:" not in text] == []


def test_the_tools_are_not_installed_with_lethe() -> None:
    """Whoever installs lethe gets neither the maker of the bill of materials nor the auditor."""
    tools = {"cyclonedx-bom", "pip-audit"}
    assert tools <= locked("supply.lock").keys()
    assert not tools & {*locked("runtime.lock"), *locked("dev.lock")}


@pytest.mark.parametrize("code", [0, 1])
def test_the_audit_fails_when_its_tool_does(code: int, tmp_path: Path) -> None:
    """It has the tool be strict, without which a package that cannot be looked up passes, and keeps to its word."""
    tool = tmp_path / "pip-audit"
    tool.write_text(f'#!/bin/sh\necho "$@"\nexit {code}\n', "utf-8")
    tool.chmod(0o755)
    (stamp := tmp_path / "installed").touch()
    call = ["make", "-s", "audit-deps", f"SUPPLY={tmp_path}", f"SUPPLY_STAMP={stamp}"]
    done = subprocess.run(call, cwd=ROOT, capture_output=True, text=True, check=False)  # noqa: S603 - our own target
    assert {"--strict", "--require-hashes", "requirements/runtime.lock"} <= {*done.stdout.split()}
    assert (done.returncode != 0, "not passed" in done.stdout) == (code == 1, code == 1)
