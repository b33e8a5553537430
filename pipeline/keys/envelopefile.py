"""The file of the keys that open raw events: ``{"version": 1, "x25519": [private keys in base64, the newest first]}``.

Mode 0600, with the workers alone. No error holds any part of it.
"""

import base64
import json
import secrets
from collections.abc import Sequence
from pathlib import Path

from pipeline.errors import KeyringError
from pipeline.keys.envelope import PRIVATE_BYTES, EnvelopeKeys
from pipeline.keys.keyformat import parse_field, parse_key
from pipeline.keys.privatefile import create_private, locked_folder, quote, read_private, replace_private, resolve

_VERSION = 1
_KIND = "key file of raw events"


def init_envelope_keys(path: Path) -> bool:
    """Make a file with one key; return whether it was made, False where there is one.

    Raises:
        KeyringError: it cannot be written.
    """
    path = resolve(path)
    with locked_folder(path):
        if path.exists():
            return False
        create_private(path, _encode([secrets.token_bytes(PRIVATE_BYTES)]), "gateways seal to it")
    return True


def load_envelope_keys(path: Path) -> EnvelopeKeys:
    """Read the file, after checking that nobody else can (policy §7).

    Raises:
        KeyringError: it is missing, open to others, of another owner, or none; the text says what to do.
    """
    return EnvelopeKeys(_read(resolve(path)))


def rotate_envelope_keys(path: Path, *, retire: bool = False) -> None:
    """Put a new key before the others, which open what is under way; or let go of all but the newest.

    Args:
        path: of the file.
        retire: make none, and destroy the older ones.

    Raises:
        KeyringError: as `load_envelope_keys`, or the file cannot be written.
    """
    path = resolve(path)
    with locked_folder(path):
        keys = _read(path)
        replace_private(path, _encode(keys[:1] if retire else [secrets.token_bytes(PRIVATE_BYTES), *keys]))


def _encode(keys: Sequence[bytes]) -> bytes:
    texts = [base64.b64encode(key).decode("ascii") for key in keys]
    return json.dumps({"version": _VERSION, "x25519": texts}, indent=1).encode() + b"\n"


def _read(path: Path) -> list[bytes]:
    data = read_private(path, _KIND, f"make one with 'LETHE_RAW_KEY={quote(path)} lethe keys envelope'")
    keys = _decode(data)
    if keys is None:
        raise KeyringError(f"{path} is not a valid {_KIND}: it is no JSON object with version 1 and a list x25519")
    return keys


def _decode(data: bytes) -> list[bytes] | None:
    texts = parse_field(data, "x25519", _VERSION)
    keys = [parse_key(text) for text in texts] if isinstance(texts, list) else [None]
    known = [key for key in keys if key is not None]
    return known if len(known) == len(keys) else None
