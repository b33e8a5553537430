"""Notices that a file of keys was changed, and reads it again: workers follow `lethe keys roll` without a restart."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Generic, TypeVar

from pipeline.errors import KeyringError
from pipeline.keys.keyfile import load_keyring
from pipeline.keys.keyring import Keyring

_Signature = tuple[int, int, int, int]
_Keys = TypeVar("_Keys")


class FileWatch(Generic[_Keys]):
    """A file of keys, and what was made of it last.

    Attributes:
        keys: that.
    """

    def __init__(self, path: Path, load: Callable[[], _Keys]) -> None:
        """Read the file.

        Args:
            path: of the file.
            load: reads it.

        Raises:
            KeyringError: as ``load``.
        """
        if not path.exists():
            load()  # says best what is to be done
        self._path = path
        self._load = load
        self._seen = self._signature()  # before reading: a change in between is then seen by the next look
        self.keys = load()

    def changed(self) -> bool:
        """Read the file again when it is another than the one read last; return whether it was.

        Raises:
            KeyringError: as ``load``. The process must stop: keys that were removed must not live on in it.
        """
        seen = self._signature()
        if seen == self._seen:
            return False
        self._seen = seen
        self.keys = self._checked(self._load())
        return True

    def _checked(self, keys: _Keys) -> _Keys:
        """Return the new keys when they may follow the old ones."""
        return keys

    def _signature(self) -> _Signature:
        problem = ""
        try:
            status = os.stat(self._path)  # noqa: PTH116 - follows the link that a mounted secret is
        except OSError as error:
            problem = f"{self._path} cannot be read: {error.strerror}"
        else:
            return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns
        raise KeyringError(problem)


class KeyWatch(FileWatch[Keyring]):
    """A key file and the keyring that was read from it last."""

    def __init__(self, path: Path) -> None:
        """Read the file.

        Raises:
            KeyringError: as `load_keyring`.
        """
        super().__init__(path, lambda: load_keyring(path))

    def _checked(self, keys: Keyring) -> Keyring:
        if keys.suppression_key != self.keys.suppression_key:
            raise KeyringError(f"the suppression key in {self._path} is another: every erasure would stop matching")
        return keys
