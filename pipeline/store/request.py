"""Requests of the driver over HTTP, read. Pure.

A statement comes as the body or as a form with its parameters; rows of an insert as the body, behind their statement.
"""

import re
from collections.abc import Iterator, Mapping
from email.message import Message
from io import BufferedIOBase
from typing import Any, NamedTuple

_PIECE_BYTES = 1 << 20
_LINE_BYTES_MAX = 1 << 16
_READS = re.compile(r"\s*(?:SELECT|WITH|SHOW|DESCRIBE|EXISTS)\b", re.IGNORECASE)
_NATIVE = re.compile(r"\bFORMAT\s+Native\s*\Z", re.IGNORECASE)
_INSERT = re.compile(rb"(INSERT INTO [^\n]{1,60000}) FORMAT Native\n", re.ASCII)
_FIELD = re.compile(rb'name="([A-Za-z0-9_]{1,64})"', re.ASCII)
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

    @property
    def is_native(self) -> bool:
        """Whether its answer is in blocks of the native format."""
        return bool(_NATIVE.search(self.sql))


def late_refusal(code: int, tag: str) -> bytes:
    """Return what ClickHouse ends an answer with that fails after its begin, with the code for a message."""
    message = f"Code: {code}."
    return f"\r\n__exception__\r\n{tag}\r\n{message}\n{len(message) + 1} {tag}\r\n__exception__\r\n".encode()


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
    parameters = {name.removeprefix(_PARAMETER): value for name, value in fields.items() if name.startswith(_PARAMETER)}
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


def spool_rows(pieces: Iterator[bytes], file: Any) -> str:
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


def read_body(headers: Message, file: BufferedIOBase, bytes_max: int) -> Iterator[bytes]:
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


def _sizes(headers: Message, file: BufferedIOBase) -> Iterator[int]:
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
