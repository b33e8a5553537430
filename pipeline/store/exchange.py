"""One command's conversation with the process that has its store open: as much of ClickHouse's HTTP as the driver uses.

A statement comes as the body or as a form with its parameters, rows of an insert as the body behind their statement.
Answers are blocks of ClickHouse's native format, or an error code; no text of the engine leaves it. Nothing is logged.
"""

import re
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import closing, nullcontext
from email.message import Message
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from threading import Lock
from typing import Any, BinaryIO, NamedTuple, Protocol
from urllib.parse import parse_qsl, urlsplit

from pipeline.store.engine import Engine, Refused

STATEMENT_BYTES_MAX = 16 << 20
INSERT_BYTES_MAX = 256 << 20
SILENCE_S = 60.0
"""A command that says nothing, or takes nothing, for so long is cut off; the driver dials anew when it goes on."""
_PIECE_BYTES = 1 << 20
_LINE_BYTES_MAX = 1 << 16
_READS = re.compile(r"\s*(?:SELECT|WITH|SHOW|DESCRIBE|EXISTS)\b", re.IGNORECASE)
_NATIVE = re.compile(r"\bFORMAT\s+Native\s*\Z", re.IGNORECASE)
_INSERT = re.compile(rb"(INSERT INTO [^\n]{1,60000}) FORMAT Native\n", re.ASCII)
_DATABASE = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}", re.ASCII)
_FIELD = re.compile(rb'name="([A-Za-z0-9_]{1,64})"', re.ASCII)
_CODE_HEADER = "X-ClickHouse-Exception-Code"
_PARAMETER = "param_"


class Malformed(Exception):  # noqa: N818 - as InvalidEvent
    """What came is no request of the driver's."""


class Statement(NamedTuple):
    """What a command asks.

    Attributes:
        sql: the statement.
        parameters: values by name, as the driver writes them.
    """

    sql: str
    parameters: Mapping[str, str]

    @property
    def changes(self) -> bool:
        """Whether it may change something."""
        return not _READS.match(self.sql)


class Owner(Protocol):
    """What a conversation needs of the process that has the store open (`pipeline.store.serving`)."""

    spool: Path
    turn: Lock

    def connect(self) -> Engine:
        """Return a connection of the conversation's own."""
        ...


class Exchange(BaseHTTPRequestHandler):
    """Answers the requests of one connection, one after the other."""

    protocol_version = "HTTP/1.1"
    timeout = SILENCE_S
    server: Owner  # type: ignore[assignment] - it is no server of the standard library's

    def setup(self) -> None:
        """Connect to the engine."""
        super().setup()
        self._engine = self.server.connect()
        self._database = ""

    def finish(self) -> None:
        """Disconnect, whatever happened."""
        self._engine.close()
        super().finish()

    def do_POST(self) -> None:
        """Answer a statement."""
        code = None
        try:
            self._answer()
        except Malformed:
            code = 0
        except Refused as refused:
            code = refused.code
        if code is not None:
            self.close_connection = self.close_connection or code == 0
            self.send_response(HTTPStatus.INTERNAL_SERVER_ERROR)
            self.send_header(_CODE_HEADER, str(code))
            self._end(b"")

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class's name
        """Log nothing: a request has statements."""

    def _answer(self) -> None:
        options = dict(parse_qsl(urlsplit(self.path).query, keep_blank_values=True))
        self._use(options.get("database", ""))
        if self.headers.get("Content-Type") == "application/octet-stream":
            self._insert()
            return
        body = b"".join(read_body(self.headers, self.rfile, STATEMENT_BYTES_MAX))
        statement = read_statement(self.headers.get("Content-Type") or "", body, options)
        with self.server.turn if statement.changes else nullcontext():
            if _NATIVE.search(statement.sql):
                self._stream(statement)
            else:
                self._whole(self._engine.run(*statement))

    def _use(self, database: str) -> None:
        if database and database != self._database:
            if not _DATABASE.fullmatch(database):
                raise Malformed
            self._engine.use(database)
            self._database = database

    def _insert(self) -> None:
        """Spool the rows beside the store, where the driver spools this process's own, and have the engine read them."""
        self.server.spool.mkdir(mode=0o700, parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=self.server.spool, suffix=".native") as file:
            sql = spool_rows(read_body(self.headers, self.rfile, INSERT_BYTES_MAX), file)
            file.flush()
            name = file.name.replace("\\", "\\\\").replace("'", "\\'")
            with self.server.turn:
                self._engine.run(f"{sql} FROM INFILE '{name}' FORMAT Native", {})
        self._whole(b"")

    def _stream(self, statement: Statement) -> None:
        with closing(self._engine.stream(*statement)) as blocks:
            first = next(blocks, b"")  # a statement that is refused at once is answered with its code
            self.send_response(HTTPStatus.OK)
            self.send_header("X-ClickHouse-Format", "Native")
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            try:
                self._chunk(first)
                for block in blocks:
                    self._chunk(block)
            except Refused:  # what was sent is no whole answer: without its end, the driver says so
                self.close_connection = True
                return
            self.wfile.write(b"0\r\n\r\n")

    def _chunk(self, block: bytes) -> None:
        if block:
            self.wfile.write(b"%x\r\n" % len(block))
            self.wfile.write(block)
            self.wfile.write(b"\r\n")

    def _whole(self, answer: bytes) -> None:
        self.send_response(HTTPStatus.OK)
        if answer:
            self.send_header("X-ClickHouse-Format", "TabSeparated")
        self._end(answer)

    def _end(self, answer: bytes) -> None:
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)


def read_statement(content_type: str, body: bytes, options: Mapping[str, str]) -> Statement:
    """Return the statement of a request: its body, or a field of its form, with parameters there or in the address.

    Raises:
        Malformed: there is none.
    """
    fields = dict(options)
    if content_type.startswith("multipart/form-data"):
        fields |= read_form(content_type, body)
    elif body:
        fields["query"] = _text(body)
    if not fields.get("query"):
        raise Malformed
    parameters = {
        name.removeprefix(_PARAMETER): value for name, value in fields.items() if name.startswith(_PARAMETER)
    }
    return Statement(fields["query"], parameters)


def read_form(content_type: str, body: bytes) -> dict[str, str]:
    """Return the fields of a multipart form (RFC 7578), as the driver's client writes one.

    Raises:
        Malformed: it is none.
    """
    delimiter = b"--" + content_type.partition("boundary=")[2].strip('"').encode()
    parts = (b"\r\n" + body).split(b"\r\n" + delimiter)
    if len(delimiter) == len(b"--") or not parts[-1].startswith(b"--"):
        raise Malformed
    fields = {}
    for part in parts[1:-1]:
        head, _, value = part.partition(b"\r\n\r\n")
        name = _FIELD.search(head)
        if name is None:
            raise Malformed
        fields[name[1].decode()] = _text(value)
    return fields


def spool_rows(pieces: Iterator[bytes], file: BinaryIO | Any) -> str:
    """Write the rows of an insert into a file, and return its statement up to where the rows begin.

    Raises:
        Malformed: no such statement is before them.
    """
    begin = b""
    for piece in pieces:
        begin += piece
        if b"\n" in begin or len(begin) > _LINE_BYTES_MAX:
            break
    found = _INSERT.match(begin)
    if found is None:
        raise Malformed
    file.write(begin[found.end() :])
    for piece in pieces:
        file.write(piece)
    return _text(found[1])


def read_body(headers: Message, file: BinaryIO, bytes_max: int) -> Iterator[bytes]:
    """Yield the body of a request in pieces, by its length or as it is chunked (RFC 9112).

    Raises:
        Malformed: it ends early, is too large, or is neither.
    """
    left = bytes_max
    for size in _sizes(headers, file):
        left -= size
        if left < 0:
            raise Malformed
        for begin in range(0, size, _PIECE_BYTES):
            wanted = min(_PIECE_BYTES, size - begin)
            piece = file.read(wanted)
            if len(piece) < wanted:
                raise Malformed
            yield piece


def _sizes(headers: Message, file: BinaryIO) -> Iterator[int]:
    """Yield the sizes of what comes next; between two of them the reader has read that much."""
    if headers.get("Transfer-Encoding") != "chunked":
        yield _number(headers.get("Content-Length") or "", 10)
        return
    while size := _number(_text(file.readline(_LINE_BYTES_MAX)).strip(), 16):
        yield size
        file.readline(_LINE_BYTES_MAX)
    file.readline(_LINE_BYTES_MAX)


def _number(text: str, base: int) -> int:
    if not re.fullmatch(r"[0-9A-Fa-f]{1,12}", text, re.ASCII):
        raise Malformed
    try:
        return int(text, base)
    except ValueError:
        pass
    raise Malformed


def _text(data: bytes) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError:
        pass
    raise Malformed
