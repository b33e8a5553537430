"""The generator: an envelope, bodies in the shape of their endpoint, and now and then a failure (design §2)."""

import math
from collections.abc import Callable, Iterator
from itertools import accumulate
from random import Random
from typing import NamedTuple

import orjson

from pipeline.errors import ConfigError
from pipeline.synth.accounts import AccountPool, make_accounts
from pipeline.synth.chat import write_chat_request, write_chat_response
from pipeline.synth.corpus import load_corpus
from pipeline.synth.draft import Draft, Json
from pipeline.synth.drops import add_undeclared
from pipeline.synth.envelope import TAIL_BYTES, Detail, write_head, write_tail
from pipeline.synth.faults import choose_fault, write_error
from pipeline.synth.identifiers import MAKERS
from pipeline.synth.legacy import (
    write_completion_request,
    write_completion_response,
    write_embedding_request,
    write_embedding_response,
)
from pipeline.synth.messages import write_messages_request, write_messages_response
from pipeline.synth.model import SyntheticEvent
from pipeline.synth.responses import write_responses_request, write_responses_response

SIZE_MIN_BYTES, SIZE_MAX_BYTES = 200, 195_000
"""Bounds of the size an event is written for; what is written differs by a few per cent."""

_SIZE_MEDIAN_BYTES, _SIZE_SIGMA = 1220, 1.15
_LEAN_BYTES, _FULL_BYTES = 520, 960
_BODY_BYTES, _ANSWER_BYTES = 60, 330
_EMPTY_SHARE = 0.2
_FAULT_SHARE, _FAULT_BYTES = 0.065, 500
_LANGUAGE_SHARE = 0.7
_CHAT_MODELS = (
    "llama-3.1-70b-instruct",
    "llama-3.1-8b-instruct",
    "llama-3.1-8b-instruct",
    "mixtral-8x7b-instruct",
    "qwen2.5-72b-instruct",
    "deepseek-v3",
)


class _Endpoint(NamedTuple):
    """An endpoint of the API.

    Attributes:
        path: as the event has it.
        models: that it serves, as often as they stand here.
        request, response: write a body that fills the draft's room.
        answer: share of the room that the response takes.
    """

    path: str
    models: tuple[str, ...]
    request: Callable[[Draft], Json]
    response: Callable[[Draft], Json | None]
    answer: float


_ENDPOINTS = (
    _Endpoint("/v1/chat/completions", _CHAT_MODELS, write_chat_request, write_chat_response, 0.42),
    _Endpoint("/v1/messages", _CHAT_MODELS, write_messages_request, write_messages_response, 0.45),
    _Endpoint("/v1/responses", _CHAT_MODELS, write_responses_request, write_responses_response, 0.5),
    _Endpoint("/v1/completions", _CHAT_MODELS[:4], write_completion_request, write_completion_response, 0.4),
    _Endpoint(
        "/v1/embeddings",
        ("text-embedding-3-small", "text-embedding-3-small", "bge-m3"),
        write_embedding_request,
        write_embedding_response,
        0.7,
    ),
)
_ENDPOINT_WEIGHTS = tuple(accumulate((60, 13, 11, 7, 9)))


def generate_events(
    *, seed: int, count: int, start_ms: int, rate_per_s: float = 50.0, identifier_share: float = 1 / 3
) -> Iterator[SyntheticEvent]:
    """Yield synthetic raw request events with planted canaries; the same arguments give the same bytes.

    A longer run begins with the events of a shorter one. Every event whose bodies hold text has a ``present``
    canary; a benign marker is unique in its seed. What the envelope's fields hold, values under keys that are
    dropped, coded content and identifiers in content are ``absent``.

    Args:
        seed: of everything: accounts, sizes, texts.
        count: number of events.
        start_ms: receipt of the first event, epoch milliseconds.
        rate_per_s: events a second; event ``i`` is received ``i / rate_per_s`` seconds after the first.
        identifier_share: share of events with identifiers inside their content, 0 to 1.

    Raises:
        ConfigError: an argument is out of its range.
    """
    if count < 0:
        raise ConfigError("count must not be negative")
    if not rate_per_s > 0:
        raise ConfigError("rate_per_s must be more than 0")
    if not 0 <= identifier_share <= 1:
        raise ConfigError("identifier_share must be from 0 to 1")
    return _generate(seed, count, start_ms, rate_per_s, identifier_share)


def _generate(
    seed: int, count: int, start_ms: int, rate_per_s: float, identifier_share: float
) -> Iterator[SyntheticEvent]:
    pool = make_accounts(seed, load_corpus())
    sizes = Random(f"sizes:{seed}")
    first_serial = Random(f"serials:{seed}").getrandbits(36)
    for index in range(count):
        received_ms = start_ms + int(index * 1000 / rate_per_s)
        rng = Random(f"event:{seed}:{index}")
        draft = Draft(rng, load_corpus(), _request_id(rng, received_ms), received_ms, first_serial + index)
        size = sizes.lognormvariate(math.log(_SIZE_MEDIAN_BYTES), _SIZE_SIGMA)
        size_bytes = int(min(max(size, SIZE_MIN_BYTES), SIZE_MAX_BYTES))
        yield write_event(draft, pool, size_bytes=size_bytes, identifying=draft.chance(identifier_share))


def write_event(draft: Draft, pool: AccountPool, *, size_bytes: int, identifying: bool) -> SyntheticEvent:
    """Write one event of about ``size_bytes`` bytes of JSON, with or without identifiers in its content."""
    account = pool.draw(draft.rng)
    draft.language = account.language if draft.chance(_LANGUAGE_SHARE) else "en"
    endpoint = draft.rng.choices(_ENDPOINTS, cum_weights=_ENDPOINT_WEIGHTS)[0]
    draft.model = draft.rng.choice(endpoint.models)
    detail = Detail.FULL if size_bytes >= _FULL_BYTES else Detail.LEAN if size_bytes >= _LEAN_BYTES else Detail.SPARSE
    event = write_head(draft, account, endpoint=endpoint.path, detail=detail)
    if identifying:
        draft.pending = _choose_kinds(draft, size_bytes)
    room = size_bytes - len(orjson.dumps(event)) - TAIL_BYTES[detail]
    failed = detail is Detail.FULL and draft.chance(_FAULT_SHARE)
    status = _write_failure(draft, event, endpoint, room, identifying=identifying) if failed else 200
    if not failed:
        _write_bodies(draft, event, endpoint, room)
    write_tail(draft, event, account, status=status, detail=detail)
    add_undeclared(draft, event)
    return SyntheticEvent(event, tuple(draft.canaries))


def _write_bodies(draft: Draft, event: Json, endpoint: _Endpoint, room: int) -> None:
    """Write request and response into the room; where it is small, only a request, or neither."""
    if room < _BODY_BYTES and draft.chance(_EMPTY_SHARE):
        return
    room = max(room, _BODY_BYTES)
    answer = int(room * endpoint.answer) if room > _ANSWER_BYTES else 0
    draft.room = room - answer
    event["request"] = endpoint.request(draft)
    if answer:
        draft.room = answer
        event["response"] = endpoint.response(draft)


def _write_failure(draft: Draft, event: Json, endpoint: _Endpoint, room: int, *, identifying: bool) -> int:
    """Write a request, no response and an error; return the status."""
    fault = choose_fault(draft)
    draft.room = max(room - _FAULT_BYTES, _BODY_BYTES)
    event["request"] = endpoint.request(draft)
    event["response"] = None
    event["error"] = write_error(draft, fault, identifying=identifying)
    status: int = fault["status"]
    return status


def _choose_kinds(draft: Draft, size_bytes: int) -> list[str]:
    """Choose what to plant; the last, planted first, is one that can be found."""
    kinds = [*MAKERS, "EMAIL_ADDRESS", "PHONE_NUMBER", *draft.own]
    count = 1 + draft.chance(0.35) + int(draft.rng.random() * min(size_bytes // 4000, 6))
    chosen = [draft.rng.choice(kinds) for _ in range(count)]
    return ["PERSON", *chosen] if draft.chance(0.2) else chosen


def _request_id(rng: Random, received_ms: int) -> str:
    """Return ``req_`` and a UUIDv7 (RFC 9562) of the time of receipt, without hyphens."""
    high = received_ms << 16 | 0x7000 | rng.getrandbits(12)
    low = 0x8 << 60 | rng.getrandbits(62)
    return f"req_{high:016x}{low:016x}"
