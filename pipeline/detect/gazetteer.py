"""Words of names: given names and surnames of some forty languages, and which words are none. Pure.

The only module that imports faker. It reads the tables of faker's person providers and makes no generator: that would
take a second, and nothing here is random. A known word is evidence of a name, never proof.
"""

import gc
import json
import re
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from pkgutil import iter_modules
from types import ModuleType
from typing import Any, NamedTuple

from pipeline.detect.cache import cache_path, read_whole, write_whole
from pipeline.detect.fold import fold

# Letters that Unicode does not take apart, and that people write plain.
_PLAIN = str.maketrans({"ł": "l", "ø": "o", "đ": "d", "ð": "d", "\u0131": "i", "æ": "ae", "œ": "oe", "þ": "th"})
_FEMININE = {"ski": "ska", "cki": "cka", "dzki": "dzka", "ский": "ская", "цкий": "цкая"}
# `aB` inside a word is a name of code, but for McKay, MacLeod, DeVries, DiMarco, LeRoy, LaRue, VanDyke, FitzRoy.
_CAMEL = re.compile(r"[a-z](?<!\bMc)(?<!\bMac)(?<!\bDe)(?<!\bDi)(?<!\bDu)(?<!\bLe)(?<!\bLa)(?<!\bVan)(?<!\bFitz)[A-Z]")
_ACRONYM_CHARS_MAX = 4


class Word(NamedTuple):
    """A word of a text.

    Attributes:
        start: first code point.
        end: one past the last.
        text: as it is written.
        key: as it is looked up.
    """

    start: int
    end: int
    text: str
    key: str


def key(word: str) -> str:
    """Return the spelling under which a word is looked up: lower case, without accents."""
    return word.lower() if word.isascii() else fold(word).translate(_PLAIN)


class Tables(NamedTuple):
    """What faker knows of names.

    Attributes:
        first: given names.
        last: surnames.
        digest: of what both are made of.
    """

    first: frozenset[str]
    last: frozenset[str]
    digest: str


def load_tables(cache_dir: Path | None = None) -> Tables:
    """Return the given names and the surnames of all locales.

    Reading them from faker takes 0.3 s, so they are kept; in a file, since who asks makes a table of its own of them.

    Args:
        cache_dir: where; None for nowhere.
    """
    source = _source_digest()
    path = cache_path(cache_dir, "names", source, ("gazetteer", "fold"))
    kept = read_whole(path)
    if kept is not None:
        first, last = json.loads(kept)
        return Tables(frozenset(first), frozenset(last), source)
    with _tables_only():
        first, last = _read_tables()
    write_whole(path, json.dumps([sorted(first), sorted(last)]).encode())
    return Tables(first, last, source)


def _source_digest() -> str:
    """Return a digest of faker's tables as they are installed, and of the Python that reads them."""
    digest = sha256(sys.version.encode())
    spec = find_spec("faker")
    for folder in spec.submodule_search_locations or () if spec else ():
        for path in sorted(Path(folder, "providers", "person").rglob("*.py")):
            digest.update(path.read_bytes())
    return digest.hexdigest()


@contextmanager
def _tables_only() -> Iterator[None]:
    """Import faker's tables without the rest of it, which takes 10 MB and half a second, and forget them afterwards.

    Its package, and the one of its providers, are stand-ins meanwhile. Does nothing where faker is loaded already.
    """
    spec = find_spec("faker") if "faker" not in sys.modules else None
    folders = spec.submodule_search_locations if spec else None
    if folders is None:
        yield
        return
    package, providers = ModuleType("faker"), ModuleType("faker.providers")
    package.__path__ = list(folders)
    providers.__path__ = [str(Path(folder) / "providers") for folder in folders]
    vars(providers).update(BaseProvider=object, ElementsType=list)
    sys.modules.update({"faker": package, "faker.providers": providers})
    try:
        yield
    finally:
        for name in [name for name in sys.modules if name.partition(".")[0] == "faker"]:
            del sys.modules[name]
        gc.collect()  # now, so that what is made next takes their place


def _read_tables() -> tuple[frozenset[str], frozenset[str]]:
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
        last.update([word.removesuffix(masculine) + feminine for word in last if word.endswith(masculine)])
    return frozenset(first), frozenset(last)


def _words(table: Iterable[Any]) -> Iterator[str]:
    for entry in table:
        for part in (entry,) if isinstance(entry, str) else entry if isinstance(entry, tuple) else ():
            for word in part.split():
                if len(word) > 1 or not word.isascii():
                    yield key(word)


@dataclass(frozen=True, slots=True)
class Lexicon:
    """What is known of words. All keys are spelled as `key` spells them.

    Attributes:
        first: given names.
        last: surnames.
        weak: words that are names too, but mostly something else.
        stop: words that are never part of a name.
        titles: forms of address; they may stand before a name and are no part of it.
        particles: words in lower case that may stand within a name, as in ``de la Cruz``.
        place_before: words before a name that make it one of a place or a thing.
        thing_after: words behind a name that do.
        public: names of people of public knowledge, and of things that are called like people.
    """

    first: frozenset[str]
    last: frozenset[str]
    weak: frozenset[str]
    stop: frozenset[str]
    titles: frozenset[str]
    particles: frozenset[str]
    place_before: frozenset[str]
    thing_after: frozenset[str]
    public: frozenset[str]

    def is_name(self, word: str) -> bool:
        """Say whether a key is a given name or a surname."""
        return word in self.first or word in self.last

    def is_telling(self, word: str) -> bool:
        """Say whether a key is a name and hardly anything else. Of a double name, one half is enough."""
        if self.is_name(word):
            return word not in self.weak and word not in self.stop and (len(word) > 2 or not word.isascii())  # noqa: PLR2004 - `al`, `da`
        return "-" in word and any(len(part) > 3 and self.is_telling(part) for part in word.split("-"))  # noqa: PLR2004 - `ann-`

    def is_plain(self, word: str) -> bool:
        """Say whether a key is an ordinary word and no name."""
        return word in self.stop or (word in self.weak and not self.is_name(word))

    def is_pair(self, words: Sequence[Word]) -> bool:
        """Say whether words begin with a given name and end with a surname, which may both be ordinary words."""
        return len(words) > 1 and words[0].key in self.first and self.is_name(words[-1].key)

    def is_public(self, words: Sequence[Word]) -> bool:
        """Say whether these words are the full name of a person of public knowledge; one word is too little to say."""
        if len(words) == 1:
            return False
        keys = [word.key for word in words]
        return any(" ".join(some) in self.public for some in (keys, keys[:2], keys[:3], (keys[0], keys[-1]), keys[-2:]))

    def cut(self, words: Sequence[Word]) -> list[Word]:
        """Return the words up to the first that is no part of a name, without titles; none if they name a thing."""
        kept: list[Word] = []
        for word in words:
            if not kept and word.key in self.titles:
                continue
            if word.key in self.thing_after and kept:
                return []
            if word.key in self.stop or _CAMEL.search(word.text):
                break
            if kept and word.key in self.weak and not self.is_name(word.key):
                break
            kept.append(word)
        while kept and kept[-1].key in self.particles and kept[-1].text.islower():
            kept.pop()
        return kept

    def is_known(self, words: Sequence[Word]) -> bool:
        """Say whether words are a name by themselves: a telling one first, or one beside another name."""
        head = words[0].key
        if self.is_telling(head) or self.is_pair(words):
            return True
        if len(words) == 1 or self.is_plain(head):
            return False
        last = words[-1]
        is_caseless = not (last.text[0].isupper() or last.text[0].islower())
        return self.is_telling(last.key) and (is_caseless or last.key in self.last)

    def is_likely(self, words: Sequence[Word]) -> bool:
        """Say whether words that stand where a name does can be one."""
        if self.is_known(words):
            return True
        real = [word for word in words if word.key not in self.particles]
        if len(real) == 1:
            word = real[0]
            is_acronym = word.text.isupper() and len(word.text) <= _ACRONYM_CHARS_MAX and word.text.isascii()
            return not is_acronym and len(word.text) > 1 and word.key not in self.weak
        return bool(real) and not self.is_plain(real[0].key) and not all(word.key in self.weak for word in real)
