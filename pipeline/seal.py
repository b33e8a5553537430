"""How a content body is stored: a sealer on the way in, its opener on the way out, and nothing else knows."""

from typing import Protocol

from pipeline.errors import KeyringError
from pipeline.records import PLAIN, Sealed


class Sealer(Protocol):
    """Turns a body into the bytes that are stored. Deterministic: the same arguments give the same bytes."""

    def seal(self, body: bytes, *, request_id: str, schema_version: int, received_at_ms: int) -> Sealed:
        """Seal the JSON of one body.

        Raises:
            KeyringError: there is no key for it. The process must stop: no key, no plaintext.
        """
        ...


class Opener(Protocol):
    """Turns stored bytes into a body again."""

    def open(self, sealed: Sealed, *, request_id: str, schema_version: int) -> bytes:
        """Return the JSON of one body.

        Raises:
            KeyringError: it is not sealed in a way that this opener opens, or its key is gone.
        """
        ...


class PlainSealer:
    """Stores a body as it is: JSON. Encryption at rest then is the disk's."""

    encoding = PLAIN

    def seal(
        self,
        body: bytes,
        *,
        request_id: str,  # noqa: ARG002 - the protocol's, as those below
        schema_version: int,  # noqa: ARG002
        received_at_ms: int,  # noqa: ARG002
    ) -> Sealed:
        """Return the body unchanged."""
        return Sealed(self.encoding, body)

    def open(self, sealed: Sealed, *, request_id: str, schema_version: int) -> bytes:  # noqa: ARG002 - as above
        """Return the body unchanged."""
        if sealed.encoding != self.encoding:
            raise KeyringError("this content is sealed: LETHE_SEAL must be on, with the keyring that opens it")
        return sealed.data
