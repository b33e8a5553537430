"""Raw events in envelopes: opened by the workers' keys alone, and rejected, never lost, where none opens them."""

import copy
import pickle
import runpy
import stat
from pathlib import Path
from typing import Any

import orjson
import pytest
from cli_fixtures import Lethe, make_event, make_lethe
from conftest import KEYS, OPEN_DOOR, NoDetector, base_event
from hypothesis import given
from hypothesis import strategies as st

from pipeline.anonymize import make_core, process
from pipeline.errors import ConfigError, KeyringError, Reason
from pipeline.keys.envelope import OVERHEAD_BYTES, EnvelopeKeys, EnvelopeSealer
from pipeline.keys.envelopefile import init_envelope_keys, load_envelope_keys, rotate_envelope_keys
from pipeline.policy.load import Limits, Policy, load_policy
from pipeline.records import Anonymized, Rejection, Source
from pipeline.recovery.redacted import Redactor
from pipeline.seal import ENVELOPE, ENVELOPE_BYTES_MAX

KEY = EnvelopeKeys([b"canary-7f3a-of-thirty-two-bytes!"])
OTHER = EnvelopeKeys([b"o" * 32])
RAW = orjson.dumps(base_event())
EXAMPLE = Path(__file__).resolve().parent.parent / "examples" / "gateway_producer.py"


def sealed(event: bytes = RAW, keys: EnvelopeKeys = KEY) -> bytes:
    """Put an event into an envelope."""
    return EnvelopeSealer(keys.publics[0]).seal(event)


def fate(raw: bytes, policy: Policy, keys: EnvelopeKeys | None = KEY) -> Any:
    """Run a raw event through the core."""
    return process(raw, Source("raw", 0, 0, len(raw)), make_core(policy, NoDetector(), KEYS, None, keys), OPEN_DOOR)


@given(event=st.binary(max_size=3000))
def test_an_envelope_opens_with_its_key_alone(event: bytes) -> None:
    """Any bytes come out as they went in; each envelope is another, and none has a text in it."""
    first, second = sealed(event), sealed(event)
    assert first != second
    assert first.startswith(ENVELOPE)
    assert len(first) == len(event) + OVERHEAD_BYTES <= len(event) + ENVELOPE_BYTES_MAX
    assert KEY.open(first) == event
    assert OTHER.open(first) is None


@given(data=st.data())
def test_what_was_changed_does_not_open(data: st.DataObject) -> None:
    """Not by a bit, a cut, or bytes behind it; nor do bytes that are no envelope raise anything."""
    whole = bytearray(sealed())
    place = data.draw(st.integers(0, len(whole) - 1))
    whole[place] ^= 1 << data.draw(st.integers(0, 7))
    assert KEY.open(bytes(whole)) in {None, RAW} if place < len(ENVELOPE) else KEY.open(bytes(whole)) is None
    assert KEY.open(sealed()[:place]) is None
    assert KEY.open(sealed() + b"\0") is None
    assert KEY.open(ENVELOPE + data.draw(st.binary(max_size=100))) is None


def test_an_event_in_an_envelope_has_the_fate_of_the_event(policy: Policy) -> None:
    """The same records, byte for byte, as of the plain event."""
    plain, opened = fate(RAW, policy), fate(sealed(), policy)
    assert isinstance(opened, Anonymized)
    assert (opened.content, opened.operational) == (plain.content, plain.operational)
    assert isinstance(fate(RAW, policy, None), Anonymized)


@pytest.mark.parametrize("keys", [None, OTHER])
def test_one_that_no_key_opens_is_a_rejection(policy: Policy, keys: EnvelopeKeys | None) -> None:
    """A pointer to it is kept, so that it can be replayed when the key is there."""
    refused = fate(sealed(), policy, keys)
    assert isinstance(refused, Rejection)
    assert (refused.reason, refused.pointer) == (Reason.SEALED, "")


def test_a_bad_event_in_an_envelope_is_rejected_as_what_it_is(policy: Policy) -> None:
    """Its reason is that of the event; an envelope in an envelope is no JSON."""
    assert fate(sealed(b"{"), policy).reason is Reason.NOT_JSON
    assert fate(sealed(b""), policy).reason is Reason.EMPTY
    assert fate(sealed(sealed()), policy).reason in {Reason.NOT_JSON, Reason.NOT_UTF8}


def test_the_limit_is_of_the_event() -> None:
    """An envelope may be longer than the largest event by what it adds; what is longer still is not even opened."""
    policy = load_policy(limits=Limits(event_bytes_max=len(RAW)))
    assert isinstance(fate(sealed(), policy), Anonymized)
    assert fate(sealed(RAW + b" "), policy).reason is Reason.TOO_LARGE
    assert fate(sealed(RAW + b" " * ENVELOPE_BYTES_MAX), policy, None).reason is Reason.TOO_LARGE


def test_a_redacted_look_opens_it(policy: Policy) -> None:
    """`lethe rejected --show` shows the shape of the event; without the key, size and reason."""
    assert Redactor(policy, KEY).redact(sealed()) == Redactor(policy).redact(RAW)
    shown = Redactor(policy).redact(sealed())
    assert isinstance(shown, str)
    assert shown.endswith("bytes: sealed>")


def test_private_keys_show_nothing() -> None:
    """Nor can they be copied into another process."""
    assert "canary" not in repr(KEY)
    for copied in (pickle.dumps, copy.copy):
        with pytest.raises(KeyringError, match="never pickled"):
            copied(KEY)
    with pytest.raises(ConfigError, match="lethe keys envelope") as caught:
        EnvelopeSealer("canary-7f3a")
    assert "canary" not in str(caught.value)
    for wrong in ([], [b"short"], [b"a" * 32, b"a" * 32]):
        with pytest.raises(KeyringError):
            EnvelopeKeys(wrong)


def test_keys_are_rotated_without_a_gap(tmp_path: Path) -> None:
    """The new key comes first, the older one opens what is under way; retired, it opens nothing."""
    path = tmp_path / "raw.json"
    assert init_envelope_keys(path)
    assert not init_envelope_keys(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    old = load_envelope_keys(path)
    rotate_envelope_keys(path)
    both = load_envelope_keys(path)
    assert both.publics[1:] == old.publics
    for keys in (old, both):
        assert both.open(sealed(keys=keys)) == RAW
    rotate_envelope_keys(path, retire=True)
    newest = load_envelope_keys(path)
    assert newest.publics == both.publics[:1]
    assert newest.open(sealed(keys=old)) is None


@pytest.mark.parametrize(
    "text", ["canary", '{"version": 1, "x25519": ["canary!"]}', '{"version": 2, "x25519": []}', "[]"]
)
def test_a_file_that_is_none_is_refused(tmp_path: Path, text: str) -> None:
    """With a text that repeats nothing of it."""
    path = tmp_path / "raw.json"
    path.write_text(text)
    path.chmod(0o600)
    with pytest.raises(KeyringError, match="key file of raw events") as caught:
        load_envelope_keys(path)
    assert "canary" not in f"{caught.value!r}{caught.value.__context__!r}"


def test_the_command_makes_shows_and_rotates_keys(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Public keys alone are shown, the newest first."""
    lethe: Lethe = make_lethe(tmp_path, monkeypatch, capfd)
    assert "LETHE_RAW_KEY" in lethe("keys", "envelope").err
    monkeypatch.setenv("LETHE_RAW_KEY", "raw.json")
    (first,) = lethe("keys", "envelope").out.split()
    second, again = lethe("keys", "envelope", "--rotate").out.split()
    assert (again, second.startswith("x25519:")) == (first, True)
    assert lethe("keys", "envelope", "--rotate", "--retire").code == 2
    assert lethe("keys", "envelope", "--retire").out.split() == [second]
    assert EnvelopeSealer(second).seal(b"x").startswith(ENVELOPE)


def test_the_example_gateway_makes_envelopes() -> None:
    """With nothing of lethe: what it makes, the workers' key opens."""
    assert "pipeline" not in EXAMPLE.read_text("utf-8")
    gateway = runpy.run_path(str(EXAMPLE))
    envelope = gateway["Envelopes"](KEY.publics[0]).seal(orjson.dumps(make_event(1)))
    assert KEY.open(envelope) == orjson.dumps(make_event(1))
