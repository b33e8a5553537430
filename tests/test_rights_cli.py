"""``lethe erase``, ``restrict`` and ``export``, as an officer calls them: on a store alone, audited, with receipts."""

import json
import uuid
from pathlib import Path
from typing import Any

import pytest
from cli_fixtures import Lethe, make_event, make_lethe, write_lines

from pipeline.cli import edge
from pipeline.keys.keyfile import load_keyring
from pipeline.keys.signingfile import load_signer
from pipeline.receipts.files import save_receipt
from pipeline.rights.erase import Operational, StoreEraser
from pipeline.rights.receipt import begin, confirm
from pipeline.suppress import Subject

GONE, STAYS = "acct_5f0c77de21b94a08", "acct_77aa21b94a0801cd"
WHY = ("--why", "account_request", "--ticket", "DSR-12")
STORE = ("--store", "chdb:store")
ONLY = (*STORE, "--store-only")


@pytest.fixture
def lethe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Lethe:
    """Return the command, without its detector, in a folder with keys and a store of twelve events of two accounts."""
    monkeypatch.setattr("pipeline.cli.edge.detector_of", lambda *_: _Nothing())
    command = make_lethe(tmp_path, monkeypatch, capfd)
    write_lines(tmp_path / "events.jsonl", _events())
    assert command("receipt", "key").code == 0
    assert command("run", "events.jsonl", "--to", "chdb:store").code == 0
    return command


class _Nothing:
    def find_spans(self, texts: Any, _own: object = ()) -> list[Any]:
        return [()] * len(texts)


def _events() -> list[dict[str, Any]]:
    made = [make_event(number) for number in range(12)]
    for number, event in enumerate(made):
        event["account"] = event["account"] | {"id": STAYS if number % 3 else GONE}
    return made


def _exported(lethe: Lethe, account: str, folder: str) -> tuple[int, int]:
    done = lethe("export", folder, "--account", "-", "--content", *STORE, *WHY, stdin=f"{account}\n".encode())
    assert done.code == 0, done.err
    files = [Path(folder) / name for name in ("operational.jsonl", "content.jsonl")]
    return len(files[0].read_bytes().splitlines()), len(files[1].read_bytes().splitlines())


def test_an_account_is_erased_with_a_receipt_and_does_not_come_back(lethe: Lethe) -> None:
    """The receipt is complete and verifies, the same input brings nothing back, the other account is untouched."""
    assert _exported(lethe, GONE, "before") == (4, 4)
    done = lethe("erase", "--account", "-", "--receipt", "r.json", *ONLY, *WHY, stdin=f"{GONE}\n".encode())
    assert (done.code, done.out) == (0, "complete: r.json\n"), done.err
    shown = lethe("receipt", "verify", "r.json", "--json")
    receipt = json.loads(shown.out)
    assert (receipt["status"], receipt["action"]) == ("complete", "erase")
    counts = {place["name"]: place["counts"] for place in receipt["places"]}
    assert counts == {"store:content": {"deleted": 4}, "store:operational": {"unlinked": 4}}
    assert lethe("run", "events.jsonl", "--to", "chdb:store").code == 0
    assert _exported(lethe, GONE, "after") == (0, 0)
    assert _exported(lethe, STAYS, "others") == (8, 8)
    again = lethe("erase", "--account", "-", "--receipt", "r.json", *ONLY, *WHY, stdin=f"{GONE}\n".encode())
    assert (again.code, again.out) == (0, "complete: r.json\n")
    assert "What was received after 20" in again.err
    assert lethe("receipt", "verify", "r.json", "--json").out == shown.out
    log = "".join(path.read_text() for path in Path.cwd().rglob("audit-*.jsonl"))
    assert log.count('"action":"erase"') == 4
    assert lethe("audit-log", "verify").code == 0
    for text in (log, Path("r.json").read_text(), done.out + done.err, Path("before/manifest.json").read_text()):
        assert GONE not in text


def test_a_receipt_that_is_pending_is_gone_on_with(lethe: Lethe, monkeypatch: pytest.MonkeyPatch) -> None:
    """While bytes are there the receipt stays pending, and the same call again completes it with its first counts."""
    erase = ("erase", "--account", "-", "--receipt", "r.json", *ONLY, *WHY)
    with monkeypatch.context() as patched:
        patched.setattr(StoreEraser, "finish", lambda *_: False)
        first = lethe(*erase, "--wait-s", "0", stdin=f"{GONE}\n".encode())
    assert (first.code, first.out) == (3, "pending: r.json\n")
    assert "not confirmed yet" in lethe("receipt", "verify", "r.json").out
    assert lethe(*erase, stdin=f"{GONE}\n".encode()).code == 0
    receipt = json.loads(lethe("receipt", "verify", "r.json", "--json").out)
    assert [place["counts"] for place in receipt["places"]] == [{"deleted": 4}, {"unlinked": 4}]
    other = lethe(*erase, stdin=f"{STAYS}\n".encode())
    assert (other.code, "another subject" in other.err) == (2, True)


def test_a_legal_hold_keeps_operational_records_and_never_content(lethe: Lethe) -> None:
    """The receipt names the hold, says what remains and until when."""
    done = lethe("erase", "--account", GONE, "--hold", "case-17", "--receipt", "r.json", *ONLY, *WHY)
    assert done.code == 0, done.err
    receipt = json.loads(lethe("receipt", "verify", "r.json", "--json").out)
    (content, operational) = receipt["places"]
    assert (content["counts"], receipt["legal_hold"]) == ({"deleted": 4}, "case-17")
    assert (operational["remaining"], operational["why"]) == ({"rows": 4}, "legal hold case-17")
    assert operational["until"] is not None
    assert _exported(lethe, GONE, "held") == (4, 0)


def test_a_restricted_account_gets_no_content_until_it_is_lifted(lethe: Lethe) -> None:
    """What is stored stays; what is run meanwhile has operational records only."""
    assert lethe("restrict", "--account", "-", *ONLY, *WHY, stdin=f"{GONE}\n".encode()).code == 0
    more = [event | {"request_id": f"req_{number + 100:032x}"} for number, event in enumerate(_events())]
    write_lines(Path("more.jsonl"), more)
    assert lethe("run", "more.jsonl", "--to", "chdb:store").code == 0
    assert _exported(lethe, GONE, "restricted") == (8, 4)
    assert lethe("restrict", "--lift", "--account", "-", *ONLY, *WHY, stdin=f"{GONE}\n".encode()).code == 0
    write_lines(
        Path("last.jsonl"), [event | {"request_id": f"req_{n + 200:032x}"} for n, event in enumerate(_events())]
    )
    assert lethe("run", "last.jsonl", "--to", "chdb:store").code == 0
    assert _exported(lethe, GONE, "lifted") == (12, 8)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("erase", *ONLY, *WHY), "name one subject"),
        (("erase", "--account", "a", "--request", "b", *ONLY, *WHY), "name one subject"),
        (("erase", "--account", "-", *ONLY, *WHY), "standard input has no line"),
        (("erase", "--account", "a", *ONLY), "needs a reason"),
        (("export", "out", "--account", "a", *STORE, "--why", "account_request"), "--ticket"),
    ],
)
def test_what_is_not_said_is_asked_for(lethe: Lethe, arguments: tuple[str, ...], says: str) -> None:
    """One subject, a reason and a ticket; nothing is done without."""
    done = lethe(*arguments)
    assert (done.code, says in done.err) == (2, True), done.err


@pytest.mark.parametrize("is_pending", [True, False])
@pytest.mark.parametrize(
    ("changes", "says"),
    [
        (("--operational", "delete"), "another --operational"),
        (("--hold", "case-17"), "another subject or hold"),
        (("--account", STAYS), "another subject or hold"),
        (("--api-key", GONE), "another subject or hold"),
        (("--topics",), "begun with --store-only"),
    ],
)
def test_a_receipt_is_gone_on_with_as_it_was_begun(
    begun: Lethe, is_pending: bool, changes: tuple[str, ...], says: str
) -> None:
    """Whatever else is asked for under it is refused, and it stays as it is."""
    receipt = Path("pending.json" if is_pending else "complete.json")
    before = receipt.read_bytes()
    subject = () if changes[0] in {"--account", "--api-key"} else ("--account", GONE)
    only = ("--store", "chdb:store") if changes[0] == "--topics" else ONLY
    options = () if changes[0] == "--topics" else changes
    done = begun("erase", *subject, "--receipt", str(receipt), *options, *only, *WHY)
    assert (done.code, says in done.err) == (2, True), done.err
    assert receipt.read_bytes() == before


@pytest.fixture
def begun(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Lethe:
    """Return the command where one erasure is pending and one is complete: nothing of a store is needed to refuse."""
    command = make_lethe(tmp_path, monkeypatch, capfd)
    assert command("receipt", "key").code == 0
    settings = edge.settings()
    policy, keys = edge.policy_of(settings), load_keyring(Path(settings.keys))
    signer = load_signer(Path(settings.receipt_key))
    receipt = begin(
        *(str(uuid.uuid4()), Subject.ACCOUNT, keys.suppression(Subject.ACCOUNT, GONE), 0, policy, ""),
        Operational.UNLINK,
        with_topics=False,
        audit=("", -1),
    )
    save_receipt(Path("pending.json"), receipt, signer)
    save_receipt(Path("complete.json"), confirm(receipt, 0), signer)
    return command


@pytest.mark.parametrize("command", [("erase", "--store-only"), ("export", "out")])
def test_what_is_not_there_is_not_answered_for(lethe: Lethe, command: tuple[str, ...]) -> None:
    """A store that does not exist has nothing of anybody, and a receipt or an export that says so would be wrong."""
    done = lethe(*command, "--account", GONE, "--store", "chdb:elsewhere", *WHY)
    assert (done.code, done.err) == (2, "lethe: chdb:elsewhere: there is no store\n")
    assert not any(Path(name).exists() for name in ("elsewhere", "out", "receipt.json"))
