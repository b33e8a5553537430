"""Raw events made up for properties: of both shapes, in odd spellings, damaged, or with a canary in every leaf."""

import copy
import json
from collections.abc import Iterator
from random import Random
from typing import Any, NamedTuple

from conftest import OPEN_DOOR, RECEIVED_AT_MS
from hypothesis import strategies as st

from pipeline.anonymize import Admission, Core, process
from pipeline.coarsen import format_timestamp
from pipeline.policy.load import load_policy
from pipeline.policy.model import Treatment
from pipeline.policy.shape import EventShape, is_plain, split_pointer
from pipeline.records import Anonymized, Fate, Rejection, Source
from pipeline.wire import content_bytes, operational_bytes, rejection_bytes

SPEND_LOG = "spend_log/v1/event.schema.json"
SHAPES: dict[str, EventShape] = {"spend_log": load_policy(event=SPEND_LOG).shape, "v1": load_policy().shape}
EARLIEST_MS = 946_684_800_000
"""2000-01-01, where received_at begins."""

_HEX = "0123456789abcdefABCDEF"
_CROCKFORD = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_HIDDEN = ("null", "[1]", '{"a": 1}', '"hidden"')
_CONTROLS = "\x00\x01\x1b\x7f\u2028\ufeff\r\n\t"
_OPENINGS = (
    "",
    "",
    "llama-3.1-70b-instruct",
    "gpu-07",
    "OpenAI/Python 1.5",
    "203.0.113.7",
    "/v1/messages",
    "server_error",
)

# Lone surrogates among them: JSON can escape what UTF-8 cannot hold. Two of them can be a pair, which is a character.
ANY_TEXT = st.text(max_size=20) | st.text(alphabet=st.sampled_from(f'{_CONTROLS}\ud83d\ude00\udfff<A_1>\\"{{}}[]é漢😀'))
FOREIGN = st.builds(
    lambda start, rest: f"{start}{rest}", st.sampled_from(_OPENINGS), st.text("ΩжфЖ漢字😀€¶", min_size=1)
)
"""Free text that no catalogue has: may begin like a known value, and goes on in no character of an operational one."""
NUMBERS = (
    st.integers(-(2**70), 2**70)
    | st.sampled_from([0, 2**63 - 1, 2**63, 2**64 - 1, 2**64, -(2**63) - 1, 10**4000, 4111111111111111])
    | st.floats(allow_nan=False, allow_infinity=False)
)


_KEYS = st.sampled_from(["content", "messages", "input", "type", "id", "user", "metadata", "tool_call_id", "password"])


def json_values(texts: st.SearchStrategy[str] = ANY_TEXT) -> st.SearchStrategy[Any]:
    """Return values of every JSON type, nested, strings that hold JSON among them."""
    return st.recursive(
        st.none() | st.booleans() | NUMBERS | texts,
        lambda inner: (
            st.lists(inner, max_size=4) | st.dictionaries(_KEYS | texts, inner, max_size=4) | inner.map(json.dumps)
        ),
        max_leaves=12,
    )


def objects(texts: st.SearchStrategy[str] = ANY_TEXT) -> st.SearchStrategy[dict[str, Any]]:
    """Return JSON objects: bodies."""
    return st.dictionaries(_KEYS | texts, json_values(texts), min_size=1, max_size=4)


_TIMES = st.integers(EARLIEST_MS, RECEIVED_AT_MS)
_HEX_IDS = st.text(_HEX, min_size=24, max_size=32)
_ULIDS = st.builds("{}{}".format, st.sampled_from("01234567"), st.text(_CROCKFORD, min_size=25, max_size=25))
_LATENCIES = st.floats(0, 86_400_000) | st.integers(0, 86_400_000)
_TOKENS = st.integers(0, 10**9)
_ADDRESSES = st.ip_addresses(network="203.0.113.0/24").map(str) | st.ip_addresses(network="2001:db8::/32").map(str)


def _written_time(time_ms: int, form: int) -> str:
    text = format_timestamp(time_ms)
    return (text, text.lower(), text.replace("Z", "+00:00"), text.replace("Z", "9999Z"))[form]


def _some(required: dict[str, Any], optional: dict[str, Any]) -> st.SearchStrategy[dict[str, Any]]:
    """Return objects with all of the one and any of the other; each of the other may be null."""
    return st.fixed_dictionaries(required, optional={name: st.none() | each for name, each in optional.items()})


def v1_events(texts: st.SearchStrategy[str] = ANY_TEXT) -> st.SearchStrategy[dict[str, Any]]:
    """Return valid raw events of the first shape; free text is of the given kind."""
    named = texts.filter(bool)
    return _some(
        {
            "request_id": (_HEX_IDS | _ULIDS | st.uuids().map(str)).map("req_{}".format),
            "received_at": st.builds(_written_time, _TIMES, st.integers(0, 3)),
            "account": _some({"id": named}, {"email": texts, "name": texts, "organization": texts}),
            "endpoint": st.sampled_from(["/v1/chat/completions", "/v1/messages"]) | texts,
            "model": st.sampled_from(["llama-3.1-70b-instruct", "deepseek-ai/DeepSeek-V3"]) | texts,
            "status": st.integers(100, 599),
            "request": objects(texts) | objects(texts) | st.none(),
            "response": objects(texts) | st.none(),
        },
        {
            "api_key_id": named,
            "client": _some({}, {"ip": _ADDRESSES | texts, "user_agent": texts}),
            "stream": st.booleans(),
            "latency_ms": _LATENCIES,
            "time_to_first_token_ms": _LATENCIES,
            "queue_ms": _LATENCIES,
            "usage": _some({}, dict.fromkeys(("prompt_tokens", "completion_tokens", "total_tokens"), _TOKENS)),
            "error": _some({}, dict.fromkeys(("type", "code", "message", "trace"), texts)),
            "region": texts,
            "node": texts,
            "undeclared": json_values(texts),
        },
    )


def spend_log_events(texts: st.SearchStrategy[str] = ANY_TEXT) -> st.SearchStrategy[dict[str, Any]]:
    """Return valid raw events of the second shape, with its key-value lists and pointers over lists."""
    named = texts.filter(bool)
    pairs = st.builds(
        lambda key, value: {"key": key, "value": value}, st.sampled_from(["owner_email", "owner_name"]), texts
    )
    counts = st.builds(
        lambda key, value: {"key": key, "value": value}, st.sampled_from(["prompt", "completion"]), _TOKENS
    )
    return _some(
        {
            "call_uuid": st.uuids().map(str),
            "startTime": _TIMES.map(lambda time_ms: time_ms / 1000) | _TIMES.map(lambda time_ms: time_ms // 1000),
            "team_id": named,
            "api_route": texts,
            "model_group": texts,
            "http_status": st.integers(100, 599),
            "messages": st.lists(objects(texts), min_size=1, max_size=3) | st.none(),
            "choices": st.lists(st.fixed_dictionaries({"message": json_values(texts)}), max_size=2),
        },
        {
            "endTime": st.builds(_written_time, _TIMES, st.integers(0, 3)),
            "api_key_alias": named,
            "labels": st.lists(pairs | st.none() | st.integers(), max_size=3),
            "requester_ip": _ADDRESSES | texts,
            "headers": st.lists(st.just({}) | st.fixed_dictionaries({"user-agent": texts}), max_size=2),
            "call_type": texts,
            "response_time": st.floats(0, 86_400),
            "queue_ms": _LATENCIES,
            "spend": st.floats(0, 1e6),
            "cache_hit": st.booleans(),
            "deployment_hash": st.text("0123456789abcdef", min_size=8, max_size=128),
            "batch_ulid": _ULIDS,
            "token_counts": st.lists(counts, max_size=3),
            "exception": texts,
            "undeclared": json_values(texts),
        },
    )  # fmt: skip


def to_json(value: Any) -> bytes:
    """Return JSON as most gateways write it: compact, not escaped but for lone surrogates."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return "".join(f"\\u{ord(c):04x}" if "\ud800" <= c <= "\udfff" else c for c in text).encode()


def to_odd_json(value: Any, rng: Random) -> tuple[bytes, int]:
    """Return the same JSON in another spelling, and how many keys it repeats; the last one wins."""
    repeated = 0

    def write(value: Any) -> str:
        nonlocal repeated
        gap = rng.choice(("", " ", "\n\t", "\r\n "))
        if isinstance(value, dict):
            members = []
            for key, member in value.items():
                if rng.random() < 0.2:
                    repeated += 1
                    members.append(f"{json.dumps(key)}:{gap}{rng.choice(_HIDDEN)}")
                members.append(f"{json.dumps(key)}{gap}:{gap}{write(member)}")
            return "{" + gap + f"{gap},{gap}".join(members) + gap + "}"
        if isinstance(value, list):
            return "[" + gap + f"{gap},{gap}".join(map(write, value)) + gap + "]"
        if isinstance(value, float) and rng.random() < 0.5:
            return f"{value:.17e}"
        return json.dumps(value)

    return (" " + write(value) + "\n").encode(), repeated


@st.composite
def damaged(draw: st.DrawFn, events: st.SearchStrategy[dict[str, Any]]) -> bytes:
    """Draw an event's bytes that were cut, flipped, joined with others, or of which a part is gone."""
    raw = to_json(draw(events))
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, len(raw)))
        to = draw(st.integers(at, len(raw)))
        how = draw(st.sampled_from(["cut", "flip", "drop", "repeat", "insert"]))
        if how == "cut":
            raw = raw[:at]
        elif how == "flip" and at < len(raw):
            raw = raw[:at] + bytes([raw[at] ^ 1 << draw(st.integers(0, 7))]) + raw[at + 1 :]
        elif how == "drop":
            raw = raw[:at] + raw[to:]
        elif how == "repeat":
            raw = raw[:to] + raw[at:]
        else:
            raw = (
                raw[:at]
                + draw(st.binary(max_size=8) | st.sampled_from([b'"', b"{", b"]", b"\\ud800", b"1e999"]))
                + raw[at:]
            )
    return raw


def fate_of(raw: bytes, core: Core, admission: Admission = OPEN_DOOR) -> Fate:
    """Return the fate of one raw event."""
    return process(raw, Source("requests.raw", 3, 1207, len(raw)), core, admission)


def outputs(fate: Fate) -> dict[str, bytes]:
    """Return the records of a fate as they leave, by sink."""
    if isinstance(fate, Rejection):
        return {"rejected": rejection_bytes(fate)}
    content = {} if fate.content is None else {"content": content_bytes(fate.content)}
    return {**content, "operational": operational_bytes(fate.operational)}


def accepted(fate: Fate) -> Anonymized:
    """Return a fate that has to be a good one."""
    assert isinstance(fate, Anonymized), repr(fate)
    return fate


def assert_sound(fate: Fate, core: Core) -> None:
    """Assert that all records of a fate, read back as they leave, satisfy their schemas."""
    schemas = {
        "content": core.policy.content,
        "operational": core.policy.operational,
        "rejected": core.policy.rejection,
    }
    for sink, data in outputs(fate).items():
        assert schemas[sink].is_valid(json.loads(data)), sink


def put(event: dict[str, Any], pointer: str, value: Any) -> None:
    """Put a value where an annotation's pointer leads: ``*`` is the first member of a list, ``[key]`` a look-up."""
    owner: Any = None
    key: Any = None
    for step in split_pointer(pointer):
        owner = event if owner is None else owner[key]
        key = 0 if step == "*" else step
        if step.startswith("["):
            owner, key = next(pair for pair in owner if pair["key"] == step[1:-1]), "value"
    owner[key] = value


def with_value(event: dict[str, Any], pointer: str, value: Any) -> dict[str, Any]:
    """Return a copy of an event with another value at a pointer."""
    changed = copy.deepcopy(event)
    put(changed, pointer, value)
    return changed


class Plant(NamedTuple):
    """A value to plant in a leaf, what to look for, and the sinks that must have it: every other must not."""

    value: Any
    needle: str
    sinks: frozenset[str]


_NOWHERE: frozenset[str] = frozenset()
_CONTENT = frozenset({"content"})
_OPERATIONAL = frozenset({"operational"})


def _text(needle: str, sinks: frozenset[str], form: str = "{}") -> Plant:
    return Plant(form.format(needle), needle, sinks)


def _figure(value: float, sinks: frozenset[str] = _OPERATIONAL) -> Plant:
    return Plant(value, json.dumps(value), sinks)


def _body(needle: str) -> Plant:
    return Plant({f"zqkey-{needle}": [needle, {"content": needle}]}, f"zqkey-{needle}", _CONTENT)


PLANTS: dict[str, dict[str, Plant]] = {
    "v1": {
        "request_id": _text("0192f0c1a2b37c4d8e5f6071829ca9a7", _CONTENT | _OPERATIONAL, "req_{}"),
        "received_at": _text("58:07.654Z", _OPERATIONAL, "2026-11-23T09:{}"),
        "account.id": _text("zq01canary", _NOWHERE, "acct_{}"),
        "account.email": _text("zq02canary", _NOWHERE, "{}@mail.example.com"),
        "account.name": _text("zq03canary", _NOWHERE, "Runa {}"),
        "account.organization": _text("zq04canary", _NOWHERE, "{} Analytics"),
        "api_key_id": _text("zq05canary", _NOWHERE, "key_{}"),
        "client.ip": _text("203.0.113.77", _NOWHERE),
        "client.user_agent": _text("zq06canary", _NOWHERE, "OpenAI/Python 1.55.0 ({})"),
        "endpoint": _text("zq07canary", _NOWHERE, "/v1/messages/{}"),
        "model": _text("zq08canary", _NOWHERE, "ft:llama-3.1-8b-instruct:{}"),
        "stream": Plant(value=True, needle='"stream":true', sinks=_OPERATIONAL),
        "status": Plant(418, '"status":418', _OPERATIONAL),
        "latency_ms": _figure(71_828_182.25),
        "time_to_first_token_ms": _figure(31_415_926.5),
        "queue_ms": _figure(16_180_339.75),
        "usage.prompt_tokens": _figure(141_421_356),
        "usage.completion_tokens": _figure(173_205_080),
        "usage.total_tokens": _figure(314_626_436),
        "request": _body("zq09canary"),
        "response": _body("zq10canary"),
        "error.type": _text("zq11canary", _NOWHERE),
        "error.code": _text("zq12canary", _NOWHERE),
        "error.message": _text("zq13canary", _CONTENT, "no such model: {}"),
        "error.trace": _text("zq14canary", _CONTENT, "Traceback: {}"),
        "region": _text("zq15canary", _NOWHERE, "eu-west-1-{}"),
        "node": _text("zq16canary", _NOWHERE, "gpu-07.{}"),
    },
    "spend_log": {
        "id": _text("0192f0c1-a2b3-7c4d-8e5f-6071829ca9a7", _CONTENT | _OPERATIONAL),
        "started": Plant(1_795_427_887.654, "58:07.654Z", _OPERATIONAL),
        "completed": _text("58:09.321Z", _OPERATIONAL, "2026-11-23T09:{}"),
        "account": _text("zq01canary", _NOWHERE, "team-{}"),
        "key": _text("zq02canary", _NOWHERE, "key-{}"),
        "mail": _text("zq03canary", _NOWHERE, "{}@mail.example.net"),
        "owner": _text("zq04canary", _NOWHERE, "Runa {}"),
        "address": _text("2001:db8:7:1::77", _NOWHERE),
        "software": _text("zq05canary", _NOWHERE, "OpenAI/Python 1.55.0 ({})"),
        "route": _text("zq06canary", _NOWHERE),
        "model_group": _text("zq07canary", _NOWHERE),
        "kind": _text("zq08canary", _NOWHERE),
        "http_status": Plant(418, '"status":418', _OPERATIONAL),
        "duration": Plant(71_828.5, "71828500.0", _OPERATIONAL),
        "queue": _figure(16_180_339.75),
        "cost": _figure(27_182.818),
        "cached": Plant(value=True, needle='"cache_hit":true', sinks=_OPERATIONAL),
        "deployment": _text("5ca1ab1e5ca1ab1e", _OPERATIONAL),
        "batch": _text("01JDBVE5M0ZQCANARYZQCANARY", _OPERATIONAL),
        "tokens_in": _figure(141_421_356),
        "tokens_out": _figure(173_205_080),
        "messages": Plant([{"role": "user", "content": "zq09canary"}], "zq09canary", _CONTENT),
        "answers": Plant({"role": "assistant", "content": "zq10canary"}, "zq10canary", _CONTENT),
        "exception": _text("zq11canary", _CONTENT, "timeout: {}"),
    },
}
"""A canary for every leaf of both shapes, by the leaf's name."""

_BAD = {
    "request_id": ("zqbadvalue", "req_zqbadvalue", "req_zqbad@example.org"),
    "uuid": ("zqbadvalue",),
    "ulid": ("zqbadvalue",),
    "hex": ("zqbadvalue",),
    "date-time": ("zqbadvalue", "2026-11-23T10:00:00"),
}
"""Values of the right type and a wrong format."""
_FRAMES: dict[str, dict[str, Any]] = {
    "v1": {"account": {}, "client": {}, "usage": {}, "error": {}},
    "spend_log": {
        "labels": [{"key": "team"}, {"key": "owner_email"}, {"key": "owner_name"}],
        "headers": [{}],
        "token_counts": [{"key": "prompt"}, {"key": "completion"}],
        "choices": [{}],
    },
}


def planted_event(shape: str) -> dict[str, Any]:
    """Return a valid event of a shape with a canary in every leaf."""
    event = copy.deepcopy(_FRAMES[shape])
    for name, rule in SHAPES[shape].rules.items():
        put(event, rule.pointer, copy.deepcopy(PLANTS[shape][name].value))
    return event


def corruptions(shape: str) -> Iterator[tuple[str, Any]]:
    """Yield (pointer, bad value): one leaf of a shape made invalid at a time, or an object that leaves stand in.

    Content that is gathered over a list is left out: any value is good there.
    """
    rules = SHAPES[shape].rules
    parents = {rule.pointer.rpartition("/")[0] for rule in rules.values() if is_plain(split_pointer(rule.pointer))}
    for parent in sorted(parents - {""}):
        yield from ((parent, bad) for bad in ("zqbadvalue", ["zqbadvalue"], 918_273_645))
    for name, rule in rules.items():
        if rule.treatment is Treatment.CONTENT and "*" in rule.pointer:
            continue
        yield (
            rule.pointer,
            [{"zqbadkey": "zqbadvalue"}] if type(PLANTS[shape][name].value) is not list else "zqbadvalue",
        )
        yield rule.pointer, 9_182_736_455_463_728
        yield from ((rule.pointer, bad) for bad in _BAD.get(rule.format, ()))
        if not isinstance(PLANTS[shape][name].value, str):
            yield rule.pointer, "zqbadvalue"
