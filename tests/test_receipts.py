"""Receipts: any changed byte is found, a pending one becomes complete under a new signature, and keys stay private."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cli_fixtures import Lethe, make_lethe
from conftest import KEYS
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.errors import ConfigError, KeyringError
from pipeline.keys.signing import CHECKPOINT, RECEIPT, Signer, format_public, is_signed, parse_public
from pipeline.keys.signingfile import init_signer, load_signer
from pipeline.receipts.files import load_receipt, save_receipt, verify_file
from pipeline.receipts.model import Place, Receipt, ReceiptFault, Status
from pipeline.receipts.signed import canonical, sign, to_document, verify

SIGNER, OTHER = Signer.from_seed(b"r" * 32), Signer.from_seed(b"o" * 32)
NOW_MS = 1_795_428_000_123
CANARY = "zqcanary.person@example.org"
ACCOUNT = KEYS.suppression("account", CANARY)
CONTENT = Place("store:content", {"deleted": 12})
OPERATIONAL = Place(
    *("store:operational", {"unlinked": 3}, {"rows": 3}, "billing: rows stay, without the account", NOW_MS + 1000)
)
RECEIPT_ID = "5b0c3a52-7e0f-4d0e-9d43-3f1c2b6a7d10"
PENDING = Receipt(
    *(RECEIPT_ID, "erase", "account", ACCOUNT, NOW_MS, NOW_MS, 1, "0123456789abcdef"),
    legal_hold="court-2026-7",
    audit_log=RECEIPT_ID,
    audit_sequence=4,
    places=(CONTENT, OPERATIONAL),
)
COMPLETE = PENDING
for _place in PENDING.places:
    COMPLETE = COMPLETE.with_place(replace(_place, confirmed_ms=NOW_MS + 5))
COMPLETE = COMPLETE.complete(NOW_MS + 6)
SIGNED = sign(COMPLETE, SIGNER)

counts = st.dictionaries(st.from_regex(r"[a-z][a-z0-9_]{0,10}", fullmatch=True), st.integers(0, 2**53 - 1), max_size=3)
texts = st.text(st.characters(exclude_categories=["Cc", "Cs", "Zl", "Zp"]), min_size=1, max_size=40)


@settings(deadline=None)
@given(counts, counts, texts, st.sampled_from([PENDING, COMPLETE]))
def test_a_receipt_survives_its_signature(done: dict[str, int], left: dict[str, int], why: str, base: Receipt) -> None:
    """What was signed is what is read, whatever it counts and says; its bytes are those of RFC 8785."""
    confirmed_ms = None if base is PENDING else NOW_MS
    place = Place("topic:content", done, left, why, NOW_MS, confirmed_ms)
    receipt = replace(base, places=(*base.places, place))
    data = sign(receipt, SIGNER)
    assert verify(data, SIGNER.public) == receipt
    written = json.dumps(json.loads(data), sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    assert written.encode() + b"\n" == data


@settings(max_examples=400, deadline=None)
@given(st.integers(0, len(SIGNED) - 1), st.integers(0, 255))
def test_a_changed_byte_is_found(at: int, byte: int) -> None:
    """Any other byte, in the signature or outside it, and the receipt does not hold; nothing else is told."""
    data = bytearray(SIGNED)
    changed, data[at] = data[at] != byte, byte
    if changed:
        with pytest.raises(ReceiptFault, match=r"^the signature does not hold$"):
            verify(bytes(data), SIGNER.public)


@settings(deadline=None)
@given(st.integers(0, len(SIGNED)), st.binary(min_size=1, max_size=3), st.integers(0, 3))
def test_an_inserted_or_missing_byte_is_found(at: int, more: bytes, fewer: int) -> None:
    """Bytes more or fewer, white space included, are found."""
    data = SIGNED[:at] + more + SIGNED[at + fewer :]
    if data != SIGNED:
        with pytest.raises(ReceiptFault, match=r"^the signature does not hold$"):
            verify(data, SIGNER.public)


@pytest.mark.parametrize(
    "data",
    [
        *(SIGNED.replace(b"{", b"{ ", 1), SIGNED + b"\n", SIGNED[:-1], b" " + SIGNED),
        *(SIGNED.replace(b"{", b'{"action":"erase",', 1), SIGNED.replace(b"erase", b"\\u0065rase")),
    ],
    ids=["space", "line", "no_end", "space_before", "repeated_key", "escape"],
)
def test_another_spelling_is_found(data: bytes) -> None:
    """What leaves the JSON as it is is found all the same: one receipt has one form."""
    assert json.loads(data) == json.loads(SIGNED)
    with pytest.raises(ReceiptFault, match=r"^the signature does not hold$"):
        verify(data, SIGNER.public)


def test_only_the_right_key_and_use_hold() -> None:
    """Another key's receipt, one whose key was swapped, and a signature for another use do not hold."""
    assert verify(SIGNED, SIGNER.public) == COMPLETE
    document = {**to_document(COMPLETE), "key": SIGNER.public}
    forged = {**document, "signature": OTHER.sign(RECEIPT, canonical(document))}
    misused = {**document, "signature": SIGNER.sign(CHECKPOINT, canonical(document))}
    for data in (sign(COMPLETE, OTHER), canonical(forged) + b"\n", canonical(misused) + b"\n", b"", b"[]\n", b"{}\n"):
        with pytest.raises(ReceiptFault, match="the signature does not hold"):
            verify(data, SIGNER.public)
    assert not is_signed("zz", RECEIPT, b"", "00" * 64)
    assert not is_signed(SIGNER.public, RECEIPT, b"", None)


@pytest.mark.parametrize(
    "fields",
    [{**to_document(COMPLETE), "more": 1}, {**to_document(COMPLETE), "status": "pending"}, {"key": 1}],
    ids=["a_member_more", "status_that_is_not_so", "no_receipt"],
)
def test_a_signed_document_that_is_no_receipt_does_not_hold(fields: dict[str, Any]) -> None:
    """What has a good signature, and is no receipt, is none."""
    document = {**fields, "key": SIGNER.public}
    document["signature"] = SIGNER.sign(RECEIPT, canonical(document))
    with pytest.raises(ReceiptFault):
        verify(canonical(document) + b"\n", SIGNER.public)


@pytest.mark.parametrize(
    ("make", "fault"),
    [
        (lambda: Place("store:content", {}, {"rows": 1}), "why and until when"),
        (lambda: Place("store:content", {}, {"rows": 1}, "because"), "why and until when"),
        (lambda: Place("store:content", {"rows": -1}), "whole numbers"),
        (lambda: Place("store:content", {"rows": 2**53}), "whole numbers"),
        (lambda: Place("store:content", {CANARY: 1}), "whole numbers"),
        (lambda: Place(CANARY, {}), "name or reason"),
        (lambda: Place("store:content", {}, why="two\nlines"), "name or reason"),
        (lambda: replace(PENDING, pseudonym=CANARY), "another form"),
        (lambda: replace(PENDING, legal_hold=CANARY), "another form"),
        (lambda: replace(PENDING, policy_version=True), "another form"),
        (lambda: replace(PENDING, places=(CONTENT, CONTENT)), "twice"),
        (lambda: PENDING.complete(NOW_MS), "when each of its places is confirmed"),
        (lambda: COMPLETE.with_place(CONTENT), "does not change"),
    ],
)
def test_what_cannot_be_signed_is_not_made(make: Any, fault: str) -> None:
    """What remains without reason or end, free text in a name, a subject in clear: refused, and not repeated."""
    with pytest.raises(ReceiptFault, match=fault) as caught:
        make()
    assert "zqcanary" not in str(caught.value)


def test_a_receipt_goes_from_pending_to_complete(tmp_path: Path) -> None:
    """It is saved privately, replaced by itself alone, and once complete it stays as it is."""
    path = tmp_path / "receipt.json"
    with pytest.raises(ReceiptFault, match="nothing was saved there"):
        load_receipt(path, SIGNER.public)
    save_receipt(path, PENDING, SIGNER)
    first = path.read_bytes()
    assert CONTENT.plus({"deleted": 3, "masked": 1}).counts == {"deleted": 15, "masked": 1}
    assert (load_receipt(path, SIGNER.public).status, path.stat().st_mode & 0o777) == (Status.PENDING, 0o600)
    with pytest.raises(ReceiptFault, match="holds another receipt"):
        save_receipt(path, replace(PENDING, receipt_id=RECEIPT_ID.replace("5", "6")), SIGNER)
    assert path.read_bytes() == first
    assert COMPLETE.complete(NOW_MS + 99) == COMPLETE
    save_receipt(path, COMPLETE, SIGNER)
    assert path.read_bytes() == SIGNED != first
    save_receipt(path, COMPLETE, SIGNER)
    for other in (PENDING, replace(COMPLETE, receipt_id=RECEIPT_ID.replace("5", "6"))):
        with pytest.raises(ReceiptFault, match="holds another receipt, or a complete one"):
            save_receipt(path, other, SIGNER)
    with pytest.raises(ReceiptFault, match="does not hold"):
        save_receipt(path, COMPLETE, OTHER)
    assert path.read_bytes() == SIGNED
    path.chmod(0o644)
    assert verify_file(path, SIGNER.public) == COMPLETE
    with pytest.raises(ReceiptFault, match="chmod 600"):
        load_receipt(path, SIGNER.public)
    assert "zqcanary" not in SIGNED.decode() + repr(COMPLETE) + repr(SIGNER)


def test_the_key_is_private(tmp_path: Path) -> None:
    """The key's file is made once, mode 0600, and refused when others can read it or it is damaged; no part is told."""
    path = tmp_path / "key.json"
    with pytest.raises(KeyringError, match="there is no receipt key"):
        load_signer(path)
    made = init_signer(path, b"k" * 32)
    assert (load_signer(path).public, path.stat().st_mode & 0o777) == (made.public, 0o600)
    assert parse_public(format_public(made.public)) == made.public
    with pytest.raises(KeyringError, match="not overwritten"):
        init_signer(path, b"l" * 32)
    with pytest.raises(KeyringError, match="not 32 bytes"):
        init_signer(path, b"short")
    path.chmod(0o640)
    with pytest.raises(KeyringError, match="chmod 600"):
        load_signer(path)
    path.chmod(0o600)
    for text in ("", "[]", '{"version": 1, "ed25519": "zqcanary!"}', '{"version": 2, "ed25519": ""}'):
        path.write_text(text)
        with pytest.raises(KeyringError, match="not a valid receipt key file") as caught:
            load_signer(path)
        assert "zqcanary" not in str(caught.value)
    with pytest.raises(ConfigError) as wrong:
        parse_public(CANARY)
    assert "zqcanary" not in str(wrong.value)


def test_the_command_verifies(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Anyone with the public key verifies: exit code 0 and what it says, or 1 and no word of a document that lies."""
    lethe: Lethe = make_lethe(tmp_path, monkeypatch, capfd)
    assert lethe("receipt", "public-key").code == 2
    path = tmp_path / "receipt.json"
    save_receipt(path, PENDING, SIGNER)
    key = ("--public-key", format_public(SIGNER.public))
    done = lethe("receipt", "verify", path, *key)
    assert done.code == 0
    for expected in (
        "erase of one account, pending",
        "court-2026-7",
        "12 deleted",
        "3 rows until 2026",
        "not confirmed",
    ):
        assert expected in done.out
    save_receipt(path, COMPLETE, SIGNER)
    assert ", complete; " in lethe("receipt", "verify", path, *key).out
    assert json.loads(lethe("receipt", "verify", path, *key, "--json").out) == to_document(COMPLETE)
    path.write_bytes(SIGNED.replace(b'"deleted":12', b'"deleted":13'))
    assert lethe("receipt", "verify", path, *key)[:2] == (1, f"{path}: the signature does not hold\n")
    path.write_bytes(SIGNED)
    assert lethe("receipt", "key").code == 0
    assert lethe("receipt", "verify", path).code == 1  # signed with another key than that of this folder
    assert lethe("receipt", "verify", tmp_path / "missing", *key).code == 2
    assert lethe("receipt", "key").code == 2


def test_the_command_lists_what_is_pending(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """The oldest first; a file that does not hold may be one. The gauges say the same, and nothing of a subject."""
    lethe: Lethe = make_lethe(tmp_path, monkeypatch, capfd)
    kept, gauges = tmp_path / "receipts", tmp_path / "receipts.prom"
    kept.mkdir()
    call = ("receipt", "pending", kept, "--public-key", format_public(SIGNER.public), "--textfile", gauges)
    save_receipt(kept / "done.json", COMPLETE, SIGNER)
    assert lethe(*call) == (0, "", "1 receipts, 0 pending, 0 that do not hold\n")
    save_receipt(kept / "a.json", PENDING, SIGNER)
    save_receipt(kept / "b.json", replace(PENDING, requested_ms=NOW_MS - 1), SIGNER)
    code, out, _ = lethe(*call)
    assert code == 3
    assert [line.split(": ")[0] for line in out.splitlines()] == [str(kept / "b.json"), str(kept / "a.json")]
    assert out.splitlines()[1].split(": ", 1)[1].startswith("erase: pending, requested 2026-")
    save_receipt(kept / "foreign.json", PENDING, OTHER)
    (kept / "open.json").write_bytes(SIGNED)
    (kept / "open.json").chmod(0o644)
    code, out, err = lethe(*call)
    assert (code, err) == (1, "5 receipts, 2 pending, 2 that do not hold\n")
    assert "foreign.json: the signature does not hold\n" in out
    shown = dict(line.rsplit(" ", 1) for line in gauges.read_text().splitlines() if not line.startswith("#"))
    assert (float(shown["lethe_receipts_pending"]), float(shown["lethe_receipts_broken"])) == (2, 2)
    age_s = float(shown["lethe_receipts_looked_timestamp_seconds"]) - (NOW_MS - 1) / 1000
    assert float(shown["lethe_receipts_oldest_pending_seconds"]) == pytest.approx(age_s)
    for text in (out, gauges.read_text()):
        assert ACCOUNT not in text
    assert lethe("receipt", "pending", tmp_path / "nowhere", *call[3:]).code == 2
