"""Which model finds names: where its files are, and what they are. Reads disk; imports nothing of spaCy.

A model decides what is redacted, so its identity is part of the policy's digest: name, version, spaCy's version and a
digest of its files. The processes that load it say what they have loaded, and must say the same.
"""

import hashlib
import json
import os
import re
from collections.abc import Iterator
from importlib import metadata, util
from pathlib import Path
from typing import Any, NamedTuple

from pipeline.errors import ConfigError

FILES_MAX = 10_000
_SETTING = "LETHE_NER_MODEL"
_PACKAGE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)
_CHUNK_BYTES = 1 << 20


class Model(NamedTuple):
    """A spaCy pipeline on this machine.

    Attributes:
        source: what spaCy loads it by: the package's name, or the folder as an absolute path.
        language: its code, such as ``en``; ``xx`` for several.
        identity: the same for the same files: ``en_core_web_sm 3.8.0, spaCy 3.8.18, files 0123456789abcdef``.
    """

    source: str
    language: str
    identity: str


def find_model(name: str) -> Model:
    """Find a model.

    Args:
        name: of an installed package, or the path of a folder that spaCy's ``to_disk`` has written.

    Raises:
        ConfigError: there is none of that name, or its files cannot be read; the text names the setting.
    """
    folder, source = _locate(name)
    described = _describe(folder)
    language, version = described["lang"], described["version"]
    title = f"{language}_{described['name']} {version}, spaCy {_spacy_version()}"
    return Model(source, language, f"{title}, files {_digest(folder)}")


def _locate(name: str) -> tuple[Path, str]:
    """Return the folder that holds meta.json, and what spaCy loads it by: an installed package comes first, as there.

    Presidio downloads what is neither. So it is only ever given what is there.
    """
    if _PACKAGE.fullmatch(name) and (package := _package_folder(name)):
        return package, name
    folder = Path(name)
    if folder.is_dir() and (folder / "meta.json").is_file():
        return folder.resolve(), str(folder.resolve())
    raise ConfigError(
        f"{_SETTING} names no spaCy pipeline: install its package (pip install of the model's wheel), or give a folder "
        "that holds meta.json and config.cfg"
    )


def _package_folder(name: str) -> Path | None:
    try:
        metadata.distribution(name)
        found = util.find_spec(name)
    except (metadata.PackageNotFoundError, ImportError, ValueError):
        return None
    places = list(found.submodule_search_locations or ()) if found else []
    return next((Path(place) for place in places if (Path(place) / "meta.json").is_file()), None)


def _describe(folder: Path) -> dict[str, str]:
    described: Any = None
    try:
        described = json.loads((folder / "meta.json").read_bytes())
    except (OSError, ValueError, RecursionError):
        described = None
    keys = ("lang", "name", "version")
    if not isinstance(described, dict) or not all(isinstance(described.get(key), str) for key in keys):
        raise ConfigError(f"{_SETTING}: the model's meta.json cannot be read, or has no lang, name and version")
    return {key: described[key] for key in keys}


def _spacy_version() -> str:
    try:
        return metadata.version("spacy")
    except metadata.PackageNotFoundError:
        version = ""
    if not version:
        raise ConfigError(f"{_SETTING}: spaCy is not installed; install lethe[ner], or leave the setting empty")
    return version


def _digest(folder: Path) -> str:
    """Return 16 hex digits over the names and contents of all files."""
    total = hashlib.sha256()
    problem = ""
    try:
        for path in _files(folder):
            total.update(f"{path.relative_to(folder).as_posix()}\0".encode())
            total.update(_hash(path))
    except OSError as error:
        problem = error.strerror or "unknown error"
    if problem:
        raise ConfigError(f"{_SETTING}: the model's files cannot be read ({problem})")
    return total.hexdigest()[:16]


def _files(folder: Path) -> Iterator[Path]:
    """Yield all files in order; through links, too, for orchestrators mount folders that way. Hidden ones are theirs.

    Raises:
        OSError: a folder cannot be read, or there is no end of files.
    """
    seen = 0
    for place, folders, files in os.walk(folder, onerror=_fail, followlinks=True):
        folders[:] = sorted(name for name in folders if name != "__pycache__" and not name.startswith("."))
        for name in sorted(files):
            if not name.startswith("."):
                seen += 1
                if seen > FILES_MAX:
                    raise OSError(0, f"more than {FILES_MAX} files")
                yield Path(place, name)


def _fail(error: OSError) -> None:
    raise error


def _hash(path: Path) -> bytes:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            digest.update(chunk)
    return digest.digest()
