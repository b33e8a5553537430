"""Verifies the files of an audit log, and yields its entries to whoever publishes or shows them."""

from collections.abc import Iterator
from pathlib import Path

from pipeline.audit.chain import Chain
from pipeline.audit.entry import Entry
from pipeline.audit.segments import check_folder, locked, read_lines, segments_of


def verify_folder(folder: Path, chain: Chain) -> None:
    """Look a whole log through. Nothing is written meanwhile.

    Args:
        folder: of the segments.
        chain: gets what was found; the log holds where it has no findings.

    Raises:
        AuditFault: it cannot be read, or is open to others.
    """
    for _ in read_folder(folder, chain):
        pass
    chain.finish()


def read_folder(folder: Path, chain: Chain) -> Iterator[tuple[Entry, bytes]]:
    """Yield the entries of a log with their lines, while a chain looks at them; the log is locked until the end.

    Args:
        folder: of the segments.
        chain: gets what does not hold; call its `finish` afterwards.

    Raises:
        AuditFault: as `verify_folder`.
    """
    check_folder(folder)
    with locked(folder):
        for path in segments_of(folder):
            number = 0
            for number, (line, ends) in enumerate(read_lines(path), start=1):
                place = f"{path.name}:{number}"
                if not ends:
                    chain.find(place, "is torn: whoever writes next completes or drops it")
                entry = chain.add(line, place, begins=number == 1)
                if entry is not None:
                    yield entry, line
            if not number:
                chain.find(path.name, "is empty: a process was killed when it began, or entries were taken out")
