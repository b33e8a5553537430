"""The keys of pseudonyms, chosen by received_at (design §5). Pure: no file, clock or randomness.

Nothing here shows a key: not ``repr``, not an error, and pickling is refused.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import NoReturn

from pipeline.coarsen import begin_ms, day_of
from pipeline.errors import KeyringError
from pipeline.pseudonym import pseudonymize

KEY_BYTES = 32
"""As long as the digest of HMAC-SHA-256: RFC 2104 §3 discourages less, and more adds nothing."""

_MEMO_MAX = 8192
"""Pseudonyms remembered: an account's requests come in runs, and HMAC-SHA-256 takes longer than all its neighbours."""

_EPOCH_NAME = re.compile(r"e[0-9]{1,6}")


@dataclass(frozen=True, slots=True)
class KeyEpoch:
    """A lasting key and the time from which it is in force.

    Attributes:
        name: ``e`` and a number; it stands before every digest made with the key.
        valid_from_ms: epoch milliseconds.
        key: 32 secret bytes.
    """

    name: str
    valid_from_ms: int
    key: bytes = field(repr=False)

    def __post_init__(self) -> None:
        """Refuse a name or key of another form."""
        if _EPOCH_NAME.fullmatch(self.name) is None:
            raise KeyringError("a key epoch's name is not e and a number of at most 6 digits")
        if len(self.key) != KEY_BYTES:
            raise KeyringError(f"the key of epoch {self.name} is not {KEY_BYTES} bytes long")

    def __reduce__(self) -> NoReturn:
        """Refuse to be pickled or copied."""
        raise KeyringError("keys are never pickled: every process loads the key file itself")


@dataclass(frozen=True, slots=True)
class Keyring:
    """Every key that a process has.

    Attributes:
        epochs: in strictly increasing order of valid_from.
        day_keys: UTC day (``2026-11-23``) to 32 secret bytes, random and never derived from another key, so that
            removing one is final.
        suppression_key: 32 secret bytes that never rotate: they name the subjects of restrictions and erasures.

    Raises:
        KeyringError: on construction, when epochs or days are not of that form, or a key is there twice.
    """

    epochs: tuple[KeyEpoch, ...]
    day_keys: Mapping[str, bytes] = field(repr=False)
    suppression_key: bytes = field(repr=False)
    # With the keyring it goes when keys are reloaded, so that nothing made with a removed key stays behind.
    _memo: dict[tuple[str, str, str], str] = field(default_factory=dict, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Check what `epoch_at` and `day_pseudonym` rely on; take a copy of the day keys that nobody can change."""
        object.__setattr__(self, "day_keys", MappingProxyType(dict(self.day_keys)))
        if not self.epochs:
            raise KeyringError("there is no key epoch")
        for day, key in self.day_keys.items():
            if begin_ms(day) is None:
                raise KeyringError("the day of a day key is not YYYY-MM-DD")
            if len(key) != KEY_BYTES:
                raise KeyringError(f"the key of day {day} is not {KEY_BYTES} bytes long")
        if len(self.suppression_key) != KEY_BYTES:
            raise KeyringError(f"the suppression key is not {KEY_BYTES} bytes long")
        for earlier, later in zip(self.epochs, self.epochs[1:], strict=False):
            if later.valid_from_ms <= earlier.valid_from_ms:
                raise KeyringError(f"epoch {later.name} is not valid from later than epoch {earlier.name}")
        if len({epoch.name for epoch in self.epochs}) < len(self.epochs):
            raise KeyringError("two key epochs have the same name")
        keys = [*(epoch.key for epoch in self.epochs), *self.day_keys.values(), self.suppression_key]
        if len(set(keys)) < len(keys):
            raise KeyringError("a key is there twice: removing one would not remove it")

    def __repr__(self) -> str:
        """Name epochs and days; show no key."""
        names = ", ".join([*(epoch.name for epoch in self.epochs), *sorted(self.day_keys)])
        return f"Keyring({names})"

    def __reduce__(self) -> NoReturn:
        """Refuse to be pickled or copied."""
        raise KeyringError("keys are never pickled: every process loads the key file itself")

    def epoch_at(self, received_at_ms: int) -> KeyEpoch:
        """Return the epoch in force at a time: the latest whose valid_from is not after it.

        Raises:
            KeyringError: none is. The process must stop: there is no fallback for a key.
        """
        for epoch in reversed(self.epochs):
            if epoch.valid_from_ms <= received_at_ms:
                return epoch
        raise KeyringError("no key epoch is in force at an event's received_at; bring the key file up to date")

    def pseudonym(self, field_name: str, value: str, received_at_ms: int) -> str:
        """Return the lasting pseudonym of a value, under the epoch in force at ``received_at_ms``.

        Raises:
            KeyringError: as `epoch_at`.
        """
        epoch = self.epoch_at(received_at_ms)
        return self._pseudonymize(epoch.key, epoch.name, field_name, value)

    def pseudonyms(self, field_name: str, value: str) -> list[str]:
        """Return a value's lasting pseudonyms in all epochs, oldest first: what its records can have."""
        return [self._pseudonymize(epoch.key, epoch.name, field_name, value) for epoch in self.epochs]

    def day_pseudonym(self, field_name: str, value: str, received_at_ms: int) -> str | None:
        """Return the pseudonym of a value under the key of its UTC day; None when that day has no key any more."""
        day = day_of(received_at_ms)
        key = self.day_keys.get(day)
        return None if key is None else self._pseudonymize(key, "d" + day.replace("-", ""), field_name, value)

    def suppression(self, subject: str, value: str) -> str:
        """Return the pseudonym by which entries of the control topic name a subject, whenever its requests came in."""
        return self._pseudonymize(self.suppression_key, "s1", subject, value)

    def _pseudonymize(self, key: bytes, epoch: str, field_name: str, value: str) -> str:
        known = self._memo.get((epoch, field_name, value))
        if known is None:
            if len(self._memo) >= _MEMO_MAX:
                self._memo.clear()
            known = self._memo[epoch, field_name, value] = pseudonymize(key, epoch, field_name, value)
        return known
