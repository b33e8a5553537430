"""``file:DIR``: three files of JSON lines, plain, for inspection.

They appear under their names only when the run is complete; until then they end in ``.partial``, so a run that was
killed leaves nothing that looks whole, and running again starts afresh.
"""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import IO

from pipeline.errors import ConfigError, SinkUnavailable
from pipeline.records import Anonymized, Fate
from pipeline.sinks.base import WriteReport
from pipeline.wire import content_bytes, operational_bytes, rejection_bytes

NAMES = ("content.jsonl", "operational.jsonl", "rejected.jsonl")
_BUFFER_BYTES = 1024 * 1024


class FileSink:
    """Writes fates as JSON lines into a folder, readable by its owner only."""

    def __init__(self, folder: Path, *, overwrite: bool = False) -> None:
        """Open the folder.

        Raises:
            ConfigError: it holds the files of an earlier run, or cannot be written.
        """
        present = [name for name in NAMES if (folder / name).exists()]
        if present and not overwrite:
            raise ConfigError(
                f"{folder}: holds {', '.join(present)} already; choose another folder, or pass --overwrite"
            )
        self._folder = folder
        problem = ""
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._files = {name: _open_private(folder / f"{name}.partial") for name in NAMES}
        except OSError as error:
            problem = f"{folder}: cannot be written ({error.strerror})"
        if problem:
            raise ConfigError(problem)

    def write(self, fates: Sequence[Fate]) -> WriteReport:
        """Append a batch and hand it to the operating system.

        Raises:
            SinkUnavailable: the disk is full or gone.
        """
        report = WriteReport()
        problem = ""
        try:
            for fate in fates:
                self._write_one(fate, report)
            for file in self._files.values():
                file.flush()
        except OSError as error:
            problem = f"{self._folder}: cannot be written ({error.strerror}); nothing was renamed into place"
        if problem:
            raise SinkUnavailable(problem)
        return report

    def _write_one(self, fate: Fate, report: WriteReport) -> None:
        if isinstance(fate, Anonymized):
            if fate.content is not None:
                self._files["content.jsonl"].write(content_bytes(fate.content) + b"\n")
                report.content += 1
            self._files["operational.jsonl"].write(operational_bytes(fate.operational) + b"\n")
            report.operational += 1
        else:
            self._files["rejected.jsonl"].write(rejection_bytes(fate) + b"\n")
            report.rejected += 1

    def close(self, *, complete: bool) -> None:
        """Close the files; give them their names if the run is complete."""
        for name, file in self._files.items():
            file.flush()
            os.fsync(file.fileno())
            file.close()
            if complete:
                (self._folder / f"{name}.partial").replace(self._folder / name)


def _open_private(path: Path) -> IO[bytes]:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    return os.fdopen(descriptor, "wb", buffering=_BUFFER_BYTES)
