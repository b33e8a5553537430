"""Reading raw lines: every form, every kind of damage, and lines of any length in little memory."""

import gzip
import io
import os
import sys
import threading
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random

import pytest
import zstandard

from pipeline.errors import ConfigError
from pipeline.inputs import DamagedInput, Inputs, RawEvent
from pipeline.records import Source

MIB = 1 << 20
_RNG = Random(11)
LINES = [_RNG.randbytes(30).hex().encode() * 4 for _ in range(3000)]
TEXT = b"\n".join(LINES) + b"\n"


def _zstd(data: bytes) -> bytes:
    return zstandard.ZstdCompressor().compress(data)


FORMS: dict[str, Callable[[bytes], bytes]] = {"jsonl": bytes, "gz": gzip.compress, "zst": _zstd}
PACKED = ("gz", "zst")


def _read(*names: Path | str, line_bytes_max: int = MIB) -> list[RawEvent]:
    return list(Inputs([str(name) for name in names], line_bytes_max=line_bytes_max).events())


def _raws(*names: Path | str) -> list[bytes]:
    return [event.raw for event in _read(*names)]


def _file(folder: Path, name: str, data: bytes) -> Path:
    path = folder / name
    path.write_bytes(data)
    return path


@contextmanager
def _as_nobody() -> Iterator[None]:
    """Root may read everything, so a test of permissions steps down for a moment."""
    user = os.geteuid()
    if user == 0:
        os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(user)


@pytest.mark.parametrize("form", FORMS)
def test_lines_come_out_as_they_went_in(tmp_path: Path, form: str) -> None:
    """Each form gives the lines in order, numbered from 1, with their sizes."""
    events = _read(_file(tmp_path, f"a.{form}", FORMS[form](TEXT)))
    assert [event.raw for event in events] == LINES
    assert [(e.source.partition, e.source.offset, e.source.size_bytes) for e in events[:2]] == [
        (0, 1, 240),
        (0, 2, 240),
    ]


@pytest.mark.parametrize("form", FORMS)
def test_line_ends_and_empty_lines(tmp_path: Path, form: str) -> None:
    """CRLF is a line end, a last line needs none, and an empty line is a line: it has a fate of its own."""
    path = _file(tmp_path, f"a.{form}", FORMS[form](b"one\r\n\ntwo\n\r\nthree"))
    assert _raws(path) == [b"one", b"", b"two", b"", b"three"]


def test_an_empty_file_has_no_events(tmp_path: Path) -> None:
    """Nothing in, nothing out, no error; likewise for a compressed file of nothing."""
    names = [_file(tmp_path, f"a.{form}", pack(b"")) for form, pack in FORMS.items()]
    assert _raws(*names) == []


def test_files_are_read_one_after_the_other(tmp_path: Path) -> None:
    """Lines of several files come in the order given, each file under a topic of its own."""
    names = [_file(tmp_path, f"{form}.{form}", pack(form.encode())) for form, pack in FORMS.items()]
    inputs = Inputs([str(name) for name in names], line_bytes_max=MIB)
    events = list(inputs.events())
    assert [event.raw.decode() for event in events] == ["jsonl", "gz", "zst"]
    assert [inputs.topics[event.source.topic] for event in events] == [str(name) for name in names]


@pytest.mark.parametrize("form", PACKED)
def test_parts_in_one_file_are_read_on(tmp_path: Path, form: str) -> None:
    """Appended members and frames are one stream, as gzip and zstd themselves read them; frames to skip are skipped."""
    skipped = b"" if form == "gz" else b"\x50\x2a\x4d\x18" + (4).to_bytes(4, "little") + b"skip"
    packed = b"".join(FORMS[form](part) + skipped for part in (b"one\ntw", b"", b"o\nthree\n"))
    assert _raws(_file(tmp_path, f"a.{form}", packed)) == [b"one", b"two", b"three"]


@pytest.mark.parametrize("form", PACKED)
def test_compressed_input_is_known_by_its_beginning(tmp_path: Path, form: str) -> None:
    """A compressed file under another name is decompressed, not rejected line by line."""
    assert _raws(_file(tmp_path, "a.log", FORMS[form](TEXT))) == LINES


@pytest.mark.parametrize("form", FORMS)
def test_standard_input(monkeypatch: pytest.MonkeyPatch, form: str) -> None:
    """``-`` reads standard input, compressed or not, and leaves it open."""
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(FORMS[form](TEXT))))
    assert _raws("-") == LINES
    assert not sys.stdin.buffer.closed


def test_a_named_pipe_is_read(tmp_path: Path) -> None:
    """What the shell makes of ``<(command)`` is an input, though it is no file and has no size."""
    path = tmp_path / "pipe"
    os.mkfifo(path)
    inputs = Inputs([str(path)], line_bytes_max=MIB)
    writer = threading.Thread(target=path.write_bytes, args=(TEXT,))
    writer.start()
    assert [event.raw for event in inputs.events()] == LINES
    writer.join()
    assert inputs.size_bytes is None


@pytest.mark.parametrize("form", PACKED)
@pytest.mark.parametrize("share", [0.0, 0.001, 0.3, 0.7, 0.999])
def test_what_is_cut_off_is_read_up_to_the_cut(tmp_path: Path, form: str, share: float) -> None:
    """Of a file that ends too early every whole line is there, no half one, and then an error that says so."""
    packed = FORMS[form](TEXT)
    path = _file(tmp_path, f"a.{form}", packed[: int(len(packed) * share)])
    found: list[bytes] = []
    with pytest.raises(DamagedInput) as caught:
        found.extend(event.raw for event in Inputs([str(path)], line_bytes_max=MIB).events())
    assert found == LINES[: len(found)]
    assert len(found) >= len(LINES) * share * 0.8 - 600  # zstd ends in whole blocks of 128 KiB, some 540 lines
    assert str(caught.value) == f"{path}: damaged or cut off after line {len(found):,}; what came before was read"


@pytest.mark.parametrize("form", PACKED)
def test_what_is_damaged_ends_with_an_error(tmp_path: Path, form: str) -> None:
    """Bytes overwritten in the middle are an error, after the lines before them; so is a wrong kind of file."""
    packed = bytearray(FORMS[form](TEXT))
    middle = len(packed) // 2
    packed[middle : middle + 64] = bytes(64)
    path = _file(tmp_path, f"a.{form}", bytes(packed))
    found: list[bytes] = []
    with pytest.raises(DamagedInput, match="damaged or cut off"):
        found.extend(event.raw for event in Inputs([str(path)], line_bytes_max=MIB).events())
    assert found[:800] == LINES[:800]
    with pytest.raises(DamagedInput, match="after line 0"):
        _read(_file(tmp_path, f"plain.{form}", TEXT))


def test_a_disk_that_fails_is_no_end_of_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An error of the disk in the middle of a file ends it with the disk's reason."""

    class Failing(io.RawIOBase):
        rest = [b"one\ntw"]  # noqa: RUF012 - consumed by one instance

        def readable(self) -> bool:
            return True

        def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
            if not self.rest:
                raise OSError(5, "Input/output error")
            data = self.rest.pop()
            buffer[: len(data)] = data
            return len(data)

    path = _file(tmp_path, "a.jsonl", b"one\ntwo\n")
    monkeypatch.setattr("pipeline.inputs._open_raw", lambda _: io.BufferedReader(Failing()))
    found: list[bytes] = []
    with pytest.raises(DamagedInput, match=r"cannot be read on \(Input/output error\) after line 1"):
        found.extend(event.raw for event in Inputs([str(path)], line_bytes_max=MIB).events())
    assert found == [b"one"]


def test_all_inputs_are_looked_at_before_the_first_is_read(tmp_path: Path) -> None:
    """A missing file, a folder, a path through a file and an impossible name are each refused at once."""
    good = _file(tmp_path, "good.jsonl", b"one\n")
    for bad, reason in [
        (tmp_path / "missing.jsonl", "cannot be opened (No such file or directory)"),
        (tmp_path, "is a folder; name the files in it"),
        (good / "under", "cannot be opened (Not a directory)"),
        ("nul\0", "cannot be opened (not a path)"),
    ]:
        with pytest.raises(ConfigError) as caught:
            Inputs([str(good), str(bad)], line_bytes_max=MIB)
        assert str(caught.value) == f"{bad}: {reason}"


def test_a_file_that_may_not_be_read_is_refused(tmp_path: Path) -> None:
    """A file, or a folder above it, that is closed to this user is an error with its reason."""
    path = _file(tmp_path, "a.jsonl", b"one\n")
    path.chmod(0)
    with _as_nobody(), pytest.raises(ConfigError, match=r"a\.jsonl: cannot be opened \(Permission denied\)"):
        Inputs([str(path)], line_bytes_max=MIB)


def test_a_url_in_place_of_a_file_is_not_repeated() -> None:
    """A sink's URL that was given without --to can hold a password."""
    with pytest.raises(ConfigError) as caught:
        Inputs(["clickhouse://user:canary-7f3a@127.0.0.1/x"], line_bytes_max=MIB)
    assert "goes with --to" in str(caught.value)
    assert "canary-7f3a" not in str(caught.value)


@pytest.mark.parametrize("size", [-1, 0, 1, 2, 3, 500])
@pytest.mark.parametrize("end", [b"\n", b"\r\n", b""])
def test_a_line_over_the_limit_is_passed_over_whole(tmp_path: Path, size: int, end: bytes) -> None:
    """Around the limit a line is either read whole, for the core to judge, or marked; the next line is intact."""
    limit = 100
    path = _file(tmp_path, "a.jsonl", b"x" * (limit + size) + end + (b"next\n" if end else b""))
    first, *rest = _read(path, line_bytes_max=limit)
    assert first.oversize or first.raw == b"x" * (limit + size)
    assert first.oversize is (first.raw == b"")
    assert not (first.oversize and size <= 0)
    assert [event.raw for event in rest] == ([b"next"] if end else [])
    assert first.source.size_bytes - limit - size in {0, 1}


@pytest.mark.parametrize("form", FORMS)
def test_a_long_line_takes_little_memory(tmp_path: Path, form: str) -> None:
    """A line of 64 MiB is one event marked too long, the line after it is read, and memory stays at the limit's."""
    path = _file(tmp_path, f"a.{form}", FORMS[form](b"x" * (64 * MIB) + b"\nnext\n"))
    tracemalloc.start()
    first, second = _read(path, line_bytes_max=8 * MIB)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert (first.oversize, first.source.size_bytes, first.raw) == (True, 64 * MIB, b"")
    assert (second.oversize, second.raw) == (False, b"next")
    assert peak < 40 * MIB


def test_a_bomb_takes_little_memory(tmp_path: Path) -> None:
    """A few kilobytes of zstd that stand for 512 MiB are never unpacked at once."""
    compressor = zstandard.ZstdCompressor().compressobj()
    packed = b"".join([*(compressor.compress(bytes(MIB)) for _ in range(512)), compressor.flush()])
    assert len(packed) < 100_000
    path = _file(tmp_path, "bomb.zst", packed)
    tracemalloc.start()
    (event,) = _read(path)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert (event.oversize, event.source.size_bytes) == (True, 512 * MIB)
    assert peak < 24 * MIB


def test_a_topic_names_one_version_of_a_file_and_no_path(tmp_path: Path) -> None:
    """The same file again has the same topic, from wherever it is named; rewritten, its lines are others."""
    path = _file(tmp_path, "marit-solberg.jsonl", b"one\n")
    first = _read(path)[0].source.topic
    again = _read(tmp_path / "." / "marit-solberg.jsonl")[0].source.topic
    other = _read(_file(tmp_path, "marit-solberg.jsonl", b"one more\n"))[0].source.topic
    assert first == again != other
    assert first.startswith("file:")
    assert len(first) == len("file:") + 16


@pytest.mark.parametrize("form", FORMS)
def test_the_position_runs_to_the_size_on_disk(tmp_path: Path, form: str) -> None:
    """Progress is counted in bytes on disk, compressed ones where the input is, over all files."""
    data = FORMS[form](TEXT)
    names = [str(_file(tmp_path, f"{number}.{form}", data)) for number in range(2)]
    inputs = Inputs(names, line_bytes_max=MIB)
    assert inputs.size_bytes == 2 * len(data)
    positions = [inputs.position_bytes for _ in inputs.events()]
    assert positions == sorted(positions)
    assert 0 < positions[0] <= len(data) < positions[-1] <= 2 * len(data)
    assert inputs.position_bytes == inputs.size_bytes


def test_no_line_is_in_a_repr() -> None:
    """A raw event that is logged by mistake shows where it stands only."""
    assert "canary-7f3a" not in repr(RawEvent(b"canary-7f3a", Source("file:00ff", 0, 1, 11)))
