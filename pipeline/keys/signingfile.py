"""The file of the receipt key, mode 0600: ``{"version": 1, "ed25519": seed in base64}``.

A file of its own beside the key file: workers need none of it, whoever erases does. No error holds any part of it.
"""

import base64
import json
from pathlib import Path

from pipeline.errors import KeyringError
from pipeline.keys.keyformat import parse_field, parse_key
from pipeline.keys.privatefile import create_private, locked_folder, quote, read_private, resolve
from pipeline.keys.signing import Signer

_VERSION = 1
_KIND = "receipt key"


def init_signer(path: Path, seed: bytes) -> Signer:
    """Make the file of a receipt key.

    Args:
        path: where.
        seed: 32 random bytes, which the caller drew.

    Raises:
        KeyringError: there is something at the path already, or the file cannot be written.
    """
    signer = Signer.from_seed(seed)
    document = {"version": _VERSION, "ed25519": base64.b64encode(seed).decode("ascii")}
    path = resolve(path)
    with locked_folder(path):
        create_private(path, json.dumps(document).encode() + b"\n", "receipts signed with it would be orphans")
    return signer


def load_signer(path: Path) -> Signer:
    """Read the file of a receipt key, after checking that nobody else can.

    Raises:
        KeyringError: it is missing, open to others or of another owner, or no such file; the text says what to do.
    """
    path = resolve(path)
    data = read_private(path, _KIND, f"make one with 'LETHE_RECEIPT_KEY={quote(path)} lethe receipt key'")
    seed = _decode(data)
    if seed is None:
        raise KeyringError(f"{path} is not a valid {_KIND} file: it is no JSON object with version 1 and ed25519")
    return Signer.from_seed(seed)


def _decode(data: bytes) -> bytes | None:
    return parse_key(parse_field(data, "ed25519", _VERSION))
