"""Looks at a broker's own folder, where a replica that no client can see may still lie. Run it on the broker's host."""

import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path

from pipeline.errors import ConfigError
from pipeline.topics.duration import format_ms
from pipeline.topics.verify import Check, Outcome

_NS_PER_MS = 1_000_000
# topic-0, or what a broker renames it to: topic-0.<id>-delete (removed soon), -stray (kept for ever), -future (moving).
_FOLDER = re.compile(r"(?P<topic>.+)-\d+(?:\.[0-9A-Za-z_-]+-(?P<fate>delete|stray|future))?", re.ASCII)
_RECORD_FILES = (".log", ".log.deleted")
_STRAY = "stray"


def check_folder(folder: Path, holds_ms: Mapping[str, int], now_ms: int) -> list[Check]:
    """Check the folders of one of a broker's log directories.

    Args:
        folder: the log directory (``log.dirs``).
        holds_ms: longest time from the last write into a file to its end, by topic.
        now_ms: the time.

    Raises:
        ConfigError: it cannot be read.
    """
    problem = ""
    try:
        found = [(path, match) for path in sorted(folder.iterdir()) if (match := _FOLDER.fullmatch(path.name))]
        checks = [
            c for path, match in found if match["topic"] in holds_ms for c in _check(path, match, holds_ms, now_ms)
        ]
    except OSError as error:
        problem = f"--log-dir {folder}: cannot be read ({error.strerror}): run it on the broker's host, as its user"
    if problem:
        raise ConfigError(problem)
    if not any(match["topic"] in holds_ms for _, match in found):
        raise ConfigError(f"--log-dir {folder}: holds none of these topics; it must be one of the broker's log.dirs")
    return checks


def _check(path: Path, match: re.Match[str], holds_ms: Mapping[str, int], now_ms: int) -> Iterator[Check]:
    topic = match["topic"]
    if match["fate"] == _STRAY:
        needed = "no stray folder: Kafka never deletes it; remove it by hand"
        yield Check(topic, "folder", Outcome.FAILS, path.name, needed)
        return
    hold_ms = holds_ms[topic]
    age_ms = max((now_ms - written_ms for written_ms in _written_ms(path)), default=0)
    outcome = Outcome.OK if age_ms <= hold_ms else Outcome.FAILS
    found = f"{path.name}: last written {format_ms(age_ms)} ago" if age_ms else f"{path.name}: empty"
    yield Check(topic, "folder", outcome, found, f"{format_ms(hold_ms)} or less")


def _written_ms(folder: Path) -> Iterator[int]:
    """Yield when each file of records that holds any was written last: its records are that old or older."""
    with suppress(FileNotFoundError):  # deleted while we look: that is what it is for
        for file in list(folder.iterdir()):
            with suppress(FileNotFoundError):
                if file.name.endswith(_RECORD_FILES) and (status := file.stat()).st_size:
                    yield status.st_mtime_ns // _NS_PER_MS
