"""The command: what it reads, says and returns; in this process where nothing has to be killed."""

import gc
import gzip
import json
import logging
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import zstandard
from cli_fixtures import Lethe, finish, make_event, make_lethe, pipe_of, read_lines, start, to_lines, write_lines
from rich.console import Console

from pipeline.anonymize import Core
from pipeline.cli import edge, report
from pipeline.detect.spans import Detector
from pipeline.errors import describe
from pipeline.inputs import RawEvent
from pipeline.metrics import Metrics
from pipeline.policy.load import Policy
from pipeline.policy.table import markdown
from pipeline.records import Source
from pipeline.run import Summary, admit_for_store, to_fate
from pipeline.seal import PlainSealer
from pipeline.sinks.files import NAMES
from pipeline.store import open_store
from pipeline.synth import read_manifest

CANARY = "canary-7f3a"


@pytest.fixture
def lethe(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], detector: Detector
) -> Lethe:
    """Return the command, with the real detector of the session: making one takes seconds."""
    monkeypatch.setattr("pipeline.detect.detector.make_detector", lambda *_: detector)
    return make_lethe(tmp_path, monkeypatch, capfd)


def _content(folder: Path) -> list[str]:
    return [one["request_id"] for one in read_lines(folder / NAMES[0])]


def _ids(*numbers: int) -> list[str]:
    return [f"req_{number:032x}" for number in numbers]


def test_run_writes_content_and_operational_records_apart(lethe: Lethe, tmp_path: Path) -> None:
    """Records of the account are in one file, scrubbed text in another, and neither holds the other's."""
    event = make_event(1)
    event["request"]["messages"][0]["content"] = "Write to ines.duarte@example.org please"
    path = write_lines(tmp_path / "a.jsonl", [event])
    done = lethe("run", path, "--to", f"file:{tmp_path / 'out'}")
    assert (done.code, done.err) == (0, "")
    content, operational, rejected = ((tmp_path / "out" / name).read_text() for name in NAMES)
    assert "Write to <EMAIL_1> please" in content
    assert "account" not in json.loads(content)
    assert "Write to" not in operational
    assert json.loads(operational)["account"].startswith("e1:")
    assert rejected == ""


def test_run_reads_several_files_of_every_form(lethe: Lethe, tmp_path: Path) -> None:
    """Plain, gzip, zstd and standard input in one run, and one event in two of them is written once."""
    write_lines(tmp_path / "a.jsonl", [make_event(1), make_event(2)])
    (tmp_path / "b.jsonl.gz").write_bytes(gzip.compress(to_lines([make_event(2), make_event(3)])))
    (tmp_path / "c.jsonl.zst").write_bytes(zstandard.compress(to_lines([make_event(4)])))
    done = lethe(
        "run", "a.jsonl", "b.jsonl.gz", "c.jsonl.zst", "-", "--to", "file:out", stdin=to_lines([make_event(5)])
    )
    assert (done.code, _content(tmp_path / "out")) == (0, _ids(1, 2, 3, 4, 5))
    assert re.search(r"^there already +2$", done.out, re.MULTILINE)


def test_the_same_file_twice_into_a_store_shows_each_event_once(lethe: Lethe, tmp_path: Path) -> None:
    """The default store is embedded; a second run of the file adds nothing and says so."""
    write_lines(tmp_path / "a.jsonl", [*(make_event(number) for number in range(20)), "rejected"])
    first, second = lethe("run", "a.jsonl"), lethe("run", "a.jsonl")
    assert (first.code, second.code) == (0, 0)
    assert re.search(r"^there already +0$", first.out, re.MULTILINE)
    assert re.search(r"^there already +41$", second.out, re.MULTILINE)
    with open_store(f"chdb:{tmp_path / 'lethe-data'}", now_ms=0) as store:
        for view, count in (("content", 20), ("operational", 20), ("rejected", 1)):
            assert store.query(f"SELECT count() FROM {view}").rows == [(count,)]  # noqa: S608


def test_the_totals_are_plain_text_in_a_pipe(lethe: Lethe, tmp_path: Path) -> None:
    """No frame, no colour, nothing cut: each figure stands behind its name, however long the path is."""
    folder = tmp_path / ("long-" * 30)
    bad = make_event(2)
    del bad["model"]
    name = f"{'name-' * 30}.jsonl"
    write_lines(tmp_path / name, [make_event(1), bad, "x"])
    done = lethe("run", name, "--to", f"file:{folder}")
    assert f"3 events → file:{folder}\n" in done.out
    assert not set(done.out) & set("━┃│─┏╭…\x1b")
    for line in ("records +1", "rejected +2", "  missing_field +1", "  not_an_object +1", "content records written +1"):
        assert re.search(f"^{line}$", done.out, re.MULTILINE)
    assert re.search(rf"^{name} +2 +missing_field +/model *$", done.out, re.MULTILINE)


def test_what_is_before_damage_is_processed_and_then_an_error(lethe: Lethe, tmp_path: Path) -> None:
    """A cut-off file ends the run with 2; its whole lines are in the store, and in partial files."""
    (tmp_path / "a.gz").write_bytes(gzip.compress(to_lines(make_event(number) for number in range(5)))[:-8])
    for to in ("file:out", "chdb:store"):
        done = lethe("run", "a.gz", "--to", to)
        assert done.code == 2
        assert done.err.splitlines()[-1] == ("lethe: a.gz: damaged or cut off after line 5; what came before was read")
        assert re.search(r"^content records written +5$", done.out, re.MULTILINE)
        assert "(ended early)" in done.out
    assert len(read_lines(tmp_path / "out" / f"{NAMES[0]}.partial")) == 5
    with open_store(f"chdb:{tmp_path / 'store'}", now_ms=0) as store:
        assert store.query("SELECT count() FROM content").rows == [(5,)]


@pytest.mark.parametrize(
    ("name", "said"), [("missing", "No such file or directory"), (".", "is a folder"), ("a.jsonl/b", "Not a directory")]
)
def test_a_wrong_input_is_an_error_before_anything_is_written(
    lethe: Lethe, tmp_path: Path, name: str, said: str
) -> None:
    """One bad name among good ones: exit 2, its reason, and no sink is made."""
    write_lines(tmp_path / "a.jsonl", [make_event(1)])
    done = lethe("run", "a.jsonl", name, "--to", "file:out")
    assert done.code == 2
    assert done.err.startswith(f"lethe: {name}: ")
    assert said in done.err
    assert not (tmp_path / "out").exists()


def test_empty_input_is_a_run_of_nothing(lethe: Lethe, tmp_path: Path) -> None:
    """An empty file is no error: empty outputs with their final names, and zeros."""
    (tmp_path / "a.jsonl").touch()
    done = lethe("run", "a.jsonl", "--to", "file:out", "--strict")
    assert (done.code, done.err) == (0, "")
    assert "0 events" in done.out
    assert [(tmp_path / "out" / name).read_bytes() for name in NAMES] == [b"", b"", b""]


def test_a_line_over_the_limit_is_one_rejection(lethe: Lethe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The limit is a setting; the long line is rejected with its size, and its neighbours are records."""
    monkeypatch.setenv("LETHE_EVENT_BYTES_MAX", "4096")
    (tmp_path / "a.jsonl").write_bytes(to_lines([make_event(1)]) + b"x" * 70_000 + b"\r\n" + to_lines([make_event(2)]))
    assert lethe("run", "a.jsonl", "--to", "file:out").code == 0
    (rejection,) = read_lines(tmp_path / "out" / NAMES[2])
    assert (rejection["reason"], rejection["offset"]) == ("too_large", 2)
    assert _content(tmp_path / "out") == _ids(1, 2)


def test_strict_fails_where_anything_was_rejected(lethe: Lethe, tmp_path: Path) -> None:
    """With --strict a rejection makes the exit code 1, after everything is written; without it, 0."""
    write_lines(tmp_path / "good.jsonl", [make_event(1)])
    write_lines(tmp_path / "bad.jsonl", [make_event(1), "x"])
    assert lethe("run", "good.jsonl", "--to", "file:1", "--strict").code == 0
    assert lethe("run", "bad.jsonl", "--to", "file:2").code == 0
    assert lethe("run", "bad.jsonl", "--to", "file:3", "--strict").code == 1
    assert _content(tmp_path / "3") == _ids(1)
    assert lethe("run", "bad.jsonl", "--preview", "2", "--strict").code == 1
    assert lethe("run", "bad.jsonl", "--preview", "1", "--strict").code == 0


def test_preview_shows_before_and_after_and_writes_nothing(lethe: Lethe, tmp_path: Path) -> None:
    """The first N events, as they are and as they would be stored, one after the other in a pipe; no sink is made."""
    events = [make_event(number) for number in range(3)]
    for event in events:
        event["request"]["messages"][0]["content"] = f"I am ines.duarte@example.org, {CANARY}"
    write_lines(tmp_path / "a.jsonl", ["no event", *events])
    before = set(tmp_path.iterdir())
    done = lethe("run", "a.jsonl", "--preview", "2", "--to", "file:out")
    assert (done.code, done.err, set(tmp_path.iterdir())) == (0, "", before)
    assert done.out.count("raw event") == 2
    assert "not_an_object at /" in done.out
    raw, content, operational = re.split(r"\n(?:content|operational) record: .*\n", done.out.split("raw event")[2])
    assert "ines.duarte@example.org" in raw
    assert "<EMAIL_1>, canary-7f3a" in content
    assert "ines.duarte@example.org" not in content
    assert CANARY not in operational
    assert "203.0.113.0/24" in operational
    assert "203.0.113.7" not in operational


def test_preview_admits_as_the_run_would(lethe: Lethe, tmp_path: Path) -> None:
    """An event too old for the store is shown as the store would have it; for files it is not too old."""
    write_lines(tmp_path / "a.jsonl", [make_event(1, received_at="2026-01-01T00:00:00.000Z")])
    assert "content record" not in lethe("run", "a.jsonl", "--preview", "1", "--to", "chdb:store").out
    assert "content record" in lethe("run", "a.jsonl", "--preview", "1", "--to", "file:out").out
    assert not (tmp_path / "store").exists()


def test_files_of_an_earlier_run_are_not_overwritten(lethe: Lethe, tmp_path: Path) -> None:
    """The second run is refused and changes nothing; --overwrite is for files only."""
    write_lines(tmp_path / "a.jsonl", [make_event(1)])
    write_lines(tmp_path / "b.jsonl", [make_event(2)])
    assert lethe("run", "a.jsonl", "--to", "file:out").code == 0
    done = lethe("run", "b.jsonl", "--to", "file:out")
    assert done.code == 2
    assert "lethe: out: holds content.jsonl, operational.jsonl, rejected.jsonl already; choose" in done.err
    assert _content(tmp_path / "out") == _ids(1)
    assert lethe("run", "b.jsonl", "--to", "file:out", "--overwrite").code == 0
    assert _content(tmp_path / "out") == _ids(2)
    assert "--overwrite is for file:DIR" in lethe("run", "b.jsonl", "--to", "chdb:store", "--overwrite").err


def test_metrics_are_written_whole(lethe: Lethe, tmp_path: Path) -> None:
    """--metrics-file holds what was counted, also of a run that failed, and nothing of an event."""
    write_lines(tmp_path / "a.jsonl", [make_event(1), "x"])
    assert lethe("run", "a.jsonl", "--to", "file:out", "--metrics-file", "m.prom").code == 0
    text = (tmp_path / "m.prom").read_text()
    assert 'lethe_events_total{fate="records"} 1.0' in text
    assert 'lethe_rejections_total{reason="not_an_object"} 1.0' in text
    assert "solberg" not in text.lower()
    (tmp_path / "cut.gz").write_bytes(gzip.compress(to_lines([make_event(2)]))[:-8])
    assert lethe("run", "cut.gz", "--to", "file:out2", "--metrics-file", "m.prom").code == 2
    assert 'lethe_rejections_total{reason="not_an_object"} 0.0' in (tmp_path / "m.prom").read_text()
    assert [path for path in tmp_path.iterdir() if path.name.startswith("m.prom.")] == []


def test_a_place_where_metrics_cannot_be_written_is_an_error(lethe: Lethe, tmp_path: Path) -> None:
    """A missing folder is found before the run; what fails after it leaves the records and ends with 2."""
    write_lines(tmp_path / "a.jsonl", [make_event(1)])
    done = lethe("run", "a.jsonl", "--to", "file:out", "--metrics-file", "missing/m.prom")
    assert (done.code, done.err) == (2, "lethe: --metrics-file missing/m.prom: there is no such folder\n")
    assert not (tmp_path / "out").exists()
    (tmp_path / "folder").mkdir()
    done = lethe("run", "a.jsonl", "--to", "file:out", "--metrics-file", "folder")
    assert (done.code, done.err) == (2, "lethe: --metrics-file folder: cannot be written (Is a directory)\n")
    assert _content(tmp_path / "out") == _ids(1)


@pytest.mark.parametrize("how", ["option", "environment", "toml", "argument"])
def test_a_password_is_never_printed(lethe: Lethe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str) -> None:
    """A refused connection, or a URL in the wrong place, ends with 2 and names the server without user or password."""
    write_lines(tmp_path / "a.jsonl", [make_event(1)])
    url = f"clickhouse://user:{CANARY}@127.0.0.1:1/x"
    arguments = ["run", "a.jsonl"]
    if how == "option":
        arguments += ["--to", url]
    elif how == "environment":
        monkeypatch.setenv("LETHE_STORE", url)
    elif how == "toml":
        (tmp_path / "lethe.toml").write_text(f'store = "{url}"\n')
    else:
        arguments += [url]
    done = lethe(*arguments)
    assert done.code == 2
    assert done.err.count("\n") == 1
    assert CANARY not in done.out + done.err
    assert ("clickhouse://127.0.0.1:1/x" in done.err) is (how != "argument")


def test_help_shows_no_setting(lethe: Lethe, monkeypatch: pytest.MonkeyPatch) -> None:
    """The help of an option that the environment sets does not print what it is set to."""
    monkeypatch.setenv("LETHE_STORE", f"clickhouse://user:{CANARY}@127.0.0.1:1/x")
    done = lethe("run", "--help")
    assert done.code == 0
    assert "LETHE_STORE" in done.out
    assert CANARY not in done.out


def test_settings_come_from_the_option_the_environment_and_the_file_in_this_order(
    lethe: Lethe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """--to goes before LETHE_STORE, and that before lethe.toml."""
    write_lines(tmp_path / "a.jsonl", [make_event(1)])
    (tmp_path / "lethe.toml").write_text('store = "file:from-toml"\n')
    assert lethe("run", "a.jsonl").code == 0
    monkeypatch.setenv("LETHE_STORE", "file:from-environ")
    assert lethe("run", "a.jsonl").code == 0
    assert lethe("run", "a.jsonl", "--to", "file:from-option").code == 0
    made = {path.name for path in tmp_path.iterdir() if path.is_dir()}
    assert made == {"from-toml", "from-environ", "from-option"}


def test_a_wrong_setting_is_named_without_its_value(
    lethe: Lethe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A value that does not fit ends with 2 before anything is read; a mistyped variable is a warning."""
    write_lines(tmp_path / "a.jsonl", [make_event(1)])
    monkeypatch.setenv("LETHE_KEY", CANARY)
    done = lethe("run", "a.jsonl", "--to", "file:out")
    warning = "lethe: warning: 'LETHE_KEY' is no setting; did you mean 'LETHE_KEYS'?\n"
    assert (done.code, done.err) == (0, warning)
    monkeypatch.setenv("LETHE_DEPTH_MAX", CANARY)
    done = lethe("run", "a.jsonl", "--to", "file:out2")
    assert (done.code, done.err) == (2, f"{warning}lethe: LETHE_DEPTH_MAX must be a whole number from 8 to 128\n")


def test_a_missing_key_file_says_how_to_make_one(lethe: Lethe, tmp_path: Path) -> None:
    """No key, no fallback: the error names the command, and nothing is written."""
    write_lines(tmp_path / "a.jsonl", [make_event(1)])
    (tmp_path / "lethe.keys.json").unlink()
    done = lethe("run", "a.jsonl", "--to", "file:out")
    assert done.code == 2
    assert "make one with 'lethe keys init" in done.err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("to", ["file:", "redis:x", "chdb:", "clickhouse:x", "nothing"])
def test_a_wrong_sink_is_an_error(lethe: Lethe, tmp_path: Path, to: str) -> None:
    """A URL that names no sink ends with 2 in one line."""
    write_lines(tmp_path / "a.jsonl", [make_event(1)])
    done = lethe("run", "a.jsonl", "--to", to)
    assert (done.code, done.err.count("\n"), done.err[:7]) == (2, 1, "lethe: ")


def test_a_wrong_option_ends_with_two(lethe: Lethe) -> None:
    """Usage errors have the exit code of all errors."""
    assert [lethe("run").code, lethe("run", "x", "--nope").code, lethe("nope").code] == [2, 2, 2]


def test_exit_codes_are_in_the_help(lethe: Lethe) -> None:
    """The help says what each exit code means."""
    text = lethe("--help").out
    for code in ("0 done", "1 the check", "2 an argument", "70 a defect", "130 interrupted"):
        assert code in " ".join(text.split())


def test_the_version_says_which_policy_and_schemas_it_ships(lethe: Lethe, policy: Policy) -> None:
    """One fact a line, the same in a pipe: what records bear, whatever settings name another policy."""
    done = lethe("--version")
    program, *facts = done.out.splitlines()
    assert (done.code, done.err) == (0, "")
    assert re.fullmatch(r"lethe \d+\.\d+\.\d+", program)
    assert facts[:2] == [f"policy {policy.version} {policy.digest}", "event request_event 1"]
    names = ("content", "operational", "rejection", "control", "applied", "audit")
    assert facts[2:] == [f"record {name} {getattr(policy, name).version}" for name in names]


def test_the_version_is_told_where_the_policy_is_broken(lethe: Lethe, monkeypatch: pytest.MonkeyPatch) -> None:
    """The program's own version is what a report of that begins with."""
    monkeypatch.setattr("pipeline.policy.load.default_schemas_dir", lambda: Path("nowhere"))
    done = lethe("--version")
    assert (done.code, len(done.out.splitlines())) == (0, 1)
    assert "lethe policy lint" in done.err


def test_a_defect_is_reported_without_its_message(
    lethe: Lethe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An unforeseen error ends with 70, named by type and place: its message may hold data."""

    def fail(*_: object) -> None:
        raise ValueError(CANARY)

    write_lines(tmp_path / "a.jsonl", [make_event(1)])
    monkeypatch.setattr("pipeline.run.process", fail)
    done = lethe("run", "a.jsonl", "--to", "file:out")
    assert done.code == 70
    assert "0 events → file:out (ended early)" in done.out
    assert re.fullmatch(r"lethe: internal error: ValueError at test_cli\.py:\d+; please report it\n", done.err)
    assert CANARY not in done.out + done.err
    assert describe(KeyError(CANARY)) == "KeyError"


def test_nothing_of_an_event_is_logged(lethe: Lethe, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """With every logger at DEBUG, a run of good and bad events logs and prints no value of theirs."""
    caplog.set_level(logging.DEBUG)
    event = make_event(1)
    event["request"]["messages"][0]["content"] = f"I am ines.duarte@example.org, {CANARY}"
    write_lines(tmp_path / "a.jsonl", [event, event | {"model": [CANARY]}, CANARY, {CANARY: 1}])
    done = lethe("run", "a.jsonl", "--to", "chdb:store")
    assert done.code == 0
    assert CANARY not in done.out + done.err + caplog.text
    assert "solberg" not in (done.out + done.err + caplog.text).lower()


def test_generate_is_repeatable_and_writes_a_manifest(lethe: Lethe, tmp_path: Path) -> None:
    """The same seed and start give the same bytes; the manifest has the canaries of these events."""
    arguments = ("generate", "-n", "20", "--seed", "3", "--start-ms", "1795428000000")
    first, second = lethe(*arguments), lethe(*arguments, "--manifest", "m.jsonl")
    assert (first.code, first.err) == (0, "")
    assert first.out == second.out
    events = [json.loads(line) for line in first.out.splitlines()]
    assert len(events) == 20
    planted = {canary.request_id for canary in read_manifest(tmp_path / "m.jsonl")}
    assert planted <= {event["request_id"] for event in events}
    assert len(planted) > 10


def test_generate_refuses_what_it_cannot_write(lethe: Lethe) -> None:
    """A manifest in a missing folder, and times beyond 2100, are errors in one line."""
    done = lethe("generate", "-n", "1", "--manifest", "missing/m.jsonl")
    assert (done.code, done.err) == (
        2,
        "lethe: --manifest missing/m.jsonl: cannot be written (No such file or directory)\n",
    )
    done = lethe("generate", "-n", "100000000", "--rate", "0.001")
    assert (done.code, done.out) == (2, "")
    assert "give a higher --rate" in done.err


def test_generated_events_go_through_a_pipe(tmp_path: Path) -> None:
    """``lethe generate | lethe run -`` as two processes: all events are records, and standard error is empty."""
    generate = start(tmp_path, ["generate", "-n", "200"])
    done = finish(start(tmp_path, ["run", "-", "--strict", "--to", "file:out"]), pipe_of(generate, "stdout").read())
    generate.communicate()
    assert (generate.returncode, done.code, done.err) == (0, 0, "")
    assert len(_content(tmp_path / "out")) == 200


def test_a_reader_that_goes_away_leaves_no_traceback(tmp_path: Path) -> None:
    """``lethe generate | head -1`` ends in silence."""
    process = start(tmp_path, ["generate", "-n", "5000"])
    pipe_of(process, "stdout").readline()
    pipe_of(process, "stdout").close()
    process.stdout = None
    assert finish(process)[::2] == (1, "")


def test_the_module_is_the_command(tmp_path: Path) -> None:
    """``python -m pipeline`` does what ``lethe`` does."""
    root = Path(__file__).resolve().parent.parent
    command = [sys.executable, "-m", "pipeline", "--version"]
    found = subprocess.run(  # noqa: S603 - our own interpreter
        command, cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(root)}, capture_output=True, text=True, check=True
    )
    assert found.stdout.startswith("lethe ")


def test_policy_lint(lethe: Lethe, tmp_path: Path, policy: Policy) -> None:
    """The shipped policy holds, named by the digest that records bear; a broken one lists its findings, exit 1."""
    done = lethe("policy", "lint")
    assert (done.code, done.out) == (
        0,
        f"the policy holds: request_event/v1/event.schema.json, digest {policy.digest}\n",
    )
    schemas = Path(__file__).resolve().parent.parent / "schemas"
    broken = tmp_path / "schemas"
    for path in schemas.rglob("*.json"):
        copy = broken / path.relative_to(schemas)
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_text(path.read_text().replace('"treatment": "coarsen"', '"treatment": "blur"'))
    done = lethe("policy", "lint", "--schemas", broken)
    assert done.code == 1
    assert "event.schema.json" in done.out
    (tmp_path / "lethe.toml").write_text('schemas = "schemas"\n')
    assert lethe("policy", "lint").code == 1
    done = lethe("policy", "lint", "--schemas", tmp_path / "missing")
    assert (done.code, "cannot be read" in done.err) == (2, True)


def test_policy_show_is_markdown_in_a_pipe(lethe: Lethe, policy: Policy) -> None:
    """What a pipe gets is the table of the documentation."""
    done = lethe("policy", "show")
    assert (done.code, done.out) == (0, markdown(policy))


def test_policy_show_is_a_table_on_a_terminal(lethe: Lethe, monkeypatch: pytest.MonkeyPatch) -> None:
    """A terminal gets a framed table of all fields."""
    console = Console(force_terminal=True, width=200, highlight=False, markup=False)
    monkeypatch.setattr(edge, "console", lambda: console)
    done = lethe("policy", "show")
    assert done.code == 0
    assert "client.user_agent" in done.out
    assert "┃" in done.out


def test_policy_explain(lethe: Lethe) -> None:
    """A field by name or pointer: its treatment, where it goes and why; an unknown one is an error that lists all."""
    done = lethe("policy", "explain", "client.ip")
    assert done.code == 0
    assert "treatment: coarsen\ngoes to: operational.client_network (network), operational.client_ip" in done.out
    assert lethe("policy", "explain", "/client/ip") == done
    done = lethe("policy", "explain", "client.ipp")
    assert (done.code, done.out) == (2, "")
    assert done.err.startswith("lethe: no such field; the fields are request_id, received_at, account.id, ")


def test_policy_of_another_event_shape(lethe: Lethe) -> None:
    """--event explains the fields of another schema of the folder."""
    done = lethe("policy", "lint", "--event", "spend_log/v1/event.schema.json")
    assert done.code == 0
    assert "spend_log/v1/event.schema.json" in done.out


def _shown(console: Console, core: Core, raw: bytes) -> str:
    event = RawEvent(raw, Source("file:0123456789abcdef", 0, 1, len(raw)))
    with console.capture() as capture:
        report.show_fate(console, event, to_fate(event, core, admit_for_store(1 << 50, None, None)), PlainSealer())
    return capture.get()


def _console(width: int, **more: bool) -> Console:
    return Console(width=width, highlight=False, markup=False, color_system=None, **more)  # type: ignore[arg-type]


def test_before_and_after_stand_side_by_side_where_there_is_room(bare_core: Core) -> None:
    """A wide terminal has them beside each other, a narrow one below, and no line is longer than it."""
    raw = to_lines([make_event(1)]).rstrip()
    wide = _shown(_console(120, force_terminal=True), bare_core, raw).splitlines()
    narrow = _shown(_console(60, force_terminal=True), bare_core, raw).splitlines()
    assert "raw event" in wide[0]
    assert "content record" in wide[0]
    assert "content record" not in narrow[0]
    assert (max(map(len, wide)), max(map(len, narrow))) == (120, 60)
    assert "…" not in "".join(wide + narrow)
    assert len(wide) < 70


def test_what_a_terminal_would_obey_is_not_shown(bare_core: Core) -> None:
    """Control characters of an event reach no terminal, nor do lone surrogates break the output; numbers are exact."""
    event = make_event(1)
    event["request"]["messages"][0]["content"] = "\x1b]0;title\x07 \u202e \ud800 \x9b2J"
    event["request"]["seed"] = 123456789012345678901234567890
    console = _console(1000)
    for raw in (to_lines([event]).rstrip(), b"\x1b[2J no JSON \x9b\xff", b"[" * 30_000):
        shown = _shown(console, bare_core, raw)
        assert not set(shown) & set("\x1b\x07\x9b\u202e\ud800")
        assert len(shown) < 20_000
    assert "123456789012345678901234567890" in _shown(console, bare_core, to_lines([event]).rstrip())


def test_conflicts_are_in_the_totals(capsys: pytest.CaptureFixture[str]) -> None:
    """A conflict is never expected, so it has a line only where there is one."""
    summary = Summary()
    report.show_summary(edge.console(), summary, "file:[out]", {})
    assert "conflicts" not in capsys.readouterr().out
    summary.written.conflicts = 2
    report.show_summary(edge.console(), summary, "file:[out]", {})
    out = capsys.readouterr().out
    assert "file:[out]" in out
    assert re.search(r"^conflicts: same id, other bytes; the first stays +2$", out, re.MULTILINE)


@pytest.fixture
def collector() -> Iterator[None]:
    """Put the garbage collector back as it was."""
    before = gc.get_threshold()
    yield
    gc.unfreeze()
    gc.set_threshold(*before)


@pytest.mark.usefixtures("collector")
def test_the_collector_looks_less_often_and_not_at_what_stays() -> None:
    """After the set-up everything is frozen, and collections are rare but not off."""
    edge.tune_collector()
    assert gc.get_freeze_count() > 10_000
    assert gc.get_threshold()[0] >= 10_000
    assert gc.isenabled()


def test_run_tunes_the_collector_when_all_is_set_up(
    lethe: Lethe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It happens once, after the sink is open and before the first event."""
    seen: list[bool] = []
    monkeypatch.setattr(edge, "tune_collector", lambda: seen.append((tmp_path / "out").exists()))
    monkeypatch.setattr(Metrics, "count_fate", lambda *_: seen.append(False))
    write_lines(tmp_path / "a.jsonl", [make_event(1)])
    assert lethe("run", "a.jsonl", "--to", "file:out").code == 0
    assert seen == [True, False]
