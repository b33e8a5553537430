"""The key file: how it is made, read and changed. The only place where keys of pseudonyms are drawn.

One JSON file, mode 0600: ``{"version": 1, "epochs": [{"name", "valid_from", "key"}], "days": {"2026-11-24": key},
"suppression": key}``, keys in base64. Every change is a whole new file put in the old one's place, under a lock of its
folder: a reader sees the old or the new, and two changes at once follow one another. No error here holds any part of
the file.

What removing a key cannot do: the blocks of the file that was replaced stay on the medium until something writes over
them, and a journal, snapshot or backup may keep them longer. Keep the file on a volume that is encrypted or in memory,
and out of backups.
"""

import secrets
from dataclasses import dataclass
from pathlib import Path

from pipeline.coarsen import DAY_MS, HOUR_MS, begin_ms, day_of, format_timestamp
from pipeline.errors import KeyringError
from pipeline.keys.keyformat import decode_keyring, encode_keyring
from pipeline.keys.keyring import KEY_BYTES, KeyEpoch, Keyring
from pipeline.keys.privatefile import create_private, locked_folder, quote, read_private, replace_private, resolve

_KIND = "key file"
ADMISSION_MS = 24 * HOUR_MS
"""How old an event may be and still get an IP pseudonym (design §4): a day's key outlives the day by this."""
ROTATION_LEAD_MS = HOUR_MS
"""How long before its valid_from an epoch is made at least, so that every worker has it by then (design §5)."""

_DAYS_AHEAD = 2


@dataclass(frozen=True, slots=True)
class RollReport:
    """Which days' keys `roll_keyfile` made and removed, as ``2026-11-23``."""

    created: tuple[str, ...]
    removed: tuple[str, ...]


def init_keyfile(path: Path, now_ms: int) -> None:
    """Make a key file: epoch e1 for every time from 1970 on, and keys of yesterday, today and the next two days.

    Raises:
        KeyringError: there is something at the path already (it is left alone: to lose keys is to lose every link
            between old records and new ones), or the file cannot be written.
    """
    ring = draw_keyring(now_ms, days_back=1)
    path = resolve(path)
    with locked_folder(path):
        create_private(path, encode_keyring(ring), "'lethe keys roll' and 'rotate' change it")


def draw_keyring(now_ms: int, days_back: int) -> Keyring:
    """Return new keys, in memory alone: epoch e1 for every time from 1970 on, and keys of days.

    Args:
        now_ms: epoch milliseconds.
        days_back: so many past days have a key, besides today and the next two.
    """
    days = [day_of(now_ms + offset * DAY_MS) for offset in range(-days_back, _DAYS_AHEAD + 1)]
    return Keyring((KeyEpoch("e1", 0, _draw_key()),), {day: _draw_key() for day in days}, _draw_key())


def load_keyring(path: Path) -> Keyring:
    """Read a key file, after checking that nobody else can (policy §7). A symlink is followed.

    Raises:
        KeyringError: it is missing; not a plain file; open to group or others; of an owner other than the current
            user or root; or not a key file. The text says what to do.
    """
    path = resolve(path)
    return decode_keyring(read_private(path, _KIND, _missing(path)), str(path))


def roll_keyfile(path: Path, now_ms: int, admission_ms: int = ADMISSION_MS) -> RollReport:
    """Make the random keys of today and the next two days, and remove those of days that no event may bear any more.

    A day's key is removed once the day has been over for ``admission_ms``. A past day never gets a key again, even
    when it never had one: its events have a null field instead. What removal cannot do: see the module.

    Args:
        path: the key file.
        now_ms: epoch milliseconds.
        admission_ms: how old an event may be.

    Raises:
        KeyringError: as `load_keyring`, or the file cannot be written.
    """
    path = resolve(path)
    with locked_folder(path):
        ring = load_keyring(path)
        wanted = [day_of(now_ms + offset * DAY_MS) for offset in range(_DAYS_AHEAD + 1)]
        created = tuple(day for day in wanted if day not in ring.day_keys)
        removed = tuple(day for day in sorted(ring.day_keys) if now_ms >= (begin_ms(day) or 0) + DAY_MS + admission_ms)
        if created or removed:
            kept = {day: key for day, key in ring.day_keys.items() if day not in removed}
            days = {**kept, **{day: _draw_key() for day in created}}
            replace_private(path, encode_keyring(Keyring(ring.epochs, days, ring.suppression_key)))
    return RollReport(created, removed)


def rotate_keyfile(path: Path, now_ms: int, valid_from_ms: int, lead_ms: int = ROTATION_LEAD_MS) -> KeyEpoch:
    """Add the next key epoch, in force from a time to come. Earlier epochs stay: rows bear their names.

    Args:
        path: the key file.
        now_ms: epoch milliseconds.
        valid_from_ms: when the new epoch comes into force.
        lead_ms: how far ahead that must be, so that every worker has the file by then.

    Returns:
        The new epoch.

    Raises:
        KeyringError: ``valid_from_ms`` is too soon or not after the last epoch's; else as `roll_keyfile`.
    """
    if valid_from_ms < now_ms + lead_ms:
        earliest = format_timestamp(now_ms + lead_ms)
        raise KeyringError(f"a new epoch must be distributed before it is in force: choose {earliest} or later")
    path = resolve(path)
    with locked_folder(path):
        ring = load_keyring(path)
        number = max(int(epoch.name.removeprefix("e")) for epoch in ring.epochs) + 1
        epoch = KeyEpoch(f"e{number}", valid_from_ms, _draw_key())
        replace_private(path, encode_keyring(Keyring((*ring.epochs, epoch), ring.day_keys, ring.suppression_key)))
    return epoch


def _draw_key() -> bytes:
    return secrets.token_bytes(KEY_BYTES)


def _missing(path: Path) -> str:
    return f"make one with 'lethe keys init --path {quote(path)}'"
