"""One conformance suite over every sink, then what is particular to files."""

import json
import os
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from cli_fixtures import read_lines
from store_fixtures import NOW_MS, SCHEMAS, SINKS, make_event, make_rejection

from pipeline.errors import ConfigError, Reason, SinkUnavailable
from pipeline.sinks.base import Sink, WriteReport
from pipeline.sinks.files import NAMES, FileSink
from pipeline.sinks.memory import MemorySink
from pipeline.sinks.seen import Known, Seen
from pipeline.store import StoreSink, open_store


@dataclass
class Opened:
    """A sink, and how to read what it holds: ids of content with their bodies, ids of operational, rejected lines."""

    sink: Sink
    read: Callable[[], tuple[dict[str, str], list[str], list[int]]]


def _memory(_: Path) -> Opened:
    sink = MemorySink()
    return Opened(
        sink,
        lambda: (
            {name: record.body.data.decode() for name, record in sink.content.items()},
            sorted(sink.operational),
            sorted(offset for _, _, offset in sink.rejected),
        ),
    )


def _file(folder: Path) -> Opened:
    def read() -> tuple[dict[str, str], list[str], list[int]]:
        content, operational, rejected = (read_lines(folder / "out" / f"{name}.partial") for name in NAMES)
        bodies = {one["request_id"]: json.dumps(one["body"], separators=(",", ":")) for one in content}
        assert len(bodies) == len(content)
        ids = sorted(one["request_id"] for one in operational)
        return bodies, ids, sorted(one["offset"] for one in rejected)

    return Opened(FileSink(folder / "out"), read)


def _store(folder: Path) -> Opened:
    store = open_store(f"chdb:{folder / 'store'}", now_ms=NOW_MS)

    def read() -> tuple[dict[str, str], list[str], list[int]]:
        content = store.query("SELECT request_id, body FROM content").rows
        operational = store.query("SELECT request_id FROM operational ORDER BY request_id").rows
        rejected = store.query("SELECT offset FROM rejected ORDER BY offset").rows
        assert len(dict(content)) == len(content)
        return dict(content), [row[0] for row in operational], [row[0] for row in rejected]

    return Opened(StoreSink(store, SCHEMAS, SINKS, lambda: NOW_MS), read)


@pytest.fixture(params=[_memory, _file, _store], ids=["memory", "file", "store"])
def opened(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Opened]:
    """Open a sink of each kind."""
    one: Opened = request.param(tmp_path)
    yield one
    one.sink.close(complete=False)


def _id(number: int) -> str:
    return f"req_{number:032x}"


def test_a_batch_is_there_when_the_write_returns(opened: Opened) -> None:
    """Records and rejections of a batch can be read at once, and the report counts them."""
    report = opened.sink.write([make_event(1), make_rejection(7), make_event(2, body=None)])
    assert report == WriteReport(content=1, operational=2, rejected=1)
    assert opened.read() == ({_id(1): '{"prompt":"hello"}'}, [_id(1), _id(2)], [7])


def test_an_empty_batch_is_nothing(opened: Opened) -> None:
    """A write of no fates does nothing."""
    assert opened.sink.write([]) == WriteReport()
    assert opened.read() == ({}, [], [])


def test_the_same_again_is_a_repeat(opened: Opened) -> None:
    """What comes again, in the batch or a later one, is counted for each record and not seen twice."""
    first = opened.sink.write([make_event(1), make_event(1), make_rejection(7), make_rejection(7)])
    assert first == WriteReport(content=1, operational=1, rejected=1, repeated=3)
    event = make_event(1)
    assert opened.sink.write([event]) == opened.sink.write([event]) == WriteReport(repeated=2)
    assert opened.read() == ({_id(1): '{"prompt":"hello"}'}, [_id(1)], [7])


def test_other_bytes_under_an_id_are_a_conflict(opened: Opened) -> None:
    """The first record stays; content, operational and rejections are judged each on its own."""
    opened.sink.write([make_event(1), make_rejection(7)])
    report = opened.sink.write([make_event(1, body=b'{"prompt":"other"}'), make_rejection(7, reason=Reason.TOO_DEEP)])
    assert report == WriteReport(repeated=1, conflicts=2)
    report = opened.sink.write([make_event(1, operational={"status": 500})])
    assert report == WriteReport(repeated=1, conflicts=1)
    assert opened.read() == ({_id(1): '{"prompt":"hello"}'}, [_id(1)], [7])


def test_content_that_comes_later_is_added(opened: Opened) -> None:
    """An event without content, and then with it, ends with both records, each once."""
    opened.sink.write([make_event(1, body=None)])
    assert opened.sink.write([make_event(1)]) == WriteReport(content=1, repeated=1)
    assert opened.sink.write([make_event(1)]) == WriteReport(repeated=2)
    assert opened.read() == ({_id(1): '{"prompt":"hello"}'}, [_id(1)], [])


def test_rejections_of_other_places_are_others(opened: Opened) -> None:
    """A rejection is known by topic, partition and line, so the same line of another file is another."""
    report = opened.sink.write([make_rejection(1), make_rejection(2), make_rejection(1, topic="file:01ff")])
    assert report == WriteReport(rejected=3)
    assert opened.read() == ({}, [], [1, 1, 2])


def _modes(folder: Path) -> set[int]:
    return {path.stat().st_mode & 0o777 for path in folder.iterdir()}


def test_files_have_their_names_when_the_run_is_complete(tmp_path: Path) -> None:
    """Until then they are partial; all are there, even empty ones, and nobody else can read them."""
    folder = tmp_path / "a" / "out"
    sink = FileSink(folder)
    sink.write([make_event(1)])
    assert {path.name for path in folder.iterdir()} == {f"{name}.partial" for name in NAMES}
    sink.close(complete=True)
    assert {path.name for path in folder.iterdir()} == set(NAMES)
    assert [len(read_lines(folder / name)) for name in NAMES] == [1, 1, 0]
    assert (0o700, {0o600}) == (folder.stat().st_mode & 0o777, _modes(folder))


def test_a_run_that_failed_leaves_partial_files_that_the_next_replaces(tmp_path: Path) -> None:
    """An incomplete run needs no --overwrite, and nothing of it is in the next one, whatever its files allowed."""
    sink = FileSink(tmp_path)
    sink.write([make_event(1), make_event(2)])
    sink.close(complete=False)
    assert {path.name for path in tmp_path.iterdir()} == {f"{name}.partial" for name in NAMES}
    (tmp_path / f"{NAMES[0]}.partial").chmod(0o644)
    sink = FileSink(tmp_path)
    sink.write([make_event(3)])
    sink.close(complete=True)
    assert [one["request_id"] for one in read_lines(tmp_path / NAMES[0])] == [_id(3)]
    assert _modes(tmp_path) == {0o600}


def test_an_earlier_run_is_replaced_only_on_request_and_only_by_a_complete_run(tmp_path: Path) -> None:
    """Without --overwrite the folder is refused; with it the old files stay until the new ones are whole."""
    sink = FileSink(tmp_path)
    sink.write([make_event(1)])
    sink.close(complete=True)
    with pytest.raises(ConfigError, match=r"holds content\.jsonl, operational\.jsonl, rejected\.jsonl already; choose"):
        FileSink(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == set(NAMES)
    sink = FileSink(tmp_path, overwrite=True)
    sink.write([make_event(2)])
    assert [one["request_id"] for one in read_lines(tmp_path / NAMES[0])] == [_id(1)]
    sink.close(complete=True)
    assert [one["request_id"] for one in read_lines(tmp_path / NAMES[0])] == [_id(2)]


def test_two_runs_do_not_write_one_folder(tmp_path: Path) -> None:
    """The second is refused and harms nothing of the first."""
    first = FileSink(tmp_path)
    first.write([make_event(1)])
    with pytest.raises(ConfigError, match="another run is writing here"):
        FileSink(tmp_path)
    first.close(complete=True)
    assert len(read_lines(tmp_path / NAMES[0])) == 1


def test_a_link_in_place_of_a_file_is_not_followed(tmp_path: Path) -> None:
    """A symlink under the partial name would make the run overwrite what it points to."""
    (tmp_path / "precious").write_text("precious")
    (tmp_path / f"{NAMES[1]}.partial").symlink_to(tmp_path / "precious")
    with pytest.raises(ConfigError, match="cannot be written"):
        FileSink(tmp_path)
    assert (tmp_path / "precious").read_text() == "precious"


def test_a_folder_that_cannot_be_made_is_an_error(tmp_path: Path) -> None:
    """A path through a file is refused with the reason."""
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match=r"cannot be written \((Not a directory|File exists)\)"):
        FileSink(tmp_path / "file" / "out")


def test_after_a_failed_write_a_file_sink_takes_nothing_more(tmp_path: Path) -> None:
    """A full disk may leave half a line, so a repeated write fails too, and closing does not make the files whole."""
    sink = FileSink(tmp_path)
    full = os.open("/dev/full", os.O_WRONLY)
    os.dup2(full, sink._files[NAMES[0]].fileno())
    os.close(full)
    for _ in range(2):
        with pytest.raises(SinkUnavailable, match=r"cannot be written \(No space left on device\); the files keep"):
            sink.write([make_event(1)])
    sink.close(complete=True)
    assert {path.name for path in tmp_path.iterdir()} == {f"{name}.partial" for name in NAMES}


def test_a_disk_that_fills_at_the_end_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """When the last bytes cannot be made durable, no file gets its name."""
    sink = FileSink(tmp_path)
    sink.write([make_event(1)])

    def refuse(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", refuse)
    with pytest.raises(SinkUnavailable, match="No space left on device"):
        sink.close(complete=True)
    assert {path.name for path in tmp_path.iterdir()} == {f"{name}.partial" for name in NAMES}


def test_what_was_seen_is_remembered_beyond_memory() -> None:
    """More identities than the cache holds are all still known, and told from new ones."""
    seen = Seen()
    count = 120_000
    for number in range(count):
        assert seen.compare(str(number), [b"a", None]) == [Known.NEW] * 2
    for number in range(0, count, 1000):
        assert seen.compare(str(number), [b"a", b"b"]) == [Known.REPEATED, Known.NEW]
        assert seen.compare(str(number), [b"x", b"b"]) == [Known.CONFLICT, Known.REPEATED]
    seen.close()


def test_a_full_disk_of_temporary_files_is_an_error() -> None:
    """When the list of what was written cannot grow, the run ends: it may not write an event twice."""
    seen = Seen()
    seen._database.execute("PRAGMA max_page_count=20")
    with pytest.raises(SinkUnavailable, match="disk of TMPDIR full"):
        deque((seen.compare(str(number), [b"a"]) for number in range(5000)), maxlen=0)
    seen.close()
