"""What a walk leaves to be put together once the texts are done: strings of JSON, strings with media, renamed keys."""

from collections.abc import Sequence
from typing import Any, Protocol

from pipeline.codec import encode


class Part(Protocol):
    """Something that is put together last, in place."""

    def finish(self, texts: Sequence[str], replaced: Sequence[str]) -> None:
        """Put it together from the texts' replacements; an unchanged text is replaced by the very same object."""


class Embedded:
    """A string that held JSON: where it stands, what it was, and the copy of what it held.

    Attributes:
        texts: numbers of its first text and of the first one after it.
        changes: how much in it was dropped or replaced without being a text.
    """

    __slots__ = ("changes", "holder", "key", "owner", "text", "texts")

    def __init__(self, owner: Any, key: Any, text: str, holder: list[Any]) -> None:
        self.owner, self.key, self.text, self.holder = owner, key, text, holder
        self.texts = (0, 0)
        self.changes = 0

    def finish(self, texts: Sequence[str], replaced: Sequence[str]) -> None:
        """Write the copy as JSON again, or the string as it was if nothing in it changed."""
        first, last = self.texts
        changed = self.changes or any(replaced[i] is not texts[i] for i in range(first, last))
        self.owner[self.key] = encode(self.holder[0]).decode() if changed else self.text


class Joined:
    """A string that held media: its pieces, scanned one by one, around the placeholders."""

    __slots__ = ("key", "owner", "pieces")

    def __init__(self, owner: Any, key: Any, pieces: list[str]) -> None:
        self.owner, self.key, self.pieces = owner, key, pieces

    def finish(self, _texts: Sequence[str], _replaced: Sequence[str]) -> None:
        """Join the pieces."""
        self.owner[self.key] = "".join(self.pieces)


class Renamed:
    """An object with keys that were scanned.

    Attributes:
        names: what became of each of these keys; the very same object where nothing did.
    """

    __slots__ = ("names", "owner")

    def __init__(self, owner: dict[str, Any]) -> None:
        self.owner = owner
        self.names: dict[str, str] = {}

    def finish(self, _texts: Sequence[str], _replaced: Sequence[str]) -> None:
        """Give scrubbed keys their new names, in place and in order; names that collide are numbered."""
        names, owner = self.names, self.owner
        if all(old is new for old, new in names.items()):
            return
        members = list(owner.items())
        taken = {key for key in owner if names.get(key, key) == key}
        last: dict[str, int] = {}
        owner.clear()
        for old, value in members:
            name = wanted = names.get(old, old)
            if name != old:
                number = last.get(wanted, 1)
                while name in taken:
                    number += 1
                    name = f"{wanted}#{number}"
                last[wanted] = number
                taken.add(name)
            owner[name] = value
