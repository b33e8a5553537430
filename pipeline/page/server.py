"""Serves the policy page and its playground to who started it, and to nobody else.

Another site's page in the same browser can send requests to a port of this machine, even under a name of its own that
it has resolve to it. So a request must name this server as its host, know the token in the path, and, where it sends
an event, come from a page of this server. Nothing is logged, and no answer may be stored.
"""

import re
import secrets
from collections.abc import Callable
from contextlib import suppress
from hmac import compare_digest
from http import HTTPStatus
from http.client import HTTP_PORT
from pathlib import PurePosixPath
from typing import NamedTuple

from pipeline.boundedserver import TEXT_TYPE, BoundedServer, TerseHandler, listen
from pipeline.errors import describe
from pipeline.page.formdata import event_of
from pipeline.page.play import Play
from pipeline.page.play_page import PLACE

CONNECTIONS_MAX = 8
CONNECTION_S_MAX = 120.0
SILENCE_S_MAX = 10.0
PATIENCE_S = 30.0
"""How long an event waits for those before it."""
FORM_BYTES_MAX = 4096
"""More than a form adds to its event."""

_HTML = "text/html; charset=utf-8"
_TOKEN_BYTES = 24
_LOOK_S = 0.25
_LENGTH = re.compile(r"[0-9]{1,12}")
_PART_BYTES = 64 * 1024
_PASSED_OVER_BYTES_MAX = 64 * 1024 * 1024
_HEADERS = {
    "Cache-Control": "no-store",
    # Scripts are none; a page's own policy, in its head, names its style by its digest.
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; base-uri 'none'; "
    "frame-ancestors 'none'",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "same-origin",  # with none at all, a browser does not say where a form comes from
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}
_ADVICE = "choose another with --host and --port (0: any that is free)"


class Pages(NamedTuple):
    """What is served.

    Attributes:
        policy: the policy page.
        form: returns the playground's page with a text in its form and what became of that, if it was sent.
        example: returns an event to begin with.
        play: returns what becomes of an event; None where it would have to wait for longer than so many seconds.
        event_bytes_max: the largest event.
    """

    policy: bytes
    form: Callable[[str, Play | None], bytes]
    example: Callable[[], str]
    play: Callable[[bytes, float], Play | None]
    event_bytes_max: int


class PageServer(BoundedServer):
    """Listens from the moment it is made; `serve` answers."""

    def __init__(self, host: str, port: int, pages: Pages) -> None:
        """Listen, and draw the token.

        Args:
            host: an address of this machine.
            port: 0 for any that is free.
            pages: what is served.

        Raises:
            ConfigError: it cannot listen there.
        """
        listener = listen((host, port), _ADVICE)
        super().__init__(listener, _Handler, connections_max=CONNECTIONS_MAX, connection_s_max=CONNECTION_S_MAX)
        self.pages = pages
        self.token = secrets.token_urlsafe(_TOKEN_BYTES)
        name = f"[{host}]" if ":" in host else host
        at = "" if self.server_address[1] == HTTP_PORT else f":{self.server_address[1]}"  # as browsers write it
        self.hosts = frozenset({f"{name}{at}", f"localhost{at}"})
        self.url = f"http://{name}{at}/{self.token}/"

    def serve(self) -> None:
        """Answer until `shutdown` is called from another thread."""
        self.serve_forever(_LOOK_S)


class _Refused(Exception):  # noqa: N818 - an answer
    """A request that gets a status and nothing else."""

    def __init__(self, status: HTTPStatus) -> None:
        super().__init__(status.phrase)
        self.status = status


class _Handler(TerseHandler):
    """Answers one request."""

    server: PageServer
    timeout = SILENCE_S_MAX
    _left = 0

    def do_GET(self) -> None:  # noqa: N802 - the base class's name
        """Answer with a page."""
        self._answer(self._page)

    do_HEAD = do_GET  # noqa: N815 - the base class's name

    def do_POST(self) -> None:  # noqa: N802 - the base class's name
        """Answer with what becomes of an event."""
        said = self.headers.get("Content-Length", "")
        self._left = min(int(said), _PASSED_OVER_BYTES_MAX) if _LENGTH.fullmatch(said) else 0
        self._answer(self._played)

    def end_headers(self) -> None:
        """Send what every answer has."""
        for name, value in _HEADERS.items():
            self.send_header(name, value)
        super().end_headers()

    def _answer(self, make: Callable[[str], bytes]) -> None:
        try:
            body = make(self._place())
        except _Refused as refusal:
            self._pass_over()
            self.send_error(refusal.status)
        except ConnectionError:
            pass  # it went away
        except Exception as error:  # noqa: BLE001 - whatever it is, its text could hold anything
            self.answer(HTTPStatus.INTERNAL_SERVER_ERROR, TEXT_TYPE, f"failed: {describe(error)}\n".encode())
        else:
            self.answer(HTTPStatus.OK, _HTML, body)

    def _place(self) -> str:
        """Return the path below the token, once the request is one that may be answered."""
        if (self._only("Host") or "").lower() not in self.server.hosts:
            raise _Refused(HTTPStatus.MISDIRECTED_REQUEST)
        path = PurePosixPath(self.path.partition("?")[0])
        token = path.parts[1] if len(path.parts) > 1 else ""
        if not compare_digest(token.encode("utf-8", "replace"), self.server.token.encode()):
            raise _Refused(HTTPStatus.NOT_FOUND)
        return "/".join(path.parts[2:])

    def _page(self, place: str) -> bytes:
        pages = self.server.pages
        if not place:
            return pages.policy
        if place != PLACE:
            raise _Refused(HTTPStatus.NOT_FOUND)
        return pages.form(pages.example() if self.path.endswith("?example") else "", None)

    def _played(self, place: str) -> bytes:
        if place != PLACE:
            raise _Refused(HTTPStatus.NOT_FOUND)
        if self._only("Origin") != f"http://{self._only('Host')}" or self._elsewhere():
            raise _Refused(HTTPStatus.FORBIDDEN)
        body = self._body()
        raw = event_of(self._only("Content-Type") or "", body)
        del body
        if raw is None:
            raise _Refused(HTTPStatus.BAD_REQUEST)
        pages = self.server.pages
        play = pages.play(raw, PATIENCE_S)
        if play is None:
            raise _Refused(HTTPStatus.SERVICE_UNAVAILABLE)
        return pages.form(raw.decode("utf-8", "replace"), play)

    def _elsewhere(self) -> bool:
        """Tell whether a browser says that a request comes from another site's page."""
        return self._only("Sec-Fetch-Site") not in (None, "same-origin")

    def _body(self) -> bytes:
        said = self._only("Content-Length") or ""
        if not _LENGTH.fullmatch(said) or self.headers.get("Transfer-Encoding"):
            raise _Refused(HTTPStatus.LENGTH_REQUIRED)
        length = int(said)
        if length > self.server.pages.event_bytes_max + FORM_BYTES_MAX:
            raise _Refused(HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
        body = self.rfile.read(length)
        self._left = 0
        if len(body) != length:
            raise _Refused(HTTPStatus.BAD_REQUEST)
        return body

    def _pass_over(self) -> None:
        """Read what was not read, within bounds: a client that is cut off while it sends does not see the answer."""
        with suppress(OSError):
            while self._left > 0 and (part := self.rfile.read(min(self._left, _PART_BYTES))):
                self._left -= len(part)

    def _only(self, name: str) -> str | None:
        """Return a header that is there once; of two, which holds is anybody's guess."""
        values = self.headers.get_all(name) or []
        if len(values) > 1:
            raise _Refused(HTTPStatus.BAD_REQUEST)
        return values[0] if values else None
