"""What the generator yields: an event, and what was planted in it."""

from dataclasses import dataclass, field
from typing import Any, Literal

Expect = Literal["absent", "present"]


@dataclass(frozen=True, slots=True)
class Canary:
    """A planted value, and where it may be seen after the pipeline.

    Attributes:
        value: exactly as the raw event's JSON has it; a run of token ids is joined by commas, without spaces.
        kind: an entity type of content (``EMAIL_ADDRESS``, …), an own identifier repeated in content (``own_email``,
            …), the field it stands in (``account_id``, ``client_ip``, …), or why it goes (``dropped``, ``undeclared``,
            ``link``, ``media``, ``vector``, ``token_ids``, ``logprobs``, ``opaque``). ``benign`` for present ones.
        pointer: JSON pointer (RFC 6901) of the leaf or list of the raw event that holds it.
        request_id: of the event.
        expect: ``absent`` from every sink, or ``present`` in the content record.
    """

    value: str = field(repr=False)
    kind: str
    pointer: str
    request_id: str
    expect: Expect


@dataclass(frozen=True, slots=True)
class SyntheticEvent:
    """A raw request event (design §2) and the canaries in it."""

    event: dict[str, Any] = field(repr=False)
    canaries: tuple[Canary, ...]
