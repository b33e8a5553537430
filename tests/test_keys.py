"""Keys: which one is in force, who may read the file, and how it changes."""

import base64
import copy
import json
import os
import pickle
import stat
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import typer
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from pipeline.coarsen import DAY_MS, HOUR_MS, day_of, format_timestamp, parse_timestamp
from pipeline.errors import ConfigError, KeyringError
from pipeline.keys import keyfile, privatefile
from pipeline.keys.keyfile import init_keyfile, load_keyring, roll_keyfile, rotate_keyfile
from pipeline.keys.keyring import KeyEpoch, Keyring
from pipeline.pseudonym import pseudonymize

NOW_MS = 1795435200000  # 2026-11-23T12:00:00Z
E1 = KeyEpoch("e1", 0, b"1" * 32)
E2 = KeyEpoch("e2", NOW_MS, b"2" * 32)
DAYS = {"2026-11-22": b"a" * 32, "2026-11-23": b"b" * 32}
SUPPRESSION = b"s" * 32
RING = Keyring((E1, E2), DAYS, SUPPRESSION)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A key file made at `NOW_MS`."""
    made = tmp_path / "keys.json"
    init_keyfile(made, NOW_MS)
    return made


# The ring


@pytest.mark.parametrize(
    ("received_at_ms", "name"), [(0, "e1"), (NOW_MS - 1, "e1"), (NOW_MS, "e2"), (NOW_MS + 400 * DAY_MS, "e2")]
)
def test_the_latest_epoch_in_force_is_chosen(received_at_ms: int, name: str) -> None:
    """An epoch is in force from its valid_from on, to the millisecond, until the next one is."""
    assert name == RING.epoch_at(received_at_ms).name
    assert f"{name}:" == RING.pseudonym("account", "acct_example", received_at_ms)[:3]


def test_without_an_epoch_in_force_the_process_must_stop() -> None:
    """There is no fallback for a key: an event older than the first epoch raises."""
    with pytest.raises(KeyringError, match="no key epoch is in force"):
        RING.pseudonym("account", "acct_example", -1)


@given(st.integers(NOW_MS - 5 * DAY_MS, NOW_MS + 5 * DAY_MS))
def test_the_day_key_is_that_of_received_at(received_at_ms: int) -> None:
    """An address is pseudonymous under the key of its own UTC day, and null where that key is gone."""
    day = day_of(received_at_ms)
    key = DAYS.get(day)
    expected = None if key is None else pseudonymize(key, "d" + day.replace("-", ""), "client_ip", "203.0.113.7")
    assert expected == RING.day_pseudonym("client_ip", "203.0.113.7", received_at_ms)


def test_one_day_links_and_two_days_do_not() -> None:
    """Within a day an address keeps its pseudonym; on the next it has an unrelated one."""
    late, later = (RING.day_pseudonym("client_ip", "203.0.113.7", NOW_MS + shift * HOUR_MS) for shift in (0, 11))
    before = RING.day_pseudonym("client_ip", "203.0.113.7", NOW_MS - DAY_MS)
    assert late == later
    assert late is not None
    assert before is not None
    assert late.split(":")[1] != before.split(":")[1]


@pytest.mark.parametrize(
    ("epochs", "days", "suppression", "fault"),
    [
        ((), {}, SUPPRESSION, "no key epoch"),
        ((E2, E1), {}, SUPPRESSION, "epoch e1 is not valid from later than epoch e2"),
        ((E1, KeyEpoch("e2", 0, b"2" * 32)), {}, SUPPRESSION, "epoch e2 is not valid from later than epoch e1"),
        ((E1, KeyEpoch("e1", 5, b"2" * 32)), {}, SUPPRESSION, "the same name"),
        ((E1, KeyEpoch("e2", 5, E1.key)), {}, SUPPRESSION, "a key is there twice"),
        ((E1,), {"2026-11-23": E1.key}, SUPPRESSION, "a key is there twice"),
        ((E1,), {"2026-11-22": b"b" * 32, "2026-11-23": b"b" * 32}, SUPPRESSION, "a key is there twice"),
        ((E1,), {}, E1.key, "a key is there twice"),
        ((E1,), DAYS, DAYS["2026-11-22"], "a key is there twice"),
        ((E1,), {}, b"s" * 31, "the suppression key is not 32 bytes long"),
        ((E1,), {}, b"s" * 33, "the suppression key is not 32 bytes long"),
        ((E1,), {"2026-11-23": b"b" * 31}, SUPPRESSION, "the key of day 2026-11-23 is not 32 bytes long"),
        ((E1,), {"20261123": b"b" * 32}, SUPPRESSION, "not YYYY-MM-DD"),
        ((E1,), {"2026-W48-1": b"b" * 32}, SUPPRESSION, "not YYYY-MM-DD"),
        ((E1,), {"2026-02-30": b"b" * 32}, SUPPRESSION, "not YYYY-MM-DD"),
    ],
)
def test_a_ring_that_breaks_a_rule_is_refused(
    epochs: tuple[KeyEpoch, ...], days: dict[str, bytes], suppression: bytes, fault: str
) -> None:
    """Order, names, lengths, days and distinct keys are checked before any key is used."""
    with pytest.raises(KeyringError, match=fault):
        Keyring(epochs, days, suppression)


@given(st.sampled_from(["account", "api_key", "request"]), st.text(max_size=30), st.sampled_from([(E1,), (E1, E2)]))
@settings(deadline=None)
def test_a_suppression_pseudonym_follows_no_epoch_and_no_day(
    subject: str, value: str, epochs: tuple[KeyEpoch, ...]
) -> None:
    """The suppression key alone makes it, so that an erasure still finds its account when other keys are gone."""
    expected = pseudonymize(SUPPRESSION, "s1", subject, value)
    assert Keyring(epochs, {}, SUPPRESSION).suppression(subject, value) == RING.suppression(subject, value) == expected
    assert expected != Keyring(epochs, DAYS, b"t" * 32).suppression(subject, value)


def test_a_suppression_pseudonym_is_none_of_a_record() -> None:
    """Nobody can join control entries to records: the same value under one field's name has other digests there."""
    digests = {RING.suppression(subject, "acct_example").split(":")[1] for subject in ("account", "api_key", "request")}
    digests |= {RING.pseudonym("account", "acct_example", at_ms).split(":")[1] for at_ms in (0, NOW_MS)}
    assert len(digests) == 5


@pytest.mark.parametrize(("name", "key"), [("", b"1" * 32), ("d1", b"1" * 32), ("e1234567", b"1" * 32), ("e1", b"1")])
def test_an_epoch_of_another_form_is_refused(name: str, key: bytes) -> None:
    """An epoch is e and a number with 32 bytes of key."""
    with pytest.raises(KeyringError):
        KeyEpoch(name, 0, key)


def test_no_text_of_a_ring_shows_a_key() -> None:
    """Representation and formatting name epochs and days only."""
    assert repr(RING) == str(RING) == "Keyring(e1, e2, 2026-11-22, 2026-11-23)"
    assert repr(E1) == f"{E1}" == "KeyEpoch(name='e1', valid_from_ms=0)"


@pytest.mark.parametrize("secret", [RING, E1])
def test_keys_are_not_pickled_or_copied(secret: object) -> None:
    """Keys do not travel to another process or a cache."""
    for attempt in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(KeyringError, match="never pickled"):
            attempt(secret)


def test_a_ring_cannot_be_changed() -> None:
    """Day keys are a copy of their own that nobody can write to."""
    days = dict(DAYS)
    ring = Keyring((E1,), days, SUPPRESSION)
    days.clear()
    assert ring.day_keys == DAYS
    with pytest.raises(TypeError):
        ring.day_keys["2026-11-24"] = b"c" * 32  # type: ignore[index]


# The file: making and reading


def test_a_new_file_serves_every_time_and_four_days(path: Path) -> None:
    """Epoch e1 holds from 1970; yesterday, today and the next two days have keys; only the owner may read it."""
    ring = load_keyring(path)
    assert [(epoch.name, epoch.valid_from_ms) for epoch in ring.epochs] == [("e1", 0)]
    assert sorted(ring.day_keys) == ["2026-11-22", "2026-11-23", "2026-11-24", "2026-11-25"]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [path.name] == _names(path.parent)


def test_the_file_is_the_documented_json(path: Path) -> None:
    """Version, epochs, days and suppression, with keys of 32 bytes in base64 and times in RFC 3339."""
    document = json.loads(path.read_text())
    assert list(document) == ["version", "epochs", "days", "suppression"]
    assert document["version"] == 1
    assert document["epochs"][0]["valid_from"] == "1970-01-01T00:00:00.000Z"
    keys = [document["epochs"][0]["key"], *document["days"].values(), document["suppression"]]
    assert [len(base64.b64decode(key)) for key in keys] == [32] * 6
    assert len(set(keys)) == 6


@pytest.mark.parametrize("umask", [0o000, 0o777])
def test_the_mode_does_not_depend_on_the_umask(tmp_path: Path, umask: int) -> None:
    """The file is 0600 under the widest and the narrowest umask."""
    before = os.umask(umask)
    try:
        init_keyfile(tmp_path / "keys.json", NOW_MS)
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "keys.json").stat().st_mode) == 0o600


@pytest.mark.parametrize("content", ["", "something else"])
def test_init_never_overwrites(tmp_path: Path, content: str) -> None:
    """Whatever is at the path stays as it is, and the error says so."""
    path = tmp_path / "keys.json"
    path.write_text(content)
    with pytest.raises(KeyringError, match="exists and is not overwritten"):
        init_keyfile(path, NOW_MS)
    assert content == path.read_text()


def test_a_failed_init_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """When the disk fails, no empty key file stays that the next init would refuse."""
    monkeypatch.setattr(os, "fsync", _fail)
    with pytest.raises(KeyringError, match="cannot be written: disk full"):
        init_keyfile(tmp_path / "keys.json", NOW_MS)
    assert _names(tmp_path) == []


def test_a_symlink_is_followed(path: Path, tmp_path: Path) -> None:
    """A link to a key file is read, and a change replaces the file, not the link."""
    link = tmp_path / "link.json"
    link.symlink_to(path)
    roll_keyfile(link, NOW_MS + DAY_MS)
    assert link.is_symlink()
    assert load_keyring(link).day_keys == load_keyring(path).day_keys
    assert "2026-11-26" in load_keyring(path).day_keys


def test_a_missing_file_says_how_to_make_one(tmp_path: Path) -> None:
    """The error names the command that makes the file."""
    with pytest.raises(KeyringError, match="make one with 'lethe keys init --path"):
        load_keyring(tmp_path / "keys.json")
    with pytest.raises(KeyringError, match="cannot be opened: No such file or directory"):
        init_keyfile(tmp_path / "nowhere" / "keys.json", NOW_MS)


def test_only_a_plain_file_is_read(tmp_path: Path) -> None:
    """A folder and a named pipe are refused, and nothing waits for a pipe's writer."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe, 0o600)
    for path in (pipe, tmp_path):
        with pytest.raises(KeyringError, match="is not a plain file"):
            load_keyring(path)


@pytest.mark.parametrize("bit", [0o040, 0o020, 0o010, 0o004, 0o002, 0o001, 0o060, 0o066, 0o077])
def test_a_file_open_to_others_is_refused(path: Path, bit: int) -> None:
    """Any right of group or others refuses the file for reading and for change, and says the command that helps."""
    before = path.read_bytes()
    path.chmod(0o600 | bit)
    with pytest.raises(KeyringError, match=rf"mode 0{0o600 | bit:03o}.*run 'chmod 600 {path}'"):
        load_keyring(path)
    with pytest.raises(KeyringError, match="chmod 600"):
        roll_keyfile(path, NOW_MS + DAY_MS)
    assert before == path.read_bytes()


def test_a_file_that_its_owner_can_only_read_is_enough(path: Path) -> None:
    """0400 is a key file too, as of a read-only mount."""
    path.chmod(0o400)
    assert load_keyring(path).epochs[0].name == "e1"


@pytest.mark.parametrize(("owner", "user", "accepted"), [(7, 7, True), (0, 7, True), (8, 7, False), (7, 0, False)])
def test_the_owner_must_be_the_user_or_root(
    path: Path, monkeypatch: pytest.MonkeyPatch, owner: int, user: int, accepted: bool
) -> None:
    """Another user's file is refused, by root too: that user could read or exchange the keys."""
    monkeypatch.setattr(os, "geteuid", lambda: user)
    status = os.stat_result((stat.S_IFREG | 0o600, 0, 0, 1, owner, 0, 0, 0, 0, 0))
    if accepted:
        privatefile.check_private(path, status)
    else:
        with pytest.raises(KeyringError, match="belongs to another user"):
            privatefile.check_private(path, status)


@pytest.mark.parametrize(
    ("mode", "owner", "group", "accepted"),
    [
        (0o440, 0, 50, True),
        (0o640, 0, 50, True),
        (0o440, 0, 60, False),
        (0o460, 0, 50, False),
        (0o444, 0, 50, False),
        (0o440, 7, 50, False),
    ],
)
def test_a_mounted_secret_of_roots_may_be_read_by_our_group(
    path: Path, monkeypatch: pytest.MonkeyPatch, mode: int, owner: int, group: int, accepted: bool
) -> None:
    """So an orchestrator hands it to a user who is not root; writable, or of another group or user, it is refused."""
    monkeypatch.setattr(os, "geteuid", lambda: 7)
    monkeypatch.setattr(os, "getegid", lambda: 7)
    monkeypatch.setattr(os, "getgroups", lambda: [50])
    status = os.stat_result((stat.S_IFREG | mode, 0, 0, 1, owner, group, 0, 0, 0, 0))
    if accepted:
        privatefile.check_private(path, status)
    else:
        with pytest.raises(KeyringError, match="open to group or others"):
            privatefile.check_private(path, status)


KEY_TEXT = base64.b64encode(b"secret-secret-secret-secret-yes!").decode()
EPOCH = {"name": "e1", "valid_from": "1970-01-01T00:00:00.000Z", "key": KEY_TEXT}
OTHER_TEXT = base64.b64encode(b"another-another-another-another!").decode()
WHOLE = {"version": 1, "epochs": [EPOCH], "days": {}, "suppression": OTHER_TEXT}


def _without(name: str) -> str:
    return json.dumps({member: value for member, value in WHOLE.items() if member != name})


def _with(**changed: Any) -> str:
    return json.dumps({**WHOLE, **changed})


def test_the_example_that_is_spoiled_below_is_whole(path: Path) -> None:
    """Each malformed file below has one fault of its own."""
    path.write_text(_with())
    assert repr(load_keyring(path)) == "Keyring(e1)"


@pytest.mark.parametrize(
    "document",
    [
        KEY_TEXT,
        f'{{"version": 1, "epochs": "{KEY_TEXT}',
        json.dumps(KEY_TEXT),
        _without("version"),
        _without("epochs"),
        _without("days"),
        _without("suppression"),
        _with(version=KEY_TEXT),
        _with(version=2),
        _with(epochs={"e1": KEY_TEXT}),
        _with(days=[KEY_TEXT]),
        _with(**{KEY_TEXT: 1}),
        _with(epochs=[KEY_TEXT]),
        _with(epochs=[EPOCH | {KEY_TEXT: 1}]),
        _with(epochs=[EPOCH | {"name": KEY_TEXT}]),
        _with(epochs=[EPOCH | {"name": 1}]),
        _with(epochs=[EPOCH | {"valid_from": KEY_TEXT}]),
        _with(epochs=[EPOCH | {"valid_from": 0}]),
        _with(epochs=[EPOCH | {"key": KEY_TEXT + "é"}]),
        _with(epochs=[EPOCH | {"key": KEY_TEXT[:-4]}]),
        _with(epochs=[EPOCH | {"key": "*" + KEY_TEXT}]),
        _with(epochs=[EPOCH | {"key": None}]),
        _with(days={KEY_TEXT: OTHER_TEXT}),
        _with(days={KEY_TEXT: None}),
        _with(days={"2026-11-23": KEY_TEXT}),
        _with(days={"2026-11-23": KEY_TEXT[1:]}),
        _with(suppression=KEY_TEXT),
        _with(suppression=KEY_TEXT[1:]),
        _with(suppression=KEY_TEXT[:-4]),
        _with(suppression=[KEY_TEXT]),
        _with(suppression=None),
        "[" * 100_000,
        KEY_TEXT * 30_000,
    ],
)
def test_a_malformed_file_is_refused_without_quoting_it(path: Path, document: str) -> None:
    """The error says what is wrong, and neither it nor anything chained to it holds a piece of the file."""
    path.write_text(document)
    with pytest.raises(KeyringError, match="key file") as caught:
        load_keyring(path)
    shown = "".join(f"{error!s}{error!r}{vars(error)}" for error in _chain(caught.value))
    for text in (KEY_TEXT, OTHER_TEXT):
        assert not any(text[at : at + 8] in shown for at in range(len(text) - 8))
    assert caught.value.__context__ is None


def test_bytes_that_are_no_text_are_refused(path: Path) -> None:
    """A file that is not UTF-8 is no key file."""
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(KeyringError, match="not a valid key file"):
        load_keyring(path)


# The file: rolling


@pytest.mark.parametrize(
    ("passed_ms", "created", "removed"),
    [
        (0, (), ()),
        (12 * HOUR_MS - 1, (), ()),
        (12 * HOUR_MS, ("2026-11-26",), ("2026-11-22",)),  # midnight: the 22nd has been over for 24 h
        (36 * HOUR_MS, ("2026-11-26", "2026-11-27"), ("2026-11-22", "2026-11-23")),
        (-37 * HOUR_MS, ("2026-11-21",), ()),  # the clock was set back: the others are there
        (
            30 * DAY_MS,
            ("2026-12-23", "2026-12-24", "2026-12-25"),
            ("2026-11-22", "2026-11-23", "2026-11-24", "2026-11-25"),
        ),
    ],
)
def test_rolling_makes_the_days_to_come_and_removes_the_expired(
    path: Path, passed_ms: int, created: tuple[str, ...], removed: tuple[str, ...]
) -> None:
    """Today and two more days have keys afterwards; a day's key is gone once the day has been over for 24 hours."""
    before = load_keyring(path)
    report = roll_keyfile(path, NOW_MS + passed_ms)
    after = load_keyring(path)
    assert (created, removed) == (report.created, report.removed)
    assert (set(before.day_keys) | set(created)) - set(removed) == set(after.day_keys)
    assert (before.epochs, before.suppression_key) == (after.epochs, after.suppression_key)
    assert all(before.day_keys[day] == after.day_keys[day] for day in set(before.day_keys) & set(after.day_keys))


@given(st.lists(st.integers(0, 20 * DAY_MS), min_size=1, max_size=4).map(sorted), st.integers(0, 3 * DAY_MS))
def test_no_past_day_gets_a_key(tmp_path_factory: pytest.TempPathFactory, steps: list[int], admission_ms: int) -> None:
    """However late the timer runs: no day before today is made, none stays longer than admission, today has one."""
    path = tmp_path_factory.mktemp("keys") / "keys.json"
    init_keyfile(path, NOW_MS)
    for step in steps:
        now_ms = NOW_MS + step
        report = roll_keyfile(path, now_ms, admission_ms)
        days = load_keyring(path).day_keys
        assert all(day >= day_of(now_ms) for day in report.created)
        assert {day_of(now_ms + ahead * DAY_MS) for ahead in range(3)} <= set(days)
        assert all((parse_timestamp(f"{day}T00:00:00Z") or 0) + DAY_MS + admission_ms > now_ms for day in days)


def test_a_roll_that_changes_nothing_writes_nothing(path: Path) -> None:
    """The second roll of a day leaves the very file."""
    before = path.stat()
    assert roll_keyfile(path, NOW_MS) == keyfile.RollReport((), ())
    assert (before.st_ino, before.st_mtime_ns) == (path.stat().st_ino, path.stat().st_mtime_ns)


def test_a_removed_key_is_in_no_file_of_the_folder(path: Path) -> None:
    """After a roll no file beside the key file holds the key, not even one of a process that was killed."""
    gone = json.loads(path.read_text())["days"]["2026-11-22"]
    (path.parent / f".{path.name}.new").write_text(path.read_text())
    roll_keyfile(path, NOW_MS + DAY_MS)
    assert [path.name] == _names(path.parent)
    assert gone not in path.read_text()


def test_a_failed_change_leaves_the_old_file(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """When the disk fails, the old file stays whole and nothing stays beside it."""
    before = path.read_bytes()
    monkeypatch.setattr(os, "fsync", _fail)
    with pytest.raises(KeyringError, match="cannot be written: disk full"):
        roll_keyfile(path, NOW_MS + DAY_MS)
    assert before == path.read_bytes()
    assert [path.name] == _names(path.parent)


def test_changes_at_once_follow_one_another(path: Path) -> None:
    """Of eight rolls at the same time one makes the keys, and the others see them."""
    start = threading.Barrier(8)

    def roll() -> keyfile.RollReport:
        start.wait()
        return roll_keyfile(path, NOW_MS + DAY_MS)

    with ThreadPoolExecutor(8) as pool:
        reports = [future.result() for future in [pool.submit(roll) for _ in range(8)]]
    assert [day for report in reports for day in report.created] == ["2026-11-26"]
    assert [day for report in reports for day in report.removed] == ["2026-11-22"]


def test_a_reader_sees_the_old_or_the_new_file(path: Path) -> None:
    """While the file changes again and again, every read of it is a whole ring."""
    done = threading.Event()

    def read() -> int:
        reads = 0
        while not done.is_set():
            assert len(load_keyring(path).day_keys) in range(3, 6)
            reads += 1
        return reads

    with ThreadPoolExecutor(1) as pool:
        reader = pool.submit(read)
        try:
            for day in range(40):
                roll_keyfile(path, NOW_MS + day * DAY_MS)
        finally:
            done.set()
    assert reader.result() > 0


# The file: rotating


def test_rotating_adds_the_next_epoch(path: Path) -> None:
    """The new epoch has the next name and a key of its own; what was there stays, bytes and all."""
    before = load_keyring(path)
    made = rotate_keyfile(path, NOW_MS, NOW_MS + HOUR_MS)
    again = rotate_keyfile(path, NOW_MS, NOW_MS + 2 * HOUR_MS)
    after = load_keyring(path)
    assert (made.name, made.valid_from_ms, again.name) == ("e2", NOW_MS + HOUR_MS, "e3")
    assert (*before.epochs, made, again) == after.epochs
    assert (before.day_keys, before.suppression_key) == (after.day_keys, after.suppression_key)
    assert after.epoch_at(NOW_MS + HOUR_MS - 1).name == "e1"


@pytest.mark.parametrize("ahead_ms", [-DAY_MS, 0, HOUR_MS - 1])
def test_an_epoch_must_be_distributed_before_it_is_in_force(path: Path, ahead_ms: int) -> None:
    """An epoch in force within the hour is refused: workers without it would make other pseudonyms."""
    before = path.read_bytes()
    with pytest.raises(KeyringError, match=r"choose 2026-11-23T13:00:00\.000Z or later"):
        rotate_keyfile(path, NOW_MS, NOW_MS + ahead_ms)
    assert before == path.read_bytes()


def test_an_epoch_must_follow_the_last(path: Path) -> None:
    """Two epochs cannot come into force at once, nor a new one before one that is there."""
    rotate_keyfile(path, NOW_MS, NOW_MS + DAY_MS)
    before = path.read_bytes()
    for valid_from_ms in (NOW_MS + HOUR_MS, NOW_MS + DAY_MS):
        with pytest.raises(KeyringError, match="epoch e3 is not valid from later than epoch e2"):
            rotate_keyfile(path, NOW_MS, valid_from_ms)
    assert before == path.read_bytes()


# The command


@pytest.fixture
def command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> "_Command":
    """``lethe keys`` with LETHE_KEYS in a folder of its own and the clock at `NOW_MS`."""
    from pipeline.cli import keys as keys_command  # noqa: PLC0415 - the other tests here do not need the command

    monkeypatch.setenv("LETHE_KEYS", str(tmp_path / "mine.json"))
    monkeypatch.setenv("LETHE_SEAL", "false")  # tests/test_sealed_store.py has the keys of content
    monkeypatch.setattr(time, "time_ns", lambda: NOW_MS * 1_000_000)
    return _Command(keys_command.app)


def test_the_command_makes_rolls_rotates_and_shows(command: "_Command", tmp_path: Path) -> None:
    """Init, roll, rotate and show work on the file that LETHE_KEYS names, and print no key."""
    valid_from = format_timestamp(NOW_MS + DAY_MS)
    printed = command("init") + command("roll") + command("rotate", "--valid-from", valid_from) + command("show")
    assert "made day keys: none" in printed
    assert "made epoch e2, in force from 2026-11-24T12:00:00.000Z" in printed
    assert printed.endswith(
        "epoch\te1\t1970-01-01T00:00:00.000Z\nepoch\te2\t2026-11-24T12:00:00.000Z\n"
        "day\t2026-11-22\t2026-11-22T00:00:00.000Z\nday\t2026-11-23\t2026-11-23T00:00:00.000Z\n"
        "day\t2026-11-24\t2026-11-24T00:00:00.000Z\nday\t2026-11-25\t2026-11-25T00:00:00.000Z\n"
    )
    document = json.loads((tmp_path / "mine.json").read_text())
    keys = [*(epoch["key"] for epoch in document["epochs"]), *document["days"].values(), document["suppression"]]
    assert len(keys) == 7
    assert not any(key in printed for key in keys)


def test_the_path_option_wins_over_the_environment(command: "_Command", tmp_path: Path) -> None:
    """--path names another file than LETHE_KEYS."""
    command("init", "--path", str(tmp_path / "other.json"))
    assert _names(tmp_path) == ["other.json"]


def test_errors_reach_the_one_handler(command: "_Command") -> None:
    """A missing file, a second init and a time without zone raise the pipeline's own errors."""
    with pytest.raises(KeyringError, match="no key file"):
        command("show")
    command("init")
    with pytest.raises(KeyringError, match="not overwritten"):
        command("init")
    with pytest.raises(ConfigError, match="--valid-from"):
        command("rotate", "--valid-from", "2026-12-01")


class _Command:
    def __init__(self, app: typer.Typer) -> None:
        self._app = app

    def __call__(self, *arguments: str) -> str:
        result = CliRunner().invoke(self._app, arguments, catch_exceptions=False)
        assert result.exit_code == 0
        return result.stdout


def _names(folder: Path) -> list[str]:
    return sorted(entry.name for entry in folder.iterdir())


def _fail(_descriptor: int) -> None:
    raise OSError(28, "disk full")


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__
