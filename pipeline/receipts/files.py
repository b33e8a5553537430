"""Receipts on disk: mode 0600, replaced whole, so that a crash leaves the one before or the one after."""

from pathlib import Path

from pipeline.errors import ConfigError, KeyringError
from pipeline.keys.privatefile import locked_folder, read_private, replace_private, resolve
from pipeline.keys.signing import Signer
from pipeline.receipts.model import Receipt, ReceiptFault
from pipeline.receipts.signed import RECEIPT_BYTES_MAX, sign, verify

_KIND = "receipt"


def save_receipt(path: Path, receipt: Receipt, signer: Signer) -> None:
    """Sign a receipt and write it, in the place of the one that may be there: from pending to complete.

    Args:
        path: its file; the folder is there.
        receipt: what is signed.
        signer: the receipt key.

    Raises:
        ReceiptFault: what is there is another receipt, is complete already, or is none of this key's; or the file
            cannot be written.
    """
    path = resolve(path)
    problem = ""
    try:
        with locked_folder(path):
            if path.exists():
                known = load_receipt(path, signer.public)
                if known.receipt_id != receipt.receipt_id or (known.completed_ms is not None and known != receipt):
                    raise ReceiptFault(f"{path} holds another receipt, or a complete one, and is not overwritten")
            replace_private(path, sign(receipt, signer))
    except KeyringError as error:
        problem = str(error)
    if problem:
        raise ReceiptFault(problem)


def load_receipt(path: Path, public: str) -> Receipt:
    """Read a receipt of one's own, after checking that nobody else can see it, and its signature.

    Args:
        path: its file.
        public: 64 hex digits of the key that must have signed it.

    Raises:
        ReceiptFault: it is missing, open to others, or its signature does not hold.
    """
    try:
        data = read_private(resolve(path), _KIND, "nothing was saved there")
    except KeyringError as error:
        problem = str(error)
    else:
        return verify(data, public)
    raise ReceiptFault(problem)


def verify_file(path: Path, public: str) -> Receipt:
    """Read a receipt that was handed on, whoever may see it, and check its signature.

    Args:
        path: its file.
        public: as `load_receipt`.

    Raises:
        ConfigError: the file cannot be read.
        ReceiptFault: the signature does not hold.
    """
    try:
        with path.open("rb") as file:
            data = file.read(RECEIPT_BYTES_MAX + 1)
    except OSError as error:
        problem = f"{path}: cannot be read ({error.strerror})"
    else:
        return verify(data, public)
    raise ConfigError(problem)
