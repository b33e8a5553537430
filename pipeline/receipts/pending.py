"""Which receipts of a folder are pending: each stands for an erasure that was asked for and is not whole yet."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from pipeline.errors import ConfigError
from pipeline.metrics import MetricSet
from pipeline.receipts.files import load_receipt
from pipeline.receipts.model import Receipt, ReceiptFault, Status


class Found(NamedTuple):
    """A file of the folder.

    Attributes:
        path: the file.
        receipt: what it holds; None where it does not hold.
        fault: why it does not; "" where it does.
    """

    path: Path
    receipt: Receipt | None
    fault: str


def find_receipts(folder: Path, public: str) -> list[Found]:
    """Read the receipts of a folder: its files named ``*.json``, and nothing below.

    Args:
        folder: where receipts are kept, and nothing else of that name.
        public: 64 hex digits of the key that must have signed them.

    Returns:
        One for each file, by name.

    Raises:
        ConfigError: the folder cannot be read.
    """
    problem = ""
    paths: Sequence[Path] = ()
    try:
        paths = sorted(path for path in folder.iterdir() if path.suffix == ".json")
    except OSError as error:
        problem = f"{folder}: cannot be read ({error.strerror})"
    if problem:
        raise ConfigError(problem)
    return [_read(path, public) for path in paths]


def pending(found: Iterable[Found]) -> list[tuple[Path, Receipt]]:
    """Return the pending ones, the oldest first."""
    open_ones = [(one.path, one.receipt) for one in found if one.receipt and one.receipt.status is Status.PENDING]
    return sorted(open_ones, key=lambda pair: pair[1].requested_ms)


def broken(found: Iterable[Found]) -> list[Found]:
    """Return those that do not hold: nobody can tell whether they are pending."""
    return [one for one in found if one.receipt is None]


class ReceiptMetrics(MetricSet):
    """What a look at a folder of receipts found."""

    def __init__(self, found: Sequence[Found], now_ms: int) -> None:
        """Show it.

        Args:
            found: of one look.
            now_ms: now, epoch milliseconds.
        """
        super().__init__()
        waiting = pending(found)
        oldest_s = (now_ms - waiting[0][1].requested_ms) / 1000 if waiting else 0.0
        name = "lethe_receipts_"
        self._gauge(f"{name}pending", "Erasures and the like that are not whole yet.").set(len(waiting))
        self._gauge(f"{name}oldest_pending_seconds", "Since the oldest of them was asked for; 0: none.").set(oldest_s)
        self._gauge(f"{name}broken", "Files that are no receipts, or whose signature does not hold.").set(
            len(broken(found))
        )
        self._gauge(f"{name}looked_timestamp_seconds", "When this was seen. Old: nobody looks.").set(now_ms / 1000)


def _read(path: Path, public: str) -> Found:
    try:
        return Found(path, load_receipt(path, public), "")
    except ReceiptFault as fault:
        return Found(path, None, str(fault))
