"""An embedded store that is open here, worked on by others over its socket: as if they had it open themselves."""

import os
import socket
import stat
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from datetime import UTC, datetime
from email.message import Message
from functools import partial
from io import BytesIO
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from conftest import KEYS
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from urllib3.filepost import encode_multipart_formdata
from worker_harness import make_event, now_ms

from pipeline.anonymize import Admission, Core, process
from pipeline.archive.target import StoreTarget
from pipeline.errors import ConfigError, SinkUnavailable
from pipeline.policy.load import Policy
from pipeline.records import Anonymized, Source
from pipeline.store.client import SETTINGS, Store, connect
from pipeline.store.engine import Engine
from pipeline.store.erasure import add_tombstones, ensure_tombstones, mask_records
from pipeline.store.intake import Records, make_tables, schemas_of
from pipeline.store.rendezvous import dial, forget_stale, listen, welcome
from pipeline.store.request import Malformed, read_body, read_form, read_statement, spool_rows
from pipeline.store.serving import StoreServer, served
from pipeline.store.url import EmbeddedTarget
from pipeline.suppress import Subject

DAY_MS = 86_400_000
TABLES = count()
TYPES = {"at": "DateTime64(3, 'UTC')", "text": "Nullable(String)", "bytes": "String", "number": "Int64"}
TYPES |= {"counts": "Map(LowCardinality(String), UInt32)"}
MOMENTS = st.integers(-2_000_000_000_000, 4_000_000_000_000)
ROWS = st.lists(
    st.tuples(
        MOMENTS,
        st.none() | st.text(max_size=20),
        st.binary(max_size=20),
        st.integers(-(2**63), 2**63 - 1),
        st.dictionaries(st.sampled_from(("EMAIL", "'", "é")), st.integers(0, 2**32 - 1)),
    ),
    min_size=1,
    max_size=5,
)


class Place:
    """A store that this process has open and serves, and what connects to it as another process does."""

    def __init__(self, folder: Path) -> None:
        self.target = EmbeddedTarget(folder, "lethe")
        self.socket = folder / "lethe-socket" / "socket"
        self.turn = threading.Lock()
        self.lines: list[str] = []

    def guest(self) -> Store:
        """Return a connection over the socket."""
        guest = connect(self.target)
        assert guest._pool is not None, "it opened the folder itself"
        return guest


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """Serve one store for the module, in a folder whose path is too long for a socket's address."""
    made = Place(tmp_path_factory.mktemp("served") / ("long" * 40) / "store")
    with connect(made.target), served(made.target, made.turn, made.lines.append):
        yield made
    assert not made.socket.parent.exists()
    assert made.lines == []


@pytest.fixture(scope="module")
def guest(place: Place) -> Iterator[Store]:
    """Return one connection over the socket."""
    with place.guest() as opened:
        yield opened


@pytest.fixture(scope="module")
def owner(place: Place) -> Iterator[Store]:
    """Return a connection of the owner's own."""
    with connect(place.target, own=True) as opened:
        yield opened


def waits(answer: Future[Any], patience_s: float = 0.2) -> bool:
    """Return whether something has not happened a while later."""
    return answer in wait([answer], patience_s).not_done


@given(rows=ROWS)
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_values_come_through_as_they_are(owner: Store, guest: Store, rows: list[tuple[Any, ...]]) -> None:
    """What a guest inserts is read by both alike, and parameters mean the same: texts, bytes, moments, nulls, maps."""
    table = f"values_{next(TABLES)}"
    columns = ", ".join(f"{name} {kind}" for name, kind in TYPES.items())
    guest.command(f"CREATE TABLE {table} ({columns}) ENGINE = Memory")
    guest.insert(table, dict(zip(TYPES, map(list, zip(*rows, strict=True)), strict=True)), TYPES)
    sql = f"SELECT * FROM {table} WHERE number IN {{some:Array(Int64)}} AND ifNull(text, '') IN {{texts:Array(String)}}"  # noqa: S608
    parameters = {"some": [row[3] for row in rows], "texts": [row[1] or "" for row in rows]}
    answers = [store.query(sql, parameters, binary=("bytes",)) for store in (owner, guest)]
    assert answers[0] == answers[1]
    epoch = datetime(1970, 1, 1, tzinfo=UTC)
    shown = [(round((at - epoch).total_seconds() * 1000), *rest) for at, *rest in answers[1].rows]
    assert sorted(shown, key=repr) == sorted(rows, key=repr)
    guest.command(f"DROP TABLE {table} SYNC")


@pytest.mark.parametrize(
    ("sql", "code"),
    [
        ("SELECT 'kari@shop.example.org' FROM nowhere", 60),
        ("SELECT throwIf(number = 90000, 'kari@shop.example.org') FROM numbers(200000)", 395),
        ("SELECT groupArray(repeat('kari', 1000)) FROM numbers(1000000)", 241),
    ],
)
def test_errors_have_a_code_and_no_text(guest: Store, sql: str, code: int) -> None:
    """Refused at once, in the middle of an answer, or for its memory; and then the next statement is answered."""
    with pytest.raises(SinkUnavailable) as caught:
        guest.query(sql)
    assert str(caught.value).endswith(f"(ClickHouse error {code})")
    assert "kari" not in str(caught.value)
    assert caught.value.__context__ is None
    with pytest.raises(SinkUnavailable, match="error 62"):
        guest.command("kari@shop.example.org")
    assert guest.query("SELECT 1").rows == [(1,)]


def test_only_processes_of_this_user_come_in(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """Folder and socket are closed to others, and either end looks whose process the other is."""
    assert stat.S_IMODE(place.socket.stat().st_mode) == 0o600
    assert stat.S_IMODE(place.socket.parent.stat().st_mode) == 0o700
    stranger = os.geteuid() + 1
    monkeypatch.setattr("pipeline.store.rendezvous.os.geteuid", lambda: stranger)
    with pytest.raises(ConfigError, match="of another user"):
        dial(place.target.folder, "it")
    here, there = socket.socketpair()
    with here, there:
        assert not welcome(here)
        monkeypatch.undo()
        assert welcome(here)
        assert there.recv(10) == b"\n"
    monkeypatch.setattr("pipeline.store.serving.welcome", lambda _: False)
    with pytest.raises(SinkUnavailable, match="is ending"):
        dial(place.target.folder, "it")


def test_a_kernel_says_who_is_at_the_other_end(place: Place) -> None:
    """What is compared is the kernel's word, of which the second number is the user."""
    connection = dial(place.target.folder, "it")
    assert connection is not None
    with connection:
        found = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
    assert struct.unpack("3i", found)[:2] == (os.getpid(), os.geteuid())


def test_too_many_wait_and_are_told(place: Place, guest: Store) -> None:
    """Four are served at once; a fifth is let in when one goes, or says that there was no time."""
    guests = [place.guest() for _ in range(3)]
    assert guest.query("SELECT 1").rows == [(1,)]
    with pytest.raises(SinkUnavailable, match=r"no time for 0\.3 s"):
        dial(place.target.folder, "it", wait_s=0.3)
    with ThreadPoolExecutor(1) as aside:
        fifth = aside.submit(place.guest)
        assert waits(fifth)
        guests.pop().close()
        guests.append(fifth.result(5))
    for one in guests:
        one.close()


def test_who_owns_it_alone_is_refused(place: Place) -> None:
    """Whoever writes must own a store: over the socket it could not look up and insert at once."""
    script = "import sys; from pipeline.store import open_store; open_store(sys.argv[1], now_ms=0, own=True)"
    call = [sys.executable, "-c", script, place.target.label]
    done = subprocess.run(call, capture_output=True, text=True, check=False)  # noqa: S603 - our own
    assert f"process {os.getpid()} has this folder open" in done.stderr
    assert place.socket.exists()


def test_a_guest_that_dies_leaves_nothing(place: Place, owner: Store) -> None:
    """Killed in the middle of an answer, and of an insert: slots are free again, the spool is empty, work goes on."""
    query = b"SELECT number, repeat('x', 1000) FROM numbers(100000000) FORMAT Native"
    insert = b"INSERT INTO nowhere (`a`) FORMAT Native\nabc"
    requests = [
        b"POST / HTTP/1.1\r\nContent-Length: %d\r\n\r\n%s" % (len(query), query),
        b"POST / HTTP/1.1\r\nContent-Type: application/octet-stream\r\nContent-Length: 100\r\n\r\n%s" % insert,
    ]
    for request in requests * 4:
        connection = dial(place.target.folder, "it")
        assert connection is not None
        connection.sendall(request)
        if b"SELECT" in request:
            assert connection.recv(1000).startswith(b"HTTP/1.1 200")
        connection.close()
    guests = [place.guest() for _ in range(3)]
    for one in guests:
        assert one.query("SELECT 1").rows == [(1,)]
        one.close()
    found = owner.query("SELECT count() FROM system.processes WHERE query LIKE '%100000000%'").rows
    assert found == [(1,)], "only the question itself is under way"
    assert list((place.target.folder / "lethe-spool").rglob("*.native")) == []


def test_an_erasure_waits_for_a_batch_that_is_being_stored(
    place: Place, owner: Store, guest: Store, policy: Policy, bare_core: Core, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A batch that found no tombstone is inserted before one can be written, so the mask that follows finds its row."""
    raw = make_event(1)
    fate = process(raw, Source("raw", 0, 1, len(raw)), bare_core, Admission(latest_ms=now_ms() + 1000))
    assert isinstance(fate, Anonymized)
    request_id = fate.operational.request_id
    records = Records(content=[fate.content] if fate.content else [])
    target = StoreTarget(owner, policy, now_ms, partial(KEYS.suppression, Subject.REQUEST))
    monkeypatch.setattr(target, "turn", place.turn)
    ensure_tombstones(owner, 30 * DAY_MS)
    looked_up, go_on = threading.Event(), threading.Event()
    insert = owner.insert

    def slow(*arguments: Any) -> None:
        looked_up.set()
        assert go_on.wait(10)
        insert(*arguments)

    monkeypatch.setattr(owner, "insert", slow)

    def erase() -> int:
        add_tombstones(guest, [KEYS.suppression(Subject.REQUEST, request_id)], now_ms(), is_whole=False)
        return mask_records(guest, make_tables(schemas_of(policy), policy.sinks)[0], [request_id])

    with ThreadPoolExecutor(2) as aside:
        stored = aside.submit(target.write, records)
        assert looked_up.wait(10)
        erased = aside.submit(erase)
        assert waits(erased, patience_s=1.0)
        go_on.set()
        stored.result(10)
        assert erased.result(10) == 1
    assert owner.query("SELECT count() FROM content").rows == [(0,)]
    assert target.write(records)["content"].erased == 1


def test_an_owner_that_ends_answers_first(place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Closing waits for the statement under way; whoever asks afterwards is told that nobody answers."""
    monkeypatch.setattr(StoreServer, "connect", lambda _: Engine(place.target.folder.resolve(), SETTINGS))
    server = StoreServer(tmp_path, threading.Lock(), place.lines.append)
    busy, idle = (connect(EmbeddedTarget(tmp_path, "lethe")) for _ in range(2))
    with ThreadPoolExecutor(1) as aside:
        answer = aside.submit(busy.query, "SELECT sleep(1)")
        assert waits(answer)
        server.close()
        assert answer.result(0.5).rows == [(0,)]
    with pytest.raises(SinkUnavailable, match="cannot be reached"):
        idle.query("SELECT 1")
    assert dial(tmp_path, "it") is None


def test_a_folder_that_cannot_be_listened_in_is_said(tmp_path: Path) -> None:
    """The owner goes on, and says that others cannot work beside it."""
    (tmp_path / "lethe-socket").write_text("no folder")
    lines: list[str] = []
    with served(EmbeddedTarget(tmp_path, "lethe"), threading.Lock(), lines.append):
        pass
    assert lines == [
        "no other command can work on this store meanwhile: it cannot be listened in its folder: Not a directory"
    ]


def test_nobody_is_led_to_another_folder(tmp_path: Path) -> None:
    """A link in the place of the socket's folder is not followed: what it leads to keeps its mode and what it holds."""
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir(mode=0o755)
    (elsewhere / "socket").write_text("of somebody")
    (tmp_path / "lethe-socket").symlink_to(elsewhere)
    lines: list[str] = []
    with served(EmbeddedTarget(tmp_path, "lethe"), threading.Lock(), lines.append):
        pass
    forget_stale(tmp_path)
    assert len(lines) == 1
    assert (stat.S_IMODE(elsewhere.stat().st_mode), (elsewhere / "socket").read_text()) == (0o755, "of somebody")


def test_another_users_folder_is_not_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever made the socket's folder before could put another socket there."""
    (tmp_path / "lethe-socket").mkdir()
    stranger = os.geteuid() + 1
    monkeypatch.setattr("pipeline.store.rendezvous.os.geteuid", lambda: stranger)
    with pytest.raises(PermissionError):
        listen(tmp_path)


@pytest.mark.parametrize("head", [b"", b"Content-Type: application/octet-stream\r\n"])
def test_half_a_request_has_no_turn(place: Place, head: bytes) -> None:
    """Whoever begins a statement or an insert and says no more holds up nobody: the turn is taken for what is whole."""
    connection = dial(place.target.folder, "it")
    assert connection is not None
    with connection:
        connection.sendall(
            b"POST / HTTP/1.1\r\n" + head + b"Content-Length: 1000\r\n\r\nINSERT INTO t (`a`) FORMAT Native\n"
        )
        time.sleep(0.1)
        assert place.turn.acquire(timeout=1)
        place.turn.release()


NAMES = st.text("abcdefghijklmnopqrstuvwxyz_0123456789", min_size=1, max_size=12)


def headers_of(**given_: str) -> Message:
    """Return headers of a request."""
    message = Message()
    for name, value in given_.items():
        message[name.replace("_", "-")] = value
    return message


@given(fields=st.dictionaries(NAMES, st.text(max_size=60), min_size=1, max_size=4))
def test_forms_are_read_as_they_were_written(fields: dict[str, str]) -> None:
    """Whatever a parameter holds, line ends and quotes too."""
    body, content_type = encode_multipart_formdata(fields)
    assert read_form(content_type, body) == fields


@given(pieces=st.lists(st.binary(min_size=1, max_size=40), max_size=6), bytes_max=st.integers(0, 300))
def test_bodies_are_read_up_to_a_limit(pieces: list[bytes], bytes_max: int) -> None:
    """By length or chunked, to the last byte and no further; more than the limit is refused."""
    whole = b"".join(pieces)
    chunked = b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"
    cases = [(headers_of(Content_Length=str(len(whole))), whole), (headers_of(Transfer_Encoding="chunked"), chunked)]
    for headers, sent in cases:
        file = BytesIO(sent + b"next")
        if len(whole) > bytes_max:
            with pytest.raises(Malformed):
                list(read_body(headers, file, bytes_max))
        else:
            assert b"".join(read_body(headers, file, bytes_max)) == whole
            assert file.read() == b"next"


@given(
    data=st.binary(max_size=200),
    content_type=st.sampled_from(("", "multipart/form-data; boundary=x", "multipart/form-data")),
)
def test_what_is_no_request_is_refused(data: bytes, content_type: str) -> None:
    """Nothing but a refusal comes of bytes that nobody meant."""
    for read in (
        lambda: read_statement(content_type, data, {}),
        lambda: list(read_body(headers_of(Transfer_Encoding="chunked"), BytesIO(data), 100)),
        lambda: spool_rows(iter([data]), BytesIO()),
    ):
        try:
            read()
        except Malformed:
            continue


def test_rows_come_behind_their_statement() -> None:
    """Cut anywhere, the statement is told from the rows."""
    sent = b"INSERT INTO `d`.`t` (`a`) FORMAT Native\n\x01\n\x02"
    for cut in range(1, len(sent)):
        file = BytesIO()
        assert spool_rows(iter([sent[:cut], sent[cut:]]), file) == "INSERT INTO `d`.`t` (`a`)"
        assert file.getvalue() == b"\x01\n\x02"
