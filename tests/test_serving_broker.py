"""Commands beside an archive that owns an embedded store and stores all the while: as if it were not there."""

import json
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from cli_fixtures import Lethe, make_lethe
from conftest import NoDetector
from kafka import KafkaProducer
from kafka_broker import Cluster, make_topic
from test_archive_broker import PARTITIONS, SINKS, SIZE, Place, sent, shown
from worker_harness import make_event, now_ms, partition_of, wait_until

from pipeline.anonymize import Admission, make_core, process
from pipeline.coarsen import DAY_MS, format_timestamp
from pipeline.errors import SinkUnavailable
from pipeline.keys.keyfile import load_keyring
from pipeline.policy.load import Policy
from pipeline.records import Anonymized, Fate, Source
from pipeline.store.opening import open_unswept

GONE, STAYS, SILENT = 1, 2, 3
WHY = ("--why", "account_request", "--ticket", "DSR-12")


def account(number: int) -> bytes:
    """Return an account's id as a person types it."""
    return f"acct_{number:016x}\n".encode()


@pytest.fixture
def lethe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Lethe:
    """Return the command in a folder with keys, for receipts too."""
    command = make_lethe(tmp_path, monkeypatch, capfd)
    monkeypatch.setenv("LETHE_STORE", f"chdb:{tmp_path / 'store'}")
    assert command("receipt", "key").code == 0
    return command


@pytest.fixture
def place(broker: Cluster, lethe: Lethe, policy: Policy, tmp_path: Path) -> Place:
    """Return topics and a store of the test's own, and a core with the keys of its folder."""
    del lethe
    core = make_core(policy, NoDetector(), load_keyring(tmp_path / "lethe.keys.json"))
    return Place(
        broker, tmp_path, core, {sink: make_topic(broker, PARTITIONS, max_message_bytes=SIZE) for sink in SINKS}
    )


class Traffic:
    """Events of yesterday, of twenty accounts and more, for as long as it runs."""

    def __init__(self, place: Place) -> None:
        self.fates: list[Fate] = []
        self._place, self._ending, self._numbers = place, threading.Event(), iter(range(1, 1_000_000))

    def more(self, count: int, of: int | None = None) -> None:
        """Send some events, of one account or of those from 10 to 40."""
        made = [self._make(next(self._numbers), of) for _ in range(count)]
        self.fates += made
        self._place.send(self._place.outgoing(made))

    @contextmanager
    def flowing(self) -> Iterator[None]:
        """Send events all the while."""
        thread = threading.Thread(target=self._flow)
        thread.start()
        try:
            yield
        finally:
            self._ending.set()
            thread.join()

    def _flow(self) -> None:
        producer = KafkaProducer(bootstrap_servers=self._place.cluster.bootstrap, acks="all")
        while not self._ending.wait(0.03):
            made = [self._make(next(self._numbers), None) for _ in range(10)]
            for record in self._place.outgoing(made):
                at = partition_of(record.key, PARTITIONS)
                producer.send(record.topic, key=record.key, value=record.value, headers=record.headers, partition=at)
            self.fates += made
        producer.flush(timeout=60)
        producer.close()

    def _make(self, number: int, of: int | None) -> Fate:
        event = json.loads(make_event(number, account=10 + number % 30 if of is None else of))
        event["received_at"] = format_timestamp(now_ms() - DAY_MS)
        raw = json.dumps(event).encode()
        return process(raw, Source("test-raw", 0, number, len(raw)), self._place.core, Admission(latest_ms=now_ms()))

    @property
    def records(self) -> int:
        """How many records were sent."""
        return sum(1 + (fate.content is not None) for fate in self.fates if isinstance(fate, Anonymized))


@contextmanager
def archive_of(place: Place) -> Iterator[subprocess.Popen[str]]:
    """Run an archive that stores often, and wait until it serves."""
    archive = place.start(LETHE_BATCH_EVENTS_MAX="60", LETHE_ARCHIVE_WAIT_MS="50")
    try:
        wait_until((place.folder / "store" / "lethe-socket" / "socket").exists)
        yield archive
    finally:
        archive.kill()
        archive.communicate()


def exported(lethe: Lethe, folder: str, number: int) -> dict[str, bytes]:
    """Return the files of an export, but for the manifest's own time."""
    done = lethe("export", folder, "--account", "-", "--content", *WHY, stdin=account(number))
    assert done.code == 0, done.err
    return {path.name: path.read_bytes() for path in Path(folder).glob("*.jsonl")}


def refused(place: Place, lethe: Lethe, monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int]]:
    """Send a rejection as a worker does, and return what is listed."""
    fate = process(b"{", Source("test-raw", 0, 7, 1), place.core, Admission(latest_ms=now_ms()))
    place.send(place.outgoing([fate]))
    monkeypatch.setenv("LETHE_BROKERS", place.cluster.bootstrap)
    monkeypatch.setenv("LETHE_TOPIC_REJECTED", place.topics["rejected"])
    done = lethe("rejected", "--json")
    assert done.code == 0, done.err
    return [(one["reason"], one["offset"]) for one in map(json.loads, done.out.splitlines())]


def test_commands_work_beside_an_archive(place: Place, lethe: Lethe, monkeypatch: pytest.MonkeyPatch) -> None:
    """While it stores: export, erase, restrict, verify, build; afterwards all is as they left it.

    That each command works beside an owner is seen in tests/test_serving_commands.py; here it stores all the while.
    """
    traffic = Traffic(place)
    for number in (GONE, STAYS):
        traffic.more(40, number)
    with archive_of(place) as archive:
        with traffic.flowing():
            wait_until(lambda: place.committed() >= 160)
            assert len(exported(lethe, "before", GONE)["content.jsonl"].splitlines()) == 40
            stays = exported(lethe, "stays", STAYS)
            wait_until(lambda: place.committed() >= 400)
            built = lethe("aggregates", "build", "--json")
            assert json.loads(built.out)["daily"] > 0, built.err
            done = lethe("erase", "--account", "-", "--store-only", "--receipt", "r.json", *WHY, stdin=account(GONE))
            assert (done.code, done.out) == (0, "complete: r.json\n"), done.err
            places = {one["name"]: one["counts"] for one in json.loads(Path("r.json").read_bytes())["places"]}
            assert places["store:aggregates"]["days"] in {1, 2}
            with open_unswept(place.store) as store:
                assert store.query("SELECT count() FROM usage_daily").rows == [(0,)]
            assert set(exported(lethe, "gone", GONE).values()) == {b""}
            assert lethe("restrict", "--account", "-", "--store-only", *WHY, stdin=account(SILENT)).code == 0
            done = lethe("retention", "verify", "--no-topics", "--json")
            assert done.code == 0, done.out
            flowed = place.committed()
        wait_until(lambda: place.committed() == traffic.records)
        built = lethe("aggregates", "build", "--json")
        assert built.code == 0, built.err
        assert refused(place, lethe, monkeypatch) == [("not_json", 7)]  # it needs no store
        archive.terminate()
        said = archive.communicate(timeout=60)[0]
        assert archive.returncode == 0, said
    assert 160 < flowed < traffic.records
    assert json.loads(built.out)["requests"] == len(traffic.fates) - 40
    assert lethe("aggregates", "build", "--json").out == built.out
    assert exported(lethe, "stays-still", STAYS) == stays
    assert lethe("receipt", "verify", "r.json").code == 0
    expected, found = sent(traffic.fates[40:]), shown(place.store)
    assert found["content"] == expected["content"]
    assert expected["operational"].items() <= found["operational"].items()
    unlinked = found["operational"].keys() - expected["operational"].keys()
    assert {found["operational"][one]["account"] for one in unlinked} == {None}
    assert len(unlinked) == 40


def test_a_killed_archive_leaves_its_store_to_whoever_comes(place: Place, lethe: Lethe) -> None:
    """Whoever it served is told; its socket is stale, and the next command opens the folder itself and removes it."""
    Traffic(place).more(5, STAYS)
    socket = place.folder / "store" / "lethe-socket" / "socket"
    with archive_of(place) as archive:
        wait_until(lambda: place.committed() == 10)
        with open_unswept(place.store) as store:
            assert store.query("SELECT count() FROM content").rows == [(5,)]
            archive.kill()
            archive.wait()
            with pytest.raises(SinkUnavailable, match="cannot be reached"):
                store.query("SELECT count() FROM content")
    assert socket.exists()
    assert len(exported(lethe, "out", STAYS)["content.jsonl"].splitlines()) == 5
    assert not socket.parent.exists()
