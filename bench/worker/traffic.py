"""Raw events for the benchmarks: a pool of generated ones, each used again and again with a new id and a new time."""

import itertools
import time
from collections.abc import Iterator
from typing import Any, NamedTuple

import orjson

from pipeline.coarsen import format_timestamp
from pipeline.synth import generate_events

SEED = 7
NS_PER_MS = 1_000_000
_ID_MARK = "req_00000000000000000000000000000000"
_TIME_MARK = "2026-01-01T00:00:00.000Z"
LARGE_BYTES = (16 << 20) - (64 << 10)
"""Just below the limit of an event: its records must fit as well."""
_LEAF_BYTES = 3 << 20
"""Below the limit of a string leaf, beyond which it would be redacted unread."""


class Raw(NamedTuple):
    """A raw record: its request id, which is its key too, and its bytes."""

    key: bytes
    value: bytes


class Pool:
    """Generated events, ready to be stamped."""

    def __init__(self, events: list[dict[str, Any]]) -> None:
        """Cut the events where id and time go."""
        self._parts = [_cut(event) for event in events]
        self._serials = itertools.count(1)

    def events(self) -> Iterator[Raw]:
        """Yield events without end, received now, no two with the same id."""
        for serial, parts in zip(self._serials, itertools.cycle(self._parts), strict=False):
            head, middle, tail = parts
            key = b"req_%032x" % serial
            now = format_timestamp(time.time_ns() // NS_PER_MS).encode("ascii")
            yield Raw(key, b"".join((head, key, middle, now, tail)))


def make_pool(count: int) -> Pool:
    """Return a pool of the generated mix."""
    return Pool(_generate(count))


def make_large_pool() -> Pool:
    """Return a pool of two events of nearly 16 MiB: one of very many messages, one of a few very long ones."""
    corpus = _generate(2000)
    texts = [str(message.get("content", "")) for event in corpus for message in _messages(event)]
    joined = "\n".join(itertools.islice(itertools.cycle(texts), 20_000))
    long_text = joined.encode()[:_LEAF_BYTES].decode("utf-8", "ignore")
    event = next(event for event in corpus if event["endpoint"] == "/v1/chat/completions" and _messages(event))
    return Pool([_enlarge(event, texts), _enlarge(event, [long_text])])


def _generate(count: int) -> list[dict[str, Any]]:
    start_ms = time.time_ns() // NS_PER_MS
    return [made.event for made in generate_events(seed=SEED, count=count, start_ms=start_ms, rate_per_s=1000)]


def _messages(event: dict[str, Any]) -> list[dict[str, Any]]:
    body = event.get("request")
    messages = body.get("messages") if isinstance(body, dict) else None
    return messages if isinstance(messages, list) else []


def _enlarge(event: dict[str, Any], texts: list[str]) -> dict[str, Any]:
    """Return the event with messages added until it has the size that is wanted, or would exceed it."""
    size = len(orjson.dumps(event))
    messages = []
    for text in itertools.cycle(texts):
        message = {"role": "user", "content": text}
        size += len(orjson.dumps(message)) + 1
        if size > LARGE_BYTES:
            break
        messages.append(message)
    return {**event, "request": {**event["request"], "messages": messages}}


def _cut(event: dict[str, Any]) -> tuple[bytes, bytes, bytes]:
    marked = orjson.dumps({**event, "request_id": _ID_MARK, "received_at": _TIME_MARK})
    head, rest = marked.split(_ID_MARK.encode(), 1)
    middle, tail = rest.split(_TIME_MARK.encode(), 1)
    return head, middle, tail
