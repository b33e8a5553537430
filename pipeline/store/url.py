"""Store URLs, parsed. Pure; no error here repeats the URL, which may hold a password."""

import re
from contextlib import suppress
from dataclasses import dataclass, field
from ipaddress import ip_address
from pathlib import Path
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

from pipeline.errors import ConfigError

DATABASE = "lethe"
"""The database where a URL names none."""
_FORMS = "chdb:DIR, clickhouse://user:password@host:port/database or clickhouses://…"
_DATABASE = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}", re.ASCII)
_OPTIONS = frozenset({"secure", "ca_cert"})
_PLAIN_PORT, _TLS_PORT = 8123, 8443


@dataclass(frozen=True, slots=True)
class EmbeddedTarget:
    """A chdb folder on this machine.

    Attributes:
        folder: where the tables live.
        database: database name.
    """

    folder: Path
    database: str

    @property
    def label(self) -> str:
        """What messages call it."""
        return f"chdb:{self.folder}"


@dataclass(frozen=True, slots=True)
class ServerTarget:
    """A ClickHouse server, spoken to over HTTP(S).

    Attributes:
        host: name or address.
        port: of the HTTP interface.
        user: user name, "" for the server's default user.
        password: never in a repr, message or log.
        database: database name.
        secure: whether TLS is used.
        ca_cert: file with the certificate authority to trust, or "" for the system's.
    """

    host: str
    port: int
    user: str = field(repr=False)
    password: str = field(repr=False)
    database: str
    secure: bool
    ca_cert: str = ""

    @property
    def label(self) -> str:
        """What messages call it: neither user nor password."""
        return f"{'clickhouses' if self.secure else 'clickhouse'}://{self.host}:{self.port}/{self.database}"


Target = EmbeddedTarget | ServerTarget


def parse_store_url(url: str, *, database: str) -> Target:
    """Parse a store URL.

    TLS is the default for every host but this machine (policy §7); ``?secure=false`` says otherwise.

    Args:
        url: ``chdb:DIR``, ``clickhouse://[user[:password]@]host[:port][/database][?secure=BOOL&ca_cert=FILE]`` or the
            same with ``clickhouses``. User, password and database are percent-decoded.
        database: the database where the URL names none.

    Raises:
        ConfigError: the URL is none of these.
    """
    scheme, colon, rest = url.partition(":")
    if colon and scheme == "chdb":
        return EmbeddedTarget(_parse_folder(rest), _check_database(database))
    if colon and scheme in {"clickhouse", "clickhouses"} and rest.startswith("//"):
        return _parse_server(url, database)
    raise ConfigError(f"store URL: expected {_FORMS}")


def _parse_folder(text: str) -> Path:
    if not text or set(text) & set("?#\0"):
        raise ConfigError("store URL: chdb: needs a folder after it, without the characters ? and #")
    return Path(text).expanduser()


def _check_database(name: str) -> str:
    if not _DATABASE.fullmatch(name):
        raise ConfigError("store URL: a database name has letters, digits and underscores only, at most 64")
    return name


def _parse_server(url: str, database: str) -> ServerTarget:
    parts, port = _split(url)
    host = parts.hostname or ""
    if not host:
        raise ConfigError(f"store URL: no host; expected {_FORMS}")
    options = dict(parse_qsl(parts.query, keep_blank_values=True))
    if unknown := sorted(options.keys() - _OPTIONS):
        raise ConfigError(f"store URL: {len(unknown)} unknown option(s); known are {', '.join(sorted(_OPTIONS))}")
    secure = _is_secure(parts.scheme, host, options.get("secure"))
    return ServerTarget(
        host=host,
        port=port or (_TLS_PORT if secure else _PLAIN_PORT),
        user=unquote(parts.username or ""),
        password=unquote(parts.password or ""),
        database=_check_database(unquote(parts.path.strip("/")) or database),
        secure=secure,
        ca_cert=options.get("ca_cert", ""),
    )


def _split(url: str) -> tuple[SplitResult, int | None]:
    with suppress(ValueError):  # its text repeats the URL: a fresh error is raised below
        parts = urlsplit(url)
        return parts, parts.port
    raise ConfigError(f"store URL: host or port cannot be read; expected {_FORMS}")


def _is_secure(scheme: str, host: str, option: str | None) -> bool:
    if option is not None:
        word = option.lower()
        if word not in {"true", "false", "1", "0"} or (scheme == "clickhouses" and word in {"false", "0"}):
            raise ConfigError("store URL: secure is true or false, and clickhouses:// is always secure")
        return word in {"true", "1"}
    return scheme == "clickhouses" or not _is_loopback(host)


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
