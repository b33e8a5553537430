"""The main job: batches, early ends, and processes that are killed, interrupted or run out of disk."""

import gzip
import os
import signal
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path
from random import Random

import pytest
from cli_fixtures import Done, finish, make_event, pipe_of, read_lines, start, to_lines, write_lines
from conftest import RECEIVED_AT_MS, NoDetector, base_event

from pipeline.anonymize import Admission, Core, make_core
from pipeline.errors import KeyringError, SinkUnavailable
from pipeline.inputs import DamagedInput, Inputs, RawEvent
from pipeline.keys.keyring import KeyEpoch, Keyring
from pipeline.keys.provider import load_provider
from pipeline.keys.sealfile import load_day_keys
from pipeline.keys.sealing import DaySealer
from pipeline.metrics import Metrics
from pipeline.policy.load import Policy
from pipeline.records import Fate, Sealed, Source
from pipeline.run import Summary, run
from pipeline.sinks.base import WriteReport
from pipeline.sinks.files import NAMES
from pipeline.sinks.memory import MemorySink
from pipeline.store import open_store
from pipeline.wire import content_bytes, operational_bytes


def _admit_all() -> Admission:
    return Admission(latest_ms=1 << 50)


def _raws(lines: Sequence[bytes]) -> Iterator[RawEvent]:
    for number, line in enumerate(lines, start=1):
        yield RawEvent(line, Source("file:0123456789abcdef", 0, number, len(line)))


def _lines(count: int) -> list[bytes]:
    return to_lines(make_event(number) for number in range(count)).splitlines()


class CountingSink(MemorySink):
    """Remembers how large the batches were, and fails at one of them."""

    def __init__(self, fail_at: int = -1) -> None:
        super().__init__()
        self.batches: list[int] = []
        self.fail_at = fail_at

    def write(self, fates: Sequence[Fate]) -> WriteReport:
        """Count and keep."""
        if len(self.batches) == self.fail_at:
            raise SinkUnavailable("gone")
        self.batches.append(len(fates))
        return super().write(fates)


def _run(lines: Sequence[bytes], core: Core, sink: CountingSink, batch_max: int = 10) -> Summary:
    return run(_raws(lines), core, sink, _admit_all, batch_max=batch_max, metrics=Metrics())


def test_each_event_has_one_fate_whatever_the_batches(bare_core: Core) -> None:
    """Good lines become two records, bad ones a rejection; the size of batches changes no byte."""
    lines = [*_lines(25), b"not json", b"", b"{}"]
    expected: tuple[list[bytes], list[bytes], list[int]] | None = None
    for batch_max, batches in [(10, [10, 10, 8]), (1, [1] * 28), (28, [28]), (1000, [28])]:
        sink = CountingSink()
        summary = _run(lines, bare_core, sink, batch_max)
        found = (
            [content_bytes(record) for record in sink.content.values()],
            [operational_bytes(record) for record in sink.operational.values()],
            [offset for _, _, offset in sink.rejected],
        )
        expected = expected or found
        assert found == expected
        assert (sink.batches, sink.complete) == (batches, True)
        assert (summary.events, summary.accepted, summary.bytes_read) == (28, 25, sum(map(len, lines)))
        assert dict(summary.rejections) == {"not_json": 1, "empty": 1, "missing_field": 1}
        assert summary.written == WriteReport(content=25, operational=25, rejected=3)
    assert expected is not None
    assert (expected[2], len(expected[0])) == ([26, 27, 28], 25)


def test_one_event_several_times_in_the_input_is_written_once(bare_core: Core) -> None:
    """A repeat is counted as such, in its batch or a later one; other bytes under the same id are a conflict."""
    sink = CountingSink()
    lines = _lines(4)
    other = to_lines([make_event(1, status=500)]).rstrip()
    summary = _run([*lines, *lines, other], bare_core, sink, 3)
    assert summary.written == WriteReport(content=4, operational=4, repeated=9, conflicts=1)
    assert sink.operational[f"req_{1:032x}"].fields["status"] == 200


def test_batches_are_bounded_in_bytes_too(bare_core: Core, monkeypatch: pytest.MonkeyPatch) -> None:
    """Large bodies are written before they are many, so that memory does not grow with the size of events."""
    monkeypatch.setattr("pipeline.run._BATCH_BYTES_MAX", 100_000)
    sink = CountingSink()
    event = make_event(1)
    event["request"]["messages"][0]["content"] = "word " * 8_000
    lines = to_lines([event | {"request_id": f"req_{number:032x}"} for number in range(6)]).splitlines()
    _run(lines, bare_core, sink, 1000)
    assert sink.batches == [3, 3]


def test_a_line_too_long_is_one_rejection(bare_core: Core, tmp_path: Path) -> None:
    """A line over the limit is rejected unread with its size, and the events around it are records."""
    path = tmp_path / "a.jsonl"
    first, last = _lines(2)
    path.write_bytes(first + b"\n" + b"x" * 50_000 + b"\n" + last)
    sink = CountingSink()
    events = Inputs([str(path)], line_bytes_max=20_000).events()
    summary = run(events, bare_core, sink, _admit_all, batch_max=10, metrics=Metrics())
    assert (summary.accepted, dict(summary.rejections)) == (2, {"too_large": 1})
    (rejection,) = sink.rejected.values()
    assert (rejection.source.offset, rejection.source.size_bytes) == (2, 50_000)


def test_what_comes_before_damage_is_stored(bare_core: Core, tmp_path: Path) -> None:
    """The last, unfinished batch is written too; the sink is not closed as complete, and the error follows."""
    path = tmp_path / "a.jsonl.gz"
    path.write_bytes(gzip.compress(to_lines(make_event(number) for number in range(25)))[:-8])
    sink, summary = CountingSink(), Summary()
    events = Inputs([str(path)], line_bytes_max=20_000).events()
    with pytest.raises(DamagedInput, match="after line 25"):
        run(events, bare_core, sink, _admit_all, batch_max=10, metrics=Metrics(), summary=summary)
    assert (sink.batches, sink.complete, len(sink.content)) == ([10, 10, 5], False, 25)
    assert (summary.events, summary.written.content) == (25, 25)


def test_a_sink_that_fails_ends_the_run(bare_core: Core) -> None:
    """Nothing is read past a batch that was not written, what was counted is there, and running again adds the rest."""
    sink, summary = CountingSink(fail_at=1), Summary()
    lines = _lines(35)
    events = _raws(lines)
    with pytest.raises(SinkUnavailable):
        run(events, bare_core, sink, _admit_all, batch_max=10, metrics=Metrics(), summary=summary)
    assert (sink.batches, sink.complete, summary.written.content) == ([10], False, 10)
    assert next(events).source.offset == 21
    sink.fail_at = -1
    assert _run(lines, bare_core, sink).written == WriteReport(content=25, operational=25, repeated=20)


def test_a_missing_key_ends_the_run(policy: Policy) -> None:
    """An event that no key epoch covers stops the run; it is neither rejected nor passed over."""
    core = make_core(policy, NoDetector(), Keyring((KeyEpoch("e1", RECEIVED_AT_MS + 1, b"1" * 32),), {}, b"s" * 32))
    sink = CountingSink()
    lines = [b"not json", to_lines([base_event()]).rstrip()]
    with pytest.raises(KeyringError):
        _run(lines, core, sink)
    assert (sink.batches, sink.complete) == ([], False)


def test_the_clock_is_read_for_each_event(bare_core: Core) -> None:
    """Lines of a pipe come in for hours: an event of now is none of the future, however long ago its batch began."""
    now = iter(range(RECEIVED_AT_MS, RECEIVED_AT_MS + 10_000_000, 3_600_000))
    lines = [
        to_lines(
            [base_event() | {"request_id": f"req_{n:032x}", "received_at": f"2026-11-23T1{n}:00:00.123Z"}]
        ).rstrip()
        for n in range(3)
    ]
    sink = CountingSink()
    admit = lambda: Admission(latest_ms=next(now))  # noqa: E731
    summary = run(_raws(lines), bare_core, sink, admit, batch_max=10, metrics=Metrics())
    assert (summary.accepted, dict(summary.rejections)) == (3, {})


def test_the_summary_and_the_metrics_count_the_same(bare_core: Core) -> None:
    """What people read at the end and what Prometheus reads agree."""
    sink, metrics = CountingSink(), Metrics()
    lines = [*_lines(3), *_lines(2), b"[]"]
    summary = run(_raws(lines), bare_core, sink, _admit_all, batch_max=2, metrics=metrics)
    text = metrics.render().decode()
    assert f'lethe_events_total{{fate="records"}} {summary.accepted}.0' in text
    assert f'lethe_rejections_total{{reason="not_an_object"}} {summary.rejections["not_an_object"]}.0' in text
    assert f'lethe_records_written_total{{sink="content"}} {summary.written.content}.0' in text
    assert f"lethe_records_repeated_total {summary.written.repeated}.0" in text
    assert [rejection.source.offset for rejection in summary.first_rejections] == [6]


COUNT = 1000


def _killed_while_writing(folder: Path, arguments: list[str | Path], delay_s: float, batch: int) -> None:
    """Run the command, and kill it some moment after its first write."""
    process = start(folder, arguments, ANNOUNCE="1", LETHE_BATCH_EVENTS_MAX=str(batch))
    assert pipe_of(process, "stderr").readline() == b"wrote\n"
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(timeout=delay_s)
    process.kill()
    assert finish(process).code == -signal.SIGKILL


def test_a_killed_run_and_one_in_other_batches_show_each_event_once(tmp_path: Path, bare_core: Core) -> None:
    """After a kill -9 at a moment of chance and a whole run, ids and bodies are those of one undisturbed run."""
    events = [make_event(number) for number in range(COUNT)]
    path = write_lines(tmp_path / "events.jsonl", [*events, *events[:50], "no event"])
    to_store: list[str | Path] = ["run", path, "--to", f"chdb:{tmp_path / 'store'}"]
    _killed_while_writing(tmp_path, to_store, Random(29).uniform(0, 0.3), batch=10)
    whole = finish(start(tmp_path, to_store, LETHE_BATCH_EVENTS_MAX="300"))
    assert (whole.code, whole.err) == (0, "")
    figures = _figures(whole)
    assert 0 < figures["content records written"] < COUNT
    assert figures["content records written"] + figures["operational records written"] + figures["there already"] == (
        2 * (COUNT + 50)
    )
    reference = CountingSink()
    _run(to_lines(events).splitlines(), bare_core, reference)
    expected = sorted((name, record.body.data) for name, record in reference.content.items())
    kek = load_provider(f"file:{tmp_path / 'lethe.kek.json'}")
    opener = DaySealer(load_day_keys(tmp_path / "lethe.keyring.json", kek))
    with open_store(f"chdb:{tmp_path / 'store'}", now_ms=0) as store:
        sql = "SELECT request_id, body_encoding, body FROM content ORDER BY 1"
        assert [
            (name, opener.open(Sealed(encoding, data), request_id=name, schema_version=1))
            for name, encoding, data in store.query(sql, binary=("body",)).rows
        ] == expected
        ids = [name for name, _ in expected]
        assert [row[0] for row in store.query("SELECT request_id FROM operational ORDER BY 1").rows] == ids
        assert store.query("SELECT offset, reason FROM rejected").rows == [(COUNT + 51, "not_an_object")]


def _figures(done: Done) -> dict[str, int]:
    """Read the table of a run's output."""
    rows = (line.rsplit(maxsplit=1) for line in done.out.splitlines() if line[-1:].isdigit())
    return {name.strip(): int(figure.replace(",", "")) for name, figure in rows}


def test_a_killed_run_into_files_leaves_only_partial_ones(tmp_path: Path) -> None:
    """After a kill -9 at a moment of chance nothing has a final name."""
    path = write_lines(tmp_path / "events.jsonl", [make_event(number) for number in range(COUNT)])
    to_files: list[str | Path] = ["run", path, "--to", f"file:{tmp_path / 'out'}"]
    _killed_while_writing(tmp_path, to_files, Random(31).uniform(0, 0.02), batch=1)
    assert {file.name for file in (tmp_path / "out").iterdir()} == {f"{name}.partial" for name in NAMES}


@pytest.mark.parametrize("scheme", ["file", "chdb"])
def test_an_interrupted_run_says_so_and_keeps_what_it_wrote(tmp_path: Path, scheme: str) -> None:
    """Ctrl-C ends with 130, one clear line, the totals and no traceback; no file has its final name."""
    process = start(
        tmp_path, ["run", "-", "--to", f"{scheme}:{tmp_path / 'out'}"], ANNOUNCE="1", LETHE_BATCH_EVENTS_MAX="10"
    )
    stdin = pipe_of(process, "stdin")
    stdin.write(to_lines(make_event(number) for number in range(15)))
    stdin.flush()
    assert pipe_of(process, "stderr").readline() == b"wrote\n"
    process.send_signal(signal.SIGINT)
    process.wait(timeout=120)  # its input stays open: nothing but the signal can end it
    done = finish(process)
    assert done.code == 130
    left = {
        "file": "what was written is in the files .partial; running the same again starts afresh",
        "chdb": "what was written stays; running the same again adds the rest",
    }
    assert done.err == f"lethe: {left[scheme]}\nlethe: interrupted\n"
    assert "(interrupted)" in done.out
    assert _figures(done)["content records written"] == 10
    if scheme == "file":
        assert {file.name for file in (tmp_path / "out").iterdir()} == {f"{name}.partial" for name in NAMES}
        assert len(read_lines(tmp_path / "out" / f"{NAMES[0]}.partial")) == 10


def test_a_full_disk_ends_the_run_with_an_error(tmp_path: Path) -> None:
    """When a file cannot grow, the run ends with 2 and the reason; nothing has its final name."""
    path = write_lines(tmp_path / "events.jsonl", [make_event(number) for number in range(COUNT)])
    process = start(
        tmp_path,
        ["run", path, "--to", f"file:{tmp_path / 'out'}"],
        FILE_BYTES_MAX=str(200_000),
        LETHE_BATCH_EVENTS_MAX="100",
    )
    done = finish(process)
    assert done.code == 2
    assert done.err.splitlines()[-1] == (
        f"lethe: {tmp_path / 'out'}: cannot be written (File too large); the files keep their name .partial"
    )
    assert "Traceback" not in done.err
    assert "(ended early)" in done.out
    assert {file.name for file in (tmp_path / "out").iterdir()} == {f"{name}.partial" for name in NAMES}
    assert 0 < (tmp_path / "out" / f"{NAMES[0]}.partial").stat().st_size <= 200_000


def test_progress_is_for_terminals(tmp_path: Path) -> None:
    """On a terminal, standard error shows rate and rejections while the totals still go to the pipe as plain text."""
    path = write_lines(tmp_path / "events.jsonl", [make_event(number) for number in range(300)])
    ours, theirs = os.openpty()
    process = start(tmp_path, ["run", path, "--to", f"file:{tmp_path / 'out'}"], stderr=theirs, TERM="xterm")
    os.close(theirs)
    done = finish(process)
    shown = b""
    while chunk := _read_chunk(ours):
        shown += chunk
    os.close(ours)
    assert done.code == 0
    assert b"events/s, 0 rejected" in shown
    assert b"\x1b[" in shown
    assert "\x1b" not in done.out


def _read_chunk(terminal: int) -> bytes:
    try:
        return os.read(terminal, 65536)
    except OSError:  # how a terminal says that the other side is closed
        return b""
