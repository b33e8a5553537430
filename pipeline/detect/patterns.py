"""Regular expressions that are compiled once and kept: a thousand take a second to compile, 15 ms to take up. Pure.

What is kept is what Python's compiler makes of a pattern: numbers, which the matcher checks before it takes them
(`_validate` in CPython's Modules/_sre). They can run nothing but a search. They are those of one version of Python
(`DIALECT`), and a test compares all of them with what `re.compile` makes.
"""

import _sre  # type: ignore[import-not-found]  # as below
import json
import re
import sys
from array import array
from collections.abc import Iterator, Mapping
from contextlib import suppress
from re import _compiler as compiler  # type: ignore[attr-defined]  # the only way to what a pattern becomes
from re import _parser as parser  # type: ignore[attr-defined]  # the only way to a pattern's width
from typing import Any, NamedTuple

DIALECT = (sys.version, sys.byteorder, _sre.MAGIC, _sre.CODESIZE)
"""Whose numbers can be taken up."""


class _Compiled(NamedTuple):
    """A pattern as the matcher has it.

    Attributes:
        flags: with those that the pattern sets itself.
        groups: how many it has.
        names: their numbers, by name.
        chars_max: how long a match can be.
        code: the numbers.
    """

    flags: int
    groups: int
    names: dict[str, int]
    chars_max: int
    code: Any

    def pattern(self, regex: str) -> re.Pattern[str]:
        """Return it as `re.compile` does."""
        names: list[str | None] = [None] * (self.groups + 1)
        for name, number in self.names.items():
            names[number] = name
        made: re.Pattern[str] = _sre.compile(
            regex, self.flags, self.code.tolist(), self.groups, self.names, tuple(names)
        )
        return made


class Patterns:
    """Compiles patterns, or takes up what was kept of them.

    Attributes:
        is_new: whether one was compiled that was not kept.
    """

    def __init__(self, kept: bytes | None = None) -> None:
        """Take what `dump` returned; what cannot be read is as nothing."""
        self._known: dict[str, _Compiled] = {}
        self.is_new = False
        with suppress(ValueError, TypeError):
            self._known = dict(_read(kept or b""))

    def compile(self, regex: str) -> re.Pattern[str]:
        """Return what `re.compile` makes of a pattern.

        Raises:
            re.error: it is none.
        """
        with suppress(KeyError, ValueError, TypeError, RuntimeError, IndexError, OverflowError):
            return self._known[regex].pattern(regex)
        self.is_new = True
        self._known[regex] = made = _compiled(regex)
        return made.pattern(regex)

    def chars_max(self, regex: str) -> int:
        """Return how long a match of a pattern can be, in characters; a very large number where there is no bound.

        Raises:
            re.error: it is none.
        """
        if regex not in self._known:
            self.compile(regex)
        return self._known[regex].chars_max

    def dump(self) -> bytes:
        """Return all patterns, to be kept."""
        known = self._known.items()
        heads = [[regex, *one[:-1], len(one.code)] for regex, one in known]
        return b"\n".join([json.dumps(heads).encode(), b"".join(one.code.tobytes() for _, one in known)])


def _compiled(regex: str) -> _Compiled:
    parsed = parser.parse(regex)
    state, code = parsed.state, array("I", compiler._code(parsed, 0))  # noqa: SLF001 - of `re.compile`
    return _Compiled(state.flags, state.groups - 1, dict(state.groupdict), int(parsed.getwidth()[1]), code)


def _read(kept: bytes) -> Iterator[tuple[str, _Compiled]]:
    heads, _, codes = kept.partition(b"\n")
    numbers = memoryview(codes).cast("I")
    place = 0
    for regex, flags, groups, names, chars_max, size in json.loads(heads or b"[]"):
        if not isinstance(names, Mapping):
            raise TypeError("names")
        yield regex, _Compiled(flags, groups, dict(names), chars_max, numbers[place : place + size])
        place += size
