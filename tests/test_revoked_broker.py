"""A login that is taken away from a worker at work, on brokers that have clients log in again and again."""

import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from cli_fixtures import Lethe, make_event, make_lethe, start, to_lines
from kafka import KafkaAdminClient
from kafka.admin import UserScramCredentialDeletion
from kafka_broker import SecureCluster
from test_security_broker import admin_of, by_login, committed, set_all

REAUTH_MS = 3000
PATIENCE_S = 60.0


@pytest.fixture
def cluster() -> Iterator[SecureCluster]:
    """Run a broker of this test's own, which ends every session after three seconds."""
    users = {"worker": "worker's own word"}
    properties = {"connections.max.reauth.ms": str(REAUTH_MS), "super.users": "User:admin;User:ANONYMOUS;User:worker"}
    with (
        tempfile.TemporaryDirectory(prefix="lethe-kafka-", ignore_cleanup_errors=True) as folder,
        SecureCluster(Path(folder), users, properties=properties) as made,
    ):
        made.start()
        yield made


@pytest.fixture
def lethe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Lethe:
    """Return the command, in a folder of its own."""
    return make_lethe(tmp_path, monkeypatch, capfd)


def test_a_login_that_is_taken_away_ends_the_worker(
    cluster: SecureCluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lethe: Lethe
) -> None:
    """It works through session after session; without its login it takes up nothing more, and its watchdog ends it."""
    shared = {
        "LETHE_TOPIC_PREFIX": "revoked.",
        "LETHE_GROUP": "revoked",
        "LETHE_SESSION_S": "6",
        "LETHE_STUCK_S": "15",
        "LETHE_DELIVERY_S": "10",
        "LETHE_METRICS_PORT": "0",
    }
    set_all(monkeypatch, shared | by_login(cluster, tmp_path))
    admin = admin_of(cluster)
    assert lethe("topics", "apply", "--partitions", "1").code == 0

    def send(first: int, count: int) -> None:
        (tmp_path / "raw.jsonl").write_bytes(to_lines([make_event(first + number) for number in range(count)]))
        assert lethe("replay", "raw.jsonl").code == 0

    with (tmp_path / "worker.log").open("wb") as stream:
        environ = shared | by_login(cluster, tmp_path, "worker")
        worker = start(tmp_path, ["worker"], stderr=stream.fileno(), **environ)
        try:
            for turn in range(4):  # three sessions end meanwhile
                send(10 * turn, 10)
                _wait(lambda turn=turn: committed(admin, "revoked") == 10 * (turn + 1))
                time.sleep(REAUTH_MS / 1000)
            client = KafkaAdminClient(bootstrap_servers=cluster.bootstrap, **admin.options())
            client.alter_user_scram_credentials([UserScramCredentialDeletion("worker", "SCRAM-SHA-512")])
            client.close()
            time.sleep(2 * REAUTH_MS / 1000)
            send(100, 10)
            code = worker.wait(timeout=PATIENCE_S)
        finally:
            worker.kill()
            worker.wait()
    said = (tmp_path / "worker.log").read_text("utf-8")
    assert code == 2, said
    assert "ended by its watchdog: no broker has answered for " in said
    assert committed(admin, "revoked") == 40
    assert "worker's own word" not in said


def _wait(holds: object) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not holds():  # type: ignore[operator]
        assert time.monotonic() < deadline
        time.sleep(0.1)
