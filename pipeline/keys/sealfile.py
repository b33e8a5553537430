"""The keyring of sealed content: a file of wrapped day keys, mode 0600, the one place in which they are.

``{"version": 1, "days": {"2026-11-23": {"id": "7f3a91c2", "key": wrapped, in base64}}}``. Every change is a whole new
file in the old one's place, under a lock of its folder. A key that is taken out here is destroyed, as far as no copy of
the file is kept: keep it out of backups and snapshots (docs/sealing.md). No error holds any part of it.
"""

import base64
import json
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pipeline.errors import KeyringError
from pipeline.keys.cipher import KEY_BYTES
from pipeline.keys.daykeys import DayKey, DayKeys, check_name, due_ms, living_days
from pipeline.keys.keyfile import RollReport
from pipeline.keys.keyformat import parse_document, parse_key
from pipeline.keys.privatefile import create_private, locked_folder, quote, read_private, replace_private, resolve
from pipeline.keys.provider import KeyProvider

_VERSION = 1
_KIND = "keyring"
_CONTEXT = "lethe day key v1\0"
_TAG_BYTES = 4

Wrapped = dict[str, tuple[str, bytes]]
"""Day to tag and wrapped key."""


def init_day_keys(path: Path, provider: KeyProvider, now_ms: int, bound_ms: int) -> bool:
    """Make a keyring: a key of every day that is not due, and of the next two.

    Args:
        path: of the file.
        provider: wraps the keys.
        now_ms: epoch milliseconds.
        bound_ms: of content.

    Returns:
        Whether it was made; False where there is one.

    Raises:
        KeyringError: the file cannot be written, or a key not wrapped.
    """
    path = resolve(path)
    with locked_folder(path):
        if path.exists():
            return False
        days = {day: _drawn(day, provider) for day in living_days(now_ms, bound_ms)}
        create_private(path, _encode(days), "'lethe keys roll' changes it")
    return True


def load_day_keys(path: Path, provider: KeyProvider) -> DayKeys:
    """Read a keyring, after checking that nobody else can (policy §7), and unwrap its keys.

    Raises:
        KeyringError: it is missing, open to others, of another owner, or none; or its keys were wrapped by another.
    """
    path = resolve(path)
    days = _read(path)
    return DayKeys(DayKey(day, tag, provider.unwrap(key, _context(day, tag))) for day, (tag, key) in days.items())


def days_of(path: Path) -> list[str]:
    """Return the days that have a key in a keyring, in order; nothing is unwrapped.

    Raises:
        KeyringError: as `load_day_keys`.
    """
    return sorted(_read(resolve(path)))


def roll_day_keys(path: Path, provider: KeyProvider, now_ms: int, bound_ms: int) -> RollReport:
    """Destroy the keys of days that are due, and make those that are missing, up to two days ahead.

    Args:
        path: of the file.
        provider: wraps the keys.
        now_ms: epoch milliseconds.
        bound_ms: of content.

    Raises:
        KeyringError: as `load_day_keys`, or the file cannot be written.
    """
    path = resolve(path)
    with locked_folder(path):
        days = _read(path)
        removed = tuple(day for day in sorted(days) if due_ms(day, bound_ms) <= now_ms)
        created = tuple(day for day in living_days(now_ms, bound_ms) if day not in days)
        if removed or created:
            kept = {day: one for day, one in days.items() if day not in removed}
            replace_private(path, _encode({**kept, **{day: _drawn(day, provider) for day in created}}))
    return RollReport(created, removed)


def rewrap_day_keys(path: Path, before: KeyProvider, after: KeyProvider) -> int:
    """Wrap the keys with another key-encryption key; return how many there are.

    Args:
        path: of the file.
        before: unwraps them.
        after: wraps them.

    Raises:
        KeyringError: as `load_day_keys`, or the file cannot be written.
    """
    path = resolve(path)
    with locked_folder(path):
        days = _read(path)
        fresh = {}
        for day, (tag, key) in days.items():
            context = _context(day, tag)
            fresh[day] = (tag, after.wrap(before.unwrap(key, context), context))
        replace_private(path, _encode(fresh))
    return len(fresh)


def _drawn(day: str, provider: KeyProvider) -> tuple[str, bytes]:
    tag = secrets.token_hex(_TAG_BYTES)
    return tag, provider.wrap(secrets.token_bytes(KEY_BYTES), _context(day, tag))


def _context(day: str, tag: str) -> bytes:
    return f"{_CONTEXT}{day}.{tag}".encode()


def _encode(days: Wrapped) -> bytes:
    listed = {
        day: {"id": tag, "key": base64.b64encode(key).decode("ascii")} for day, (tag, key) in sorted(days.items())
    }
    return json.dumps({"version": _VERSION, "days": listed}, indent=1).encode() + b"\n"


def _read(path: Path) -> Wrapped:
    data = read_private(path, _KIND, f"make one with 'LETHE_KEYRING={quote(path)} lethe keys init'")
    fault = ""
    try:
        return _decode(data)
    except KeyringError as error:
        fault = str(error)
    raise KeyringError(f"{path} is not a valid {_KIND}: {fault}")  # out here, so that no context comes with it


def _decode(data: bytes) -> Wrapped:
    document = parse_document(data)
    if not isinstance(document, dict) or set(document) != {"version", "days"}:
        raise KeyringError("it is not a JSON object with version and days")
    if document["version"] != _VERSION:
        raise KeyringError(f"its version is not {_VERSION}; a newer lethe may have made it")
    if not isinstance(document["days"], dict):
        raise KeyringError("/days is not an object")
    return {day: _decode_day(day, item) for day, item in document["days"].items()}


def _decode_day(day: str, item: Any) -> tuple[str, bytes]:
    if not isinstance(item, Mapping) or set(item) != {"id", "key"} or not isinstance(item["id"], str):
        raise KeyringError("/days/* is not an object with id and key")
    check_name(day, item["id"])
    key = parse_key(item["key"])
    if key is None:
        raise KeyringError("/days/*/key is not base64")
    return item["id"], key
