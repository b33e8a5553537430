"""What wraps the keys of the keyring: a key-encryption key in a file, or a key management service behind a plugin.

``file:PATH`` names a file of mode 0600: ``{"version": 1, "kek": 32 bytes in base64}``. Any other scheme is looked for
among installed plugins: an entry point of that name in the group ``lethe.key_providers``, called with the whole URL,
returns a `KeyProvider`. No error holds any part of a key.
"""

import base64
import json
import secrets
from importlib.metadata import entry_points
from pathlib import Path
from typing import Protocol

from pipeline.errors import ConfigError, KeyringError
from pipeline.keys.cipher import KEY_BYTES, NONCE_BYTES, Cipher
from pipeline.keys.keyformat import parse_field, parse_key
from pipeline.keys.privatefile import create_private, locked_folder, quote, read_private, resolve

PLUGINS = "lethe.key_providers"
FILE = "file"
_VERSION = 1
_KIND = "key-encryption key"


class KeyProvider(Protocol):
    """Wraps keys and unwraps them. What it wraps with stays where it is."""

    def wrap(self, key: bytes, context: bytes) -> bytes:
        """Return a key of 32 bytes wrapped, bound to a context that is no secret.

        Raises:
            KeyringError: it cannot; the text says why, and holds no key.
        """
        ...

    def unwrap(self, wrapped: bytes, context: bytes) -> bytes:
        """Return the key again.

        Raises:
            KeyringError: it was wrapped by another, for another context, or was changed.
        """
        ...


class FileProvider:
    """Wraps with the key in a file."""

    def __init__(self, key: bytes) -> None:
        """Take 32 secret bytes."""
        self._cipher = Cipher(key)

    def wrap(self, key: bytes, context: bytes) -> bytes:
        """Return a nonce, and the key sealed."""
        nonce = secrets.token_bytes(NONCE_BYTES)
        return nonce + self._cipher.seal(nonce, key, context)

    def unwrap(self, wrapped: bytes, context: bytes) -> bytes:
        """Return the key again.

        Raises:
            KeyringError: it was wrapped by another, for another context, or was changed.
        """
        key = self._cipher.open(wrapped[:NONCE_BYTES], wrapped[NONCE_BYTES:], context)
        if key is None:
            raise KeyringError("a day key was not wrapped by this key-encryption key, or was changed")
        return key


def init_kek(url: str) -> bool:
    """Make the key-encryption key of a ``file:`` URL; return whether it was made, False where it is there.

    Raises:
        ConfigError: it names no file.
        KeyringError: it cannot be written.
    """
    path = file_of(url)
    if path is None or path.exists():
        return False
    text = base64.b64encode(secrets.token_bytes(KEY_BYTES)).decode("ascii")
    with locked_folder(path):
        create_private(path, json.dumps({"version": _VERSION, "kek": text}).encode() + b"\n", "day keys hang on it")
    return True


def load_provider(url: str) -> KeyProvider:
    """Return what wraps and unwraps, as a URL says.

    Raises:
        ConfigError: the URL names nothing that is installed.
        KeyringError: the file is missing, open to others, or none; the text says what to do.
    """
    path = file_of(url)
    if path is None:
        return _plugin(url)
    data = read_private(path, _KIND, f"make one with 'LETHE_KEK=file:{quote(path)} lethe keys init'")
    key = _decode(data)
    if key is None:
        raise KeyringError(f"{path} is not a valid {_KIND} file: it is no JSON object with version 1 and kek")
    return FileProvider(key)


def file_of(url: str) -> Path | None:
    """Return the path of a ``file:`` URL, None for another scheme.

    Raises:
        ConfigError: it is no URL, or names no path.
    """
    scheme, colon, rest = url.partition(":")
    if not colon or not rest:
        raise ConfigError("LETHE_KEK is file: and a path, or the URL of an installed key provider")
    return resolve(Path(rest)) if scheme == FILE else None


def _plugin(url: str) -> KeyProvider:
    scheme = url.partition(":")[0]
    found = [point for point in entry_points(group=PLUGINS) if point.name == scheme]
    if len(found) != 1:
        known = sorted({FILE, *(point.name for point in entry_points(group=PLUGINS))})
        raise ConfigError(f"LETHE_KEK has a scheme that no installed key provider has; there are: {', '.join(known)}")
    provider: KeyProvider = found[0].load()(url)
    return provider


def _decode(data: bytes) -> bytes | None:
    key = parse_key(parse_field(data, "kek", _VERSION))
    return key if key is not None and len(key) == KEY_BYTES else None
