"""Lets a library be imported without others that it imports, and of which what we use of it uses nothing.

spaCy is half of the memory and of the time that importing Presidio takes, HTTP clients are most of what importing
tldextract takes, and have no business in a process that must not talk to anyone (policy §6). While the import lasts,
their modules are stand-ins that have every name; afterwards they are gone, and whoever needs the real ones imports
them.
"""

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.machinery import ModuleSpec
from importlib.util import find_spec, module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any


class _Named(type):
    """A class that has every method; each is a decorator that changes nothing."""

    def __getattr__(cls, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return lambda *_args, **_options: lambda decorated: decorated


class _Idle:
    """Has every method; each does nothing."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return _nothing


def _nothing(*_args: object, **_options: object) -> None:
    """Do nothing."""


class _StandIn(ModuleType):
    """A module that has every class."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return _Named(name, (_Idle,), {})


class _Finder:
    """Finds a stand-in for each module of some packages."""

    def __init__(self, packages: Sequence[str]) -> None:
        self._packages = packages

    def find_spec(self, name: str, _path: Sequence[str] | None = None, _target: object = None) -> ModuleSpec | None:
        if name.partition(".")[0] not in self._packages:
            return None
        return ModuleSpec(name, self, is_package=True)  # type: ignore[arg-type] # has what is called of a loader

    @staticmethod
    def create_module(spec: ModuleSpec) -> ModuleType:
        return _StandIn(spec.name)

    @staticmethod
    def exec_module(module: ModuleType) -> None:
        """Leave it empty."""


@contextmanager
def without(*packages: str) -> Iterator[None]:
    """Import what imports these packages without them. Does nothing where one of them is loaded already."""
    if any(name in sys.modules for name in packages):
        yield
        return
    finder: Any = _Finder(packages)
    sys.meta_path.insert(0, finder)
    try:
        yield
    finally:
        sys.meta_path.remove(finder)
        for name in [name for name in sys.modules if name.partition(".")[0] in packages]:
            del sys.modules[name]


@contextmanager
def unchecked_patterns() -> Iterator[None]:
    """Import Presidio without the compilation of its 180 patterns, which is there to see that they are some.

    It is half of the time that the import takes. Presidio's module of patterns is loaded first, by itself.
    """
    name = "presidio_analyzer.pattern"
    package = find_spec("presidio_analyzer")
    if name in sys.modules or package is None or package.origin is None:
        yield
        return
    spec: Any = spec_from_file_location(name, Path(package.origin).with_name("pattern.py"))
    module: Any = module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    check = "_Pattern__validate_regex"
    checked = vars(module.Pattern).get(check)
    setattr(module.Pattern, check, staticmethod(lambda _: None))
    try:
        yield
    finally:
        setattr(module.Pattern, check, checked)
        if imported := sys.modules.get("presidio_analyzer"):
            vars(imported)["pattern"] = module  # as an import of it would
