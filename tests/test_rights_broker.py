"""Erasing and restricting with brokers: the barrier before workers and archive, on the real ones."""

import shutil
import signal
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from kafka import KafkaConsumer
from kafka_broker import Cluster, make_topic
from rights_harness import BLIND, PENDING, Sent, Site, Size, account_name, run_end_to_end
from worker_harness import Bench, Worker, ending, now_ms, wait_until

from pipeline.brokers import Brokers
from pipeline.store import open_store
from pipeline.topics.admin import TopicAdmin

NOBODY, LATE, LIMITED = 1, 2, 3
# A worker that computes for a tenth of a second on each event.
SLOW = f"""
{BLIND}
import time
import pipeline.worker.slices as slices
process = slices.process
def slow(*arguments):
    time.sleep(0.1)
    return process(*arguments)
slices.process = slow
main()
"""


@dataclass
class Running:
    """An installation with two workers. Before they joined, an account had been erased."""

    site: Site
    sent: Sent
    workers: list[Worker]
    first: str

    def wait_for(self, operational: int) -> None:
        """Wait until so many operational records were made."""
        wait_until(lambda: sum(self.site.bench.ends("operational").values()) == operational)


@pytest.fixture(scope="module")
def platform(broker: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """Return an installation for the tests of this file."""
    site = Site(Bench(broker, tmp_path_factory.mktemp("rights"), "rights.", {"LETHE_SESSION_S": "45"}).prepare(2))
    sent = Sent()
    site.bench.send([sent.add(number, number % 4) for number in range(40)])
    with open_store(site.store, now_ms=now_ms()):
        pass  # as an archive has made it
    refused = site.erase(account_name(NOBODY), "nobody.json")
    assert (refused.returncode, "has read nothing of rights.raw" in refused.stderr) == (2, True), refused.stderr
    erased = site.erase(account_name(NOBODY), "nobody.json", "--no-workers")
    assert erased.returncode == 0, erased.stderr
    workers = site.workers(2)
    with ending(workers):
        yield Running(site, sent, workers, erased.stderr)


def test_the_barrier_waits_for_each_worker_and_for_the_archive(platform: Running) -> None:
    """No worker: applied. A stopped one: pending, until it goes on. Then the archive; the same receipt goes on."""
    site, sent = platform.site, platform.sent
    assert "no worker is a member of the group rights.workers" in platform.first
    assert "no archive has said which store it writes into" in platform.first
    platform.wait_for(40)
    assert sum(site.bench.ends("content").values()) == 30, "who joined later does not go by the entry"
    platform.workers[0].signal(signal.SIGSTOP)
    limited, late = account_name(LIMITED), account_name(LATE)
    for done in (site.restrict(limited, "--wait-s", "1"), site.erase(late, "late.json", "--wait-s", "1")):
        assert (done.returncode, "1 of 2 workers" in done.stderr) == (PENDING, True), done.stderr
    status = site.bench.lethe("erase", "--status", "late.json", check=False)
    assert (status.returncode, "workers are to apply it" in status.stdout) == (PENDING, True), status.stderr
    platform.workers[0].signal(signal.SIGCONT)
    done = site.erase(late, "late.json", "--wait-s", "2")
    assert (done.returncode, "the archive has " in done.stderr) == (PENDING, True), done.stderr
    assert site.restrict(limited).stdout.startswith("restricted: one account, since 20")
    site.bench.send([sent.add(number, LIMITED) for number in range(40, 50)])
    platform.wait_for(50)
    assert sum(site.bench.ends("content").values()) == 30, "content is made of a restricted account"
    copy = site.bench.folder / "copy"
    shutil.copytree(site.bench.folder / "store", copy, symlinks=True)
    site.archive()
    done = site.erase(late, "late.json", "--store", f"chdb:{copy}")
    assert (done.returncode, "is not the store that the archive writes into" in done.stderr) == (2, True), done.stderr
    assert site.receipt("late.json")["status"] == "pending"
    done = site.erase(late, "late.json")
    assert (done.returncode, "no archive has said" in done.stderr) == (0, False), done.stderr
    rows = site.rows(sent)
    assert {sent.accounts[one] for one in rows["content"]} == {0, LIMITED}
    assert {sent.accounts[one] for one, row in rows["operational"].items() if row[1] is None} == {NOBODY, LATE}
    assert [len(rows[view]) for view in ("content", "operational")] == [20, 50]


def test_erased_accounts_stay_erased_under_load_and_replays(platform: Running) -> None:
    """Accounts are erased while events flow; others stay row for row, and nothing comes back from topics or raw."""
    run_end_to_end(platform.site, Size(events=500, accounts=10, erasures=2, first=1000))


def test_members_are_told_in_every_state_of_a_group(broker: Cluster) -> None:
    """While it rebalances all are members, those who wait and those who come; an empty group and none have nobody."""
    topic, group, stopping = make_topic(broker, 2), "states", threading.Event()
    one, two = (
        KafkaConsumer(topic, bootstrap_servers=broker.bootstrap, group_id=group, session_timeout_ms=6000)
        for _ in range(2)
    )

    def join() -> None:
        while not stopping.is_set():
            two.poll(3000)
        two.close()

    with TopicAdmin(Brokers(broker.bootstrap)) as connection:
        wait_until(lambda: bool(one.poll(3000) or one.assignment()), 60)
        (first,) = connection.members_of(group)
        joining = threading.Thread(target=join, daemon=True)
        joining.start()
        try:
            wait_until(lambda: len(connection.members_of(group)) > 1, 60)
            assert first in connection.members_of(group), "who has not come yet is a member all the same"
        finally:
            stopping.set()
            one.close()
        joining.join(30)
        wait_until(lambda: connection.members_of(group) == [], 30)
        assert connection.members_of("never") == []


def test_a_worker_without_its_group_sends_nothing_any_more(broker: Cluster, tmp_path: Path) -> None:
    """One that was stopped past its session is waited for no more; what it had in the works does not come after all."""
    site = Site(Bench(broker, tmp_path, "away.").prepare(1))
    worker = site.bench.worker(code=SLOW)
    with ending(worker):
        worker.wait_assigned()
        site.bench.send([Sent().add(number, LIMITED) for number in range(600)])  # a minute of work
        wait_until(lambda: bool(site.bench.committed().get(0)))  # without a commit, nobody knows that it is their group
        worker.signal(signal.SIGSTOP)
        done = site.restrict(account_name(LIMITED), "--wait-s", "20")
        assert done.returncode == 0, done.stderr
        made = site.bench.ends("content")
        worker.signal(signal.SIGCONT)
        assert worker.wait() == 2
    assert "the group went on without this worker" in worker.said()
    assert site.bench.ends("content") == made
