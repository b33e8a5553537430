"""Writes the audit log: one chain, whole entries, on the disk before anything is done. Several processes may at once.

Each entry is written under a lock of the folder: read the end of the chain, make the next entry, write it in one piece,
wait until the disk has it. What a killed process left of a line is completed, where only its end was missing, or
dropped: an entry that was not whole stands for nothing that was done. Either way an entry says so.
"""

import uuid
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

from pipeline.audit.entry import (
    GENESIS,
    Action,
    AuditFault,
    Deed,
    Entry,
    Head,
    Operator,
    Outcome,
    head_of,
    make_entry,
    parse_entry,
)
from pipeline.audit.segments import (
    append_line,
    check_folder,
    create_segment,
    cut,
    explained,
    is_due,
    locked,
    prepare_folder,
    read_backwards,
    read_tail,
    segment_name,
    segments_of,
)
from pipeline.coarsen import format_timestamp
from pipeline.keys.privatefile import sync_folder
from pipeline.keys.signing import Signer
from pipeline.policy.model import RecordSchema

_CHECKPOINT, _REPAIR = Deed(Action.CHECKPOINT), Deed(Action.REPAIR)


class _Sign(NamedTuple):
    """What every entry of a process has in common: schema, who acts, the clock, and what signs checkpoints."""

    schema: RecordSchema
    operator: Operator
    clock: Callable[[], int]
    signer: Signer | None


class AuditLog:
    """The log of one folder. Nothing is kept between entries: other processes write too."""

    def __init__(
        self,
        folder: Path,
        schema: RecordSchema,
        operator: Operator,
        clock: Callable[[], int],
        *,
        signer: Signer | None = None,
        warn: Callable[[str], None] = lambda _: None,
    ) -> None:
        """Prepare; the folder is made with the first entry.

        Args:
            folder: of the segments.
            schema: of entries, `pipeline.policy.load.Policy.audit`.
            operator: who acts.
            clock: tells the time, epoch milliseconds.
            signer: signs checkpoints, or None.
            warn: is told what was repaired.
        """
        self._folder = folder
        self._sign = _Sign(schema, operator, clock, signer)
        self._warn = warn

    def append(
        self, deed: Deed, outcome: Outcome, *, started: int | None = None, counts: Mapping[str, int] | None = None
    ) -> Head:
        """Write an entry and return the head that it makes, when it is on the disk.

        Args:
            deed: what is done.
            outcome: how far it went.
            started: sequence of the entry that began it.
            counts: numbers by name.

        Raises:
            AuditFault: it cannot be written, and nothing of it is there.
        """
        prepare_folder(self._folder)
        with locked(self._folder):
            return self._writer().write(deed, outcome, started=started, counts=counts)

    def checkpoint(self) -> Head:
        """Write a checkpoint, and return the chain's head: what is published elsewhere holds the end of the chain.

        Raises:
            AuditFault: as `append`.
        """
        prepare_folder(self._folder)
        with locked(self._folder):
            return self._writer().write(_CHECKPOINT, Outcome.DONE)

    def read_since(self, since_ms: int) -> list[Entry]:
        """Return the entries from a time on, the newest first; back to the first that is older.

        Args:
            since_ms: epoch milliseconds.

        Raises:
            AuditFault: the log cannot be read, or has there what is no entry.
        """
        since = format_timestamp(since_ms)
        found: list[Entry] = []
        check_folder(self._folder)
        with locked(self._folder):
            for path in reversed(segments_of(self._folder)):
                for line in read_backwards(path):
                    entry = parse_entry(line, self._sign.schema)
                    if isinstance(entry, str):
                        raise AuditFault(f"the audit log does not hold ({path}: an entry {entry})")
                    if entry["at"] < since:
                        return found
                    found.append(entry)
        return found

    def expire(self, bound_ms: int, deed: Deed) -> int:
        """Delete the segments that are due; entries before and after say so. Return how many.

        Args:
            bound_ms: the longest time from an entry to its bytes being gone.
            deed: an expiry, with its reason.

        Raises:
            AuditFault: as `append`, or a segment cannot be deleted.
        """
        check_folder(self._folder)
        with locked(self._folder):
            now_ms = self._sign.clock()
            due = [path for path in segments_of(self._folder) if is_due(path, bound_ms, now_ms)]
            due = [path for path in due if path.name != segment_name(now_ms)]
            if not due:
                return 0
            writer = self._writer()
            gone = self._head_of(due[-1])
            counts = {"segments": len(due), "last_sequence": -1 if gone is None else gone.sequence}
            counts = {name: count for name, count in counts.items() if count >= 0}
            started = writer.write(deed, Outcome.STARTED, counts=counts)
            with explained(self._folder, "expired"):
                for path in due:
                    path.unlink()
                sync_folder(self._folder)
            writer.write(deed, Outcome.DONE, started=started.sequence, counts=counts)
        return len(due)

    def _writer(self) -> "_Writer":
        """Return what writes at the chain's end, after repairs, in the segment of now. The lock is held."""
        repaired = self._repair()
        segments = segments_of(self._folder)
        head = next((head for path in reversed(segments) if (head := self._head_of(path)) is not None), None)
        now = segment_name(self._sign.clock())
        path = self._folder / max([now, *(path.name for path in segments)])  # a clock set back opens no older one
        if not path.exists():
            create_segment(path)
        writer = _Writer(self._sign, path, head or Head(str(uuid.uuid4()), -1, GENESIS))
        if path.stat().st_size == 0:
            writer.write(_CHECKPOINT, Outcome.DONE)
        if repaired:
            writer.write(_REPAIR, Outcome.DONE, counts=repaired)
        return writer

    def _repair(self) -> Mapping[str, int]:
        """Complete or drop what a killed process left of a line, and return what was done."""
        segments = segments_of(self._folder)
        if not segments:
            return {}
        path = segments[-1]
        tail = read_tail(path)
        if not tail.torn:
            return {}
        if not isinstance(parse_entry(tail.torn, self._sign.schema), str):
            append_line(path, b"", tail.size)
            self._warn(f"{path}: the last entry had no end and was completed: a process was killed while it wrote")
            return {"entries": 1}
        cut(path, tail.size - len(tail.torn))
        self._warn(f"{path}: a torn line of {len(tail.torn)} bytes was dropped: a process was killed while it wrote")
        return {"bytes": len(tail.torn)}

    def _head_of(self, path: Path) -> Head | None:
        """Return the head that the last entry of a segment makes, or None where it has none."""
        tail = read_tail(path)
        if not tail.last:
            return None
        entry = parse_entry(tail.last, self._sign.schema)
        if isinstance(entry, str):
            raise AuditFault(f"the audit log does not hold ({path}: the last entry {entry})")
        return head_of(entry)


class _Writer:
    """The end of a chain, while the lock is held."""

    def __init__(self, sign: _Sign, path: Path, head: Head) -> None:
        self._sign = sign
        self._path = path
        self._size = path.stat().st_size
        self._head = head

    def write(
        self, deed: Deed, outcome: Outcome, *, started: int | None = None, counts: Mapping[str, int] | None = None
    ) -> Head:
        """Write an entry, and return the head that it makes."""
        sign = self._sign
        signer = sign.signer if deed.action is Action.CHECKPOINT else None
        line, head = make_entry(
            *(self._head, deed, outcome, sign.operator, sign.clock(), sign.schema),
            started=started,
            counts=counts,
            signer=signer,
        )
        append_line(self._path, line, self._size)
        self._size += len(line) + 1
        self._head = head
        return head
