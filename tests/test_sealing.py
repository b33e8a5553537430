"""Sealed bodies: the same bytes again, opened by nobody else, and never plain for want of a key."""

import copy
import pickle
from hashlib import sha256

import orjson
import pytest
from conftest import KEYS, OPEN_DOOR, RECEIVED_AT_MS, NoDetector, base_event
from hypothesis import given
from hypothesis import strategies as st

from pipeline.anonymize import make_core, process
from pipeline.archive.decode import decoders
from pipeline.coarsen import DAY_MS, HOUR_MS, begin_ms, day_of
from pipeline.errors import KeyringError
from pipeline.keys.cipher import Cipher
from pipeline.keys.daykeys import LEAD_MS, DayKey, DayKeys, due_ms, life_ms, living_days
from pipeline.keys.sealing import SCHEME, DaySealer
from pipeline.policy.load import Limits, Policy, load_policy
from pipeline.records import Anonymized, ContentRecord, Sealed, Source
from pipeline.redact import REDACTED
from pipeline.seal import PlainSealer
from pipeline.wire import content_bytes

DAY = "2026-11-23"
NEXT_MS = RECEIVED_AT_MS + DAY_MS
RING = DayKeys([DayKey(DAY, "7f3a91c2", b"a" * 32), DayKey("2026-11-24", "00c0ffee", b"b" * 32)])
REQUEST = "req_0192f0c1a2b37c4d8e5f60718293a4b5"
BODY = b'{"request":{"messages":[{"role":"user","content":"canary-7f3a canary-7f3a canary-7f3a"}]}}'
IDENTITY = {"request_id": REQUEST, "schema_version": 1}
BOUNDS_MS = (HOUR_MS, DAY_MS, 2 * DAY_MS, 30 * DAY_MS, 400 * DAY_MS)


def sealed(body: bytes = BODY, received_at_ms: int = RECEIVED_AT_MS, request_id: str = REQUEST) -> Sealed:
    """Seal a body with a sealer of its own."""
    return DaySealer(RING).seal(body, request_id=request_id, schema_version=1, received_at_ms=received_at_ms)


def refusal(body: Sealed, ring: DayKeys = RING, request_id: str = REQUEST, schema_version: int = 1) -> str:
    """Return why a body does not open; the error shows nothing of it, and has no other behind it."""
    with pytest.raises(KeyringError) as caught:
        DaySealer(ring).open(body, request_id=request_id, schema_version=schema_version)
    assert caught.value.__context__ is None
    assert "canary" not in str(caught.value)
    return str(caught.value)


@given(body=st.binary(max_size=4000), request_id=st.text(min_size=1, max_size=40))
def test_what_is_sealed_opens_and_is_the_same_bytes_again(body: bytes, request_id: str) -> None:
    """For any body and id; a repeat by another process, which has sealed other things before, is byte-identical."""
    used = DaySealer(RING)
    used.seal(b"something else" * 500, request_id="other", schema_version=1, received_at_ms=NEXT_MS)
    first = used.seal(body, request_id=request_id, schema_version=1, received_at_ms=RECEIVED_AT_MS)
    assert first == sealed(body, request_id=request_id)
    assert used.open(first, request_id=request_id, schema_version=1) == body


def test_the_bytes_are_those_of_this_scheme() -> None:
    """Sealed bytes do not change with a release of zstd, or the number in the scheme's name must.

    Two workers of different releases would otherwise make other bytes of one event: a conflict in the store.
    """
    text = orjson.dumps({"request": {"messages": [{"content": f"row {n} of {n * n % 97}"} for n in range(300)]}})
    made = sealed(text)
    assert SCHEME == "zstd-aes256gcmsiv-1"
    assert sha256(made.data).hexdigest() == "5de9d6ccf2fbb0e39194b109c18eff0a9634a0dbb059ef776fd52a1dcb8e7003"


def test_a_record_says_only_which_key() -> None:
    """The encoding is the scheme, the day and eight random digits."""
    made = sealed()
    assert made.encoding == f"{SCHEME}:{DAY}.7f3a91c2"
    assert b"canary" not in made.data
    assert "canary" not in repr(made)


def test_a_day_has_its_key() -> None:
    """What came in before midnight UTC is under one key, what came after it under the next."""
    midnight = begin_ms("2026-11-24")
    assert midnight is not None
    assert [sealed(received_at_ms=at).encoding[-19:] for at in (midnight - 1, midnight)] == [
        f"{DAY}.7f3a91c2",
        "2026-11-24.00c0ffee",
    ]


@pytest.mark.parametrize("place", [0, 20, -1])
def test_a_changed_body_does_not_open(place: int) -> None:
    """A bit that flipped is found, wherever it is; so are a cut and an empty body."""
    made = sealed()
    changed = bytearray(made.data)
    changed[place] ^= 1
    for data in (bytes(changed), made.data[:-1], b""):
        assert "does not open" in refusal(made._replace(data=data))


def test_a_body_that_was_moved_does_not_open() -> None:
    """It belongs to its request, to its schema and to its day."""
    made = sealed()
    assert "does not open" in refusal(made, request_id="req_0192f0c1a2b37c4d8e5f60718293a4b6")
    assert "does not open" in refusal(made, schema_version=2)
    assert "does not open" in refusal(made._replace(encoding=f"{SCHEME}:2026-11-24.00c0ffee"))


def test_without_its_key_nothing_opens() -> None:
    """A destroyed key is missed, and so is one of another keyring for the same day."""
    other = DayKeys([DayKey(DAY, "11111111", b"c" * 32)])
    for ring in (DayKeys([]), other):
        assert "is not in the keyring" in refusal(sealed(), ring)
    assert "scheme" in refusal(sealed()._replace(encoding="rot13:2026-11-23.7f3a91c2"))
    with pytest.raises(KeyringError, match="LETHE_SEAL"):
        PlainSealer().open(sealed(), **IDENTITY)  # type: ignore[arg-type]


def test_what_was_stored_plain_opens() -> None:
    """Content from before bodies were sealed is read for its last thirty days."""
    plain = PlainSealer().seal(BODY, request_id=REQUEST, schema_version=1, received_at_ms=RECEIVED_AT_MS)
    assert DaySealer(RING).open(plain, request_id=REQUEST, schema_version=1) == BODY


def test_without_a_key_of_the_day_nothing_is_made(policy: Policy) -> None:
    """The core raises, so that the process stops: no record, no plaintext, no rejection that passes the event by."""
    core = make_core(policy, NoDetector(), KEYS, DaySealer(DayKeys([])))
    raw = orjson.dumps(base_event())
    with pytest.raises(KeyringError, match="lethe keys roll"):
        process(raw, Source("raw", 0, 0, len(raw)), core, OPEN_DOOR)


def test_a_sealed_record_goes_through_the_archive(policy: Policy) -> None:
    """On the wire it is base64 beside its encoding; the archive takes it as it is, without a key."""
    core = make_core(policy, NoDetector(), KEYS, DaySealer(RING))
    raw = orjson.dumps(base_event())
    fate = process(raw, Source("raw", 0, 0, len(raw)), core, OPEN_DOOR)
    assert isinstance(fate, Anonymized)
    assert fate.content is not None
    value = content_bytes(fate.content)
    assert len(orjson.loads(value)["body"]) == fate.content.body.wire_bytes
    headers = [("schema", b"content/1"), ("policy_digest", policy.digest.encode())]
    decoded = decoders(policy)["content"](REQUEST.encode(), value, headers)
    assert isinstance(decoded, ContentRecord)
    assert decoded.body == fate.content.body


def test_a_body_that_grows_by_sealing_is_redacted() -> None:
    """What does not compress gains a third as base64; past the limit of a record its bodies are replaced whole."""
    policy = load_policy(limits=Limits(event_bytes_max=6000))
    noise = "".join(sha256(b"%d" % n).hexdigest() for n in range(70))
    letters = "".join(chr(0x4E00 + int(noise[at : at + 4], 16) % 20_000) for at in range(0, len(noise), 3))
    event = base_event() | {"response": None, "error": None}
    event["request"]["messages"][0]["content"] = letters
    raw = orjson.dumps(event)
    assert len(raw) < 6000
    sealer = DaySealer(RING)
    plain, closed = (
        process(raw, Source("raw", 0, 0, len(raw)), make_core(policy, NoDetector(), KEYS, one), OPEN_DOOR)
        for one in (None, sealer)
    )
    assert isinstance(plain, Anonymized)
    assert isinstance(closed, Anonymized)
    assert plain.facts.content_outcome == "stored"
    assert closed.facts.content_outcome in {"stored", "oversize"}
    assert closed.content is not None
    assert closed.content.body.wire_bytes <= 6000
    if closed.facts.content_outcome == "oversize":
        assert orjson.loads(sealer.open(closed.content.body, **IDENTITY))["request"] == REDACTED  # type: ignore[arg-type]


# Which days have a key


@pytest.mark.parametrize("bound_ms", BOUNDS_MS)
@given(now_ms=st.integers(min_value=400 * DAY_MS * 3, max_value=60 * 365 * DAY_MS))
def test_living_days_are_those_that_are_not_due(bound_ms: int, now_ms: int) -> None:
    """They are without a gap, reach from the first that is not due to two days ahead, and today is among them."""
    days = living_days(now_ms, bound_ms)
    begins = [begin_ms(day) or 0 for day in days]
    assert begins == [*range(begins[0], begins[-1] + 1, DAY_MS)]
    assert all(due_ms(day, bound_ms) > now_ms for day in days)
    assert due_ms(day_of(begins[0] - DAY_MS), bound_ms) <= now_ms
    assert days[-1] == day_of(now_ms + 2 * DAY_MS)
    assert day_of(now_ms) in days


def test_the_key_of_a_day_is_gone_thirty_days_from_its_start() -> None:
    """With two hours to spare for a timer that failed; of a bound shorter than two days, a day later."""
    assert due_ms(DAY, 30 * DAY_MS) == (begin_ms(DAY) or 0) + 30 * DAY_MS - LEAD_MS
    assert life_ms(30 * DAY_MS) == 30 * DAY_MS
    assert life_ms(HOUR_MS) == DAY_MS + HOUR_MS


# Keys show nothing


def test_keys_are_in_no_repr_and_no_pickle() -> None:
    """Nor do ciphers and sealers show any."""
    key = DayKey(DAY, "7f3a91c2", b"canary-7f3a-of-thirty-two-bytes!")
    for one in (key, DayKeys([key]), Cipher(key.key), DaySealer(DayKeys([key]))):
        assert "canary" not in repr(one)
    for one in (key, DayKeys([key]), Cipher(key.key)):
        with pytest.raises(KeyringError, match="never pickled"):
            pickle.dumps(one)
        with pytest.raises(KeyringError, match="never pickled"):
            copy.copy(one)


@pytest.mark.parametrize(
    ("day", "tag", "key", "why"),
    [
        ("2026-11-31", "7f3a91c2", b"a" * 32, "YYYY-MM-DD"),
        ("20261123", "7f3a91c2", b"a" * 32, "YYYY-MM-DD"),
        (DAY, "7F3A91C2", b"a" * 32, "8 hex digits"),
        (DAY, "7f3a91c2", b"a" * 31, "32 bytes"),
    ],
)
def test_a_key_of_another_form_is_refused(day: str, tag: str, key: bytes, why: str) -> None:
    """A day, its digits and its key have one form each."""
    with pytest.raises(KeyringError, match=why):
        DayKey(day, tag, key)


def test_a_key_is_there_once() -> None:
    """Two days with one key, or one day with two, would outlive the destruction of one."""
    one, same = DayKey(DAY, "7f3a91c2", b"a" * 32), DayKey("2026-11-24", "00c0ffee", b"a" * 32)
    with pytest.raises(KeyringError, match="there twice"):
        DayKeys([one, same])
    with pytest.raises(KeyringError, match="two keys"):
        DayKeys([one, DayKey(DAY, "00c0ffee", b"b" * 32)])
