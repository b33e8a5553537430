"""How a content body is stored: a sealer on the way in, its opener on the way out, and nothing else knows."""

from typing import Protocol

from pipeline.errors import KeyringError
from pipeline.records import Sealed


class Sealer(Protocol):
    """Turns a body into the bytes that are stored. Deterministic: the same arguments give the same bytes."""

    def seal(self, body: bytes, *, request_id: str, received_at_ms: int) -> Sealed:
        """Seal the JSON of one body."""
        ...


class Opener(Protocol):
    """Turns stored bytes into a body again."""

    def open(self, sealed: Sealed, *, request_id: str) -> bytes:
        """Return the JSON of one body.

        Raises:
            KeyringError: it is not sealed in a way that this opener opens, or its key is gone.
        """
        ...


class PlainSealer:
    """Stores a body as it is: JSON. Encryption at rest then is the disk's."""

    encoding = "json"

    def seal(self, body: bytes, *, request_id: str, received_at_ms: int) -> Sealed:  # noqa: ARG002 - the protocol's
        """Return the body unchanged."""
        return Sealed(self.encoding, body)

    def open(self, sealed: Sealed, *, request_id: str) -> bytes:  # noqa: ARG002 - the protocol's
        """Return the body unchanged."""
        if sealed.encoding != self.encoding:
            raise KeyringError("this content is sealed; give the keys that open it")
        return sealed.data
