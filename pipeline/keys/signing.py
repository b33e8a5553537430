"""Ed25519 signatures (RFC 8032) of receipts and checkpoints. Pure; the door to cryptography.

A signature covers a constant that names its use, so that one made for a receipt is none for anything else. The library
takes a tenth of a second to import, which commands that sign nothing need not wait for.
"""

import re
from dataclasses import dataclass, field
from typing import Any, NoReturn

from pipeline.errors import ConfigError, KeyringError

SEED_BYTES = 32
RECEIPT = b"lethe receipt v1\0"
CHECKPOINT = b"lethe checkpoint v1\0"
"""What a signature is for: stands before the message."""

_PREFIX = "ed25519:"
_PUBLIC = re.compile(r"(?:ed25519:)?([0-9a-f]{64})", re.ASCII)
_SIGNATURE = re.compile(r"[0-9a-f]{128}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Signer:
    """A private key.

    Attributes:
        public: its public key, 64 hex digits.
    """

    public: str
    _key: Any = field(repr=False)

    @classmethod
    def from_seed(cls, seed: bytes) -> "Signer":
        """Return the signer of a seed of 32 secret bytes.

        Raises:
            KeyringError: it is not that long.
        """
        if len(seed) != SEED_BYTES:
            raise KeyringError(f"the receipt key is not {SEED_BYTES} bytes long")
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey  # noqa: PLC0415 - see above

        key = Ed25519PrivateKey.from_private_bytes(seed)
        return cls(key.public_key().public_bytes_raw().hex(), key)

    def sign(self, use: bytes, message: bytes) -> str:
        """Return the signature of a message for one use, 128 hex digits."""
        signature: bytes = self._key.sign(use + message)
        return signature.hex()

    def __reduce__(self) -> NoReturn:
        """Refuse to be pickled or copied."""
        raise KeyringError("keys are never pickled: every process loads the key file itself")


def is_signed(public: str, use: bytes, message: bytes, signature: Any) -> bool:
    """Tell whether a signature is that of a message for one use, under a public key of 64 hex digits."""
    from cryptography.exceptions import InvalidSignature  # noqa: PLC0415 - see above
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey  # noqa: PLC0415 - see above

    if not isinstance(signature, str) or not _SIGNATURE.fullmatch(signature):
        return False
    try:
        key = Ed25519PublicKey.from_public_bytes(bytes.fromhex(public))
        key.verify(bytes.fromhex(signature), use + message)
    except (InvalidSignature, ValueError):
        return False
    return True


def format_public(public: str) -> str:
    """Return a public key as people hand it on: ``ed25519:`` and 64 hex digits."""
    return f"{_PREFIX}{public}"


def parse_public(text: str) -> str:
    """Return the 64 hex digits of a public key.

    Raises:
        ConfigError: it is none; the text is not repeated.
    """
    match = _PUBLIC.fullmatch(text.strip())
    if match is None:
        raise ConfigError("a public key is ed25519: and 64 hex digits, as `lethe receipt public-key` prints it")
    return match[1]
