"""Worker, archive and rights alone with broker and store: they ask nobody else, and private folders hold nothing."""

import subprocess
import sys
from pathlib import Path

from kafka_broker import Cluster
from private_run import NOTED, watching
from worker_harness import Bench, ending, make_event, now_ms

from pipeline.store import open_store

MARKER = b"row 1"  # make_event's text has it


WHY = ("--why", "account_request", "--ticket", "DSR-12")
HERE = {"127.0.0.1", "::1", "localhost", "unix"}


def asked(folder: Path) -> set[str]:
    """Return the hosts that were asked for since the last call."""
    path = folder / "asked"
    names = set(path.read_text("utf-8").split())
    path.unlink()
    return names


def test_a_worker_keeps_to_itself(broker: Cluster, tmp_path: Path) -> None:
    """From its start to its drained end: loopback only, and a folder of mode 0700 that no event comes into."""
    bench = Bench(broker, tmp_path, "private.").prepare(partitions=2)
    (temporary := tmp_path / "tmp").mkdir()
    bench.send([make_event(number) for number in range(100, 200)])
    with watching(temporary, MARKER) as seen:
        worker = bench.worker(code=NOTED, TMPDIR=str(temporary))
        with ending(worker):
            bench.wait_done()
            assert worker.stop() == 0, worker.said()
    assert bench.collect().records["content"] == 100
    assert "127.0.0.1" in (names := asked(tmp_path))
    assert names <= HERE
    assert {name.split("/")[0][:13] for name in seen.names} == {"lethe-worker-"}
    assert (seen.open_to_others, seen.holding) == (set(), set())
    assert list(temporary.iterdir()) == []


def test_archive_and_rights_keep_to_themselves(broker: Cluster, tmp_path: Path) -> None:
    """What is stored, proved and erased goes over the broker and the embedded store alone."""
    bench = Bench(broker, tmp_path, "privaterights.", {"LETHE_STORE": "chdb:store"}).prepare(partitions=1)
    bench.send([make_event(number, account=number % 3) for number in range(30)])
    worker = bench.worker().wait_assigned()
    with ending(worker):
        bench.wait_done()
        assert worker.stop() == 0, worker.said()
    bench.lethe("receipt", "key")
    account = "acct_0000000000000001"

    def run(*arguments: str) -> str:
        done = subprocess.run(  # noqa: S603 - our own command
            [sys.executable, "-c", NOTED, *arguments],
            cwd=tmp_path,
            env=bench.environ(),
            input=account,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, (arguments, done.stderr[-2000:])
        assert "127.0.0.1" in (names := asked(tmp_path)), arguments
        assert names <= HERE, arguments
        return done.stdout

    run("archive", "--once")
    run("retention", "verify")
    erased = run("erase", "--account", "-", "--receipt", "r.json", "--wait-s", "60", *WHY)
    assert erased.startswith("complete"), erased
    with open_store(f"chdb:{tmp_path / 'store'}", now_ms=now_ms()) as store:
        assert [row for (row,) in store.query("SELECT count() FROM content").rows] == [20]
