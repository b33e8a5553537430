"""The policy page and its playground: all of the policy is there, and an event goes to nobody but who sent it."""

import gc
import http.client
import json
import logging
import re
import threading
from collections.abc import Iterator
from html import unescape
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from cli_fixtures import NOW_MS, make_event, make_lethe
from conftest import CACHE_DIR, NoDetector, base_event
from docs_parts import SPEND_LOG
from test_golden import CASES, load, raw_of

from pipeline import coarsen, useragent
from pipeline.cli import edge
from pipeline.cli import page as command
from pipeline.cli.sink import admitter
from pipeline.detect import needles
from pipeline.detect.spans import Detector
from pipeline.errors import ConfigError
from pipeline.keys.keyfile import draw_keyring
from pipeline.keys.keyformat import encode_keyring
from pipeline.keys.keyring import Keyring
from pipeline.page import play_page, server
from pipeline.page.example import example_event
from pipeline.page.formdata import event_of
from pipeline.page.html import Html, join, tag
from pipeline.page.play import DAYS_BACK, Playground
from pipeline.page.policy_page import policy_page
from pipeline.page.server import Pages, PageServer
from pipeline.policy.load import Policy, load_policy
from pipeline.records import Anonymized
from pipeline.retention import Kind, Verdict, judge, unseen

CANARY = "zq-canary-77c1"
BOUNDARY = "----boundary"
EVENT_BYTES_MAX = 200_000


class Text(HTMLParser):
    """The text of a page, without its style, and what each element's attributes are."""

    def __init__(self, page: str) -> None:
        """Read a page."""
        super().__init__()
        self.words: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.feed(page)

    def handle_starttag(self, name: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note an element."""
        self.tags.append((name, dict(attrs)))

    def handle_data(self, data: str) -> None:
        """Note a text."""
        if self.tags and self.tags[-1][0] != "style":
            self.words.append(data)


@pytest.fixture(scope="module")
def keys() -> Keyring:
    """Return keys as a playground draws them."""
    return draw_keyring(NOW_MS, DAYS_BACK)


def pages(policy: Policy, detector: Detector, keys: Keyring) -> Pages:
    """Return what is served, with the keys given."""
    playground = Playground(policy, detector, keys, admitter("file:", policy, lambda: NOW_MS))
    return Pages(
        b"the policy",
        lambda text, play: play_page.play_page(policy, text, play, {}).encode(),
        lambda: example_event(NOW_MS),
        playground.play,
        EVENT_BYTES_MAX,
    )


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let servers end quickly."""
    monkeypatch.setattr(server, "_LOOK_S", 0.01)


@pytest.fixture
def serving(policy: Policy, keys: Keyring, quick: None) -> Iterator[PageServer]:  # noqa: ARG001 - it only has to be
    """Serve the playground on a free port, without detection."""
    yield from served(pages(policy, NoDetector(), keys))


def served(what: Pages) -> Iterator[PageServer]:
    """Serve pages."""
    with PageServer("127.0.0.1", 0, what) as one:
        thread = threading.Thread(target=one.serve)
        thread.start()
        yield one
        one.shutdown()
        thread.join()


def form(raw: bytes) -> bytes:
    """Return an event in a form, as a browser sends it."""
    head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="event"\r\n\r\n'
    return head.encode() + raw + f"\r\n--{BOUNDARY}--\r\n".encode()


def ask(
    one: PageServer, method: str, path: str, body: bytes | None = None, /, **headers: str | None
) -> tuple[int, dict[str, str], str]:
    """Send what a browser would; headers that are None are left out."""
    host = one.url.split("/")[2]
    sent: dict[str, str | None] = {"Host": host}
    if method == "POST":
        kind = f"multipart/form-data; boundary={BOUNDARY}"
        sent |= {"Origin": f"http://{host}", "Content-Type": kind, "Sec-Fetch-Site": "same-origin"}
    sent |= {name.replace("_", "-"): value for name, value in headers.items()}
    client = http.client.HTTPConnection("127.0.0.1", one.server_address[1], timeout=20)
    client.putrequest(method, path, skip_host=True, skip_accept_encoding=True)
    for name, value in sent.items():
        if value is not None:
            client.putheader(name, value)
    if body is not None and "Content-Length" not in sent:
        client.putheader("Content-Length", str(len(body)))
    client.endheaders(body)
    answer = client.getresponse()
    said = answer.status, dict(answer.headers), answer.read().decode()
    client.close()
    return said


def play(one: PageServer, raw: bytes) -> str:
    """Send an event as its page does, and return the page that comes."""
    status, _, page = ask(one, "POST", f"/{one.token}/try", form(raw))
    assert status == 200
    return page


def records(page: str) -> list[bytes]:
    """Return the bytes of the records that a page shows."""
    found = re.findall(r"<details><summary>[^<]*</summary><pre>(.*?)</pre></details>", page, re.DOTALL)
    return [unescape(one).encode() for one in found]


@pytest.mark.parametrize("event", [None, SPEND_LOG])
def test_every_field_is_there_with_its_clause(event: str | None) -> None:
    """Each field of each shape stands once below its clause with its treatment and why; sinks and types are there."""
    policy = load_policy(event=event)
    page = str(policy_page(policy))
    for rule in policy.shape.rules.values():
        (body,) = re.findall(rf">Clause {rule.clause}<.*?</tbody>", page, re.DOTALL)
        (row,) = re.findall(rf"<code>{re.escape(str(join([rule.pointer])))}</code></th>.*?</tr>", body, re.DOTALL)
        assert join([rule.why]) in row
        assert not rule.targets or "days" in row
        assert all(target.field in row for target in rule.targets)
    words = " ".join(Text(page).words)
    for sinks in (policy.sinks, policy.stores):
        assert all(one.why in words and one.owner in words for one in sinks.values())
    assert all(name in words for name in policy.entities["entities"])


def test_the_same_policy_gives_the_same_bytes(policy: Policy) -> None:
    """A page says nothing of when or where it was made."""
    assert policy_page(policy) == policy_page(load_policy())


def test_texts_cannot_become_markup() -> None:
    """What is not markup is escaped, in texts and attributes, quotes included; a policy's own words are."""
    shown = tag("p", "<b>&", Html("<i>"), title="\"'><script>")
    assert shown == '<p title="&quot;&#x27;&gt;&lt;script&gt;">&lt;b&gt;&amp;<i></p>'
    bad = "<script>alert(1)</script>\"'"
    page = policy_page(load_policy(), [unseen(bad, Kind.STORE, bad)])
    assert "<script" not in page
    assert page.count("&lt;script&gt;") == 2


def test_a_page_fetches_nothing(policy: Policy, keys: Keyring) -> None:
    """No element loads anything, its own policy allows only its style, and every control has a label."""
    made = pages(policy, NoDetector(), keys)
    played = made.form("{}", made.play(example_event(NOW_MS).encode(), 1))
    for page in (str(policy_page(policy, playground="try")), made.form("x", None).decode(), played.decode()):
        read = Text(page)
        assert {name for name, _ in read.tags} & {"script", "img", "iframe", "object", "embed", "svg"} == set()
        targets = [kept for _, kept in ((n, a.get("href") or a.get("src")) for n, a in read.tags) if kept]
        assert [one for one in targets if not re.match(r"#|\./$|try|data:,$", one)] == []
        assert [a for _, a in read.tags if "style" in a or any(name.startswith("on") for name in a)] == []
        (allowed,) = [a["content"] for _, a in read.tags if a.get("http-equiv")]
        assert re.match(r"default-src 'none'; style-src 'sha256-[\w+/=]{44}'; form-action '\w+'; ", allowed or "")
        assert len(re.findall("<input", page)) == len(re.findall("<label><input", page))
        assert not re.search("<textarea", page) or '<label for="event">' in page


def test_live_status_is_shown(policy: Policy) -> None:
    """What a look at the sinks came to is there, when somebody looked."""
    page = policy_page(policy, [judge("content", Kind.ROWS, age_ms=2000, late_ms=1000, bound_ms=10**9)])
    assert Verdict.LATE in " ".join(Text(page).words)
    assert "Live status" not in policy_page(policy)


def test_the_playground_agrees_with_run(
    policy: Policy,
    detector: Detector,
    keys: Keyring,
    quick: None,  # noqa: ARG001 - it only has to be
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """Under the same keys, the records that a page shows are byte for byte those that `lethe run` writes to files."""
    cases = [raw_of(case) for case in map(load, CASES[::6]) if not {"shape", "limits"} & set(case)]
    cases = [raw for raw in cases if len(raw) < EVENT_BYTES_MAX and b"\n" not in raw]
    own_id = base_event()["request_id"].encode()
    raws = [raw.replace(own_id, b"req_%032x" % (at + 100)) for at, raw in enumerate(cases)]
    raws += [json.dumps(make_event(number)).encode() for number in range(5)]
    raws.append(json.dumps(json.loads(example_event(NOW_MS))).encode())
    lethe = make_lethe(tmp_path, monkeypatch, capfd)
    monkeypatch.setenv("LETHE_CACHE", str(CACHE_DIR))
    (tmp_path / "lethe.keys.json").write_bytes(encode_keyring(keys))
    (tmp_path / "in.jsonl").write_bytes(b"\n".join(raws) + b"\n")
    assert lethe("run", "in.jsonl", "--to", "file:out").code == 0
    for one in served(pages(policy, detector, keys)):
        shown = [records(play(one, raw)) for raw in raws]
        laid_out = json.dumps(json.loads(raws[-1]), indent=2).replace("\n", "\r\n").encode()
        assert records(play(one, laid_out)) == shown[-1]
    written = [(tmp_path / "out" / f"{name}.jsonl").read_bytes().splitlines() for name in ("content", "operational")]
    for at, lines in enumerate(written):  # an event that comes again is written once
        assert lines == list(dict.fromkeys(found[at] for found in shown if found))
    assert len(written[0]) > 20


def test_what_was_found_is_marked_with_its_type(policy: Policy, detector: Detector, keys: Keyring) -> None:
    """Spans of the content as it came in bear their type, the account's own name too; what was dropped is said."""
    playground = Playground(policy, detector, keys, admitter("file:", policy, lambda: NOW_MS))
    done = playground.play(example_event(NOW_MS).encode(), 1)
    assert done is not None
    assert isinstance(done.fate, Anonymized)
    page = play_page.play_page(policy, "", done, {})
    assert "<mark>4111 1111 1111 1111<b>CREDIT_CARD</b></mark>" in page
    assert "<mark>Marit Solberg<b>PERSON</b></mark>" in page
    assert "<mark>&lt;CARD_1&gt;</mark>" in page
    assert "<code>/account/email</code></th><td>dropped</td><td>nothing</td>" in page


def test_a_rejection_shows_reason_and_pointer(serving: PageServer) -> None:
    """And nothing of the event but what stands in the form again."""
    page = play(serving, json.dumps({**base_event(), "status": CANARY}).encode())
    words = "".join(Text(page.partition("<section><h2>An event")[0]).words)
    assert "Reason: wrong_type, at /status" in words
    assert CANARY not in words
    assert records(page) == []


Refusals = dict[str, tuple[int, tuple[str, str, bytes | None], dict[str, str | None]]]


def refusals(one: PageServer) -> Refusals:
    """Return requests that must be refused: how, and what is sent."""
    host, here, there = one.url.split("/")[2], f"/{one.token}/try", "http://evil.example"
    good = form(b"{}")
    get, post = ("GET", here, None), ("POST", here, good)
    return {
        "another host's name": (421, get, {"Host": "evil.example"}),
        "no host": (421, get, {"Host": None}),
        "another port": (421, get, {"Host": "127.0.0.1:1"}),
        "no token": (404, ("GET", "/try", None), {}),
        "another token": (404, ("GET", f"/{'x' * len(one.token)}/try", None), {}),
        "a token cut short": (404, ("GET", f"/{one.token[:-1]}/try", None), {}),
        "an event without the token": (404, ("POST", "/try", good), {}),
        "another page": (404, ("GET", f"{here}/more", None), {}),
        "from another site": (403, post, {"Origin": there}),
        "from a site that is not said": (403, post, {"Origin": None}),
        "from no site": (403, post, {"Origin": "null"}),
        "from this host over TLS": (403, post, {"Origin": f"https://{host}"}),
        "across sites, as the browser says": (403, post, {"Sec_Fetch_Site": "cross-site"}),
        "from a neighbour": (403, post, {"Sec_Fetch_Site": "same-site"}),
        "another encoding": (400, post, {"Content_Type": "application/x-www-form-urlencoded"}),
        "no length": (411, post, {"Content_Length": None, "Transfer_Encoding": "chunked"}),
        "a length that is none": (411, post, {"Content-Length": "-1"}),
        "too long": (413, ("POST", here, form(b" " * (EVENT_BYTES_MAX + server.FORM_BYTES_MAX))), {}),
        "another method": (501, ("PUT", here, good), {}),
    }


def test_what_is_not_its_own_is_refused(serving: PageServer) -> None:
    """A request of another name, token or site gets a status and nothing else; what its own page sends is answered."""
    asked = refusals(serving)
    said = {which: ask(serving, *sent, **headers) for which, (_, sent, headers) in asked.items()}
    assert {which: one[0] for which, one in said.items()} == {which: one[0] for which, one in asked.items()}
    assert [one for one in said.values() if len(one[2]) > 30] == []
    assert ask(serving, "GET", f"/{serving.token}/")[0] == 200
    assert ask(serving, "POST", f"/{serving.token}/try", form(b"{}"), Sec_Fetch_Site=None)[0] == 200


def test_two_headers_of_a_name_are_refused(serving: PageServer) -> None:
    """Of two hosts, the one that is looked at need not be the one that counts elsewhere."""
    host = serving.url.split("/")[2]
    assert ask(serving, "GET", f"/{serving.token}/", Host=host, host="evil.example")[0] == 400


def test_answers_are_for_no_cache_and_no_frame(serving: PageServer) -> None:
    """Each answer, refusals too, says that it is not to be stored, framed or read by other sites."""
    for path in (f"/{serving.token}/", f"/{serving.token}/try?example", "/"):
        _, headers, page = ask(serving, "GET", path)
        assert headers["Cache-Control"] == "no-store"
        assert headers["Cross-Origin-Resource-Policy"] == "same-origin"
        assert "frame-ancestors 'none'" in headers["Content-Security-Policy"]
        assert {"Set-Cookie", "Access-Control-Allow-Origin"} & set(headers) == set()
        assert serving.token not in page
    assert "marit.solberg" in ask(serving, "GET", f"/{serving.token}/try?example")[2]


def test_a_token_is_drawn_at_each_start(policy: Policy, keys: Keyring) -> None:
    """It is long and never the same."""
    made = pages(policy, NoDetector(), keys)
    with PageServer("127.0.0.1", 0, made) as first, PageServer("127.0.0.1", 0, made) as second:
        assert first.token != second.token
        assert len(first.token) == 32


def test_an_event_waits_its_turn_and_no_longer(policy: Policy, keys: Keyring) -> None:
    """One event is worked on at a time; the next gives up after its patience, and comes through when that is over."""
    inside, leave = threading.Event(), threading.Event()

    class Slow(NoDetector):
        def find_spans(self, texts: Any, own: object = ()) -> Any:
            inside.set()
            leave.wait(20)
            return super().find_spans(texts, own)

    made = pages(policy, Slow(), keys)
    raw = example_event(NOW_MS).encode()
    first = threading.Thread(target=made.play, args=(raw, 0))
    first.start()
    assert inside.wait(20)
    assert made.play(raw, 0.01) is None
    leave.set()
    first.join()
    assert made.play(raw, 0.01) is not None


@pytest.mark.parametrize(
    ("kind", "body", "event"),
    [
        (f"multipart/form-data; boundary={BOUNDARY}", form(b"{}"), b"{}"),
        (f'multipart/form-data; boundary="{BOUNDARY}"', form(b"a\r\n--b"), b"a\r\n--b"),
        (f"multipart/form-data; boundary={BOUNDARY}", form(b""), b""),
        ("multipart/form-data; boundary=other", form(b"{}"), None),
        ("text/plain", b"event={}", None),
        (f"multipart/form-data; boundary={BOUNDARY}", form(b"{}")[:-4], None),
        (f"multipart/form-data; boundary={BOUNDARY}", form(b"{}").replace(b'"event"', b'"other"'), None),
        (f"multipart/form-data; boundary={BOUNDARY}", form(b"{}") + form(b"{}"), None),
        (f"multipart/form-data; boundary={BOUNDARY}", b"", None),
    ],
)
def test_a_form_has_one_event(kind: str, body: bytes, event: bytes | None) -> None:
    """Only the form that the page has is read."""
    assert event_of(kind, body) == event


def test_nothing_of_an_event_is_kept(
    serving: PageServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    """A value that was sent, accepted or not, or that made the work fail, is in no log, file, error or later page."""
    monkeypatch.chdir(tmp_path)
    caplog.set_level(logging.DEBUG)
    event = base_event()
    event["account"]["id"] = event["request"]["messages"][0]["content"] = CANARY
    good = json.dumps(event).encode()
    assert CANARY in play(serving, good)
    play(serving, b"{" + good)
    for page in (ask(serving, "GET", f"/{serving.token}/try")[2], play(serving, b"{}")):
        assert CANARY not in page

    def fail(raw: bytes, _patience_s: float) -> None:
        raise ValueError(raw)

    monkeypatch.setattr(serving, "pages", serving.pages._replace(play=fail))
    status, _, said = ask(serving, "POST", f"/{serving.token}/try", form(good))
    assert (status, said.split(" at ")[0]) == (500, "failed: ValueError")
    assert CANARY not in said + caplog.text + "".join(capfd.readouterr())
    assert [*tmp_path.rglob("*")] == []


def test_nothing_remembers_an_event(policy: Policy, detector: Detector, keys: Keyring) -> None:
    """What saves work when the like of it comes again (keyrings, caches, the detector) is empty after an event."""
    playground = Playground(policy, detector, keys, admitter("file:", policy, lambda: NOW_MS))
    event = {**json.loads(example_event(NOW_MS)), "account": {"id": CANARY, "email": f"{CANARY}@mail.example.com"}}
    done = playground.play(json.dumps(event).encode(), 1)
    assert done is not None
    assert isinstance(done.fate, Anonymized)
    assert str(done.fate.operational.fields["account"]).startswith("e1:")
    caches = (coarsen._address_and_network, needles._probes, needles.make_needles, useragent._coarsen)
    assert [cache.cache_info().currsize for cache in caches] == [0] * 4
    assert (detector._memory._new, detector._memory._old) == ({}, {})  # type: ignore[attr-defined]
    assert keys._memo == {}
    del done
    gc.collect()
    rings = [one for one in gc.get_objects() if isinstance(one, Keyring)]
    assert [ring for ring in rings if CANARY in str(ring._memo)] == []


def test_its_keys_are_drawn_at_the_start_and_never_yours(
    tmp_path: Path, policy: Policy, monkeypatch: pytest.MonkeyPatch, keys: Keyring
) -> None:
    """Two starts give two pseudonyms of one account, neither of them what LETHE_KEYS gives; the file is not read."""
    (tmp_path / "keys.json").write_bytes(encode_keyring(keys))
    monkeypatch.setenv("LETHE_KEYS", str(tmp_path / "keys.json"))
    monkeypatch.setattr(edge, "detector_of", lambda *_: NoDetector())
    monkeypatch.setattr(edge, "load_keyring", None)
    made = [command.pages_of(edge.settings(), policy) for _ in range(2)]
    done = [one.play(example_event(NOW_MS).encode(), 1) for one in (*made, pages(policy, NoDetector(), keys))]
    accounts = {one.fate.operational.fields["account"] for one in done if one and isinstance(one.fate, Anonymized)}
    assert len(accounts) == 3


@pytest.mark.parametrize(
    ("host", "said"),
    [("0.0.0.0", "one IP address"), ("::", "one IP address"), ("here", "one IP address"), ("192.0.2.1", "--expose")],  # noqa: S104 - refused
)
def test_other_machines_are_kept_out(host: str, said: str) -> None:
    """An address that others reach is refused unless it is asked for; all addresses at once always are."""
    with pytest.raises(ConfigError, match=said):
        command._check_host(host, expose=host != "192.0.2.1")


def test_the_command_writes_a_page(
    tmp_path: Path, policy: Policy, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Into a file or the output, the same bytes; what cannot be written or served so is said."""
    lethe = make_lethe(tmp_path, monkeypatch, capfd)
    assert lethe("policy", "page", "-o", "page.html").code == 0
    page = (tmp_path / "page.html").read_text("utf-8")
    assert page == policy_page(policy)
    assert lethe("policy", "page").out == page
    refused = [lethe("policy", "page", "-o", "no/page.html"), lethe("policy", "page", "--serve", "--live")]
    assert [one.code for one in refused] == [2, 2]
    assert "no/page.html: cannot be written" in refused[0].err
