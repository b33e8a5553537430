"""Settings: the environment first, then lethe.toml, then documented defaults. Read once, frozen."""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path

from pipeline.errors import ConfigError
from pipeline.policy.load import Limits

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
        leaf_bytes_max: longest string leaf that is scanned, in characters.
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


def load_settings(environ: Mapping[str, str], toml_path: Path = Path("lethe.toml")) -> Settings:
    """Read the settings.

    Raises:
        ConfigError: a setting is unknown, of the wrong type or out of range; the text names it, never its value.
    """
    given: dict[str, object] = dict(_read_toml(toml_path))
    known = {f.name: f.type for f in fields(Settings)}
    for name in given:
        if name not in known:
            raise ConfigError(f"{toml_path}: unknown setting; the settings are {', '.join(sorted(known))}")
    for name in known:
        if (text := environ.get(f"LETHE_{name.upper()}")) is not None:
            given[name] = text
    return Settings(**{name: _typed(name, value) for name, value in given.items()})  # type: ignore[arg-type]  # checked by _typed


def _read_toml(path: Path) -> Mapping[str, object]:
    if not path.exists():
        return {}
    problem = False
    try:
        return tomllib.loads(path.read_text("utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, OSError):
        problem = True  # the exception quotes the file
    assert problem  # noqa: S101 - says why we are here, outside the except block
    raise ConfigError(f"{path}: cannot be read as TOML")


def _typed(name: str, value: object) -> str | int:
    if name not in _RANGES:
        if not isinstance(value, str):
            raise ConfigError(f"LETHE_{name.upper()} must be a string")
        return value
    low, high = _RANGES[name]
    text = str(value)
    if not (text.isascii() and text.isdigit()) or not low <= int(text) <= high:
        raise ConfigError(f"LETHE_{name.upper()} must be a whole number from {low} to {high}")
    return int(text)
