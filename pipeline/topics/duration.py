"""Durations as people write them: ``24h``, ``1 d 2 h``; exact both ways."""

import re

from pipeline.errors import ConfigError

_UNITS = {"d": 86_400_000, "h": 3_600_000, "min": 60_000, "s": 1000, "ms": 1}
_ALIASES = {"m": "min"}
_PART = re.compile(r"\s*(\d{1,15})\s*(d|h|min|ms|m|s)\s*", re.ASCII)


def format_ms(duration_ms: int) -> str:
    """Return milliseconds exactly, largest unit first: ``1 d 21 h 6 min``."""
    sign, rest = ("-" if duration_ms < 0 else ""), abs(duration_ms)
    parts = []
    for unit, unit_ms in _UNITS.items():
        count, rest = divmod(rest, unit_ms)
        if count:
            parts.append(f"{count:,} {unit}")
    return sign + " ".join(parts or ["0 s"])


def parse_ms(name: str, text: str) -> int:
    """Read a duration such as ``30d``, ``24h``, ``1h30min``, ``15m``, ``10s`` or ``500ms``.

    Args:
        name: what it is, for the message.
        text: the duration.

    Raises:
        ConfigError: it is none.
    """
    total_ms = position = 0
    for part in _PART.finditer(text):
        if part.start() != position:
            break
        position = part.end()
        total_ms += int(part[1]) * _UNITS[_ALIASES.get(part[2], part[2])]
    if not text or position != len(text):
        raise ConfigError(f"{name} must be a duration with its unit, such as 30d, 24h, 15min, 10s or 500ms")
    return total_ms
