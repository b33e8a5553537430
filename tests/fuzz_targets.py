"""What `make fuzz` throws bytes at: each reader of lethe, what it is begun with, and what must be so whatever comes.

A target takes bytes and returns; whatever it raises is a finding. Errors that a reader is said to raise are checked
here: their text must not have the marker, which stands in mutated inputs in many places and is no text of ours.
"""

import base64
import gzip
import http.client
import logging
import os
import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import orjson
import zstandard
from conftest import CACHE_DIR, KEYS, RECEIVED_AT_MS, NoDetector
from corpus_loader import load_labelled
from test_envelopes import KEY, sealed
from test_golden import CASES, load, raw_of

from pipeline.anonymize import Admission, Core, make_core, process
from pipeline.applied import decode_applied
from pipeline.archive.decode import NotARecord, decoders
from pipeline.audit.entry import parse_entry
from pipeline.cli.scan import _entry, _Scanner
from pipeline.codec import encode
from pipeline.config import load_settings
from pipeline.detect.detector import make_detector
from pipeline.errors import PipelineError
from pipeline.inputs import DamagedInput, Inputs
from pipeline.keys import envelopefile, keyformat, provider, sealfile, signingfile
from pipeline.page.play import Playground
from pipeline.page.play_page import play_page
from pipeline.page.server import Pages, PageServer
from pipeline.policy.load import load_policy
from pipeline.receipts.model import ReceiptFault
from pipeline.receipts.signed import verify
from pipeline.records import Anonymized, Source
from pipeline.recovery.redacted import Redactor
from pipeline.store import open_store
from pipeline.store.opening import open_existing
from pipeline.store.serving import served
from pipeline.store.url import EmbeddedTarget
from pipeline.suppress import ControlFault, decode_entry
from pipeline.synth import generate_events
from pipeline.wire import content_bytes, operational_bytes, rejection_bytes
from pipeline.worker.health import HealthServer

MARKER = b"zqfuzz7f3acanary"
"""Put into inputs. Where content may not be, it may not be either."""
SPEND_LOG = "spend_log/v1/event.schema.json"
LATEST = Admission(latest_ms=RECEIVED_AT_MS + 300_000)
_EVERY = 50
"""After so many inputs a server is asked something that it must answer."""


class Broken(AssertionError):  # noqa: N818 - a judgement
    """Something that must be so whatever comes is not."""


class Target(NamedTuple):
    """Something that reads bytes.

    Attributes:
        name: of it.
        seeds: what mutations begin with.
        read: takes an input; raises where something is wrong.
    """

    name: str
    seeds: Sequence[bytes]
    read: Callable[[bytes], None]


def absent(where: str, *texts: bytes | str) -> None:
    """Fail where the marker is in a text."""
    for text in texts:
        if MARKER in (text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text):
            raise Broken(f"the marker is in {where}")


@contextmanager
def allowed(*kinds: type[PipelineError]) -> Iterator[None]:
    """Let errors of these kinds pass, when neither their text nor what is behind them has the marker."""
    try:
        yield
    except kinds as error:
        behind: BaseException | None = error
        while behind is not None:
            absent(f"the text of {type(behind).__name__}", f"{behind!r} {behind}")
            behind = behind.__cause__ or behind.__context__


def targets(stack: ExitStack, folder: Path) -> list[Target]:
    """Return all targets; servers run until the stack is closed, files are in the folder."""
    logging.disable(logging.CRITICAL)
    policy = load_policy()
    detector = make_detector(policy, CACHE_DIR)
    bare, whole = (make_core(policy, one, KEYS, None, KEY) for one in (NoDetector(), detector))
    spend = load_policy(event=SPEND_LOG)
    cases = [(load(path), path) for path in CASES]
    events = [raw_of(case) for case, _ in cases if not {"shape", "limits"} & set(case)]
    spends = [raw_of(case) for case, _ in cases if "shape" in case]
    events += [encode(one.event) for one in generate_events(seed=5, count=200, start_ms=RECEIVED_AT_MS, rate_per_s=50)]
    events = [raw for raw in events if len(raw) < 60_000]
    fates = [process(raw, Source("raw", 0, at, len(raw)), bare, LATEST) for at, raw in enumerate(events)]
    texts = [part.text.encode() for part in load_labelled()]
    return [
        Target("event", events, _event(whole)),
        Target("event without detection", events, _event(bare)),
        Target("event of another shape", spends, _event(make_core(spend, NoDetector(), KEYS))),
        Target("envelope", [sealed(raw) for raw in events[:40]], _event(bare)),
        Target("redacted look at raw", events, _redacted(Redactor(policy, KEY))),
        Target("record of a topic", [*_records(fates)], _record(policy)),
        Target("control and applied", [*_entries()], _control(policy)),
        Target("text", texts, _text(_Scanner(policy, detector))),
        Target("scan line", [orjson.dumps({"id": 1, "text": text.decode()}) for text in texts[:80]], _scan_line),
        Target("input file", [*_files(events[:30])], _input(folder / "input")),
        Target("key files", [*_key_files()], _key_file),
        Target("receipts, audit log, settings", [*_documents()], _document(policy, folder)),
        Target("health server", [*_requests()], _health(stack)),
        Target("page server", [*_forms(events[:20])], _page(stack, policy)),
        Target("store server", [*_statements()], _store(stack, folder)),
    ]


def _event(core: Core) -> Callable[[bytes], None]:
    def read(data: bytes) -> None:
        fate = process(data, Source("raw", 0, 7, len(data)), core, LATEST)
        if not isinstance(fate, Anonymized):
            absent("a rejection", rejection_bytes(fate), repr(fate))
            return
        absent("an operational record", operational_bytes(fate.operational), repr(fate))
        if fate.content is not None and not core.policy.content.is_valid(orjson.loads(content_bytes(fate.content))):
            raise Broken("a content record does not hold to its schema")

    return read


def _redacted(redactor: Redactor) -> Callable[[bytes], None]:
    return lambda data: absent("a redacted look", orjson.dumps(redactor.redact(data)))


def _records(fates: Sequence[Any]) -> Iterator[bytes]:
    for fate in fates:
        if isinstance(fate, Anonymized):
            yield operational_bytes(fate.operational)
            if fate.content is not None:
                yield content_bytes(fate.content)
        else:
            yield rejection_bytes(fate)


def _record(policy: Any) -> Callable[[bytes], None]:
    schemas = {"content": policy.content, "operational": policy.operational, "rejected": policy.rejection}
    decode = decoders(policy)

    def read(data: bytes) -> None:
        for sink, schema in schemas.items():
            for headers in ([("schema", f"{schema.name}/{schema.version}".encode())], [("schema", data[:40])]):
                with allowed(NotARecord):
                    decode[sink](data[20:56], data, headers)

    return read


def _entries() -> Iterator[bytes]:
    entry = {"version": 1, "id": "0192f0c1-a2b3-7c4d-8e5f-60718293a4b5", "action": "erase", "subject": "account"}
    yield orjson.dumps(entry | {"pseudonym": "s1:" + "0" * 64, "requested_at": "2026-11-23T10:00:00.000Z"})
    yield orjson.dumps({"schema_version": 1, "reader": "faust-1", "partition": 0, "offset": 12})


def _control(policy: Any) -> Callable[[bytes], None]:
    def read(data: bytes) -> None:
        with allowed(ControlFault):
            decode_entry(data, policy.control)
        decode_applied(data, policy.applied)

    return read


def _text(scanner: _Scanner) -> Callable[[bytes], None]:
    def read(data: bytes) -> None:
        text = data.decode("utf-8", "replace")
        spans = scanner.find(text)
        if any(not 0 <= span.start < span.end <= len(text) for span in spans):
            raise Broken("a span is not within its text")
        if any(before.end > after.start for before, after in pairwise(spans)):
            raise Broken("spans overlap")
        scanner.redact(text, spans)

    return read


def _scan_line(data: bytes) -> None:
    entry = _entry(data)
    if entry is not None and not isinstance(entry["text"], str):
        raise Broken("an entry without a text")


def _files(events: Sequence[bytes]) -> Iterator[bytes]:
    lines = b"\n".join(event.replace(b"\n", b" ") for event in events)
    yield from (lines, gzip.compress(lines), zstandard.compress(lines), gzip.compress(b"") + gzip.compress(lines[:999]))


def _input(path: Path) -> Callable[[bytes], None]:
    def read(data: bytes) -> None:
        path.write_bytes(data)
        with allowed(DamagedInput):
            for event in Inputs([str(path)], line_bytes_max=20_000).events():
                if len(event.raw) > 20_000:
                    raise Broken("a line is longer than it may be")

    return read


def _key_files() -> Iterator[bytes]:
    key = base64.b64encode(b"k" * 32).decode()
    epoch = {"name": "e1", "valid_from": "1970-01-01T00:00:00.000Z", "key": key}
    other = base64.b64encode(b"o" * 32).decode()
    yield orjson.dumps({"version": 1, "epochs": [epoch], "days": {"2026-11-23": other}, "suppression": key})
    yield orjson.dumps({"version": 1, "days": {"2026-11-23": {"id": "7f3a91c2", "key": key}}})
    yield orjson.dumps({"version": 1, "kek": key})
    yield orjson.dumps({"version": 1, "x25519": [key, other]})
    yield orjson.dumps({"version": 1, "ed25519": key})


def _key_file(data: bytes) -> None:
    with allowed(PipelineError):
        keyformat.decode_keyring(data, "the file")
    with allowed(PipelineError):
        sealfile._decode(data)
    provider._decode(data)
    envelopefile._decode(data)
    signingfile._decode(data)


def _documents() -> Iterator[bytes]:
    yield b'keys = "a.json"\nbatch_events_max = 100\nseal = true\nadmission = "24h"\n'
    yield b'{"receipt":{"version":1,"id":"1","action":"erase","places":[]},"signature":"00"}'
    yield b'{"action":"open","at":"2026-11-23T10:00:00.000Z","hash":"00","sequence":0}'


def _document(policy: Any, folder: Path) -> Callable[[bytes], None]:
    path = folder / "lethe.toml"

    def read(data: bytes) -> None:
        with allowed(ReceiptFault):
            verify(data, "0" * 64)
        said = parse_entry(data, policy.audit)
        if isinstance(said, str):
            absent("what is wrong with an entry", said)
        path.write_bytes(data.replace(MARKER, MARKER + b"!"))  # the name of an unknown setting is said, a value is not
        with allowed(PipelineError):
            load_settings({}, path)
        with allowed(PipelineError):
            load_settings({"LETHE_ADMISSION": data.decode("utf-8", "replace"), "LETHE_SEAL": "true"}, folder / "none")

    return read


def _requests() -> Iterator[bytes]:
    yield b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    yield b"HEAD /healthz HTTP/1.0\r\n\r\n"
    yield b"POST /readyz HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc"


def _health(stack: ExitStack) -> Callable[[bytes], None]:
    pages = {"/healthz": lambda: (200, "text/plain", b"ok\n"), "/metrics": lambda: (200, "text/plain", b"a 1\n")}
    server = stack.enter_context(HealthServer(("127.0.0.1", 0), pages))
    place: Any = server.address
    calls = iter(range(1 << 60))

    def read(data: bytes) -> None:
        absent("an answer", _said(socket.AF_INET, place, data))
        if next(calls) % _EVERY == 0:
            asked = http.client.HTTPConnection(place[0], place[1], timeout=5)
            asked.request("GET", "/healthz")
            if asked.getresponse().read() != b"ok\n":
                raise Broken("the server does not answer any more")
            asked.close()

    return read


_PAGE_TOKEN, _PAGE_HOST = "t" * 32, "127.0.0.1:1"


def _forms(events: Sequence[bytes]) -> Iterator[bytes]:
    head = f"/{_PAGE_TOKEN}/try HTTP/1.1\r\nHost: {_PAGE_HOST}\r\n".encode()
    yield from (b"GET " + head + b"\r\n", b"GET /x HTTP/1.0\r\n\r\n")
    kind = b"Origin: http://%b\r\nContent-Type: multipart/form-data; boundary=b\r\n" % _PAGE_HOST.encode()
    for event in events:
        body = b'--b\r\nContent-Disposition: form-data; name="event"\r\n\r\n' + event + b"\r\n--b--\r\n"
        yield b"POST " + head + kind + b"Content-Length: %d\r\n\r\n" % len(body) + body


def _page(stack: ExitStack, policy: Any) -> Callable[[bytes], None]:
    """Serve the playground under a token and name that seeds have; a refusal says nothing of what was asked."""
    playground = Playground(policy, NoDetector(), KEYS, lambda: LATEST)
    pages = Pages(
        b"policy", lambda text, play: play_page(policy, text, play, {}).encode(), str, playground.play, 100_000
    )
    server = stack.enter_context(PageServer("127.0.0.1", 0, pages))
    place: Any = server.server_address
    server.token, server.hosts = _PAGE_TOKEN, frozenset({_PAGE_HOST})
    threading.Thread(target=server.serve, daemon=True).start()
    stack.callback(server.shutdown)
    calls = iter(range(1 << 60))

    def read(data: bytes) -> None:
        answer = _said(socket.AF_INET, place, data)
        if b" 200 " not in answer[:20]:
            absent("a refusal", answer)
        if next(calls) % _EVERY == 0 and b" 200 " not in _said(socket.AF_INET, place, next(_forms(())))[:20]:
            raise Broken("the server does not answer any more")

    return read


def _statements() -> Iterator[bytes]:
    for kind, body in (("text/plain", b"SELECT 1"), ("", b"SELECT count() FROM content FORMAT Native")):
        head = b"POST /?database=lethe&param_a=1 HTTP/1.1\r\nHost: localhost\r\nContent-Type: %b\r\n" % kind.encode()
        yield head + b"Content-Length: %d\r\nConnection: close\r\n\r\n%b" % (len(body), body)
    yield b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n8\r\nSELECT 1\r\n0\r\n\r\n"


def _store(stack: ExitStack, folder: Path) -> Callable[[bytes], None]:
    """Serve a store of its own; whatever a statement may do to it, commands go on to be answered."""
    where = folder / "store"
    stack.enter_context(open_store(f"chdb:{where}", now_ms=RECEIVED_AT_MS, own=True))
    said: list[str] = []
    stack.enter_context(served(EmbeddedTarget(where, "lethe"), threading.Lock(), said.append))
    (place,) = [str(path) for path in where.rglob("*") if path.is_socket()] or [""]
    calls = iter(range(1 << 60))

    def read(data: bytes) -> None:
        _said(socket.AF_UNIX, place, data)
        absent("the owner's log", *said)
        if said:
            raise Broken(said.pop())
        if next(calls) % _EVERY == 0:
            with open_existing(f"chdb:{where}", now_ms=RECEIVED_AT_MS) as store:
                if store.query("SELECT 1").rows[0][0] != 1:
                    raise Broken("the store does not answer any more")

    return read


def _said(family: int, place: Any, data: bytes) -> bytes:
    """Send bytes and half-close; return the answer, of any kind, and fail where there is no end to it."""
    with socket.socket(family) as client:
        client.settimeout(8)
        client.connect(place)
        answer = b""
        with suppress(BrokenPipeError, ConnectionResetError):  # it may have heard enough
            client.sendall(data)
            client.shutdown(socket.SHUT_WR)
            while (part := client.recv(1 << 16)) and len(answer) < 1 << 20:
                answer += part
        return answer


def resident_bytes() -> int:
    """Return the memory of this process."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE")
