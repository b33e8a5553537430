"""The command as tests run it: in this process, or in one of its own that can be killed, without the slow detector."""

import io
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import IO, Any, NamedTuple

import pytest
from conftest import base_event, make_keys

from pipeline.cli import main
from pipeline.coarsen import format_timestamp

NOW_MS = int(time.time() * 1000)
"""The real time: the command reads the clock, and a store admits by it."""

# Ctrl-C is given back its meaning first: a shell that runs the tests in the background has taken it away.
_COMMAND = """
import os, signal, sys, types
signal.signal(signal.SIGINT, signal.default_int_handler)
class NoDetector:
    def find_spans(self, texts, own=()):
        return [()] * len(texts)
made = types.SimpleNamespace(make_detector=lambda policy, cache_dir: NoDetector())
sys.modules["pipeline.detect.detector"] = made
from pipeline.cli import main
from pipeline.metrics import Metrics
if os.environ.pop("ANNOUNCE", ""):
    count_write = Metrics.count_write
    def announced(self, report):
        count_write(self, report)  # the last thing that is done about a batch
        print("wrote", file=sys.stderr, flush=True)
    Metrics.count_write = announced
if limit := os.environ.pop("FILE_BYTES_MAX", ""):
    import resource
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(limit), int(limit)))
main()
"""


_PATIENCE_S = 120


class Done(NamedTuple):
    """What a command did."""

    code: int
    out: str
    err: str


Lethe = Callable[..., Done]


def make_event(number: int, **changes: Any) -> dict[str, Any]:
    """Return a valid event of a few seconds ago, with an id and a text of its own."""
    event = base_event()
    event["request_id"] = f"req_{number:032x}"
    event["received_at"] = format_timestamp(NOW_MS - 60_000 - number)
    event["request"]["messages"][0]["content"] = f"Question {number} about the weather in spring"
    return event | changes


def to_lines(events: Iterable[Any]) -> bytes:
    """Return events as JSON lines."""
    return b"".join(json.dumps(event).encode() + b"\n" for event in events)


def write_lines(path: Path, events: Iterable[Any]) -> Path:
    """Write events as JSON lines."""
    path.write_bytes(to_lines(events))
    return path


def read_lines(path: Path) -> list[dict[str, Any]]:
    """Read JSON lines."""
    return [json.loads(line) for line in path.read_bytes().splitlines()]


def start(
    folder: Path, arguments: Sequence[str | Path], *, stderr: int = subprocess.PIPE, **environ: str
) -> subprocess.Popen[bytes]:
    """Start the command in a process of its own, without its detector.

    Args:
        folder: where it runs; a key file is made there.
        arguments: of the command.
        stderr: where its standard error goes.
        environ: more environment. ``ANNOUNCE=1`` makes it say ``wrote`` on standard error once a write is counted,
            ``FILE_BYTES_MAX`` bounds the files it writes, as a full disk does.
    """
    if not (folder / "lethe.keys.json").exists():
        make_keys(folder, NOW_MS)
    root = str(Path(__file__).resolve().parent.parent)
    return subprocess.Popen(  # noqa: S603 - our own interpreter
        [sys.executable, "-c", _COMMAND, *map(str, arguments)],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": root, **environ},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=stderr,
    )


def finish(process: subprocess.Popen[bytes], stdin: bytes = b"") -> Done:
    """Wait for a command."""
    out, err = process.communicate(stdin, timeout=_PATIENCE_S)
    return Done(process.returncode, (out or b"").decode(), (err or b"").decode())


def pipe_of(process: subprocess.Popen[bytes], name: str) -> IO[bytes]:
    """Return one of a process's pipes."""
    pipe: IO[bytes] | None = getattr(process, name)
    assert pipe is not None
    return pipe


def make_lethe(folder: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Lethe:
    """Return the command run in this process: in a folder with a key file, without settings from outside."""
    for name in os.environ:
        if name.startswith("LETHE_"):
            monkeypatch.delenv(name)
    monkeypatch.chdir(folder)
    monkeypatch.setattr("pipeline.cli.edge.tune_collector", lambda: None)  # it would tune the tests' own process
    if not (folder / "lethe.keys.json").exists():
        make_keys(folder, NOW_MS)

    def lethe(*arguments: str | Path, stdin: bytes = b"") -> Done:
        capfd.readouterr()
        monkeypatch.setattr(sys, "argv", ["lethe", *map(str, arguments)])
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin)))
        code: object = 0
        try:
            main()
        except SystemExit as end:
            code = end.code
        output = capfd.readouterr()
        return Done(int(str(code or 0)), output.out, output.err)

    return lethe
