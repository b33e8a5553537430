"""TLS and logins on a real broker: the whole way works, and what cannot work is said at once, without a secret."""

import asyncio
import logging
import re
import signal
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from cli_fixtures import Done, Lethe, finish, make_event, make_lethe, start, to_lines
from kafka import KafkaAdminClient
from kafka.admin import ACL, ACLOperation, ACLPermissionType, ResourcePattern, ResourceType
from kafka.errors import KafkaError
from kafka_broker import Cluster, SecureCluster, running
from local_kafka.certificates import Authority, Pair

from pipeline.brokers import Brokers, Hidden, Security
from pipeline.client import producing, reading
from pipeline.config import load_settings
from pipeline.topics.admin import TopicAdmin
from pipeline.worker.expiry import CertificateMetrics

CANARY = "zq-canary-word-zq"
PATIENCE_S = 30.0
AT_ONCE_S = 5.0
"""What a refusal may take; a client that tries again takes ten and says nothing."""


@pytest.fixture
def lethe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Lethe:
    """Return the command, in a folder of its own."""
    return make_lethe(tmp_path, monkeypatch, capfd)


def by_login(cluster: SecureCluster, folder: Path, user: str = "admin", word: str = "") -> dict[str, str]:
    """Return the settings of a user."""
    file = folder / f"{user}.password"
    file.touch(0o600)
    file.write_text(f"{word or cluster.users[user]}\n", "utf-8")
    return {
        "LETHE_BROKERS": cluster.bootstrap,
        "LETHE_SECURITY": "sasl_tls",
        "LETHE_TLS_CA": str(cluster.authority.certificate),
        "LETHE_SASL_USER": user,
        "LETHE_SASL_PASSWORD_FILE": str(file),
    }


def by_certificate(cluster: SecureCluster, pair: Pair | None = None) -> dict[str, str]:
    """Return the settings of a client certificate."""
    pair = pair or cluster.authority.sign("client", usage="client")
    return {
        "LETHE_BROKERS": cluster.mutual_bootstrap,
        "LETHE_SECURITY": "tls",
        "LETHE_TLS_CA": str(cluster.authority.certificate),
        "LETHE_TLS_CERT": str(pair.certificate),
        "LETHE_TLS_KEY": str(pair.key),
    }


def set_all(monkeypatch: pytest.MonkeyPatch, environ: dict[str, str]) -> None:
    """Set variables."""
    for name, value in environ.items():
        monkeypatch.setenv(name, value)


def committed(brokers: Brokers, group: str) -> int:
    """Return how many records a group has committed."""
    client = KafkaAdminClient(bootstrap_servers=brokers.servers(), **brokers.options())
    try:
        return sum(said.offset for said in client.list_group_offsets({group: None})[group].values())
    except KafkaError:  # there is no such group yet
        return 0
    finally:
        client.close()


def run_worker(folder: Path, environ: dict[str, str], records: int = 0) -> Done:
    """Run a worker until it has committed so many records, or until it ends by itself."""
    brokers, deadline = load_settings(environ).reach(), time.monotonic() + PATIENCE_S
    with (folder / "worker.log").open("wb") as stream:
        worker = start(folder, ["worker"], stderr=stream.fileno(), **environ)
        while records and committed(brokers, environ["LETHE_GROUP"]) < records and worker.poll() is None:
            assert time.monotonic() < deadline
            time.sleep(0.1)
        if records:
            worker.send_signal(signal.SIGTERM)
        worker.communicate(timeout=PATIENCE_S)
    return Done(worker.returncode, "", (folder / "worker.log").read_text("utf-8"))


@pytest.mark.parametrize("way", ["login", "certificate"])
def test_the_whole_way_is_secured(
    secure_broker: SecureCluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lethe: Lethe, way: str
) -> None:
    """Topics are made, events sent, split by a worker, archived, and rejections listed: every client is let in."""
    known = by_login(secure_broker, tmp_path) if way == "login" else by_certificate(secure_broker)
    environ = known | {
        "LETHE_TOPIC_PREFIX": f"{way}.",
        "LETHE_GROUP": way,
        "LETHE_SESSION_S": "6",
        "LETHE_METRICS_PORT": "0",
        "LETHE_STORE": "chdb:store",
    }
    set_all(monkeypatch, environ)
    (tmp_path / "raw.jsonl").write_bytes(to_lines([make_event(n) for n in range(5)]) + b"{}\n")
    assert lethe("topics", "apply", "--partitions", "1").code == 0
    assert lethe("replay", "raw.jsonl").code == 0
    done = run_worker(tmp_path, environ, 6)
    assert (done.code, "stopped: what was taken up is delivered" in done.err) == (0, True), done.err
    listed = lethe("rejected", "--json")
    assert (listed.code, listed.out.count("missing_field")) == (0, 1), listed
    if way == "certificate":  # the archive's clients are made as the others are
        return
    archived = finish(start(tmp_path, ["archive", "--once"], stderr=subprocess.PIPE, **environ))
    assert archived.code == 0, archived.err
    assert "11 records read, 11 stored" in archived.err, archived.err


def test_several_processes_and_a_restriction_over_a_login(
    secure_broker: SecureCluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lethe: Lethe
) -> None:
    """Each process of a supervisor logs in by itself; a restriction reaches both, and the audit log its topic."""
    environ = by_login(secure_broker, tmp_path) | {
        "LETHE_TOPIC_PREFIX": "several.",
        "LETHE_GROUP": "several",
        "LETHE_SESSION_S": "6",
        "LETHE_METRICS_PORT": "0",
        "LETHE_STORE": "chdb:store",
    }
    set_all(monkeypatch, environ)
    (tmp_path / "raw.jsonl").write_bytes(to_lines([make_event(number) for number in range(20)]))
    assert lethe("topics", "apply", "--partitions", "2").code == 0
    assert lethe("replay", "raw.jsonl").code == 0
    with (tmp_path / "worker.log").open("wb") as stream:
        group = start(tmp_path, ["worker", "--processes", "2"], stderr=stream.fileno(), **environ)
        deadline = time.monotonic() + 3 * PATIENCE_S  # two processes start at once
        log, reach = tmp_path / "worker.log", load_settings(environ).reach()
        while committed(reach, "several") < 20 or log.read_text("utf-8").count(" is ready") < 2:
            assert group.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.1)
        why = ("--why", "account_request", "--ticket", "PRIV-1")
        done = lethe("restrict", "--account", "-", "--wait-s", "20", *why, stdin=b"acct_5f0c77de21b94a08")
        published = lethe("audit-log", "publish")
        group.send_signal(signal.SIGTERM)
        group.communicate(timeout=2 * PATIENCE_S)
    said = (tmp_path / "worker.log").read_text("utf-8")
    assert (done.code, done.out.startswith("restricted: one account, since ")) == (0, True), (done, said)
    assert published.code == 0, published
    assert (group.returncode, said.count("stopped: what was taken up is delivered")) == (0, 2), said


@pytest.fixture(scope="module")
def away() -> Iterator[Cluster]:
    """Run a broker that speaks plaintext, and says that it is on another machine."""
    with running(properties={"advertised.listeners": "PLAINTEXT://192.0.2.7:9092"}) as cluster:
        yield cluster


@contextmanager
def presenting(pair: Pair) -> Iterator[str]:
    """Shake hands with whoever comes, with a certificate, and yield where."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pair.certificate, pair.key)
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            while True:
                try:
                    connection = server.accept()[0]
                except OSError:
                    return
                with connection:
                    try:
                        context.wrap_socket(connection, server_side=True).close()
                    except OSError:
                        continue

        threading.Thread(target=serve, daemon=True).start()
        yield f"127.0.0.1:{server.getsockname()[1]}"
        server.shutdown(socket.SHUT_RDWR)


REFUSALS = {
    "a wrong password": "it refuses the login: look at LETHE_SASL_USER and LETHE_SASL_PASSWORD_FILE",
    "an unknown user": "it refuses the login",
    "another authority": "its certificate is of no authority that is trusted here: set LETHE_TLS_CA",
    "the system's authorities": "its certificate is of no authority that is trusted here: set LETHE_TLS_CA",
    "another authority's certificate": "it ends the connection after TLS: it wants a login",
    "no certificate": "it ends the connection after TLS: it wants a login",
    "TLS where there is a login": "it ends the connection after TLS: it wants a login",
    "plaintext where there is TLS": "it wants TLS: set LETHE_SECURITY",
    "TLS where there is none": "it speaks no TLS on this port",
    "a login where there is no TLS": "it speaks no TLS on this port",
    "plaintext to who is elsewhere": "Kafka is on another machine",
    "an expired certificate": "its certificate has expired",
    "another name": "its certificate is for another address than LETHE_BROKERS has",
}


def refused_settings(secure: SecureCluster, plain: str, folder: Path) -> dict[str, dict[str, str]]:
    """Return settings that cannot work, by what is wrong."""
    login = by_login(secure, folder, word=CANARY)
    tls = {"LETHE_SECURITY": "tls", "LETHE_TLS_CA": login["LETHE_TLS_CA"]}
    other = Authority(folder / "other")
    return {
        "a wrong password": login,
        "an unknown user": login | {"LETHE_SASL_USER": "nobody"},
        "another authority": login | {"LETHE_TLS_CA": str(other.certificate)},
        "the system's authorities": login | {"LETHE_TLS_CA": ""},
        "no certificate": tls | {"LETHE_BROKERS": secure.mutual_bootstrap},
        "another authority's certificate": by_certificate(secure, other.sign("client", usage="client")),
        "TLS where there is a login": tls | {"LETHE_BROKERS": secure.bootstrap},
        "plaintext where there is TLS": {"LETHE_BROKERS": secure.bootstrap},
        "TLS where there is none": tls | {"LETHE_BROKERS": plain},
        "a login where there is no TLS": login | {"LETHE_BROKERS": plain},
        "plaintext to who is elsewhere": {"LETHE_BROKERS": plain},
    }


def test_what_cannot_work_is_said_at_once(
    secure_broker: SecureCluster,
    away: Cluster,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    lethe: Lethe,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """One line that says what to do, in seconds, exit code 2; the password is nowhere, not even in a debug log."""
    caplog.set_level(logging.DEBUG)
    caplog.set_level(logging.DEBUG, "kafka")
    cases = refused_settings(secure_broker, away.bootstrap, tmp_path)
    expired, elsewhere = (
        secure_broker.authority.sign("expired", days=-1),
        secure_broker.authority.sign("elsewhere", host="192.0.2.7"),
    )
    with presenting(expired) as at_expired, presenting(elsewhere) as at_elsewhere:
        cases["an expired certificate"] = cases["a wrong password"] | {"LETHE_BROKERS": at_expired}
        cases["another name"] = cases["a wrong password"] | {"LETHE_BROKERS": at_elsewhere}
        for what, environ in cases.items():
            begin = time.monotonic()
            with monkeypatch.context() as patch:
                set_all(patch, environ)
                done = lethe("rejected")
            assert time.monotonic() - begin < AT_ONCE_S, what
            assert (done.code, REFUSALS[what] in done.err, done.err.count("\n")) == (2, True, 1), (what, done)
            assert CANARY not in done.err + done.out + caplog.text
    assert set(cases) == set(REFUSALS)


def test_the_password_is_in_no_debug_log_of_a_client_that_works(
    secure_broker: SecureCluster, caplog: pytest.LogCaptureFixture
) -> None:
    """Both clients log their options when they are asked to say all."""
    caplog.set_level(logging.DEBUG)
    caplog.set_level(logging.DEBUG, "kafka")
    brokers = admin_of(secure_broker)

    async def connect() -> None:
        async with reading(brokers, fetch_bytes_max=1 << 20), producing(brokers, batch_bytes_max=1 << 20):
            pass

    TopicAdmin(brokers).close()
    asyncio.run(connect())
    assert "sasl_plain_password" in caplog.text
    assert brokers.password not in caplog.text


def test_certificates_are_seen_before_they_expire(secure_broker: SecureCluster, tmp_path: Path) -> None:
    """Those of the files and the broker's own, in epoch seconds; in plaintext there is none, and nothing fails.

    An authority that has expired beside one that has not is no alarm. A broker that is away leaves what was seen last.
    """
    pair, metrics = secure_broker.authority.sign("client", usage="client", days=5), CertificateMetrics()
    both, old = tmp_path / "both.pem", secure_broker.authority.sign("old", days=-1)
    both.write_bytes(old.certificate.read_bytes() + secure_broker.authority.certificate.read_bytes())
    known = by_certificate(secure_broker, pair) | {"LETHE_TLS_CA": str(both)}
    now_s, day_s = time.time(), 86_400
    metrics.look(Brokers("127.0.0.1:1"), now_s)
    assert "certificate=" not in metrics.render().decode()
    metrics.look(load_settings(known).reach(), now_s)
    metrics.look(load_settings(known | {"LETHE_BROKERS": "127.0.0.1:1"}).reach(), now_s)
    found = re.findall(r'_seconds{certificate="(\w+)"} (\S+)', metrics.render().decode())
    days = {kind: round((float(ends) - now_s) / day_s, 1) for kind, ends in found}
    assert days == {"client": 5.0, "ca": 1.0, "broker": 1.0}


def allow(cluster: SecureCluster, user: str, kind: ResourceType, name: str, *operations: ACLOperation) -> None:
    """Let a user do something."""
    client = KafkaAdminClient(bootstrap_servers=cluster.bootstrap, **admin_of(cluster).options())
    pattern = ResourcePattern(kind, name)
    client.create_acls([ACL(f"User:{user}", "*", each, ACLPermissionType.ALLOW, pattern) for each in operations])
    client.close()


def admin_of(cluster: SecureCluster) -> Brokers:
    """Return how the administrator reaches the cluster."""
    ca = str(cluster.authority.certificate)
    return Brokers(
        cluster.bootstrap, Security.SASL_TLS, tls_ca=ca, user="admin", password=Hidden(cluster.users["admin"])
    )


def test_what_a_user_may_not_do_ends_with_one_line(
    secure_broker: SecureCluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lethe: Lethe
) -> None:
    """A worker that may write no content, and a command that may read nothing, end at once and say so."""
    shared = {"LETHE_TOPIC_PREFIX": "denied.", "LETHE_GROUP": "denied", "LETHE_METRICS_PORT": "0"}
    set_all(monkeypatch, shared | by_login(secure_broker, tmp_path))
    (tmp_path / "raw.jsonl").write_bytes(to_lines([make_event(1)]))
    assert lethe("topics", "apply", "--partitions", "1").code == 0
    assert lethe("replay", "raw.jsonl").code == 0
    seen = (ACLOperation.DESCRIBE, ACLOperation.DESCRIBE_CONFIGS)
    for name in ("raw", "control", "content", "operational", "rejected", "applied"):
        more = {"raw": ACLOperation.READ, "control": ACLOperation.READ, "content": ACLOperation.DESCRIBE}
        allow(secure_broker, "worker", ResourceType.TOPIC, f"denied.{name}", *seen, more.get(name, ACLOperation.WRITE))
    allow(secure_broker, "worker", ResourceType.GROUP, "denied", ACLOperation.READ)
    done = run_worker(tmp_path, shared | by_login(secure_broker, tmp_path, "worker"))
    last = done.err.splitlines()[-1]
    assert (done.code, "this user lacks a right to a topic" in last, "Traceback" in done.err) == (2, True, False), (
        done.err
    )
    assert secure_broker.users["worker"] not in done.err
    set_all(monkeypatch, by_login(secure_broker, tmp_path, "stranger"))
    refused = lethe("rejected")
    assert (refused.code, "denied.rejected" in refused.err, refused.err.count("\n")) == (2, True, 1), refused
