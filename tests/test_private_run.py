"""A whole run, alone: no host is asked for anything, temporary folders hold no content, files are for their user."""

import os
import stat
import subprocess
import sys
from pathlib import Path

from cli_fixtures import NOW_MS, make_event, write_lines
from conftest import CACHE_DIR, make_keys
from private_run import ALONE, watching
from test_architecture import ROOT

MARKER = "zqkestrelbado"


def test_a_run_keeps_to_itself(tmp_path: Path) -> None:
    """`lethe run` with detection into an embedded store, under the widest umask, in a network with nobody in it.

    It tries to reach nothing, compiled libraries included. In the system's temporary folder there is, for a moment,
    what chdb makes before it opens the store, and no content; inserts are spooled inside the store. All files are for
    their user, but for metrics.
    """
    make_keys(tmp_path, NOW_MS)
    (temporary := tmp_path / "tmp").mkdir()
    told = f"{MARKER}: mail ola@mail.example.co.uk, see https://shop.example.com/a?b=1, call +47 22 22 55 55"
    events = [make_event(n, request={"messages": [{"role": "user", "content": f"{told} {n}"}]}) for n in range(50)]
    write_lines(tmp_path / "in.jsonl", events)
    call = ("run", "in.jsonl", "--to", "chdb:store", "--metrics-file", "m.prom")
    environ = {
        "PYTHONPATH": str(ROOT),
        "TMPDIR": str(temporary),
        "LETHE_CACHE": str(CACHE_DIR),
        "LETHE_BATCH_EVENTS_MAX": "10",
    }
    with watching(temporary, MARKER.encode()) as seen:
        done = subprocess.run(  # noqa: S603 - our own command
            [sys.executable, "-c", ALONE, *call],
            cwd=tmp_path, env={**os.environ, **environ}, umask=0, capture_output=True, text=True, check=False,
        )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stderr.splitlines()[-1] == "tries 0 seen True"  # a try at the end shows that one is counted
    assert [name for name in seen.names if not name.startswith("clickhouse-embedded-")] == []
    assert (seen.open_to_others, seen.holding, list(temporary.iterdir())) == (set(), set(), [])
    made = [tmp_path / "m.prom", tmp_path / "store", *(tmp_path / "store").rglob("*")]
    modes = {path: stat.S_IMODE(path.stat().st_mode) for path in made if not path.is_symlink()}
    assert {path.name: oct(mode) for path, mode in modes.items() if mode & 0o077} == {"m.prom": "0o644"}
    assert len(modes) > 20
    assert list((tmp_path / "store" / "lethe-spool").iterdir()) == []
