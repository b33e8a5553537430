"""Given names and surnames of some forty languages, from the locale data of faker: evidence of a name, never proof. Pure.

The only module that imports faker. It reads the tables of faker's person providers and makes no generator: that would
take a second, and nothing here is random.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib import import_module
from pkgutil import iter_modules
from typing import Any

from pipeline.detect.fold import fold

WORD_CHARS_MIN = 2
# Letters that Unicode does not take apart, and that people write plain.
_PLAIN = str.maketrans({"ł": "l", "ø": "o", "đ": "d", "ð": "d", "ı": "i", "æ": "ae", "œ": "oe", "þ": "th"})
_FEMININE = {"ski": "ska", "cki": "cka", "dzki": "dzka", "ский": "ская", "цкий": "цкая", "ов": "ова", "ев": "ева", "ин": "ина"}
_PATRONYMICS = ("son", "sson", "sdottir", "dottir")


@dataclass(frozen=True, slots=True)
class Gazetteer:
    """Known names, spelled as `key` spells them.

    Attributes:
        first: given names.
        last: surnames.
    """

    first: frozenset[str]
    last: frozenset[str]


def key(word: str) -> str:
    """Return the spelling under which a word is looked up: lower case, without accents."""
    return word.lower() if word.isascii() else fold(word).translate(_PLAIN)


@lru_cache(maxsize=1)
def load_gazetteer() -> Gazetteer:
    """Return the names of all locales. Takes about 0.3 s the first time."""
    from faker.providers import person  # noqa: PLC0415 - a process that detects nothing need not load it

    first: set[str] = set()
    last: set[str] = set()
    for module in iter_modules(person.__path__):
        provider = import_module(f"{person.__name__}.{module.name}").Provider
        for name in dir(provider):
            table = getattr(provider, name)
            if not isinstance(table, list | tuple | Mapping):
                continue
            if "first_" in name or "middle_" in name:
                first.update(_words(table))
            elif "last_" in name:
                last.update(_words(table))
    for masculine, feminine in _FEMININE.items():
        last.update(word.removesuffix(masculine) + feminine for word in list(last) if word.endswith(masculine))
    return Gazetteer(frozenset(first), frozenset(last))


def _words(table: Iterable[Any]) -> Iterator[str]:
    for entry in table:
        for part in (entry,) if isinstance(entry, str) else entry if isinstance(entry, tuple) else ():
            for word in part.split():
                if len(word) >= WORD_CHARS_MIN or not word.isascii():
                    yield key(word)
