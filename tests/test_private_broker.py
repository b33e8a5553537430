"""A worker alone with its broker: it asks nobody else, and its private folder holds nothing of an event."""

from pathlib import Path

from kafka_broker import Cluster
from private_run import NOTED, watching
from worker_harness import Bench, ending, make_event

MARKER = b"row 1"  # make_event's text has it


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
    asked = set((tmp_path / "asked").read_text("utf-8").split())
    assert "127.0.0.1" in asked
    assert asked <= {"127.0.0.1", "::1", "localhost", "unix"}
    assert {name.split("/")[0][:13] for name in seen.names} == {"lethe-worker-"}
    assert (seen.open_to_others, seen.holding) == (set(), set())
    assert list(temporary.iterdir()) == []
