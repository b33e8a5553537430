"""What the archive does without a broker: records decoded back, batches bounded, starts told, calls repeated."""

import asyncio
import base64
import json
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import orjson
import pytest
from conftest import OPEN_DOOR, base_event

from pipeline.anonymize import Core, process
from pipeline.archive.batch import Batch, Place
from pipeline.archive.decode import Decoded, NotARecord, decoders
from pipeline.archive.metrics import ArchiveMetrics
from pipeline.archive.patience import Patience
from pipeline.archive.reader import describe_start, lost_records
from pipeline.client import TopicPartition
from pipeline.errors import SinkUnavailable
from pipeline.records import Anonymized, ContentRecord, Sealed, Source
from pipeline.worker.offsets import choose_start
from pipeline.worker.route import Outgoing, Router

TOPICS = {"content": "c", "operational": "o", "rejected": "r"}


def made(core: Core, *, bad: bool = False) -> tuple[Sequence[Outgoing], Sequence[Decoded]]:
    """Return the records that a worker writes of an event, and what they were made from."""
    raw = b"{" if bad else json.dumps(base_event()).encode()
    fate = process(raw, Source("requests.raw", 2, 7, len(raw)), core, OPEN_DOOR)
    records = [*Router(core.policy, TOPICS).route(fate)]
    if not isinstance(fate, Anonymized):
        return records, [fate]
    assert fate.content is not None
    return records, [fate.content, fate.operational]


@pytest.mark.parametrize("bad", [False, True])
def test_records_come_back_as_they_were(bare_core: Core, bad: bool) -> None:
    """What a worker writes is decoded to the very record: the same fields, the same bytes of the body."""
    decode = decoders(bare_core.policy)
    records, originals = made(bare_core, bad=bad)
    assert [decode[one.sink](one.key, one.value, one.headers) for one in records] == originals


def test_a_sealed_body_comes_back(bare_core: Core) -> None:
    """A body that is not JSON stands as base64, and its bytes are not looked at."""
    (record, _), (content, _) = made(bare_core)
    fields = orjson.loads(record.value)
    fields.pop("body")
    sealed = {**fields, "body_encoding": "aead-1", "body": base64.b64encode(b"\xff\x00").decode()}
    decoded = decoders(bare_core.policy)["content"](record.key, orjson.dumps(sealed), record.headers)
    assert isinstance(content, ContentRecord)
    assert decoded == content._replace(body=Sealed("aead-1", b"\xff\x00"))


PERSON = "kari.nordmann@shop.example.org"


def _spoiled(value: bytes, **changes: object) -> bytes:
    return orjson.dumps({**orjson.loads(value), **changes})


@pytest.mark.parametrize(
    ("sink", "spoil", "reason"),
    [
        (1, lambda one: one._replace(value=None), "is a tombstone"),
        (1, lambda one: one._replace(headers=[]), "has no header that says its schema is operational/1"),
        (1, lambda one: one._replace(headers=[("schema", b"operational/2")]), "schema is operational/1"),
        (1, lambda one: one._replace(value=one.value[:-9]), "is not the JSON of one record"),
        (1, lambda one: one._replace(value=_spoiled(one.value, email=PERSON)), "does not hold to schema operational/1"),
        (1, lambda one: one._replace(value=_spoiled(one.value, model=PERSON)), "does not hold to schema operational/1"),
        (
            1,
            lambda one: one._replace(value=_spoiled(one.value, schema_version=2)),
            "another version than operational/1",
        ),
        (
            1,
            lambda one: one._replace(value=_spoiled(one.value, policy_version=1 << 63)),
            "policy_version that no column",
        ),
        (
            1,
            lambda one: one._replace(value=_spoiled(one.value, received_at="2026-13-41T10:00:00.000Z")),
            "received_at that no column",
        ),
        (1, lambda one: one._replace(key=PERSON.encode()), "another key than its identity"),
        (0, lambda one: one._replace(value=b"{}"), "has no body at its end"),
        (0, lambda one: one._replace(value=one.value[:-3] + b"}"), "is not the JSON of one record"),
        (0, lambda one: one._replace(value=one.value[:-1] + b',"email":"x"}'), "is not the JSON of one record"),
        (
            0,
            lambda one: one._replace(value=one.value.replace(b',"body":', b',"body_encoding":"x","body":')),
            "a sealed body that is no base64",
        ),
    ],
)
def test_what_no_worker_wrote_is_named_without_a_value(bare_core: Core, sink: int, spoil: object, reason: str) -> None:
    """Each way to be no record has its reason, and no reason repeats anything of it."""
    records, _ = made(bare_core)
    bad = spoil(records[sink])  # type: ignore[operator]
    with pytest.raises(NotARecord, match=reason) as caught:
        decoders(bare_core.policy)[bad.sink](bad.key, bad.value, bad.headers)
    assert PERSON not in str(caught.value)
    assert caught.value.__context__ is None


def test_a_record_of_another_policy_says_so(bare_core: Core) -> None:
    """A catalogue value that only the worker's policy has is no riddle: the text says which files differ."""
    record = made(bare_core)[0][1]
    headers = [("schema", b"operational/1"), ("policy_digest", b"0" * 16)]
    with pytest.raises(NotARecord, match="its policy is not this archive's"):
        decoders(bare_core.policy)["operational"](record.key, _spoiled(record.value, model="new"), headers)


def test_a_batch_is_bounded_by_records_and_bytes(bare_core: Core) -> None:
    """Room shrinks with what was read and how large it was; a batch without room takes nothing more."""
    batch = Batch()
    assert batch.room(1000, 10_000, 200) == 200
    batch.pass_over(Place("c", 0, 4), 50, 4000)
    assert batch.room(1000, 10_000, 200) == 1
    batch.pass_over(Place("c", 0, 9), 40, 4000)
    batch.pass_over(Place("c", 1, 3), 60, 2000)
    assert batch.room(1000, 10_000, 200) == batch.room(3, 1 << 20, 200) == 0
    assert (batch.ends, batch.appended_ms["c", 0]) == ({("c", 0): 10, ("c", 1): 4}, 40)
    content = made(bare_core)[1][0]
    batch.add(content, Place("c", 1, 3))
    assert str(batch.place_of("content", (content.request_id,))) == "c/1/3"  # type: ignore[union-attr]
    assert repr(batch) == "Batch(3 records, 10000 bytes)"


def test_what_expired_unread_is_told_and_counted() -> None:
    """A range below the log's start is lost: it is named by its offsets; other starts say nothing."""
    at = TopicPartition("requests.content", 3)
    start = choose_start(10, 25, 40)
    assert describe_start(at, start).startswith("15 records of requests.content/3 expired before they were archived")
    assert lost_records([(at, start), (at, choose_start(None, 25, 40))]) == {"requests.content": 15}
    assert "made anew" in describe_start(at, choose_start(50, 0, 40))
    assert describe_start(at, choose_start(30, 25, 40)) == describe_start(at, choose_start(None, 25, 40)) == ""


def test_a_store_is_called_again_for_a_bounded_time() -> None:
    """Failures are counted and told; the last one names the store; any other error passes at once."""
    said: list[str] = []
    left = [3]

    def fail() -> str:
        left[0] -= 1
        if left[0] >= 0:
            raise SinkUnavailable("chdb:x: away")
        return "done"

    async def call(retry_s: float) -> str:
        with ThreadPoolExecutor(1) as aside:
            return await Patience(aside, retry_s, said.append, lambda: said.append("counted")).call(fail)

    with pytest.raises(SinkUnavailable, match="chdb:x: away, for 0 s now"):
        asyncio.run(call(0))
    assert (said, left) == (["counted"], [2])
    left[0] = 1
    assert asyncio.run(call(5)) == "done"
    assert said[1] == "counted"
    assert said[2].startswith("chdb:x: away; trying again, for 5 s")


def test_closed_labels_start_at_zero() -> None:
    """The first conflict is a rise that an alert sees, not a new series."""
    text = ArchiveMetrics().render().decode()
    for sink in TOPICS:
        for name in ("conflicts", "lost", "expired", "skipped"):
            assert f'lethe_archive_{name}_total{{sink="{sink}"}} 0.0' in text
