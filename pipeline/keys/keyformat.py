"""The text of a key file, to and from a `Keyring`. Pure. Its errors name a place in the file and hold nothing of it."""

import base64
import json
from collections.abc import Mapping
from typing import Any

from pipeline.coarsen import format_timestamp, parse_timestamp
from pipeline.errors import KeyringError
from pipeline.keys.keyring import KeyEpoch, Keyring

KEYFILE_VERSION = 1


def encode_keyring(ring: Keyring) -> bytes:
    """Return the text of a key file."""
    epochs = [
        {"name": epoch.name, "valid_from": format_timestamp(epoch.valid_from_ms), "key": _encode_key(epoch.key)}
        for epoch in ring.epochs
    ]
    days = {day: _encode_key(key) for day, key in sorted(ring.day_keys.items())}
    document = {"version": KEYFILE_VERSION, "epochs": epochs, "days": days}
    return json.dumps({**document, "suppression": _encode_key(ring.suppression_key)}, indent=1).encode() + b"\n"


def decode_keyring(data: bytes, name: str) -> Keyring:
    """Read the text of a key file.

    Args:
        data: what the file holds.
        name: what an error calls the file.

    Raises:
        KeyringError: it is no key file, or its epochs and days break a rule of `Keyring`.
    """
    try:
        return _decode(data)
    except KeyringError as error:
        fault = str(error)
    raise KeyringError(f"{name} is not a valid key file: {fault}")  # out here, so that no context comes with it


def parse_document(data: bytes) -> Any:
    """Return what JSON says; None where it is none: json's error holds the whole document, and ends here."""
    try:
        return json.loads(data)
    except (ValueError, RecursionError):
        return None


def parse_field(data: bytes, name: str, version: int) -> Any:
    """Return the one field of a JSON object that has it and a version; None where it is no such object."""
    document = parse_document(data)
    if not isinstance(document, dict) or set(document) != {"version", name} or document["version"] != version:
        return None
    return document[name]


def parse_key(text: Any) -> bytes | None:
    """Return the bytes of a text in base64, None where it is none."""
    if not isinstance(text, str):
        return None
    try:
        return base64.b64decode(text, validate=True)
    except ValueError:
        return None


def _decode(data: bytes) -> Keyring:
    document = parse_document(data)
    if not isinstance(document, dict) or set(document) != {"version", "epochs", "days", "suppression"}:
        raise KeyringError("it is not a JSON object with version, epochs, days and suppression")
    if document["version"] != KEYFILE_VERSION:
        raise KeyringError(f"its version is not {KEYFILE_VERSION}; a newer lethe may have made it")
    if not isinstance(document["epochs"], list) or not isinstance(document["days"], dict):
        raise KeyringError("/epochs is not a list, or /days is not an object")
    epochs = tuple(_decode_epoch(item, f"/epochs/{place}") for place, item in enumerate(document["epochs"]))
    days = {day: _decode_key(text, "/days/*") for day, text in document["days"].items()}
    return Keyring(epochs, days, _decode_key(document["suppression"], "/suppression"))


def _decode_epoch(item: Any, pointer: str) -> KeyEpoch:
    if not isinstance(item, Mapping) or set(item) != {"name", "valid_from", "key"} or not isinstance(item["name"], str):
        raise KeyringError(f"{pointer} is not an object with name, valid_from and key")
    valid_from = item["valid_from"]
    valid_from_ms = parse_timestamp(valid_from) if isinstance(valid_from, str) else None
    if valid_from_ms is None:
        raise KeyringError(f"{pointer}/valid_from is not an RFC 3339 time with a zone")
    return KeyEpoch(item["name"], valid_from_ms, _decode_key(item["key"], f"{pointer}/key"))


def _encode_key(key: bytes) -> str:
    return base64.b64encode(key).decode("ascii")


def _decode_key(text: Any, pointer: str) -> bytes:
    key = parse_key(text)
    if key is None:
        raise KeyringError(f"{pointer} is not base64")
    return key
