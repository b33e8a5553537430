"""The manifest of planted canaries: JSON Lines, one canary a line."""

from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import fields
from pathlib import Path
from typing import IO

import orjson

from pipeline.errors import ConfigError
from pipeline.synth.model import Canary

_FIELDS = frozenset(field.name for field in fields(Canary))
_EXPECTS = frozenset({"absent", "present"})


def write_manifest(target: Path | IO[bytes], canaries: Iterable[Canary]) -> int:
    """Write canaries as JSON Lines (UTF-8) to a new file or to an open binary stream; return how many."""
    count = 0
    with _opened(target, "wb") as stream:
        for canary in canaries:
            stream.write(orjson.dumps(canary, option=orjson.OPT_APPEND_NEWLINE))
            count += 1
    return count


def read_manifest(source: Path | IO[bytes]) -> Iterator[Canary]:
    """Yield the canaries of a manifest, in order.

    Raises:
        ConfigError: a line is not a canary; the text names the line's number, from 1.
    """
    with _opened(source, "rb") as stream:
        for number, line in enumerate(stream, start=1):
            canary = _to_canary(line)
            if canary is None:
                raise ConfigError(f"manifest line {number} is not a canary: write the manifest again")
            yield canary


def _opened(where: Path | IO[bytes], mode: str) -> AbstractContextManager[IO[bytes]]:
    """Open a path, to be closed; a stream stays its owner's."""
    return where.open(mode) if isinstance(where, Path) else nullcontext(where)


def _to_canary(line: bytes) -> Canary | None:
    try:
        data = orjson.loads(line)
    except orjson.JSONDecodeError:
        return None
    if not isinstance(data, dict) or data.keys() != _FIELDS or not all(isinstance(v, str) for v in data.values()):
        return None
    return Canary(**data) if data["expect"] in _EXPECTS else None
