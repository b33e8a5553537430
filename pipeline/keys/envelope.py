"""Raw events in an envelope that only the workers open: HPKE (RFC 9180), base mode, to an X25519 key of theirs. Pure.

A gateway has the public key alone, so that neither brokers nor whoever reads their disks see a raw event, nor the
gateway once it has sent it. Suite: DHKEM(X25519, HKDF-SHA256), HKDF-SHA256, AES-256-GCM.

An envelope is ``00`` ``lethe1`` (no JSON begins so), four bytes that name the key, the encapsulated key of 32 bytes and
the ciphertext; the first eleven bytes are HPKE's ``info``, after ``lethe raw v1`` and a zero byte. Another door to
cryptography, which is imported when there are keys.
"""

import re
from collections.abc import Sequence
from hashlib import sha256
from typing import Any, NoReturn

from pipeline.errors import ConfigError, KeyringError
from pipeline.seal import ENVELOPE

PRIVATE_BYTES = 32
OVERHEAD_BYTES = len(ENVELOPE) + 4 + 32 + 16
"""How much longer an envelope is than its event."""

_PREFIX = "x25519:"
_PUBLIC = re.compile(r"x25519:([0-9a-f]{64})", re.ASCII)
_HEAD_BYTES = len(ENVELOPE) + 4
_INFO = b"lethe raw v1\0"


class EnvelopeKeys:
    """The private keys that open raw events, the newest first."""

    __slots__ = ("_keys", "_suite", "publics")

    def __init__(self, privates: Sequence[bytes]) -> None:
        """Take keys of 32 secret bytes each.

        Raises:
            KeyringError: there is none, or one is of another length, or there twice.
        """
        from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey  # noqa: PLC0415 - see above

        if not privates or any(len(one) != PRIVATE_BYTES for one in privates):
            raise KeyringError(f"a key of raw events is not {PRIVATE_BYTES} bytes long, or there is none")
        keys = [X25519PrivateKey.from_private_bytes(one) for one in privates]
        publics = [key.public_key().public_bytes_raw() for key in keys]
        self._keys = {_tag(public): key for public, key in zip(publics, keys, strict=True)}
        if len(self._keys) < len(keys):
            raise KeyringError("a key of raw events is there twice")
        self._suite = _suite()
        self.publics = tuple(f"{_PREFIX}{public.hex()}" for public in publics)

    def open(self, raw: bytes) -> bytes | None:
        """Return the event in an envelope; None where no key opens it, or it was changed."""
        from cryptography.exceptions import InvalidTag  # noqa: PLC0415 - see above

        head = raw[:_HEAD_BYTES]
        key = self._keys.get(head[len(ENVELOPE) :])
        if key is None:
            return None
        try:
            event: bytes = self._suite.decrypt(raw[_HEAD_BYTES:], key, info=_INFO + head)
        except (InvalidTag, ValueError):
            return None
        return event

    def __repr__(self) -> str:
        """Name the public keys."""
        return f"EnvelopeKeys({', '.join(self.publics)})"

    def __reduce__(self) -> NoReturn:
        """Refuse to be pickled or copied."""
        raise KeyringError("keys are never pickled: every process loads the key file itself")


class EnvelopeSealer:
    """Puts raw events into envelopes, as a gateway does."""

    def __init__(self, public: str) -> None:
        """Take the workers' public key, as `lethe keys envelope` prints it.

        Raises:
            ConfigError: it is none; the text is not repeated.
        """
        from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PublicKey  # noqa: PLC0415 - see above

        match = _PUBLIC.fullmatch(public.strip())
        if match is None:
            raise ConfigError("a public key is x25519: and 64 hex digits, as `lethe keys envelope` prints it")
        data = bytes.fromhex(match[1])
        self._key = X25519PublicKey.from_public_bytes(data)
        self._head = ENVELOPE + _tag(data)
        self._suite = _suite()

    def seal(self, event: bytes) -> bytes:
        """Return an event in an envelope, which is another one each time."""
        sealed: bytes = self._suite.encrypt(event, self._key, info=_INFO + self._head)
        return self._head + sealed


def _tag(public: bytes) -> bytes:
    return sha256(public).digest()[:4]


def _suite() -> Any:
    from cryptography.hazmat.primitives.hpke import AEAD, KDF, KEM, Suite  # noqa: PLC0415 - see above

    return Suite(KEM.X25519, KDF.HKDF_SHA256, AEAD.AES_256_GCM)
