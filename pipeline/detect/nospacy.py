"""Lets Presidio be imported without spaCy, of which its pattern recognizers use nothing.

spaCy is half of the memory and of the time that importing Presidio takes, and it loads HTTP clients, which have no
business in a process that must not talk to anyone (policy §6). While the import lasts, its modules are stand-ins that
have every name; afterwards they are gone, and whoever needs the real ones imports them.
"""

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

_PACKAGES = ("spacy", "thinc")


class _Named(type):
    """A class that has every method; each is a decorator that changes nothing."""

    def __getattr__(cls, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return lambda *_args, **_options: lambda decorated: decorated


class _StandIn(ModuleType):
    """A module that has every class."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return _Named(name, (), {})


class _Finder:
    """Finds a stand-in for each module of the packages."""

    @staticmethod
    def find_spec(name: str, _path: Sequence[str] | None = None, _target: object = None) -> ModuleSpec | None:
        if name.partition(".")[0] not in _PACKAGES:
            return None
        return ModuleSpec(name, _Finder, is_package=True)  # type: ignore[arg-type] # has what is called of a loader

    @staticmethod
    def create_module(spec: ModuleSpec) -> ModuleType:
        return _StandIn(spec.name)

    @staticmethod
    def exec_module(module: ModuleType) -> None:
        """Leave it empty."""


@contextmanager
def without_spacy() -> Iterator[None]:
    """Import what imports spaCy without it. Does nothing where spaCy is loaded already."""
    if any(name in sys.modules for name in _PACKAGES):
        yield
        return
    finder: Any = _Finder
    sys.meta_path.insert(0, finder)
    try:
        yield
    finally:
        sys.meta_path.remove(finder)
        for name in [name for name in sys.modules if name.partition(".")[0] in _PACKAGES]:
            del sys.modules[name]
