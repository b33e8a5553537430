"""One command's conversation with the process that has its store open: as much of ClickHouse's HTTP as the driver uses.

Answers are blocks of ClickHouse's native format, or an error code; no text of the engine leaves it. Nothing is logged.
"""

import re
import secrets
import tempfile
from contextlib import closing, nullcontext
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from threading import Lock
from typing import Any, Protocol, cast
from urllib.parse import parse_qsl, urlsplit

from pipeline.store.engine import Engine, Refused
from pipeline.store.request import Malformed, Statement, late_refusal, read_body, read_statement, spool_rows

STATEMENT_BYTES_MAX = 16 << 20
INSERT_BYTES_MAX = 256 << 20
SILENCE_S = 60.0
"""A command that says nothing, or takes nothing, for so long is cut off; the driver dials anew when it goes on."""
_DATABASE = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}", re.ASCII)
_CODE_HEADER = "X-ClickHouse-Exception-Code"


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

    def setup(self) -> None:
        """Connect to the engine."""
        super().setup()
        self._engine = self._owner.connect()
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

    @property
    def _owner(self) -> Owner:
        return cast("Owner", self.server)

    def _answer(self) -> None:
        options = dict(parse_qsl(urlsplit(self.path).query, keep_blank_values=True))
        if self.headers.get("Content-Type") == "application/octet-stream":
            self._insert()
            return
        body = b"".join(read_body(self.headers, self.rfile, STATEMENT_BYTES_MAX))
        statement = read_statement(self.headers.get("Content-Type") or "", body, options)
        self._use(options.get("database", ""))
        if statement.is_native and not statement.changes:
            self._stream(statement)
            return
        with self._owner.turn if statement.changes else nullcontext():
            answer = self._engine.run(*statement)
        self._whole(answer)

    def _use(self, database: str) -> None:
        if database and database != self._database:
            if not _DATABASE.fullmatch(database):
                raise Malformed
            self._engine.use(database)
            self._database = database

    def _insert(self) -> None:
        """Spool the rows where the driver spools those of this process, and have the engine read them."""
        self._owner.spool.mkdir(mode=0o700, parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=self._owner.spool, suffix=".native") as file:
            sql = spool_rows(read_body(self.headers, self.rfile, INSERT_BYTES_MAX), file)
            file.flush()
            name = file.name.replace("\\", "\\\\").replace("'", "\\'")
            with self._owner.turn:
                self._engine.run(f"{sql} FROM INFILE '{name}' FORMAT Native", {})
        self._whole(b"")

    def _stream(self, statement: Statement) -> None:
        with closing(self._engine.stream(*statement)) as blocks:
            first = next(blocks, b"")  # a statement that is refused at once is answered with its code
            self.send_response(HTTPStatus.OK)
            self.send_header("X-ClickHouse-Format", "Native")
            self.send_header("Transfer-Encoding", "chunked")
            self.send_header("X-ClickHouse-Exception-Tag", tag := secrets.token_hex(8))
            self.end_headers()
            try:
                self._chunk(first)
                for block in blocks:
                    self._chunk(block)
            except Refused as refused:
                self._chunk(late_refusal(refused.code, tag))
                self.close_connection = True  # an answer without its end is none
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
