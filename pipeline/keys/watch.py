"""Notices that the key file was changed, and reads it again: workers follow `lethe keys roll` without a restart."""

import os
from pathlib import Path

from pipeline.errors import KeyringError
from pipeline.keys.keyfile import load_keyring
from pipeline.keys.keyring import Keyring

_Signature = tuple[int, int, int, int]


class KeyWatch:
    """A key file and the keyring that was read from it last."""

    def __init__(self, path: Path) -> None:
        """Read the file.

        Raises:
            KeyringError: as `load_keyring`.
        """
        load_keyring(path)  # says best what is wrong with it
        self._path = path
        self._seen = self._signature()  # before reading: a change in between is then seen by the next look
        self.keyring = load_keyring(path)

    def changed(self) -> Keyring | None:
        """Return the new keyring when the file is another than the one read last, otherwise None.

        Raises:
            KeyringError: as `load_keyring`. The process must stop: keys that were removed must not live on in it.
        """
        seen = self._signature()
        if seen == self._seen:
            return None
        self._seen = seen
        keyring = load_keyring(self._path)
        if keyring.suppression_key != self.keyring.suppression_key:
            raise KeyringError(f"the suppression key in {self._path} is another: every erasure would stop matching")
        self.keyring = keyring
        return keyring

    def _signature(self) -> _Signature:
        problem = ""
        try:
            status = os.stat(self._path)  # noqa: PTH116 - follows the link that a mounted secret is
        except OSError as error:
            problem = f"{self._path} cannot be read: {error.strerror}"
        else:
            return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns
        raise KeyringError(problem)
