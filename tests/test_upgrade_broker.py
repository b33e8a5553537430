"""A rolling upgrade on a real broker: from one version of the policy to the next while traffic flows, and not back."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path

from kafka_broker import Cluster
from test_policy_versions import EVENT, drop, edited
from worker_harness import Bench, Worker, ending, make_event, read_all

from pipeline.policy.load import load_policy

PAUSE_S = 0.05


@contextmanager
def traffic(bench: Bench) -> Iterator[list[str]]:
    """Send events all the while; yields the request ids that were acknowledged."""
    sent: list[str] = []
    ended = threading.Event()

    def send() -> None:
        producer = bench.producer()
        for number in count():
            event = json.loads(make_event(number)) | {"region": "eu-west-1"}
            producer.send(bench.topic("raw"), json.dumps(event).encode()).get(timeout=60)
            sent.append(event["request_id"])
            if ended.wait(PAUSE_S):
                break
        producer.close()

    thread = threading.Thread(target=send)
    thread.start()
    try:
        yield sent
    finally:
        ended.set()
        thread.join()


def replace_one(bench: Bench, old: Worker, schemas: str) -> Worker:
    """Stop a worker, as an orchestrator does, and start its next version."""
    assert old.stop() == 0
    return bench.worker(LETHE_SCHEMAS=schemas).wait_assigned()


def test_a_rolling_upgrade_and_the_way_back(broker: Cluster, tmp_path: Path) -> None:
    """Two workers change one by one: nothing is lost, each record is its version's; the way back is refused."""
    bench = Bench(broker, tmp_path, "upgrade.", {"LETHE_STORE": f"chdb:{tmp_path / 'store'}"}).prepare(partitions=2)
    schemas = edited(tmp_path, EVENT, lambda document: drop(document, "region"))
    newer = str(edited(tmp_path, "policy.json", lambda document: document.update(version=2)))
    workers = [bench.worker(), bench.worker()]
    with ending(workers):
        with traffic(bench) as sent:
            for worker in workers:
                worker.wait_assigned()
            for place, old in enumerate(workers):
                workers[place] = replace_one(bench, old, newer)
        bench.wait_done()
        assert [worker.stop() for worker in workers] == [0, 0]

    policies = {"1": load_policy(), "2": load_policy(schemas)}
    seen: dict[str, set[str]] = {"1": set(), "2": set()}
    for record in read_all(broker, bench.topic("operational")):
        headers, value = dict(record.headers), json.loads(record.value)
        version = headers["policy"].decode()
        assert headers["policy_digest"].decode() == policies[version].digest
        assert policies[version].operational.is_valid(value)
        assert (value["region"] is None) == (version == "2")
        seen[version].add(record.key.decode())
    assert seen["1"]
    assert seen["2"]
    assert seen["1"] | seen["2"] == set(sent)
    assert {record.key.decode() for record in read_all(broker, bench.topic("content"))} == set(sent)

    archived = bench.lethe("archive", "--once", LETHE_SCHEMAS=newer)
    assert f"{2 * len(sent)} stored" in archived.stderr, archived.stderr
    back = bench.lethe("worker", "--check", check=False)
    assert back.returncode == 2
    assert "policy 2 has been in force in this group, and this worker's is 1" in back.stderr
