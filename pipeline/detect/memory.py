"""What was found in texts that come again: a conversation's earlier turns, system prompts, key names. Pure.

A chat API gets the whole conversation with each turn, so most texts of real traffic were seen a moment before. Kept is
a digest of the text and where what was found, never the text; findings depend on nothing but the text.
"""

from collections.abc import Sequence
from hashlib import blake2b
from typing import NamedTuple

from pipeline.detect.budget import Cost
from pipeline.detect.gates import Range
from pipeline.detect.spans import Span

TEXTS_MAX = 1 << 14
"""So many texts of each of two generations are remembered: some 5 MB."""
_SPANS_MAX = 32
_DIGEST_BYTES = 20


Parts = Sequence[Range] | None
"""Where in a text to look; None for all of it."""
Asked = Sequence[tuple[int, Parts]]
"""Numbers of finders or viewers, and where each is to look."""


class Found(NamedTuple):
    """What was found in a text.

    Attributes:
        spans: in order.
        asked: the viewers that were asked for other texts of it; in these, an account's own identifiers are looked
            for besides.
        cost: what it took of its event's allowance, and takes of another's.
    """

    spans: tuple[Span, ...]
    asked: Asked
    cost: Cost = Cost()


NOTHING = Found((), ())
"""What is found in most texts; one for all of them, or they take several MB."""


class Memory:
    """Remembers what was found in the last texts. Safe for threads.

    What is asked for again stays; of the rest the older half goes when the newer is full.
    """

    def __init__(self, texts_max: int = TEXTS_MAX) -> None:
        self._texts_max = texts_max
        self._new: dict[bytes, Found] = {}
        self._old: dict[bytes, Found] = {}

    def get(self, key: bytes) -> Found | None:
        """Return what was found in a text by its `key_of`; None when it is not remembered."""
        found = self._new.get(key)
        if found is None and (found := self._old.get(key)) is not None:
            self.put(key, found)
        return found

    def put(self, key: bytes, found: Found) -> None:
        """Remember what was found; not, where it is much."""
        if len(found.spans) > _SPANS_MAX:
            return
        self._new[key] = found
        if len(self._new) >= self._texts_max:
            self._old, self._new = self._new, {}

    def clear(self) -> None:
        """Forget all of it."""
        self._new, self._old = {}, {}


def key_of(text: str) -> bytes:
    """Return a digest of a text (BLAKE2b, 160 bits); other texts have others."""
    return blake2b(text.encode("utf-8", "surrogatepass"), digest_size=_DIGEST_BYTES).digest()
