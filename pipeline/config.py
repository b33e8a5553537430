"""Settings: the environment first, then lethe.toml, then documented defaults. Read once, frozen."""

import difflib
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path

from pipeline.errors import ConfigError
from pipeline.policy.lint_sinks import SINKS
from pipeline.policy.load import Limits

PREFIX = "LETHE_"
_DEFAULTS = Limits()


@dataclass(frozen=True, slots=True)
class Settings:
    """What an operator sets. Each is ``LETHE_<NAME>`` in the environment, ``<name>`` in lethe.toml.

    Attributes:
        keys: path of the key file.
        store: sink URL; it may hold a password, so it is never shown.
        schemas: folder of the policy, "" for the shipped one.
        event_schema: annotated event schema below that folder, "" for what policy.json says.
        event_bytes_max: largest raw event, in bytes.
        depth_max: deepest nesting of an event.
        leaf_bytes_max: longest string leaf that is scanned, in bytes.
        batch_events_max: events a write into a sink.
    """

    keys: str = "lethe.keys.json"
    store: str = field(default="chdb:./lethe-data", repr=False)
    schemas: str = ""
    event_schema: str = ""
    event_bytes_max: int = _DEFAULTS.event_bytes_max
    depth_max: int = _DEFAULTS.depth_max
    leaf_bytes_max: int = _DEFAULTS.leaf_bytes_max
    batch_events_max: int = 5000

    def limits(self) -> Limits:
        """Return the bounds of one event."""
        return Limits(self.event_bytes_max, self.depth_max, self.leaf_bytes_max)


# Depth ends at 128 because the walk recurses; a deeper event is no request that an API took.
_RANGES = {
    "event_bytes_max": (1024, 1 << 30),
    "depth_max": (8, 128),
    "leaf_bytes_max": (1024, 1 << 30),
    "batch_events_max": (1, 1_000_000),
}
_DIGITS_MAX = 10
_NAMES = tuple(f.name for f in fields(Settings))
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_-]{0,40}", re.ASCII)


def load_settings(environ: Mapping[str, str], toml_path: Path = Path("lethe.toml")) -> Settings:
    """Read the settings. An empty variable counts as not given: that is how compose files leave one out.

    Raises:
        ConfigError: a setting is of the wrong type or out of range, or the file has one that is unknown; the text
            names it and where it stands, never its value.
    """
    chosen: dict[str, str | int] = {}
    for name, value in _read_toml(toml_path).items():
        if name not in _NAMES:
            raise ConfigError(f"{toml_path}: {_describe_unknown(name, '')}")
        chosen[name] = _typed(name, value, f"{toml_path}: {name}")
    for name in _NAMES:
        if text := environ.get(_variable(name)):
            chosen[name] = _typed(name, text, _variable(name))
    return Settings(**chosen)  # type: ignore[arg-type]  # checked by _typed


TOPIC_VARIABLES = ("brokers", "topic_prefix", *(f"topic_{name}" for name in SINKS))
"""Variables of `pipeline.topics.settings`; they have no place in lethe.toml."""


def unknown_settings(environ: Mapping[str, str]) -> list[str]:
    """Name the variables that look like settings and are none, each with the setting that was probably meant.

    They are a warning, not an error: an environment is shared, and other versions have other settings.
    """
    known = {_variable(name) for name in (*_NAMES, *TOPIC_VARIABLES)}
    return [
        _describe_unknown(name, PREFIX) for name in sorted(environ) if name.startswith(PREFIX) and name not in known
    ]


def _variable(name: str) -> str:
    return f"{PREFIX}{name.upper()}"


def _describe_unknown(name: str, prefix: str) -> str:
    """Say that a name is no setting. A name of another form is not repeated: who knows what was pasted there."""
    plain = name.removeprefix(prefix).lower()
    shown = f"'{name}'" if _NAME.fullmatch(name) else "a name in it"
    near = difflib.get_close_matches(plain.replace("-", "_"), _NAMES, n=1)
    known = [_variable(known) if prefix else known for known in near or sorted(_NAMES)]
    return f"{shown} is no setting; " + (f"did you mean '{known[0]}'?" if near else f"they are {', '.join(known)}")


def _read_toml(path: Path) -> Mapping[str, object]:
    problem = ""
    try:
        return tomllib.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        return {}
    except OSError as error:
        problem = f"cannot be read ({error.strerror})"
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError):
        problem = "is not TOML"  # the exception quotes the file
    raise ConfigError(f"{path}: {problem}")


def _typed(name: str, value: object, where: str) -> str | int:
    if name not in _RANGES:
        if not isinstance(value, str):
            raise ConfigError(f"{where} must be a string")
        return value
    low, high = _RANGES[name]
    text = str(value)
    whole = text.isascii() and text.isdigit() and len(text) <= _DIGITS_MAX  # longer ones Python refuses to convert
    if not whole or not low <= int(text) <= high:
        raise ConfigError(f"{where} must be a whole number from {low} to {high}")
    return int(text)
