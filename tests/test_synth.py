"""Synthetic traffic: deterministic, valid, of the promised sizes, with canaries that stand where they say."""

import copy
import hashlib
import io
import math
import os
import re
import statistics
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from random import Random
from typing import Any

import jsonschema_rs
import orjson
import phonenumbers
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import ConfigError
from pipeline.synth import Canary, SyntheticEvent, generate_events, read_manifest, write_manifest
from pipeline.synth.accounts import make_accounts
from pipeline.synth.corpus import load_corpus
from pipeline.synth.draft import Draft
from pipeline.synth.generate import write_event
from pipeline.synth.identifiers import MAKERS, iban_check, luhn_digit, make_card, make_iban, make_ip, make_phone

START_MS = 1_795_000_000_000
EVENT_SCHEMA = Path(__file__).parents[1] / "schemas" / "request_event" / "v1" / "event.schema.json"
DIGEST_PROGRAM = """
import hashlib, orjson
from pipeline.synth import generate_events
digest = hashlib.sha256()
for made in generate_events(seed=7, count=60, start_ms=1_795_000_000_000):
    digest.update(orjson.dumps(made.event) + orjson.dumps(made.canaries))
print(digest.hexdigest())
"""


@pytest.fixture(scope="module")
def made() -> list[SyntheticEvent]:
    """A few thousand events, written once."""
    return list(generate_events(seed=11, count=5000, start_ms=START_MS))


def resolve(event: Any, pointer: str) -> Any:
    """Return what stands at a JSON pointer; keys of events need no unescaping."""
    for token in pointer.split("/")[1:]:
        event = event[int(token)] if isinstance(event, list) else event[token]
    return event


def blanked(event: dict[str, Any], pointers: set[str]) -> str:
    """Return an event's JSON with null at each pointer."""
    event = copy.deepcopy(event)
    for pointer in pointers:
        parent, _, last = pointer.rpartition("/")
        owner = resolve(event, parent)
        owner[int(last) if isinstance(owner, list) else last] = None
    return orjson.dumps(event).decode()


def is_in_content(canary: Canary) -> bool:
    """Tell whether a canary is an identifier inside content."""
    return canary.kind in MAKERS or canary.kind.startswith("own_")


def has_text(event: dict[str, Any]) -> bool:
    """Tell whether an event's bodies hold text: token ids and vectors are none."""
    if "request" not in event:
        return False
    asked = event["request"].get("input", "")
    ids = isinstance(asked, list) and not isinstance(asked[0], str | dict)
    return not (ids and event["endpoint"] == "/v1/embeddings" and "error" not in event)


def test_same_arguments_give_the_same_bytes_in_every_process() -> None:
    """The bytes depend on the arguments alone: not on the process, not on its hash seed."""
    digests = {
        subprocess.run(  # noqa: S603 - our own program
            [sys.executable, "-c", DIGEST_PROGRAM],
            env={**os.environ, "PYTHONHASHSEED": hash_seed},
            capture_output=True,
            check=True,
            cwd=Path(__file__).parents[1],
        ).stdout
        for hash_seed in ("1", "2")
    }
    digest = hashlib.sha256()
    for event in generate_events(seed=7, count=60, start_ms=START_MS):
        digest.update(orjson.dumps(event.event) + orjson.dumps(event.canaries))
    assert digests == {digest.hexdigest().encode() + b"\n"}


def test_longer_run_begins_with_the_shorter(made: list[SyntheticEvent]) -> None:
    """Event i does not depend on how many events are asked for."""
    short = list(generate_events(seed=11, count=40, start_ms=START_MS))
    assert short == made[:40]


def test_another_seed_shares_no_planted_value(made: list[SyntheticEvent]) -> None:
    """A seed is a world of its own: accounts, ids and markers differ."""
    kinds = {"account_id", "account_email", "api_key_id", "dropped", "benign", "user_agent"}
    other = generate_events(seed=12, count=300, start_ms=START_MS)
    here = {canary.value for event in made for canary in event.canaries if canary.kind in kinds}
    there = {canary.value for event in other for canary in event.canaries if canary.kind in kinds}
    assert here.isdisjoint(there)


def test_events_are_received_at_the_given_rate() -> None:
    """Event i is received i / rate seconds after the start."""
    events = generate_events(seed=1, count=4, start_ms=0, rate_per_s=8)
    assert [event.event["received_at"] for event in events] == [
        "1970-01-01T00:00:00.000Z",
        "1970-01-01T00:00:00.125Z",
        "1970-01-01T00:00:00.250Z",
        "1970-01-01T00:00:00.375Z",
    ]


def test_every_event_is_valid(made: list[SyntheticEvent]) -> None:
    """Events follow the schema of the raw request event, v1."""
    validator = jsonschema_rs.validator_for(orjson.loads(EVENT_SCHEMA.read_bytes()))
    invalid = [event.event["request_id"] for event in made if not validator.is_valid(event.event)]
    assert invalid == []


def test_request_ids_are_unique_and_ordered_in_time(made: list[SyntheticEvent]) -> None:
    """A request id is `req_` and a UUIDv7 of its receipt in 32 hex digits."""
    ids = [event.event["request_id"] for event in made]
    assert all(re.fullmatch(r"req_[0-9a-f]{12}7[0-9a-f]{3}[89ab][0-9a-f]{15}", request_id) for request_id in ids)
    assert ids == sorted(set(ids))


def test_sizes_are_log_normal_with_the_promised_mean(made: list[SyntheticEvent]) -> None:
    """Encoded events have a mean of 2.0 to 2.6 kB, from about 200 B, with a log-normal's spread and tail."""
    sizes = sorted(len(orjson.dumps(event.event)) for event in made)
    logs = [math.log(size) for size in sizes]
    assert 2000 <= statistics.mean(sizes) <= 2600
    assert 0.9 <= statistics.pstdev(logs) <= 1.2
    assert abs(statistics.mean(logs) - math.log(statistics.median(sizes))) < 0.2
    assert 195 <= sizes[0] <= 260
    assert 40_000 <= sizes[-1] <= 200_000


@pytest.mark.parametrize("size_bytes", [300, 1200, 5000, 40_000, 195_000])
def test_an_event_is_about_as_large_as_it_was_asked_for(size_bytes: int) -> None:
    """The median of events written for a size is within a tenth of it; none passes 200 kB."""
    pool = make_accounts(3, load_corpus())
    sizes = []
    for index in range(41):
        draft = Draft(Random(f"{size_bytes}:{index}"), load_corpus(), f"req_{index:032x}", START_MS, index)
        written = write_event(draft, pool, size_bytes=size_bytes, identifying=index % 3 == 0)
        sizes.append(len(orjson.dumps(written.event)))
    assert abs(statistics.median(sizes) / size_bytes - 1) < 0.1
    assert max(sizes) <= 200_000


@pytest.mark.parametrize(("share", "low", "high"), [(0.0, 0.0, 0.0), (1 / 3, 0.30, 0.36), (1.0, 0.95, 1.0)])
def test_share_of_events_with_identifiers(share: float, low: float, high: float) -> None:
    """About the asked share of events hold identifiers in their content."""
    events = list(generate_events(seed=5, count=2500, start_ms=START_MS, identifier_share=share))
    found = sum(any(map(is_in_content, event.canaries)) for event in events) / len(events)
    assert low <= found <= high


def test_without_identifiers_no_home_folder_is_written() -> None:
    """Tracebacks name home folders only in events that may identify somebody."""
    events = list(generate_events(seed=5, count=1500, start_ms=START_MS, identifier_share=0))
    traces = [event.event["error"]["trace"] for event in events if event.event.get("error", {}).get("trace")]
    assert traces
    assert not [trace for trace in traces if re.search(r"/home/|/Users/|C:\\Users", trace)]


def test_every_canary_stands_at_its_pointer(made: list[SyntheticEvent]) -> None:
    """The pointer of a canary resolves, and what it points at holds the value."""
    for event in made:
        for canary in event.canaries:
            assert canary.request_id == event.event["request_id"]
            assert canary.value in orjson.dumps(resolve(event.event, canary.pointer)).decode()


def test_absent_values_stand_nowhere_but_at_their_pointers(made: list[SyntheticEvent]) -> None:
    """No planted value is in the rest of the event, kept fields included."""
    for event in islice(made, 1500):
        absent = [canary for canary in event.canaries if canary.expect == "absent"]
        rest = blanked(event.event, {canary.pointer for canary in absent})
        assert [canary.kind for canary in absent if canary.value in rest] == []


def test_markers_are_unique_words_in_every_event_with_text(made: list[SyntheticEvent]) -> None:
    """Each event whose bodies hold text has a marker of lower-case letters, in content, in no other event."""
    seen: Counter[str] = Counter()
    for event in made:
        markers = [canary for canary in event.canaries if canary.expect == "present"]
        assert bool(markers) == has_text(event.event)
        seen.update(marker.value for marker in markers)
        assert all(re.fullmatch(r"[a-z]{17,19}", marker.value) for marker in markers)
        assert all(re.match(r"/(request|response|error/message)", marker.pointer) for marker in markers)
    assert set(seen.values()) == {1}


def test_a_full_envelope_plants_each_of_its_identifiers(made: list[SyntheticEvent]) -> None:
    """Account, key, address and user agent are canaries wherever the event has them."""
    kinds = {
        "account_id": "/account/id",
        "account_email": "/account/email",
        "account_name": "/account/name",
        "account_organization": "/account/organization",
        "api_key_id": "/api_key_id",
        "client_ip": "/client/ip",
        "user_agent": "/client/user_agent",
    }
    full = [event for event in made if "node" in event.event]
    assert len(full) > len(made) / 2
    for event in full:
        planted = {canary.kind: canary.pointer for canary in event.canaries if canary.kind in kinds}
        assert planted == kinds


def test_own_identifiers_repeat_what_the_envelope_says(made: list[SyntheticEvent]) -> None:
    """An own identifier in content is the envelope's, as it is, in capitals, or URL-encoded; all three occur."""
    forms: Counter[str] = Counter()
    for event in made:
        account = event.event["account"]
        own = {f"own_{key}": value for key, value in account.items()}
        own |= {"own_account_id": account["id"], "own_api_key_id": event.event.get("api_key_id")}
        for canary in event.canaries:
            if canary.kind.startswith("own_"):
                value = own[canary.kind]
                encoded = value.replace("@", "%40").replace(" ", "%20")
                form = {value: "plain", value.upper(): "upper"}.get(canary.value, "encoded")
                assert form != "encoded" or "%" in canary.value
                assert canary.value in {value, value.upper(), encoded} or not value.isascii()
                forms[form] += 1
    assert set(forms) == {"plain", "upper", "encoded"}


def test_every_shape_of_traffic_occurs(made: list[SyntheticEvent]) -> None:
    """All endpoints, failures, body shapes, canary kinds and languages are in a few thousand events."""
    kinds = {canary.kind for event in made for canary in event.canaries}
    assert kinds == {
        *MAKERS, "own_email", "own_name", "own_organization", "own_account_id", "own_api_key_id", "account_id",
        "account_email", "account_name", "account_organization", "api_key_id", "client_ip", "user_agent", "model",
        "dropped", "undeclared", "link", "media", "vector", "token_ids", "logprobs", "opaque", "benign",
    }  # fmt: skip
    assert {event.event["status"] for event in made} == {200, 400, 401, 429, 500, 503}
    text = b"\n".join(orjson.dumps(event.event) for event in made).decode()
    for shape in (
        '"role":"system"', '"tools":[{"type":"function","function":', '"tool_calls":[', '"role":"tool"',
        '"image_url":{"url":"data:image/', '"input_audio":{', '"file_id":', '"refusal":"', '"top_logprobs":[',
        '{"index":1,"message"', '"object":"text_completion"', '"prompt":["', '"prompt":[[', '"token_logprobs":[',
        '"input":["', '"embedding":[', '"embedding":"', '"object":"response"', '"type":"reasoning"',
        '"encrypted_content":"', '"type":"function_call_output"', '"type":"tool_use"', '"type":"tool_result"',
        '"type":"thinking"', '"signature":"', '"source":{"type":"base64"', '"response":null', "Traceback (most",
        '"charge_to":4', '"metadata":{', '"user":"', '"safety_identifier":', '"prompt_cache_key":',
        '"previous_response_id":', '"conversation":', '"system_fingerprint":', '"name":"member_', "/home/",
        "Kannst du", "Peux-tu", "Necesito", "Escreve", "Puoi", "Czy", "Объясни", "この文章", "请把", "أرجو", "कृपया",
        "```python", "```sql", "```rust", "level=debug", "| Mix |", "frac{",
    ):  # fmt: skip
        assert shape in text, shape


def test_usage_agrees_with_itself(made: list[SyntheticEvent]) -> None:
    """Total tokens are prompt and completion together; a failed request completed nothing; figures are positive."""
    for event in (event.event for event in made if "usage" in event.event):
        usage = event["usage"]
        assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"]
        assert event["status"] == 200 or usage["completion_tokens"] == 0
        assert 0 < event.get("time_to_first_token_ms", 0.1) <= event["latency_ms"]


def test_accounts_are_few_and_unequal(made: list[SyntheticEvent]) -> None:
    """About 200 accounts send all traffic, a few of them most of it."""
    counts = sorted(Counter(event.event["account"]["id"] for event in made).values(), reverse=True)
    assert 150 <= len(counts) <= 200
    assert counts[0] > 20 * statistics.median(counts)


def test_coded_content_is_well_formed(made: list[SyntheticEvent]) -> None:
    """Data URLs and packed vectors are whole base64; a marker does not break them."""
    found = 0
    for event in made:
        for canary in event.canaries:
            leaf = resolve(event.event, canary.pointer)
            if canary.kind in {"media", "opaque", "vector"} and isinstance(leaf, str):
                assert re.fullmatch(r"(data:image/(png|jpeg);base64,)?([A-Za-z0-9+/]{4})+", leaf)
                found += 1
    assert found > 50


@given(st.integers(0, 10**15))
def test_luhn_digit_catches_any_single_wrong_digit(number: int) -> None:
    """With its check digit a number sums to nothing modulo ten; with one digit changed it does not."""
    whole = f"{number:015d}"
    digit = luhn_digit(whole)
    assert {luhn_digit(f"{whole[:7]}{other}{whole[8:]}") == digit for other in "0123456789" if other != whole[7]} == {
        False
    }


def test_check_digits_of_published_examples() -> None:
    """The check digits of well-known test numbers come out."""
    assert luhn_digit("424242424242424") == 2
    assert luhn_digit("37828224631000") == 5
    assert iban_check("GB", "WEST12345698765432") == "82"
    assert iban_check("DE", "370400440532013000") == "89"


@given(st.randoms(use_true_random=False))
def test_made_identifiers_are_valid_and_synthetic(rng: Random) -> None:
    """Cards and IBANs check, phones are valid numbers, addresses are of ranges that nobody is routed."""
    card = re.sub(r"[ -]", "", make_card(rng))
    assert luhn_digit(card[:-1]) == int(card[-1])
    iban = make_iban(rng).replace(" ", "")
    assert int("".join(str(int(c, 36)) for c in iban[4:] + iban[:4])) % 97 == 1
    assert phonenumbers.is_valid_number(phonenumbers.parse(make_phone(rng)))
    assert re.fullmatch(r"198\.1[89]\.\d+\.[1-9]\d*|2001:db8(:[1-9a-f][0-9a-f]{3}){6}", make_ip(rng))
    assert re.fullmatch(r"9\d\d-[0-4]\d-\d{4}", MAKERS["US_SSN"](rng))
    assert re.fullmatch(r"[\w.]+\.[0-9a-f]{10}@([a-z]+\.)?example\.(com|net|org)", MAKERS["EMAIL_ADDRESS"](rng))


@pytest.fixture(scope="module")
def recognizers() -> Iterator[list[Any]]:
    """Every stock pattern recognizer, and the phone recognizer, offline."""
    import inspect  # noqa: PLC0415 - with Presidio, slow to import and wanted by one test

    import tldextract  # noqa: PLC0415
    from presidio_analyzer import PatternRecognizer, predefined_recognizers  # noqa: PLC0415

    patch = pytest.MonkeyPatch()
    patch.setattr(tldextract, "extract", tldextract.TLDExtract(suffix_list_urls=()))
    classes = [value for _, value in inspect.getmembers(predefined_recognizers, inspect.isclass)]
    patterned = [kind() for kind in classes if PatternRecognizer in kind.__mro__[1:]]
    assert len(patterned) > 50
    yield [*patterned, predefined_recognizers.PhoneRecognizer()]
    patch.undo()


def leaves(value: Any) -> Iterator[str]:
    """Yield the strings of a JSON value, those inside strings that hold JSON too, and integers as text."""
    if isinstance(value, dict):
        for item in value.values():
            yield from leaves(item)
    elif isinstance(value, int):
        yield str(value)
    elif isinstance(value, str) and value.startswith("{"):
        yield from leaves(orjson.loads(value))
    else:
        yield value


def test_stock_recognizers_find_identifiers_and_spare_markers(
    made: list[SyntheticEvent], recognizers: list[Any]
) -> None:
    """Every identifier of an entity type is found whole by that type's recognizer; none touches a marker."""
    judged: Counter[str] = Counter()
    for event in islice(made, 500):
        for canary in event.canaries:
            if canary.kind not in MAKERS and canary.expect == "absent":
                continue
            leaf = next(leaf for leaf in leaves(resolve(event.event, canary.pointer)) if canary.value in leaf)
            at = leaf.index(canary.value)
            leaf, at = leaf[max(at - 150, 0) : at + 150], min(at, 150)
            wanted = [r for r in recognizers if canary.expect == "present" or canary.kind in r.supported_entities]
            spans = [span for r in wanted for span in r.analyze(leaf, r.supported_entities, None) or []]
            end = at + len(canary.value)
            if canary.expect == "present":
                assert not [span for span in spans if span.start < end and span.end > at]
            else:
                assert [span for span in spans if span.start <= at and span.end >= end and span.score >= 0.4]
            judged[canary.kind] += 1
    assert set(judged) == {*MAKERS, "benign"}


def test_manifest_comes_back_as_it_was_written(made: list[SyntheticEvent], tmp_path: Path) -> None:
    """A manifest holds every canary, in order, in a file and in an open stream alike."""
    canaries = [canary for event in made[:200] for canary in event.canaries]
    path, stream = tmp_path / "manifest.jsonl", io.BytesIO()
    assert write_manifest(path, canaries) == write_manifest(stream, canaries) == len(canaries)
    assert path.read_bytes() == stream.getvalue()
    assert list(read_manifest(path)) == list(read_manifest(io.BytesIO(stream.getvalue()))) == canaries


@pytest.mark.parametrize(
    "line",
    [
        b"tango-secret",
        b'["tango-secret"]',
        b'{"value":"tango-secret"}',
        b'{"value":"tango-secret","kind":"a","pointer":"/a","request_id":"r","expect":"perhaps"}',
        b'{"value":7,"kind":"tango-secret","pointer":"/a","request_id":"r","expect":"absent"}',
    ],
)
def test_a_bad_manifest_line_is_named_by_number_only(line: bytes) -> None:
    """The error of a bad line says which line, repeats nothing of it, and hides no other error behind it."""
    good = b'{"value":"v","kind":"k","pointer":"/p","request_id":"r","expect":"absent"}\n'
    with pytest.raises(ConfigError) as caught:
        list(read_manifest(io.BytesIO(good + line)))
    assert str(caught.value) == "manifest line 2 is not a canary: write the manifest again"
    assert caught.value.__context__ is None


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("count", {"count": -1}),
        ("rate_per_s", {"rate_per_s": 0.0}),
        ("rate_per_s", {"rate_per_s": math.nan}),
        ("identifier_share", {"identifier_share": 1.5}),
    ],
)
def test_arguments_out_of_range_are_refused_at_once(name: str, arguments: dict[str, Any]) -> None:
    """A wrong argument fails at the call, naming itself, before any event is asked for."""
    with pytest.raises(ConfigError, match=name):
        generate_events(**{"seed": 1, "count": 1, "start_ms": START_MS, **arguments})


def test_reprs_hold_no_value(made: list[SyntheticEvent]) -> None:
    """The repr of an event and of its canaries names kinds and places only."""
    text = repr(made[0])
    assert "account_id" in text
    assert not [canary.kind for canary in made[0].canaries if canary.value in text]
