"""The one protocol that every sink follows."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from pipeline.records import Fate


@dataclass(slots=True)
class WriteReport:
    """What one write did, in records.

    Attributes:
        content: content records newly stored.
        operational: operational records newly stored.
        rejected: rejections newly stored.
        repeated: records that were there already with the same bytes.
        conflicts: records that were there already with other bytes (design §5: counted, alerted).
        expired: records that were due when they came to be stored, and are not.
        erased: records of requests that were erased from the store, and are not stored again.
    """

    content: int = 0
    operational: int = 0
    rejected: int = 0
    repeated: int = 0
    conflicts: int = 0
    expired: int = 0
    erased: int = 0

    def add(self, other: "WriteReport") -> None:
        """Add the counts of another report to this one."""
        for name in self.__slots__:
            setattr(self, name, getattr(self, name) + getattr(other, name))


class Sink(Protocol):
    """Stores fates durably. A reader sees the first record of an identity, however often it is written."""

    def write(self, fates: Sequence[Fate]) -> WriteReport:
        """Store a batch; when this returns, no end of this process can take it away.

        Raises:
            SinkUnavailable: nothing may be assumed written; writing the same events again, here or in the next run,
                repeats none of them.
        """
        ...

    def close(self, *, complete: bool) -> None:
        """Release the sink. ``complete`` says whether the run came to its end.

        Raises:
            SinkUnavailable: the run came to its end, but its last step failed.
        """
        ...
