"""Reads policy data field by field, with errors that say where the file is wrong. Pure."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NoReturn

from pipeline.errors import PolicyError

Compile = Callable[[str], re.Pattern[str]]
"""Makes a regular expression of its text, as `re.compile` does."""


@dataclass(frozen=True, slots=True)
class Node:
    """An object of a policy file that knows where it stands, so that an error can say so.

    Attributes:
        where: file and path to the object.
        data: the parsed object.
        keys: the fields it may have.
        compile: makes its regular expressions.

    Raises:
        PolicyError: from every method, when the file is wrong; the text names the field.
    """

    where: str
    data: Any
    keys: set[str]
    compile: Compile = re.compile

    def __post_init__(self) -> None:
        if not isinstance(self.data, dict):
            raise PolicyError(f"{self.where}: must be an object")
        for key in self.data:
            if key not in self.keys:
                raise PolicyError(f"{self.where}/{key}: unknown field; remove it")

    def fail(self, key: str, problem: str) -> NoReturn:
        """Raise an error that names the field."""
        raise PolicyError(f"{self.where}/{key}: {problem}")

    def children(self, key: str, keys: set[str]) -> list[tuple[str, "Node"]]:
        """Return the objects under a field by name; none when it is missing."""
        value = self.data.get(key, {})
        if not isinstance(value, dict):
            self.fail(key, "must be an object")
        return [(name, Node(f"{self.where}/{key}/{name}", child, keys, self.compile)) for name, child in value.items()]

    def text(self, key: str, default: str | None = None) -> str:
        """Return a string; without a default it must be there and not be empty."""
        value = self.data.get(key, default)
        if not isinstance(value, str) or (default is None and not value):
            self.fail(key, "must be a string" if default is not None else "must be a string that is not empty")
        return value

    def number(self, key: str) -> float:
        """Return a number from 0 to 1."""
        value = self.data.get(key)
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
            self.fail(key, "must be a number from 0 to 1")
        return float(value)

    def flag(self, key: str) -> bool:
        """Return true or false; false when it is missing."""
        value = self.data.get(key, False)
        if not isinstance(value, bool):
            self.fail(key, "must be true or false")
        return value

    def count(self, key: str, default: int) -> int:
        """Return a positive integer."""
        value = self.data.get(key, default)
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            self.fail(key, "must be a positive integer")
        return value

    def strings(self, key: str, is_good: Callable[[str], bool] = bool) -> tuple[str, ...]:
        """Return a list of strings, each of which is good."""
        value = self.data.get(key, [])
        if not isinstance(value, list) or not all(isinstance(item, str) and is_good(item) for item in value):
            self.fail(key, "must be a list of strings in the declared form")
        return tuple(value)

    def regex(self, key: str) -> re.Pattern[str] | None:
        """Return a compiled regular expression, or None when the field is missing or empty."""
        value = self.text(key, "")
        compiled = None
        try:
            compiled = self.compile(value) if value else None
        except re.error:
            self.fail(key, "is not a regular expression")
        return compiled
