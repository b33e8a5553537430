"""What a process holds stays in it: no core dump, no reading of its memory by others, no file for others."""

import ast
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from cli_fixtures import pipe_of
from test_architecture import MODULES, ROOT, name_of

from pipeline import hardening
from pipeline.__main__ import main

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
from pipeline.__main__ import main
main()
"""


def start(*arguments: str, folder: Path) -> "subprocess.Popen[bytes]":
    """Start `lethe` as it is called, in a folder."""
    call = [sys.executable, "-m", "pipeline", *arguments]
    environ = {**os.environ, "PYTHONPATH": str(ROOT)}
    streams = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
    return subprocess.Popen(call, cwd=folder, env=environ, **streams)  # type: ignore[call-overload,no-any-return] # noqa: S603 - ours


def run(code: str, *arguments: str, folder: Path) -> "subprocess.CompletedProcess[str]":
    """Run a program in a process of its own."""
    call = [sys.executable, "-c", code, *arguments]
    environ = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(call, cwd=folder, env=environ, capture_output=True, text=True, check=False)  # noqa: S603 - ours


@LINUX
def test_a_running_command_is_closed(tmp_path: Path) -> None:
    """The kernel's own word about `lethe generate` while it writes: no core file, and files for its user alone."""
    process = start("generate", "-n", "100000", folder=tmp_path)
    try:
        assert pipe_of(process, "stdout").readline().startswith(b"{")
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


@LINUX
def test_a_refusal_of_the_kernel_ends_the_command(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Where a filter of system calls forbids it, nothing is read, and the message says what to allow."""

    class Refusing:
        def prctl(self, *_: int) -> int:
            return -1

    monkeypatch.setattr(hardening, "_c_library", Refusing)
    monkeypatch.setattr("os.umask", lambda _: 0)
    monkeypatch.setattr("resource.setrlimit", lambda *_: None)
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    assert re.fullmatch(r"lethe: the kernel refuses .*prctl.*\n", capfd.readouterr().err)


def test_every_process_that_we_start_is_closed() -> None:
    """What is executed forgets it: each program of ours, the command and the model's process, asks for it anew."""
    called = {
        name_of(path)
        for path in MODULES
        for call in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id == "harden_process"
    }
    assert called == {"pipeline.__main__", "pipeline.detect.nerchild"}
    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["scripts"]
    assert scripts == {"lethe": "pipeline.__main__:main"}
    starts = {name_of(path) for path in MODULES if "subprocess.Popen(" in path.read_text("utf-8")}
    assert starts == {"pipeline.detect.nerpool", "pipeline.worker.children"}  # the model's process, and the command
