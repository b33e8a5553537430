"""Looks for a term in living content, for the abuse desk: in what bodies say, once they are opened."""

from collections.abc import Iterator
from typing import Any, NamedTuple

import orjson

from pipeline.codec import texts_of
from pipeline.errors import KeyringError
from pipeline.rights.term import Find
from pipeline.seal import Opener
from pipeline.store.client import Store
from pipeline.store.ddl import Table
from pipeline.store.reading import Selection, Stored, open_body, partitions_of, read_content

_AROUND_CHARS = 60
_TERM_CHARS_MAX = 200


class Hit(NamedTuple):
    """A record in which the term is.

    Attributes:
        request_id: whose.
        minute: when the request came in.
        snippet: the text around its first place there, as it is stored: anonymized.
    """

    request_id: str
    minute: str
    snippet: str

    def __repr__(self) -> str:
        return f"Hit({self.request_id})"


class Search:
    """One search.

    Attributes:
        scanned: how many records were looked through so far.
        closed: how many could not be opened.
        why_closed: the reason of the last of them.
    """

    def __init__(self, store: Store, table: Table, opener: Opener, find: Find) -> None:
        """Take an open store, its table of content, what opens bodies, and what finds the term."""
        self.scanned = self.closed = 0
        self.why_closed = ""
        self._store = store
        self._table = table
        self._opener = opener
        self._find = find

    def run(self, selection: Selection) -> Iterator[Hit]:
        """Yield the records that have the term, the newest day first; whoever has enough stops asking.

        Content whose day key is destroyed is counted as closed: the rest of it goes within the day.

        Raises:
            SinkUnavailable: the store did not answer, or refused.
        """
        for partition in partitions_of(self._store, self._table, selection):
            for records in read_content(self._store, self._table, partition, selection):
                for record in records:
                    body = self._open(record)
                    snippet = None if body is None else self._snippet(orjson.loads(body))
                    if snippet is not None:
                        yield Hit(record.request_id, str(record.fields["received_at"]), snippet)

    def _open(self, record: Stored) -> bytes | None:
        try:
            body = open_body(self._opener, record)
        except KeyringError as error:
            self.closed, self.why_closed = self.closed + 1, str(error)
            return None
        self.scanned += 1
        return body

    def _snippet(self, body: Any) -> str | None:
        """Return the text around the term's first place in a body, None where it has none."""
        for text in texts_of(body):
            place = self._find(text)
            if place is not None:
                start = max(0, place[0] - _AROUND_CHARS)
                end = min(place[1], place[0] + _TERM_CHARS_MAX) + _AROUND_CHARS
                return f"{'…' if start else ''}{text[start:end]}{'…' if end < len(text) else ''}"
        return None
