"""``file:DIR``: three files of JSON lines, plain, for inspection.

They have their names only when the run is complete; until then they end in ``.partial``, so a run that was killed or
failed leaves nothing that looks whole, and running again starts afresh. An event that comes again is written once.
"""

import fcntl
import os
import signal
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import IO

from pipeline.errors import ConfigError, SinkUnavailable
from pipeline.records import Anonymized, Fate
from pipeline.sinks.base import WriteReport
from pipeline.sinks.seen import Known, Seen
from pipeline.wire import content_bytes, operational_bytes, rejection_bytes

NAMES = ("content.jsonl", "operational.jsonl", "rejected.jsonl")
_CONTENT, _OPERATIONAL, _REJECTED = NAMES
_BUFFER_BYTES = 1024 * 1024


class FileSink:
    """Writes fates as JSON lines into a folder, readable by its owner only (follows `pipeline.sinks.base.Sink`)."""

    def __init__(self, folder: Path, *, overwrite: bool = False) -> None:
        """Open the folder.

        Args:
            folder: made where there is none.
            overwrite: replace the files of an earlier run, at the moment when this one is complete.

        Raises:
            ConfigError: it holds the files of an earlier run, another run writes there, or it cannot be written.
        """
        present = [name for name in NAMES if (folder / name).exists()]
        if present and not overwrite:
            raise ConfigError(
                f"{folder}: holds {', '.join(present)} already; choose another folder, or pass --overwrite"
            )
        self._folder = folder
        self._files = _open_all(folder)
        self._seen = Seen()
        self._failure = ""

    def write(self, fates: Sequence[Fate]) -> WriteReport:
        """Append a batch and hand it to the operating system, which may still lose it with the machine's power.

        Raises:
            SinkUnavailable: the disk is full or gone, now or before: half a line may stand there, so the run is over.
        """
        report = WriteReport()
        with self._reporting():
            for fate in fates:
                self._write_one(fate, report)
            for file in self._files.values():
                file.flush()
        return report

    def _write_one(self, fate: Fate, report: WriteReport) -> None:
        lines: dict[str, bytes | None]
        if isinstance(fate, Anonymized):
            identity = fate.operational.request_id
            content = None if fate.content is None else content_bytes(fate.content)
            lines = {_CONTENT: content, _OPERATIONAL: operational_bytes(fate.operational)}
        else:
            identity = f"{fate.source.topic}\0{fate.source.partition}\0{fate.source.offset}"
            lines = {_REJECTED: rejection_bytes(fate)}
        known = self._seen.compare(identity, list(lines.values()))
        for (name, line), one in zip(lines.items(), known, strict=True):
            if line is None:
                continue
            report.content += name == _CONTENT and one is Known.NEW
            report.operational += name == _OPERATIONAL and one is Known.NEW
            report.rejected += name == _REJECTED and one is Known.NEW
            report.repeated += one is Known.REPEATED
            report.conflicts += one is Known.CONFLICT
            if one is Known.NEW:
                self._files[name].write(line + b"\n")

    def close(self, *, complete: bool) -> None:
        """Close the files; give them their names if the run is complete.

        Raises:
            SinkUnavailable: the disk is full or gone; nothing has its name then. Only where the run is complete: a
                run that failed has said so already.
        """
        self._seen.close()
        if not complete or self._failure:
            self._abandon()
            return
        with self._reporting():
            try:
                for file in self._files.values():
                    file.flush()
                    os.fsync(file.fileno())
            except OSError:
                self._abandon()
                raise
            with _uninterrupted():
                for name in NAMES:
                    (self._folder / f"{name}.partial").replace(self._folder / name)
            self._abandon()
            _sync_folder(self._folder)

    def _abandon(self) -> None:
        """Close the files, whatever is left in their buffers."""
        for file in self._files.values():
            with suppress(OSError):  # a full disk refuses what is buffered; the file is closed all the same
                file.close()

    @contextmanager
    def _reporting(self) -> Iterator[None]:
        """Turn what the operating system refuses into the sink's own error, then and ever after."""
        try:
            yield
        except OSError as error:
            self._failure = f"{self._folder}: cannot be written ({error.strerror}); the files keep their name .partial"
        if self._failure:
            raise SinkUnavailable(self._failure)


def _open_all(folder: Path) -> dict[str, IO[bytes]]:
    problem = ""
    with ExitStack() as opened:
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            files = {name: opened.enter_context(_open_private(folder / f"{name}.partial")) for name in NAMES}
        except BlockingIOError:
            problem = "another run is writing here"
        except OSError as error:
            problem = f"cannot be written ({error.strerror})"
        else:
            opened.pop_all()
            return files
    raise ConfigError(f"{folder}: {problem}")


def _open_private(path: Path) -> IO[bytes]:
    """Open a file that only its owner reads and only this process writes, and empty it."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    file = os.fdopen(descriptor, "wb", buffering=_BUFFER_BYTES)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.fchmod(descriptor, 0o600)
        os.ftruncate(descriptor, 0)
    except OSError:
        file.close()
        raise
    return file


@contextmanager
def _uninterrupted() -> Iterator[None]:
    """Let Ctrl-C wait: of three files, one may not have its name and another not."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _sync_folder(folder: Path) -> None:
    """Make the new names survive a loss of power."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
