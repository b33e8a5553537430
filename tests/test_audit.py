"""The audit log: any change of a chain is found, entries are whole, and without an entry nothing is done."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from cli_fixtures import Lethe, make_lethe
from conftest import KEYS
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.audit.acting import audited
from pipeline.audit.chain import Chain
from pipeline.audit.entry import (
    ENTRY_BYTES_MAX,
    GENESIS,
    Action,
    AuditFault,
    Deed,
    Head,
    Operator,
    Outcome,
    Subject,
    canonical,
    hash_of,
    make_entry,
    parse_entry,
)
from pipeline.audit.log import AuditLog
from pipeline.audit.operator import find_operator
from pipeline.audit.verify import verify_folder
from pipeline.coarsen import DAY_MS, parse_timestamp
from pipeline.errors import ConfigError
from pipeline.keys.signing import Signer
from pipeline.policy.load import load_policy

POLICY = load_policy()
SCHEMA = POLICY.audit
BOUND_MS = POLICY.sinks["audit"].retention_ms
OPERATOR = Operator("marit.solberg", "lethe", "host-1.example.org")
SIGNER, OTHER = Signer.from_seed(b"r" * 32), Signer.from_seed(b"o" * 32)
START_MS = parse_timestamp("2026-11-23T10:00:00.000Z") or 0
MONTH_MS = 30 * DAY_MS
LOG = "5b0c3a52-7e0f-4d0e-9d43-3f1c2b6a7d10"
CANARY = "acct_zqcanary.person@example.org"
ERASE = Deed(Action.ERASE, "account_request", "GDPR-17", Subject.ACCOUNT, KEYS.suppression("account", CANARY))
EXPIRE = Deed(Action.EXPIRE, "schedule")
CHECKPOINT = Deed(Action.CHECKPOINT)

# A process of its own that does audited actions; what befalls it stands before.
_ACTOR = """
import os, signal, sys
from pathlib import Path
sys.path.insert(0, {tests!r})
from test_audit import ERASE, OPERATOR, SCHEMA, START_MS
from pipeline.audit.acting import audited
from pipeline.audit.log import AuditLog
log = AuditLog(Path(sys.argv[1]), SCHEMA, OPERATOR, lambda: START_MS)
{before}
for number in range(int(sys.argv[2])):
    with audited(log, ERASE) as tally:
        Path(sys.argv[1] + ".done").touch()
        tally.counts["content"] += number
"""
_KILLED = """
real = os.write
def write(descriptor, data):
    real(descriptor, data[:{size}])
    os.kill(os.getpid(), signal.SIGKILL)
os.write = write
"""
_FULL = """
import resource
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, ({size}, {size}))
"""


def make_chain(count: int, signer: Signer | None = None, at_ms: int = START_MS) -> list[bytes]:
    """Return the lines of a chain: a checkpoint, and actions that begin and end."""
    line, head = make_entry(Head(LOG, -1, GENESIS), CHECKPOINT, Outcome.DONE, OPERATOR, at_ms, SCHEMA, signer=signer)
    lines = [line]
    for number in range(1, count):
        outcome, started = (Outcome.STARTED, None) if number % 2 else (Outcome.DONE, number - 1)
        line, head = make_entry(head, ERASE, outcome, OPERATOR, at_ms + number, SCHEMA, started=started)
        lines.append(line)
    return lines


def judge(lines: Sequence[bytes], **options: Any) -> Chain:
    """Look lines through as one segment."""
    chain = Chain(SCHEMA, **options)
    for number, line in enumerate(lines):
        chain.add(line, f"line {number}", begins=number == 0)
    chain.finish()
    return chain


def make_log(folder: Path, clock: Callable[[], int] = lambda: START_MS, **options: Any) -> AuditLog:
    """Return the log of a folder."""
    return AuditLog(folder, SCHEMA, OPERATOR, clock, **options)


def look(folder: Path, **options: Any) -> Chain:
    """Look a folder through."""
    chain = Chain(SCHEMA, **options)
    verify_folder(folder, chain)
    return chain


def entries_of(folder: Path) -> list[dict[str, Any]]:
    """Return all entries of a folder."""
    return [json.loads(line) for path in sorted(folder.glob("audit-*")) for line in path.read_bytes().splitlines()]


def act(folder: Path, times: int, before: str = "") -> subprocess.Popen[bytes]:
    """Start a process that does audited actions."""
    tests = Path(__file__).resolve().parent
    script = _ACTOR.format(tests=str(tests), before=before)
    environ = {**os.environ, "PYTHONPATH": str(tests.parent)}
    call = [sys.executable, "-c", script, str(folder), str(times)]
    return subprocess.Popen(call, env=environ, stderr=subprocess.PIPE)  # noqa: S603 - our own interpreter


CHAIN = make_chain(9)
places = st.integers(0, len(CHAIN) - 1)


def test_an_untouched_chain_holds() -> None:
    """A chain that nobody touched has no finding; what began and did not end is told."""
    chain = judge(make_chain(8))
    assert (chain.findings, chain.entries, chain.open) == ([], 8, {7})
    assert judge([]).findings


@settings(deadline=None)
@given(first=st.integers(0, len(CHAIN) - 2), count=st.integers(1, 3))
def test_a_removal_is_found(first: int, count: int) -> None:
    """Whatever is taken out before the last entry is found."""
    count = min(count, len(CHAIN) - 1 - first)
    assert judge(CHAIN[:first] + CHAIN[first + count :]).findings


@settings(deadline=None)
@given(first=places, second=places)
def test_a_swap_is_found(first: int, second: int) -> None:
    """Two entries that change places are found."""
    lines = list(CHAIN)
    lines[first], lines[second] = lines[second], lines[first]
    assert bool(judge(lines).findings) == (first != second)


@settings(deadline=None)
@given(source=places, target=st.integers(0, len(CHAIN)), other=st.booleans())
def test_a_duplication_or_insertion_is_found(source: int, target: int, other: bool) -> None:
    """An entry that stands there twice, or that comes from another chain, is found."""
    inserted = make_chain(9, at_ms=START_MS + 1)[source] if other else CHAIN[source]
    assert judge([*CHAIN[:target], inserted, *CHAIN[target:]]).findings


@settings(max_examples=300, deadline=None)
@given(place=places, at=st.integers(0, ENTRY_BYTES_MAX), byte=st.integers(0, 255))
def test_a_changed_byte_is_found(place: int, at: int, byte: int) -> None:
    """Any other byte in any line is found."""
    line = bytearray(CHAIN[place])
    at %= len(line)
    changed, line[at] = line[at] != byte, byte
    assert bool(judge([*CHAIN[:place], bytes(line), *CHAIN[place + 1 :]]).findings) == changed


@pytest.mark.parametrize("change", [b"{ ", b'{"sequence":0,', b'{"ticket":null,', b" {"])
@pytest.mark.parametrize("place", [0, 4])
def test_another_spelling_of_an_entry_is_found(place: int, change: bytes) -> None:
    """White space and repeated keys, which leave what JSON says as it is, are found all the same."""
    line = CHAIN[place].replace(b"{", change, 1)
    assert json.loads(line) == json.loads(CHAIN[place])
    assert judge([*CHAIN[:place], line, *CHAIN[place + 1 :]]).findings


@settings(deadline=None)
@given(place=places, action=st.sampled_from([Action.FIND, Action.EXPORT]))
def test_an_entry_that_is_written_anew_is_found(place: int, action: Action) -> None:
    """Who changes an entry and its hash breaks the link of the next one; of the last, a published head tells."""
    entry = json.loads(CHAIN[place]) | {"action": str(action)}
    entry["hash"] = hash_of(entry)
    lines = [*CHAIN[:place], canonical(entry), *CHAIN[place + 1 :]]
    last = json.loads(CHAIN[-1])
    assert judge(lines, known={last["sequence"]: Head(LOG, last["sequence"], last["hash"])}).findings


@settings(deadline=None)
@given(kept=st.integers(1, len(CHAIN) - 1))
def test_an_end_that_is_cut_off_is_found_by_a_published_head(kept: int) -> None:
    """A chain without its last entries holds by itself, and not beside a head that was published."""
    last = json.loads(CHAIN[-1])
    assert judge(CHAIN[:kept]).findings == []
    found = judge(CHAIN[:kept], known={last["sequence"]: Head(LOG, last["sequence"], last["hash"])}).findings
    assert [str(finding) for finding in found] == ["the end: is gone: a head of sequence 8 was published"]


def test_a_chain_that_is_made_anew_lacks_the_signature() -> None:
    """Whoever makes the whole chain anew cannot sign its checkpoints: not at all, and not with the right key."""
    signed = make_chain(5, SIGNER)
    assert judge(signed, public=SIGNER.public, strict=True).findings == []
    assert judge(signed, public=SIGNER.public).signed == 0
    for forged in (make_chain(5), make_chain(5, OTHER)):
        found = judge(forged, public=SIGNER.public, strict=True).findings
        assert [finding.text for finding in found] == ["is a checkpoint without a signature of the key"]
    entry = json.loads(make_chain(1, OTHER)[0]) | {"signer": SIGNER.public}
    entry["hash"] = hash_of(entry)
    assert judge([canonical(entry)], public=SIGNER.public).findings


def test_code_and_schema_have_the_same_words() -> None:
    """The closed lists of the code are those of the schema."""
    path = Path(__file__).resolve().parent.parent / "schemas" / "record" / "v1" / "audit.schema.json"
    properties = json.loads(path.read_text("utf-8"))["properties"]
    for name, words in (("action", Action), ("outcome", Outcome), ("subject", Subject)):
        assert [word for word in properties[name]["enum"] if word] == [str(word) for word in words]


@pytest.mark.parametrize(
    "changes",
    [
        {"reason": "curious"},
        {"reason": None},
        {"ticket": None},
        {"ticket": CANARY},
        {"ticket": "GDPR-17\n"},
        {"pseudonym": CANARY},
        {"pseudonym": None},
        {"subject": None},
    ],
)
def test_what_is_no_entry_is_not_made(changes: dict[str, Any]) -> None:
    """A reason outside the list, a missing or free ticket, and a subject in clear make no entry; no value is told."""
    with pytest.raises(AuditFault) as caught:
        make_entry(Head(LOG, -1, GENESIS), ERASE._replace(**changes), Outcome.STARTED, OPERATOR, START_MS, SCHEMA)
    assert "zqcanary" not in str(caught.value)
    assert isinstance(parse_entry(CHAIN[1], SCHEMA), dict)


def test_actions_are_on_record_before_and_after(tmp_path: Path) -> None:
    """Each action has two entries, with its outcome and counts; files are private; no value is anywhere."""
    log = make_log(tmp_path / "log")
    with audited(log, ERASE) as tally:
        assert [entry["outcome"] for entry in entries_of(tmp_path / "log")] == ["done", "started"]
        tally.counts["content"] += 3
    with pytest.raises(ConfigError), audited(log, ERASE) as tally:
        raise tally.refuse(ConfigError(CANARY))
    with pytest.raises(KeyboardInterrupt), audited(log, ERASE):
        raise KeyboardInterrupt
    entries = entries_of(tmp_path / "log")
    outcomes = [(entry["outcome"], entry["started"], entry["counts"]) for entry in entries[1:]]
    started: tuple[str, None, dict[str, int]] = ("started", None, {})
    assert outcomes == [
        *(started, ("done", 1, {"content": 3}), started, ("refused", 3, {})),
        *(started, ("failed", 5, {})),
    ]
    assert entries[1]["actor"] == "marit.solberg"
    (path,) = (tmp_path / "log").iterdir()
    assert (path.name, path.stat().st_mode & 0o777) == ("audit-202611.jsonl", 0o600)
    assert path.parent.stat().st_mode & 0o777 == 0o700
    assert b"zqcanary" not in path.read_bytes()
    assert (look(tmp_path / "log").findings, look(tmp_path / "log").open) == ([], set())


def test_an_action_whose_end_is_not_on_record_says_so(tmp_path: Path) -> None:
    """An action that was done, and whose end cannot be written, says both; the chain shows it as open."""
    log = make_log(tmp_path)
    tmp_path.chmod(0o700)
    with pytest.raises(AuditFault, match="the action was done, and its end is not on record"), audited(log, ERASE):
        (tmp_path / "audit-202611.jsonl").chmod(0o644)
    (tmp_path / "audit-202611.jsonl").chmod(0o600)
    assert look(tmp_path).open == {1}


def test_months_are_segments_that_expire(tmp_path: Path) -> None:
    """Each month begins with a checkpoint that goes on from the month before; expired ones go, and the log says so."""
    now = [START_MS]
    log = make_log(tmp_path / "log", lambda: now[0], signer=SIGNER)
    for _ in range(14):
        log.append(ERASE, Outcome.STARTED)
        now[0] += MONTH_MS
    now[0] -= 3 * MONTH_MS
    log.append(ERASE, Outcome.STARTED)  # a clock that was set back opens no older segment
    now[0] += 3 * MONTH_MS
    names = sorted(path.name for path in (tmp_path / "log").iterdir())
    assert (names[0], len(names)) == ("audit-202611.jsonl", 14)
    whole = look(tmp_path / "log", public=SIGNER.public, strict=True)
    assert (whole.findings, whole.first and whole.first["sequence"]) == ([], 0)
    before = whole.head
    assert log.expire(BOUND_MS, EXPIRE) == 2  # 420 days after the first entry; the second month is 413 days old
    assert log.expire(BOUND_MS, EXPIRE) == 0
    chain = look(tmp_path / "log", public=SIGNER.public, strict=True)
    assert (chain.findings, chain.first and chain.first["sequence"]) == ([], 4)
    assert before is not None
    assert look(tmp_path / "log", known={before.sequence: before}).findings == []
    min((tmp_path / "log").iterdir()).unlink()
    found = [str(finding) for finding in look(tmp_path / "log").findings]
    assert found == ["the beginning: is gone, and no expiry in the chain says so"]


def test_a_log_that_nobody_used_expires_too(tmp_path: Path) -> None:
    """A segment that is the last one goes when it is due, and the chain goes on in a new one."""
    make_log(tmp_path / "log").append(ERASE, Outcome.STARTED)
    assert make_log(tmp_path / "log", lambda: START_MS + BOUND_MS).expire(BOUND_MS, EXPIRE) == 1
    assert [entry["sequence"] for entry in entries_of(tmp_path / "log")] == [2, 3, 4]
    assert look(tmp_path / "log").findings == []


def test_a_segment_that_is_taken_out_is_found(tmp_path: Path) -> None:
    """A month in the middle that is not there, and one that begins with no checkpoint, are found."""
    now = [START_MS]
    log = make_log(tmp_path / "log", lambda: now[0])
    for _ in range(3):
        log.append(ERASE, Outcome.STARTED)
        now[0] += MONTH_MS
    first, middle, last = sorted((tmp_path / "log").iterdir())
    kept = middle.read_bytes()
    middle.unlink()
    assert [str(f) for f in look(tmp_path / "log").findings] == [
        "audit-202701.jsonl:1: has the sequence 4 where 2 belongs"
    ]
    middle.write_bytes(kept[kept.index(b"\n") + 1 :])
    middle.chmod(0o600)
    assert any("is no checkpoint" in finding.text for finding in look(tmp_path / "log").findings)
    assert first.exists()
    assert last.exists()


def test_processes_that_write_at_once_keep_one_chain(tmp_path: Path) -> None:
    """Entries of two processes interleave whole, in one chain."""
    running = [act(tmp_path / "log", 60) for _ in range(2)]
    assert [process.wait(60) for process in running] == [0, 0]
    chain = look(tmp_path / "log")
    assert (chain.findings, chain.entries, chain.open) == ([], 1 + 2 * 2 * 60, set())


@pytest.mark.parametrize(
    ("kept", "said", "counts"),
    [(1, "dropped", {"bytes": 1}), (300, "dropped", {"bytes": 300}), (-1, "completed", {"entries": 1})],
)
def test_a_kill_within_an_append_leaves_a_chain(tmp_path: Path, kept: int, said: str, counts: dict[str, int]) -> None:
    """After kill -9 in the middle of a write, the next entry completes or drops the torn line, and the log says so."""
    folder = tmp_path / "log"
    make_log(folder).append(ERASE, Outcome.STARTED)
    process = act(folder, 1, _KILLED.format(size=kept))
    assert process.wait(60) == -signal.SIGKILL
    assert any("is torn" in finding.text for finding in look(folder).findings)
    warnings: list[str] = []
    make_log(folder, warn=warnings.append).append(ERASE, Outcome.STARTED)
    assert len(warnings) == 1
    assert said in warnings[0]
    repairs = [entry for entry in entries_of(folder) if entry["action"] == "repair"]
    assert [entry["counts"] for entry in repairs] == [counts]
    assert len(entries_of(folder)) == (5 if said == "completed" else 4)
    assert look(folder).findings == []
    assert not (tmp_path / "log.done").exists()


def test_a_kill_before_the_first_entry_of_a_segment(tmp_path: Path) -> None:
    """A segment that is there and empty gets its checkpoint; a torn first line is dropped."""
    folder = tmp_path / "log"
    make_log(folder).append(ERASE, Outcome.STARTED)
    for torn in (b"", b'{"action":"check'):
        path = folder / "audit-202612.jsonl"
        path.write_bytes(torn)
        path.chmod(0o600)
        make_log(folder, lambda: START_MS + MONTH_MS).append(ERASE, Outcome.STARTED)
        assert look(folder).findings == []
        path.unlink()


@pytest.mark.parametrize("beyond", [0, 10])
def test_on_a_full_disk_nothing_is_done(tmp_path: Path, beyond: int) -> None:
    """When the disk takes no entry, or a part of one, the action does not happen, and the log is as it was."""
    folder = tmp_path / "log"
    make_log(folder).append(ERASE, Outcome.STARTED)
    path = folder / "audit-202611.jsonl"
    before = path.read_bytes()
    process = act(folder, 1, _FULL.format(size=len(before) + beyond))
    _, err = process.communicate(timeout=60)
    assert process.returncode == 1
    assert b"; nothing was done" in err
    assert not (tmp_path / "log.done").exists()
    assert path.read_bytes() == before
    assert look(folder).findings == []


def test_a_log_that_does_not_hold_takes_no_entry(tmp_path: Path) -> None:
    """A changed end, a file or folder that others can read, and what is no folder stop the action."""
    folder = tmp_path / "log"
    log = make_log(folder)
    log.append(ERASE, Outcome.STARTED)
    path = folder / "audit-202611.jsonl"
    whole = path.read_bytes()
    done = []

    def refused(fault: str) -> None:
        with pytest.raises(AuditFault, match=fault), audited(log, ERASE):
            done.append(fault)

    path.write_bytes(whole.replace(b"GDPR-17", b"GDPR-18"))
    refused("does not hold.*; nothing was done")
    path.write_bytes(whole + b"x" * (ENTRY_BYTES_MAX + 1))
    refused("ends in what is no entry")
    path.write_bytes(whole)
    path.chmod(0o640)
    refused("open to group or others: run 'chmod 600")
    path.chmod(0o600)
    folder.chmod(0o750)
    refused("open to group or others: run 'chmod 700")
    folder.chmod(0o700)
    path.rename(tmp_path / "elsewhere")
    path.symlink_to(tmp_path / "elsewhere")
    refused("cannot be used")
    assert done == []


def test_who_acts_is_the_login_unless_the_settings_say(monkeypatch: pytest.MonkeyPatch) -> None:
    """LETHE_ACTOR names who acts; the login stands beside it, and no variable changes that."""
    found = find_operator("")
    for name in ("USER", "LOGNAME", "SUDO_USER"):
        monkeypatch.setenv(name, "mallory")
    assert find_operator("") == found
    assert found.actor == found.login != "mallory"
    assert find_operator("boris")._replace(actor=found.actor) == found
    line, _ = make_entry(Head(LOG, -1, GENESIS), CHECKPOINT, Outcome.DONE, found, START_MS, SCHEMA)
    assert isinstance(parse_entry(line, SCHEMA), dict)


@pytest.fixture
def lethe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Lethe:
    """Return the command."""
    return make_lethe(tmp_path, monkeypatch, capfd)


def test_the_command_verifies(lethe: Lethe, tmp_path: Path) -> None:
    """`lethe audit-log` writes checkpoints, verifies by key and head, and exits with 1 when something is wrong."""
    assert lethe("audit-log", "verify").code == 2
    assert lethe("receipt", "key").code == 0
    public = lethe("receipt", "public-key").out.strip()
    head = lethe("audit-log", "checkpoint").out.strip()
    done = lethe("audit-log", "verify", "--public-key", public, "--head", head)
    assert done.code == 0
    assert done.out.endswith("the log holds\n")
    assert "signed up to 1" in done.out
    assert f"head {head}" in done.out
    assert lethe("audit-log", "verify", "--head", CANARY).code == 2
    assert "zqcanary" not in lethe("audit-log", "verify", "--head", CANARY).err
    (path,) = (tmp_path / "lethe-audit").iterdir()
    path.write_bytes(path.read_bytes().splitlines(keepends=True)[0])
    assert lethe("audit-log", "verify").code == 0
    done = lethe("audit-log", "verify", "--head", head, "--json")
    assert (done.code, json.loads(done.out)["holds"]) == (1, False)
    done = lethe("audit-log", "verify", "--public-key", "ed25519:" + "0" * 64)
    assert done.code == 1
    assert "is a checkpoint without a signature of the key" in done.out
    assert lethe("audit-log", "expire").out == "deleted 0 segments of lethe-audit\n"


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ("--why because --ticket INC-1", "with --why, one of abuse_report, account_request"),
        ("--why other --ticket INC-1", "with --why, one of abuse_report"),
        ("--why incident", "it needs a --ticket, such as ABUSE-17"),
        (f"--why incident --ticket {CANARY}", "--ticket takes a key and a number"),
    ],
)
def test_a_privileged_command_without_its_reason_is_refused(lethe: Lethe, arguments: str, text: str) -> None:
    """Without a reason of the list and a ticket nothing begins, and what was given is not repeated."""
    done = lethe("rejected", "--raw", "--at", "raw/0/1", *arguments.split())
    assert (done.code, done.out) == (2, "")
    assert text in done.err
    assert "zqcanary" not in done.err
    assert not Path("lethe-audit").exists()
