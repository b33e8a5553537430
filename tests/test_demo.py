"""``lethe demo``: what it shows, what it says of a leak, and which folders it touches."""

import fcntl
import re
from pathlib import Path

import pytest
from cli_fixtures import Lethe, make_lethe
from conftest import NoDetector

from pipeline.detect.spans import Detector
from pipeline.synth import generate_events

EVENTS = 60


@pytest.fixture
def lethe(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], detector: Detector
) -> Lethe:
    """Return the command, with the real detector of the session."""
    monkeypatch.setattr("pipeline.detect.detector.make_detector", lambda *_: detector)
    return make_lethe(tmp_path, monkeypatch, capfd)


def test_the_demo_shows_one_event_the_totals_a_query_and_the_verdict(lethe: Lethe) -> None:
    """Piped it is plain text, in this order: before, after, fates, removals, tokens by model, canaries; then clean."""
    done = lethe("demo", "-n", str(EVENTS))
    assert (done.code, done.err) == (0, "")
    titles = ["raw event", "content record: ", "operational record: ", f"{EVENTS} events → chdb:", "what was removed"]
    titles += ["from the operational records: tokens and latency by model", "canary verdict", "clean: no planted"]
    places = [done.out.find(f"\n{title}") for title in titles]
    assert places == sorted(places)
    assert places[0] == 0
    assert not set(done.out) & set("━┃│╭\x1b")
    assert re.search(r"^identifiers leaked +0$", done.out, re.MULTILINE)
    assert re.search(r"^model +requests +tokens_in +tokens_out +p50_ms +p99_ms +errors$", done.out, re.MULTILINE)
    raw, after = done.out.split("content record: ")[0], done.out.split("content record: ")[1]
    assert len(raw) < 2500
    assert len(re.findall(r"<[A-Z]+_\d+>", after)) >= 1


def test_the_demo_runs_again_in_its_own_folder(lethe: Lethe, tmp_path: Path) -> None:
    """An earlier demo is replaced as a whole, keys and store, also one that was cut short."""
    keyring = "lethe.keyring.json", "lethe.kek.json"
    assert lethe("demo", "-n", "10", "--dir", "d").code == 0
    keys = (tmp_path / "d" / "lethe.keys.json").read_bytes()
    done = lethe("demo", "-n", "12", "--dir", "d")
    assert done.code == 0
    assert re.search(r"^content records written +12$", done.out, re.MULTILINE)
    assert (tmp_path / "d" / "lethe.keys.json").read_bytes() != keys
    assert {path.name for path in (tmp_path / "d").iterdir()} == {
        "lethe-demo.txt",
        "lethe.keys.json",
        "store",
        *keyring,
    }
    assert (tmp_path / "d").stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize(
    "files",
    [
        {"lethe.keys.json": "keys of a user"},
        {"lethe.keys.json": "keys of a user", "lethe-data": "a store"},
        {"notes.txt": "notes"},
        {"lethe-demo.txt": "a file of a user by this name"},
        {
            "lethe-demo.txt": "This folder was made by 'lethe demo', which replaces it when it runs again.\n",
            "notes.txt": "n",
        },
    ],
    ids=["keys", "keys and store", "other files", "other marker", "a demo and a file of a user"],
)
def test_the_demo_never_touches_a_folder_of_a_user(lethe: Lethe, tmp_path: Path, files: dict[str, str]) -> None:
    """A folder that holds anything but an earlier demo is refused, and all in it stays."""
    folder = tmp_path / "mine"
    folder.mkdir()
    for name, text in files.items():
        (folder / name).write_text(text)
    done = lethe("demo", "-n", "10", "--dir", folder)
    assert (done.code, done.out) == (2, "")
    assert done.err == f"lethe: {folder}: is not empty and no earlier demo's; choose another folder with --dir\n"
    assert {path.name: path.read_text() for path in folder.iterdir()} == files


def test_a_place_that_is_no_folder_is_refused(lethe: Lethe, tmp_path: Path) -> None:
    """A file in the folder's place, or above it, is an error with the reason."""
    (tmp_path / "file").write_text("mine")
    for where in ("file", "file/under"):
        done = lethe("demo", "-n", "10", "--dir", where)
        assert done.code == 2
        assert re.search(r"cannot be used \((File exists|Not a directory)\)", done.err)
    assert (tmp_path / "file").read_text() == "mine"


def test_two_demos_do_not_share_a_folder(lethe: Lethe, tmp_path: Path) -> None:
    """While one runs, another is refused and deletes nothing."""
    folder = tmp_path / "d"
    folder.mkdir()
    marker = folder / "lethe-demo.txt"
    marker.write_text("This folder was made by 'lethe demo', which replaces it when it runs again.\n")
    (folder / "lethe.keys.json").write_text("keys of the first")
    with marker.open("a") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        done = lethe("demo", "-n", "10", "--dir", folder)
    assert (done.code, done.err) == (2, f"lethe: {folder}: another demo is running there\n")
    assert (folder / "lethe.keys.json").read_text() == "keys of the first"


def test_a_leak_fails_the_demo(lethe: Lethe, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a detector that finds nothing the verdict counts leaks by kind and place, shows none, and exits with 1."""
    monkeypatch.setattr("pipeline.detect.detector.make_detector", lambda *_: NoDetector())
    done = lethe("demo", "-n", str(EVENTS), "--seed", "5")
    assert done.code == 1
    assert done.out.splitlines()[-2] == "NOT clean"
    verdict = done.out[done.out.index("canary verdict") :]
    leaked = re.search(r"^identifiers leaked +(\d+)$", verdict, re.MULTILINE)
    assert leaked is not None
    assert int(leaked[1]) > 0
    assert re.search(r"^  [A-Z_]+ in content bodies +\d+$", verdict, re.MULTILINE)
    assert " in operational records" not in verdict
    planted = {
        c.value for e in generate_events(seed=5, count=EVENTS, start_ms=0) for c in e.canaries if c.kind.isupper()
    }
    assert [value for value in planted if value in verdict] == []
