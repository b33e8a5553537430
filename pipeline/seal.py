"""How a content body is stored: a sealer on the way in, its opener on the way out, and nothing else knows."""

from typing import Protocol

from pipeline.errors import KeyringError, Reason, reject
from pipeline.records import PLAIN, Sealed

ENVELOPE = b"\0lethe1"
"""What a raw event in an envelope begins with, and no JSON does."""

ENVELOPE_BYTES_MAX = 256
"""More than an envelope adds to its event."""


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


class RawOpener(Protocol):
    """Opens raw events that a gateway put into an envelope."""

    def open(self, raw: bytes) -> bytes | None:
        """Return the event; None where no key opens it, or it was changed."""
        ...


def open_raw(raw: bytes, opener: RawOpener | None, size_max: int) -> bytes:
    """Return a raw event out of its envelope, if it is in one.

    Args:
        raw: as it was read.
        opener: has the keys; None opens nothing.
        size_max: largest event; one that is longer in its envelope is not opened.

    Raises:
        InvalidEvent: no key opens it, it was changed, or it is too large.
    """
    if not raw.startswith(ENVELOPE):
        return raw
    if len(raw) > size_max + ENVELOPE_BYTES_MAX:
        reject(Reason.TOO_LARGE)
    event = None if opener is None else opener.open(raw)
    if event is None:
        reject(Reason.SEALED)
    return event
