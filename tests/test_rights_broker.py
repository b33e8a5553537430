"""Erasing and restricting with brokers: the barrier before workers and archive, on the real ones."""

import signal
from pathlib import Path

import pytest
from kafka_broker import Cluster
from rights_harness import PENDING, Site, Size, account_name, event_of, run_end_to_end
from worker_harness import Bench, ending, wait_until


@pytest.fixture
def bench(broker: Cluster, tmp_path: Path, request: pytest.FixtureRequest) -> Bench:
    """Return topics and keys of this test alone."""
    return Bench(broker, tmp_path, f"{request.node.name[-20:]}.").prepare(2)


def test_the_barrier_waits_for_each_worker_and_for_the_archive(bench: Bench) -> None:
    """No worker: applied. A stopped one: pending, until it goes on. Then the archive; the same receipt goes on."""
    site = Site(bench)
    early, late, limited = account_name(1), account_name(2), account_name(3)
    bench.send([event_of(number, number % 4) for number in range(40)])
    nobody = site.erase(early, "early.json")
    assert (nobody.returncode, "no worker is a member" in nobody.stderr) == (0, True), nobody.stderr
    workers = [bench.worker(), bench.worker()]
    with ending(workers):
        for worker in workers:
            worker.wait_assigned()
        wait_until(lambda: sum(bench.ends("operational").values()) == 40)
        assert sum(bench.ends("content").values()) == 30, "one that joined later does not go by the entry"
        workers[0].signal(signal.SIGSTOP)
        for done in (site.restrict(limited, "--wait-s", "1"), site.erase(late, "late.json", "--wait-s", "1")):
            assert (done.returncode, "1 of 2 workers" in done.stderr) == (PENDING, True), done.stderr
        status = bench.lethe("erase", "--status", "late.json", check=False)
        assert (status.returncode, "workers are to apply it" in status.stdout) == (PENDING, True), status.stderr
        workers[0].signal(signal.SIGCONT)
        said = site.erase(late, "late.json", "--wait-s", "1.5")
        assert (said.returncode, "the archive has " in said.stderr) == (PENDING, True), said.stderr
        assert site.restrict(limited).stdout.startswith("restricted: one account, since 20")
        bench.send([event_of(number, 3) for number in range(40, 50)])
        wait_until(lambda: sum(bench.ends("operational").values()) == 50)
        assert sum(bench.ends("content").values()) == 30, "content is made of a restricted account"
        site.archive()
        assert site.erase(late, "late.json").returncode == 0
        assert [worker.stop() for worker in workers] == [0, 0]
    rows = site.rows()
    assert {int(one[4:], 16) % 4 for one in rows["content"]} == {0, 3}
    assert {int(one[4:], 16) % 4 for one, row in rows["operational"].items() if row[1] is None} == {1, 2}
    assert [len(rows[view]) for view in ("content", "operational")] == [20, 50]


def test_erased_accounts_stay_erased_under_load_and_replays(bench: Bench) -> None:
    """Accounts are erased while events flow; others stay row for row, and nothing comes back from topics or raw."""
    run_end_to_end(bench, Size(events=600, accounts=12, erasures=2))
