"""AES-256-GCM-SIV (RFC 8452), the one cipher of sealed content and wrapped keys. Pure; a door to cryptography.

It gives the same bytes for the same key, nonce and text, and a nonce that comes twice with other texts tells no more
than that they are others. The library takes a tenth of a second to import, which who seals nothing need not wait for.
"""

from typing import Any, NoReturn

from pipeline.errors import KeyringError

KEY_BYTES = 32
NONCE_BYTES = 12


class Cipher:
    """The cipher under one key, which it does not show."""

    __slots__ = ("_aead",)

    def __init__(self, key: bytes) -> None:
        """Take 32 secret bytes.

        Raises:
            KeyringError: they are not as many, or the library that is installed has no such cipher.
        """
        if len(key) != KEY_BYTES:
            raise KeyringError(f"a key is not {KEY_BYTES} bytes long")
        from cryptography.exceptions import UnsupportedAlgorithm  # noqa: PLC0415 - see above
        from cryptography.hazmat.primitives.ciphers.aead import AESGCMSIV  # noqa: PLC0415 - see above

        aead: Any = None
        try:
            aead = AESGCMSIV(key)
        except UnsupportedAlgorithm:
            aead = None
        if aead is None:
            raise KeyringError(
                "this build of cryptography has no AES-GCM-SIV, which needs OpenSSL 3.2: install its wheel, which has"
            )
        self._aead = aead

    def seal(self, nonce: bytes, text: bytes, beside: bytes) -> bytes:
        """Return a text sealed: as long, and 16 bytes.

        Args:
            nonce: 12 bytes.
            text: at least one byte.
            beside: what is not in it, and without which it does not open (associated data).
        """
        sealed: bytes = self._aead.encrypt(nonce, text, beside)
        return sealed

    def open(self, nonce: bytes, sealed: bytes, beside: bytes) -> bytes | None:
        """Return the text again; None where anything is other than when it was sealed."""
        from cryptography.exceptions import InvalidTag  # noqa: PLC0415 - see above

        try:
            text: bytes = self._aead.decrypt(nonce, sealed, beside)
        except (InvalidTag, ValueError):
            return None
        return text

    def __reduce__(self) -> NoReturn:
        """Refuse to be pickled or copied."""
        raise KeyringError("keys are never pickled: every process loads the keyring itself")
