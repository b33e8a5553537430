"""What the transport tells its worker."""

from collections.abc import Collection, Mapping
from typing import Protocol

from pipeline.worker.offsets import Start


class Observer(Protocol):
    """Is told; calls come on the worker's loop."""

    def revoking(self) -> None:
        """Say that partitions are about to be given up: take up no more work."""

    async def joined(self) -> None:
        """Return when batches may be taken up: the group is joined, and what was published before is in force."""

    def assigned(self, starts: Mapping[int, Start]) -> None:
        """Say which partitions are owned, and where each begins. It may be said again when positions were lost."""

    def committed(self, outcome: str, seconds: float, partitions: Collection[int]) -> None:
        """Say how a commit went, ``done``, ``rebalanced`` or ``failed``, and whose offsets it moved."""

    async def expired(self, partition: int, first: int, last: int) -> None:
        """Write the rejection of a range that retention took before it was read, and return when it is delivered."""

    def die(self, error: BaseException) -> None:
        """End the process."""
