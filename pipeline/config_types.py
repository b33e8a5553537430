"""The kinds of settings, each with its check. An error names the setting and what it must be, never its value."""

import re
from collections.abc import Callable, Mapping
from dataclasses import Field, dataclass, field
from enum import StrEnum
from typing import Any

from pipeline.errors import ConfigError
from pipeline.policy.validator import FORMATS
from pipeline.topics.duration import parse_ms

_DIGITS_MAX = 10
_FLAGS = {"true": True, "1": True, "false": False, "0": False}
_KEY = "setting"

NAME = re.compile(r"[A-Za-z0-9._-]{1,249}", re.ASCII)
USER = re.compile(r"[A-Za-z0-9._@:/+-]{1,249}", re.ASCII)
HOST = re.compile(r"[A-Za-z0-9._:-]{1,253}", re.ASCII)
ACTOR = re.compile(FORMATS["actor"])
_MUST_BE = {
    NAME: "1 to 249 letters, digits, '.', '_' or '-'",
    USER: "1 to 249 letters, digits or any of '._@:/+-'",
    HOST: "a host name or an IP address",
    ACTOR: "a login: 1 to 64 small letters, digits, '.', '_' or '-', no digit first",
}


@dataclass(frozen=True, slots=True)
class Setting:
    """What is known of a setting beside its name, type and default.

    Attributes:
        meaning: what it does, for docs/settings.md.
        must_be: what every value must be, for errors and docs/settings.md.
        parse: makes the value of what lethe.toml or the environment holds; None when that is no such value.
        unit: of a number, "" for none.
    """

    meaning: str
    must_be: str
    parse: Callable[[object], str | int | bool | None]
    unit: str = ""


def setting_of(described: Field[Any]) -> Setting:
    """Return what is known of a field of `pipeline.config.Settings`."""
    known: Setting = described.metadata[_KEY]
    return known


def parse(described: Field[Any], value: object, where: str) -> str | int | bool:
    """Return the value of a setting.

    Args:
        described: field of `pipeline.config.Settings`.
        value: what the environment or lethe.toml holds.
        where: names the place for the error.

    Raises:
        ConfigError: it is of the wrong type or out of range; the text repeats nothing of it.
    """
    setting = setting_of(described)
    parsed = setting.parse(value)
    if parsed is None:
        raise ConfigError(f"{where} must be {setting.must_be}")
    return parsed


def text(default: str, meaning: str, *, secret: bool = False) -> Any:
    """Return a field for any text; a secret one is in no repr."""
    setting = Setting(meaning, "a string", lambda value: value if isinstance(value, str) else None)
    return field(default=default, repr=not secret, metadata=_metadata(setting))


def name(default: str, meaning: str, pattern: re.Pattern[str] = NAME) -> Any:
    """Return a field for a name of a closed form; "" is allowed where it is the default."""

    def parse_name(value: object) -> str | None:
        fits = isinstance(value, str) and (pattern.fullmatch(value) or (not value and not default))
        return str(value) if fits else None

    return field(default=default, metadata=_metadata(Setting(meaning, _MUST_BE[pattern], parse_name)))


def whole(default: int, low_high: tuple[int, int], unit: str, meaning: str) -> Any:
    """Return a field for a whole number within a range, both ends included."""
    low, high = low_high

    def parse_whole(value: object) -> int | None:
        digits = str(value)
        # Longer ones Python refuses to convert.
        is_whole = digits.isascii() and digits.isdigit() and len(digits) <= _DIGITS_MAX
        return int(digits) if is_whole and low <= int(digits) <= high else None

    must_be = f"a whole number from {low} to {high}"
    return field(default=default, metadata=_metadata(Setting(meaning, must_be, parse_whole, unit)))


def choice(default: StrEnum, meaning: str) -> Any:
    """Return a field for one of a closed list: the values of the default's class."""
    kind = type(default)
    known = {str(each): each for each in kind}
    setting = Setting(meaning, "one of " + ", ".join(known), lambda value: known.get(str(value)))
    return field(default=default, metadata=_metadata(setting))


def flag(meaning: str, *, default: bool) -> Any:
    """Return a field for yes or no."""
    setting = Setting(meaning, "true or false", lambda value: _FLAGS.get(str(value).lower()))
    return field(default=default, metadata=_metadata(setting))


def duration(default: str, meaning: str) -> Any:
    """Return a field for a duration as text, such as ``24h``; "" is allowed where it is the default."""

    def parse_duration(value: object) -> str | None:
        if not isinstance(value, str):
            return None
        if value or default:
            try:
                parse_ms("", value)
            except ConfigError:
                return None
        return value

    must_be = "a duration with its unit, such as 30d, 24h, 15min, 10s or 500ms"
    return field(default=default, metadata=_metadata(Setting(meaning, must_be, parse_duration)))


def _metadata(setting: Setting) -> Mapping[str, Setting]:
    return {_KEY: setting}
