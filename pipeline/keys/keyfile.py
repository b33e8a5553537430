"""The key file: how it is made, read and changed. The only place where keys are drawn, and where they touch a disk.

One JSON file, mode 0600: ``{"version": 1, "epochs": [{"name", "valid_from", "key"}], "days": {"2026-11-24": key},
"suppression": key}``, keys in base64. Every change is a whole new file put in the old one's place, under a lock of its
folder: a reader sees the old or the new, and two changes at once follow one another. No error here holds any part of
the file.

What removing a key cannot do: the blocks of the file that was replaced stay on the medium until something writes over
them, and a journal, snapshot or backup may keep them longer. Keep the file on a volume that is encrypted or in memory,
and out of backups.
"""

import fcntl
import os
import secrets
import shlex
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from pipeline.coarsen import DAY_MS, HOUR_MS, day_of, format_timestamp
from pipeline.errors import KeyringError
from pipeline.keys.keyformat import decode_keyring, encode_keyring
from pipeline.keys.keyring import KEY_BYTES, KeyEpoch, Keyring

KEYFILE_MODE = 0o600
ADMISSION_MS = 24 * HOUR_MS
"""How old an event may be and still get an IP pseudonym (design §4): a day's key outlives the day by this."""
ROTATION_LEAD_MS = HOUR_MS
"""How long before its valid_from an epoch is made at least, so that every worker has it by then (design §5)."""

_DAYS_AHEAD = 2
_KEYFILE_BYTES_MAX = 1 << 20


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
    days = [day_of(now_ms + offset * DAY_MS) for offset in range(-1, _DAYS_AHEAD + 1)]
    ring = Keyring((KeyEpoch("e1", 0, _draw_key()),), {day: _draw_key() for day in days}, _draw_key())
    path = _resolve(path)
    with _locked(path):
        _create(path, ring)


def load_keyring(path: Path) -> Keyring:
    """Read a key file, after checking that nobody else can (policy §7). A symlink is followed.

    Raises:
        KeyringError: it is missing; not a plain file; open to group or others; of an owner other than the current
            user or root; or not a key file. The text says what to do.
    """
    path = _resolve(path)
    return decode_keyring(_read_private(path), str(path))


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
    path = _resolve(path)
    with _locked(path):
        ring = load_keyring(path)
        wanted = [day_of(now_ms + offset * DAY_MS) for offset in range(_DAYS_AHEAD + 1)]
        created = tuple(day for day in wanted if day not in ring.day_keys)
        removed = tuple(day for day in sorted(ring.day_keys) if now_ms >= _end_of_day(day) + admission_ms)
        if created or removed:
            kept = {day: key for day, key in ring.day_keys.items() if day not in removed}
            days = {**kept, **{day: _draw_key() for day in created}}
            _replace(path, Keyring(ring.epochs, days, ring.suppression_key))
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
    path = _resolve(path)
    with _locked(path):
        ring = load_keyring(path)
        number = max(int(epoch.name.removeprefix("e")) for epoch in ring.epochs) + 1
        epoch = KeyEpoch(f"e{number}", valid_from_ms, _draw_key())
        _replace(path, Keyring((*ring.epochs, epoch), ring.day_keys, ring.suppression_key))
    return epoch


def _draw_key() -> bytes:
    return secrets.token_bytes(KEY_BYTES)


def _end_of_day(day: str) -> int:
    return (date.fromisoformat(day).toordinal() + 1 - date(1970, 1, 1).toordinal()) * DAY_MS


def _resolve(path: Path) -> Path:
    """Follow symlinks, so that a change replaces the file and not the link to it."""
    return Path(os.path.realpath(path))


def _read_private(path: Path) -> bytes:
    with _explained(path, "read"):
        if not path.exists():
            raise KeyringError(f"there is no key file at {path}: make one with 'lethe keys init --path {_quote(path)}'")
        # O_NONBLOCK: to open a named pipe must not wait for its writer.
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        try:
            # Of the open file, not of the path: what was checked is what is read.
            _check_private(path, os.fstat(descriptor))
            with os.fdopen(descriptor, "rb", closefd=False) as file:
                data = file.read(_KEYFILE_BYTES_MAX + 1)
        finally:
            os.close(descriptor)
    if len(data) > _KEYFILE_BYTES_MAX:
        raise KeyringError(f"{path} is not a key file: it is larger than {_KEYFILE_BYTES_MAX} bytes")
    return data


def _check_private(path: Path, status: os.stat_result) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise KeyringError(f"{path} is not a plain file")
    if status.st_uid not in {os.geteuid(), 0}:
        raise KeyringError(f"{path} belongs to another user, who can read and change it: use a key file of your own")
    if status.st_mode & (stat.S_IRWXG | stat.S_IRWXO):
        mode = stat.S_IMODE(status.st_mode)
        raise KeyringError(f"{path} is open to group or others (mode {mode:04o}): run 'chmod 600 {_quote(path)}'")


def _create(path: Path, ring: Keyring) -> None:
    """Write a file where none is. The name is claimed first, so that nothing that is there can be overwritten."""
    with _explained(path, "made"):
        try:
            os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, KEYFILE_MODE))
        except FileExistsError:
            exists = True
        else:
            exists = False
    if exists:
        raise KeyringError(f"{path} exists and is not overwritten: 'lethe keys roll' and 'rotate' change it")
    try:
        _replace(path, ring)
    except BaseException:  # whatever stopped it, an empty key file must not stay
        path.unlink()
        raise


def _replace(path: Path, ring: Keyring) -> None:
    """Put a new file in the place of the old one; the caller holds the lock."""
    data = encode_keyring(ring)
    new = path.with_name(f".{path.name}.new")
    with _explained(path, "written"):
        new.unlink(missing_ok=True)  # of a process that was killed here; it may hold keys that are to be gone
        try:
            descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, KEYFILE_MODE)
            with os.fdopen(descriptor, "wb") as file:
                os.fchmod(descriptor, KEYFILE_MODE)  # whatever the umask took away
                file.write(data)
                file.flush()
                os.fsync(descriptor)
            new.replace(path)
        finally:
            new.unlink(missing_ok=True)  # there only if something failed
        folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(folder)  # or the old file could be back after a power cut
        finally:
            os.close(folder)


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Hold the lock of the file's folder. The file itself cannot carry it, since a change puts another in its place."""
    with _explained(path.parent, "opened"):
        descriptor = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


@contextmanager
def _explained(path: Path, action: str) -> Iterator[None]:
    """Turn an `OSError`, which names a path and never a key, into a `KeyringError`."""
    try:
        yield
    except OSError as error:
        raise KeyringError(f"{path} cannot be {action}: {error.strerror}") from error


def _quote(path: Path) -> str:
    return shlex.quote(str(path))
