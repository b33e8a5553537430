"""What a process holds stays in it: no core dump, no reading of its memory by others, no file for others."""

import os
import re
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest
from cli_fixtures import make_event, make_lethe, pipe_of, start, write_lines
from test_architecture import MODULES, ROOT

from pipeline import cli, hardening
from pipeline.errors import ConfigError

LINUX = pytest.mark.skipif(sys.platform != "linux", reason="other systems have no such flag, and no /proc")
CANARY = "zq-canary-in-memory"
# Two processes of one user who has no capability: one holds a value, the other tries to read it. Both have the flag
# that a program has after it was executed.
_NEIGHBOURS = """
import ctypes, os, sys
from pipeline.hardening import harden_process
there, gone = os.pipe(), os.pipe()
holder = os.fork()
if os.geteuid() == 0:
    os.setgroups([]); os.setgid(65534); os.setuid(65534)
ctypes.CDLL(None).prctl(4, 1, 0, 0, 0)
if not holder:
    if sys.argv[1] == "hard":
        harden_process()
    os.write(there[1], b"x"); os.close(gone[1]); os.read(gone[0], 1); os._exit(0)
os.read(there[0], 1)
for name in ("environ", "mem", "maps", "cmdline", "stat", "statm", "status"):
    try:
        os.close(os.open(f"/proc/{holder}/{name}", os.O_RDONLY)); print(name)
    except PermissionError:
        pass
os.close(gone[1])
"""
# Dies with a value in its memory and in a local variable, having said that it wants a core dump.
_ABORTING = """
import faulthandler, os, resource, sys
from pipeline.hardening import harden_process
most = resource.getrlimit(resource.RLIMIT_CORE)[1]
resource.setrlimit(resource.RLIMIT_CORE, (most, most))
if sys.argv[1] == "hard":
    harden_process()
faulthandler.enable()
def handle(value):
    os.abort()
handle("-".join(["zq", "canary", "in", "memory"]))
"""
_FLAG_AT_END = """
import atexit, ctypes
flag = lambda: print("dumpable", ctypes.CDLL(None).prctl(3, 0, 0, 0, 0))
flag()
atexit.register(flag)
from pipeline.cli import main
main()
"""


def run(code: str, *arguments: str, folder: Path) -> "subprocess.CompletedProcess[str]":
    """Run a program in a process of its own."""
    call = [sys.executable, "-c", code, *arguments]
    environ = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(call, cwd=folder, env=environ, capture_output=True, text=True, check=False)  # noqa: S603 - ours


@LINUX
def test_a_running_command_is_closed(tmp_path: Path) -> None:
    """The kernel's own word about `lethe run` while it reads: no core file, files for its user, not to be traced."""
    process = start(tmp_path, ["run", "-", "--to", "file:out"])
    try:
        pipe_of(process, "stdin").write(b"{}\n")
        pipe_of(process, "stdin").flush()
        deadline = time.monotonic() + 60
        while not list(tmp_path.glob("out/*")):
            assert time.monotonic() < deadline
            time.sleep(0.02)
        limits, status = (Path(f"/proc/{process.pid}/{name}").read_text("ascii") for name in ("limits", "status"))
    finally:
        process.kill()
        process.communicate()
    assert re.search(r"^Max core file size +0 +0 ", limits, re.MULTILINE)
    assert re.search(r"^Umask:\t0077$", status, re.MULTILINE)


@LINUX
def test_a_command_clears_the_flag_that_lets_others_read_it(tmp_path: Path) -> None:
    """A program begins dumpable; `lethe` is not any more when it ends."""
    said = run(_FLAG_AT_END, "keys", "init", folder=tmp_path).stdout.splitlines()
    assert (said[0], said[-1]) == ("dumpable 1", "dumpable 0")


@LINUX
def test_the_same_user_cannot_read_its_memory(tmp_path: Path) -> None:
    """Without a capability neither environment nor memory; what gauges of memory and time need stays readable."""
    gauges = ["cmdline", "stat", "statm", "status"]
    assert run(_NEIGHBOURS, "soft", folder=tmp_path).stdout.split() == ["environ", "mem", "maps", *gauges]
    assert run(_NEIGHBOURS, "hard", folder=tmp_path).stdout.split() == gauges


@LINUX
def test_a_crash_leaves_no_memory_behind(tmp_path: Path) -> None:
    """Killed by a fault it leaves no core dump, and Python's own dump of its stack shows places and no values."""
    done = run(_ABORTING, "hard", folder=tmp_path)
    assert done.returncode < 0
    assert [*tmp_path.iterdir()] == []
    assert "in handle" in done.stderr
    assert CANARY not in done.stderr


def test_files_are_for_their_user_alone(tmp_path: Path) -> None:
    """Whatever `lethe run` leaves, under the widest umask: only metrics, which hold no values, are for collectors."""
    write_lines(tmp_path / "in.jsonl", [make_event(1)])
    before = os.umask(0)
    try:
        process = start(tmp_path, ["run", "in.jsonl", "--to", "chdb:store", "--metrics-file", "m.prom"])
        assert process.communicate(timeout=60)[1] is not None
    finally:
        os.umask(before)
    assert process.returncode == 0
    made = [tmp_path / "m.prom", tmp_path / "store", *(tmp_path / "store").rglob("*")]
    modes = {path: stat.S_IMODE(path.stat().st_mode) for path in made if not path.is_symlink()}
    assert {path for path, mode in modes.items() if mode & 0o077} == {tmp_path / "m.prom"}
    assert modes[tmp_path / "m.prom"] == 0o644
    assert len(modes) > 20


@LINUX
def test_a_refusal_of_the_kernel_ends_the_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Where a filter of system calls forbids it, nothing is read, and the message says what to allow."""
    lethe = make_lethe(tmp_path, monkeypatch, capfd)

    class Refusing:
        def prctl(self, *_: int) -> int:
            return -1

    monkeypatch.setattr(hardening, "_c_library", Refusing)
    monkeypatch.setattr(hardening.os, "umask", lambda _: 0)
    monkeypatch.setattr(hardening.resource, "setrlimit", lambda *_: None)
    monkeypatch.setattr(cli, "harden_process", hardening.harden_process)
    done = lethe("run", "in.jsonl")
    assert done.code == 2
    assert "PR_SET_DUMPABLE" in done.err
    with pytest.raises(ConfigError):
        hardening.harden_process()


def test_every_process_that_we_start_is_closed() -> None:
    """What is executed forgets it: each program of ours, the command and the model's process, asks for it anew."""
    mains = {path.stem: path for path in MODULES if re.search(r"^def main\(", path.read_text("utf-8"), re.MULTILINE)}
    assert mains.keys() == {"__init__", "nerchild"}
    assert [name for name, path in mains.items() if "    harden_process()\n" not in path.read_text("utf-8")] == []
