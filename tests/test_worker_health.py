"""Probes and their server: what is alive and ready, and a server that stays small whatever a client does."""

import http.client
import os
import socket
import stat
import threading
import time
from collections.abc import Iterator
from http import HTTPStatus
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.boundedserver import TEXT_TYPE
from pipeline.errors import ConfigError
from pipeline.worker import health
from pipeline.worker.children import _ask
from pipeline.worker.health import CONNECTIONS_MAX, HealthServer, liveness, probe, readiness, worker_pages
from pipeline.worker.vitals import Snapshot

STUCK_S = 300.0
PATIENCE_S = 10.0
PRIVATE = "alice-at-example"

SNAPSHOTS = st.builds(
    Snapshot,
    tick_age_s=st.floats(0, 1e6),
    partitions=st.none() | st.integers(0, 64),
    rebalancing_s=st.none() | st.floats(0, 1e6),
    lag=st.integers(0, 1 << 40),
    progress_age_s=st.floats(0, 1e6),
    stopping_s=st.none() | st.floats(0, 1e6),
)


def fail() -> tuple[int, str, bytes]:
    """Fail as a page can, with a text that must not be shown."""
    raise ValueError(PRIVATE)


PAGES = {
    "/metrics": lambda: (200, "text/plain; version=0.0.4", b"lethe_events_total 1\n"),
    "/healthz": probe(lambda: ""),
    "/readyz": probe(lambda: "rebalancing"),
    "/broken": fail,
}


@pytest.fixture(scope="module", autouse=True)
def _quick_end() -> Iterator[None]:
    """Let servers end quickly: they look whether they are closed a few times a second."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(health, "_LOOK_S", 0.01)
        yield


@pytest.fixture
def server() -> Iterator[HealthServer]:
    """Serve the pages on a free port."""
    with HealthServer(("127.0.0.1", 0), PAGES) as serving:
        yield serving


def address_of(server: HealthServer) -> tuple[str, int]:
    """Return host and port."""
    assert not isinstance(server.address, str)
    return server.address


def request(server: HealthServer, method: str, path: str) -> tuple[int, str | None, bytes]:
    """Send a request; return status, content type and body."""
    connection = http.client.HTTPConnection(*address_of(server), timeout=PATIENCE_S)
    try:
        connection.request(method, path)
        response = connection.getresponse()
        return response.status, response.headers["Content-Type"], response.read()
    finally:
        connection.close()


def send(server: HealthServer, raw: bytes) -> bytes:
    """Send bytes; return all that comes back until the server ends the connection."""
    with socket.create_connection(address_of(server), timeout=PATIENCE_S) as client:
        client.sendall(raw)
        return b"".join(iter(lambda: client.recv(65536), b""))


# Judgements


@pytest.mark.parametrize(
    ("snapshot", "reason"),
    [
        (Snapshot(tick_age_s=301.0), "the event loop has not come round for 301 s"),
        (Snapshot(lag=5, progress_age_s=300.0), "records wait and nothing was committed for 300 s"),
        (Snapshot(partitions=2, rebalancing_s=400.4), "rebalancing for 400 s without an assignment"),
        (Snapshot(partitions=2, unheard_s=300.2), "no broker has answered for 300 s"),
        (Snapshot(partitions=None, rebalancing_s=300.0), "rebalancing for 300 s without an assignment"),
    ],
)
def test_a_stuck_worker_is_not_alive(snapshot: Snapshot, reason: str) -> None:
    """Each sign that is away for as long as is allowed is a reason, in words."""
    assert liveness(snapshot, STUCK_S) == reason


@pytest.mark.parametrize(
    "snapshot",
    [
        Snapshot(),
        Snapshot(tick_age_s=299.9, partitions=3, lag=9, progress_age_s=299.9),
        Snapshot(partitions=None, rebalancing_s=299.9),
        Snapshot(partitions=3, lag=0, progress_age_s=9999.0, unheard_s=299.9),
        Snapshot(tick_age_s=9999.0, rebalancing_s=9999.0, lag=1, progress_age_s=9999.0, stopping_s=1.0),
    ],
    ids=["stands by", "just in time", "just started", "nothing waits", "drains"],
)
def test_a_worker_that_is_not_stuck_is_alive(snapshot: Snapshot) -> None:
    """Standing by, a quiet topic, and draining for less than the grace time are no reasons."""
    assert liveness(snapshot, STUCK_S) == ""


@pytest.mark.parametrize(
    ("snapshot", "reason"),
    [
        (Snapshot(partitions=0), ""),
        (Snapshot(partitions=3, lag=1000, progress_age_s=9999.0), ""),
        (Snapshot(partitions=None, rebalancing_s=2.0), "no assignment yet"),
        (Snapshot(partitions=3, rebalancing_s=0.0), "rebalancing"),
        (Snapshot(partitions=3, stopping_s=0.0), "stopping"),
        (Snapshot(partitions=None, rebalancing_s=1.0, stopping_s=0.0), "stopping"),
    ],
)
def test_a_worker_is_ready_when_it_has_its_assignment_and_is_not_stopping(snapshot: Snapshot, reason: str) -> None:
    """An empty assignment is one: a member that stands by is ready."""
    assert readiness(snapshot) == reason


@settings(deadline=None)
@given(snapshot=SNAPSHOTS, stuck_s=st.floats(1, 1e5), more_s=st.floats(0, 1e5))
def test_more_patience_never_finds_more(snapshot: Snapshot, stuck_s: float, more_s: float) -> None:
    """What is alive under a limit is alive under a longer one, and a worker that just ticked is ended by no tick."""
    if not liveness(snapshot, stuck_s):
        assert liveness(snapshot, stuck_s + more_s) == ""
    assert "event loop" not in liveness(snapshot._replace(tick_age_s=0.0), stuck_s)


def test_the_pages_of_a_worker_show_its_judgements() -> None:
    """Each probe looks anew, with the limit that was set."""
    snapshots = [Snapshot(partitions=None, rebalancing_s=9.0), Snapshot(partitions=1)]
    now = snapshots[0]
    pages = worker_pages(lambda: now, 5.0, PAGES["/metrics"])
    text = TEXT_TYPE
    assert pages["/healthz"]() == (503, text, b"rebalancing for 9 s without an assignment\n")
    assert pages["/readyz"]() == (503, text, b"no assignment yet\n")
    now = snapshots[1]
    assert [pages[path]() for path in ("/healthz", "/readyz")] == [(200, text, b"ok\n")] * 2
    assert pages["/metrics"]()[2] == b"lethe_events_total 1\n"


# The server


def test_pages_are_served(server: HealthServer) -> None:
    """Status, content type and body are the page's; a query changes nothing."""
    assert request(server, "GET", "/metrics") == (200, "text/plain; version=0.0.4", b"lethe_events_total 1\n")
    assert request(server, "GET", "/healthz?full=1") == (200, TEXT_TYPE, b"ok\n")
    assert request(server, "GET", "/readyz") == (503, TEXT_TYPE, b"rebalancing\n")


def test_head_has_the_status_and_no_body(server: HealthServer) -> None:
    """HEAD is GET without the body; its length is told."""
    answer = send(server, b"HEAD /readyz HTTP/1.0\r\n\r\n")
    head, _, body = answer.partition(b"\r\n\r\n")
    assert (head.split()[1], body) == (b"503", b"")
    assert b"Content-Length: 12" in head


@pytest.mark.parametrize(
    ("raw", "status"),
    [
        (f"GET /{PRIVATE} HTTP/1.0\r\n\r\n", 404),
        (f"GET /metrics/{PRIVATE} HTTP/1.0\r\n\r\n", 404),
        (f"POST /metrics HTTP/1.0\r\nContent-Length: 16\r\n\r\n{PRIVATE}", 501),
        (f"{PRIVATE} / HTTP/1.0\r\n\r\n", 501),
        (f"GET / {PRIVATE} HTTP/1.0\r\n\r\n", 400),
        ("GET /" + PRIVATE * 5000 + " HTTP/1.0\r\n\r\n", 414),
    ],
    ids=["path", "path below", "method", "no method", "words", "long"],
)
def test_an_error_repeats_nothing_of_the_request(server: HealthServer, raw: str, status: int) -> None:
    """The answer has the name of the status, and no word of what was sent."""
    answer = send(server, raw.encode())
    assert answer.endswith(f"\r\n\r\n{HTTPStatus(status).phrase}\n".encode())
    assert answer.split()[1] == str(status).encode()
    assert PRIVATE.encode() not in answer


@pytest.mark.parametrize("raw", [f"{PRIVATE}\r\n\r\n", f"GET / {PRIVATE}\r\n\r\n", f"GET {PRIVATE} HTTP/9.9\r\n\r\n"])
def test_what_is_no_request_is_not_repeated_either(server: HealthServer, raw: str) -> None:
    """To what is not HTTP, or of no known version, the answer is the name of the status alone."""
    assert send(server, raw.encode()) in {b"Bad Request\n", b"HTTP Version Not Supported\n"}


def test_a_page_that_fails_says_where_and_not_what(server: HealthServer, capfd: pytest.CaptureFixture[str]) -> None:
    """The text of an exception can hold anything; its type and place are shown, nothing is logged, all goes on."""
    status, _, body = request(server, "GET", "/broken")
    assert (status, body.startswith(b"failed: ValueError at test_worker_health.py:")) == (500, True)
    assert PRIVATE.encode() not in body
    assert request(server, "GET", "/healthz")[0] == 200
    assert capfd.readouterr() == ("", "")


def test_nothing_is_logged_of_a_client_that_goes_away(server: HealthServer, capfd: pytest.CaptureFixture[str]) -> None:
    """A reset connection leaves no line."""
    with socket.create_connection(address_of(server)) as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
        client.sendall(f"GET /{PRIVATE}".encode())
    wait_for_no_connections(server)
    assert request(server, "GET", "/healthz")[0] == 200
    assert capfd.readouterr() == ("", "")


def test_the_server_does_not_tell_what_it_runs_on(server: HealthServer) -> None:
    """The Server header has no version, of Python least of all."""
    answer = send(server, b"GET /healthz HTTP/1.0\r\n\r\n")
    assert [line for line in answer.split(b"\r\n") if line.startswith(b"Server:")] == [b"Server: lethe"]


def test_no_name_is_looked_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither the start nor a request asks a name service for anything."""

    def refuse(*_: object) -> None:
        raise AssertionError

    for name in ("getfqdn", "gethostbyaddr", "gethostname", "getnameinfo"):
        monkeypatch.setattr(socket, name, refuse)
    with HealthServer(("127.0.0.1", 0), PAGES) as server:
        assert request(server, "GET", "/healthz")[0] == 200


# Bounds


def connections(server: HealthServer) -> int:
    """Return how many connections the server has."""
    return len(server._server._due_s)


def wait_for_no_connections(server: HealthServer) -> None:
    """Wait until every connection has ended."""
    deadline = time.monotonic() + PATIENCE_S
    while connections(server) and time.monotonic() < deadline:
        time.sleep(0.005)
    assert connections(server) == 0


def test_connections_are_few(monkeypatch: pytest.MonkeyPatch) -> None:
    """One too many is ended without an answer, and room is made as others end."""
    monkeypatch.setattr(health._Handler, "timeout", PATIENCE_S)
    with HealthServer(("127.0.0.1", 0), PAGES) as server:
        silent = [socket.create_connection(address_of(server), timeout=PATIENCE_S) for _ in range(CONNECTIONS_MAX)]
        with socket.create_connection(address_of(server), timeout=PATIENCE_S) as surplus:
            assert surplus.recv(1) == b""
        assert connections(server) == CONNECTIONS_MAX
        for client in silent:
            client.close()
        wait_for_no_connections(server)
        assert request(server, "GET", "/healthz")[0] == 200


def test_a_silent_client_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    """A connection on which nothing comes ends after the time for silence."""
    monkeypatch.setattr(health._Handler, "timeout", health._Handler.timeout / 20)
    with HealthServer(("127.0.0.1", 0), PAGES) as server:
        assert send(server, b"GET /heal") == b""


def test_a_slow_client_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that sends a byte now and then, and is never silent for long, has its time too."""
    monkeypatch.setattr(health, "CONNECTION_S_MAX", 0.3)
    with (
        HealthServer(("127.0.0.1", 0), PAGES) as server,
        socket.create_connection(address_of(server), timeout=0.02) as client,
    ):
        deadline, ended = time.monotonic() + PATIENCE_S, False
        while not ended and time.monotonic() < deadline:
            try:
                client.sendall(b"G")
                ended = client.recv(1) == b""
            except TimeoutError:  # nothing yet: the pace of the bytes
                continue
            except ConnectionError:
                ended = True
        assert ended


# Where it listens


def test_a_taken_port_names_the_setting(server: HealthServer) -> None:
    """The error says what is taken, and which settings help."""
    host, port = address_of(server)
    with pytest.raises(ConfigError) as raised:
        HealthServer((host, port), PAGES)
    assert f"127.0.0.1 port {port}: Address already in use" in str(raised.value)
    assert "LETHE_METRICS_PORT" in str(raised.value)


def test_an_address_of_another_host_names_the_setting() -> None:
    """An address that this host does not have is a wrong setting, not a defect."""
    with pytest.raises(ConfigError, match="LETHE_METRICS_HOST"):
        HealthServer(("192.0.2.1", 0), PAGES)


def test_a_port_is_free_again_at_once() -> None:
    """A restarted worker gets its port back although connections to it have just ended."""
    with HealthServer(("127.0.0.1", 0), PAGES) as first:
        send(first, b"GET /healthz HTTP/1.0\r\n\r\n")
        address = first.address
    with HealthServer(address, PAGES) as second:
        assert (second.address, request(second, "GET", "/healthz")[0]) == (address, 200)


def test_ipv6_is_an_address_too() -> None:
    """A host with colons is one of IPv6."""
    with HealthServer(("::1", 0), PAGES) as server:
        assert (address_of(server)[0], request(server, "GET", "/healthz")[0]) == ("::1", 200)


def test_a_unix_socket_is_for_its_owner(tmp_path: Path) -> None:
    """It has mode 0600 whatever the umask, answers as a port does, and is gone after the end."""
    path = tmp_path / "0.sock"
    umask = os.umask(0)
    try:
        with HealthServer(str(path), PAGES) as server:
            assert stat.S_IMODE(path.stat().st_mode) == 0o600
            assert server.address == str(path)
            assert _ask(str(path), "/readyz", PATIENCE_S) == (503, b"rebalancing\n")
    finally:
        os.umask(umask)
    assert not path.exists()


def test_a_unix_socket_that_cannot_be_made_says_what_helps(tmp_path: Path) -> None:
    """A path that is too long, and one that is taken, are wrong settings."""
    long = tmp_path / ("x" * 120)
    with pytest.raises(ConfigError, match="TMPDIR"):
        HealthServer(str(long), PAGES)
    taken = tmp_path / "0.sock"
    with HealthServer(str(taken), PAGES), pytest.raises(ConfigError, match="already in use"):
        HealthServer(str(taken), PAGES)


def test_an_answer_that_does_not_come_is_none(tmp_path: Path) -> None:
    """No socket, one that is silent, and an answer that breaks off are all no answer."""
    path = str(tmp_path / "0.sock")
    assert _ask(path, "/metrics", 0.05) is None
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen()
        assert _ask(path, "/metrics", 0.05) is None
        listener.accept()[0].close()

        def break_off() -> None:
            client, _ = listener.accept()
            client.sendall(b"HTTP/1.0 200 OK\r\nContent-Length: 99\r\n\r\nlethe_ev")
            client.recv(4096)
            client.close()

        half = threading.Thread(target=break_off)
        half.start()
        assert _ask(path, "/metrics", PATIENCE_S) is None
        half.join()
