"""How Kafka is reached: addresses, TLS and login. Every client gets its options here, and none without (policy §7)."""

import ipaddress
import re
import ssl
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, Self

from pipeline.errors import ConfigError
from pipeline.keys.privatefile import read_private

MECHANISM = "SCRAM-SHA-512"
"""The one login there is: the brokers need not keep the password, and it never goes over the wire."""

_LABEL = "[A-Za-z0-9_-]{1,63}"  # of others no look-up is even tried
_ADDRESS = re.compile(rf"(\[[0-9A-Fa-f:.]+\]|{_LABEL}(\.{_LABEL})*\.?):\d{{1,5}}", re.ASCII)
_PORT_MAX = 65_535
_LOOPBACK_NAME = "localhost"


class Security(StrEnum):
    """What stands between a client and a broker. A login without TLS is none: records would go in the clear."""

    PLAINTEXT = "plaintext"
    TLS = "tls"
    SASL_TLS = "sasl_tls"


_PROTOCOL = {Security.PLAINTEXT: "PLAINTEXT", Security.TLS: "SSL", Security.SASL_TLS: "SASL_SSL"}


class Hidden(str):
    """A password: the text that clients want, and nothing in a repr, such as that of their options in their logs."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "<hidden>"


@dataclass(frozen=True, slots=True)
class Brokers:
    """Where Kafka is, and how it is reached. As text it is the address, for messages.

    Attributes:
        address: ``host:port``, several separated by commas.
        security: what stands between.
        plaintext_anywhere: plaintext is allowed beyond this machine.
        tls_ca: PEM file of the authorities that are trusted; "" for the system's.
        tls_cert, tls_key: PEM files of this client's certificate and its key; "" for none.
        user, password: of the login.
    """

    address: str
    security: Security = Security.PLAINTEXT
    plaintext_anywhere: bool = False
    tls_ca: str = ""
    tls_cert: str = ""
    tls_key: str = ""
    user: str = field(default="", repr=False)
    password: Hidden = field(default=Hidden(), repr=False)

    def __str__(self) -> str:
        return self.address

    def servers(self) -> list[str]:
        """Return each ``host:port``."""
        return [server.strip() for server in self.address.split(",")]

    def context(self) -> ssl.SSLContext | None:
        """Return what TLS is done with: 1.2 or newer, and the broker's certificate and name are always checked.

        Raises:
            ConfigError: a file of certificates or keys cannot be used.
        """
        if self.security is Security.PLAINTEXT:
            return None
        # Not create_default_context: it would write every session's keys where SSLKEYLOGFILE says.
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        if self.tls_ca:
            _load("LETHE_TLS_CA", lambda: context.load_verify_locations(self.tls_ca))
        else:
            context.load_default_certs(ssl.Purpose.SERVER_AUTH)
        if self.tls_cert:
            # A key with a passphrase would be asked for on the terminal; an empty one makes it fail.
            _load("LETHE_TLS_CERT or LETHE_TLS_KEY", lambda: context.load_cert_chain(self.tls_cert, self.tls_key, ""))
        return context

    def options(self) -> dict[str, Any]:
        """Return the options of a client, which both of Kafka's call the same.

        Raises:
            ConfigError: as `context`.
        """
        options: dict[str, Any] = {"security_protocol": _PROTOCOL[self.security], "ssl_context": self.context()}
        if self.security is Security.SASL_TLS:
            login = {"sasl_plain_username": self.user, "sasl_plain_password": self.password}
            options |= {"sasl_mechanism": MECHANISM, **login}
        return options

    def check_plaintext(self, hosts: Iterable[str]) -> None:
        """Refuse to send records in the clear to another machine, unless that is wanted.

        Args:
            hosts: names or addresses: those that are set, and those that brokers say they have.

        Raises:
            ConfigError: one is not this machine.
        """
        if self.security is not Security.PLAINTEXT or self.plaintext_anywhere or all(map(is_loopback, hosts)):
            return
        raise ConfigError(
            "Kafka is on another machine, and what goes there in plaintext everyone between can read: set "
            "LETHE_SECURITY to tls or sasl_tls (docs/security.md), or LETHE_PLAINTEXT=true where the network between "
            "is trusted"
        )

    @classmethod
    def checked(cls, password_file: str = "", **given: Any) -> Self:
        """Return how Kafka is reached, when all that is given goes together.

        Args:
            password_file: holds the password alone, open to nobody else; "" for none.
            given: as the attributes, without the password.

        Raises:
            ConfigError: something is malformed, missing or too much, or a file cannot be used.
            KeyringError: others can read the password or the key.
        """
        brokers = cls(**given)
        if not all(_ADDRESS.fullmatch(server) and split_server(server)[1] <= _PORT_MAX for server in brokers.servers()):
            raise ConfigError("brokers (LETHE_BROKERS) must be host:port, several separated by commas")
        _check_together(brokers, password_file)
        brokers.check_plaintext(split_server(server)[0] for server in brokers.servers())
        if brokers.tls_key:
            read_private(Path(brokers.tls_key), "TLS key", "set LETHE_TLS_KEY")
        if password_file:
            brokers = cls(**given, password=_read_password(Path(password_file)))
        brokers.context()
        return brokers


def split_server(server: str) -> tuple[str, int]:
    """Return host and port of ``host:port``; an IPv6 address without its brackets."""
    host, _, port = server.rpartition(":")
    return host.strip("[]"), int(port)


def is_loopback(host: str) -> bool:
    """Return whether a name or an address is certainly this machine. No name is looked up."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower() == _LOOPBACK_NAME


def _check_together(brokers: Brokers, password_file: str) -> None:
    """Refuse settings that say different things: what was meant to protect would not."""
    tls = {"LETHE_TLS_CA": brokers.tls_ca, "LETHE_TLS_CERT": brokers.tls_cert, "LETHE_TLS_KEY": brokers.tls_key}
    login = {"LETHE_SASL_USER": brokers.user, "LETHE_SASL_PASSWORD_FILE": password_file}
    if brokers.security is Security.PLAINTEXT and (lost := [name for name, value in (tls | login).items() if value]):
        raise ConfigError(f"{lost[0]} is set, but LETHE_SECURITY is plaintext: set that to tls or sasl_tls")
    if brokers.security is Security.TLS and (lost := [name for name, value in login.items() if value]):
        raise ConfigError(f"{lost[0]} is set, but LETHE_SECURITY is tls, which has no login: set that to sasl_tls")
    if brokers.security is Security.SASL_TLS and (lost := [name for name, value in login.items() if not value]):
        raise ConfigError(f"LETHE_SECURITY is sasl_tls, and {lost[0]} is missing")
    if bool(brokers.tls_cert) != bool(brokers.tls_key):
        raise ConfigError("LETHE_TLS_CERT and LETHE_TLS_KEY go together: a certificate and its key, each a PEM file")
    if brokers.security is not Security.PLAINTEXT and brokers.plaintext_anywhere:
        raise ConfigError(f"LETHE_PLAINTEXT is true, but LETHE_SECURITY is {brokers.security}: take one of them away")


def _read_password(path: Path) -> Hidden:
    data = read_private(path, "password file", "set LETHE_SASL_PASSWORD_FILE")
    try:
        text = data.decode("utf-8").removesuffix("\n").removesuffix("\r")
    except UnicodeDecodeError:
        text = ""
    if not text.isprintable() or not text:
        raise ConfigError("LETHE_SASL_PASSWORD_FILE must hold the password alone, in one line of UTF-8")
    return Hidden(text)


def _load(setting: str, load: Callable[[], object]) -> None:
    problem = ""
    try:
        load()
    except ssl.SSLError:  # an OSError too, whose text is OpenSSL's
        problem = "not PEM, or key and certificate are no pair, or the key has a passphrase"
    except OSError as error:
        problem = error.strerror or "cannot be read"
    if problem:
        raise ConfigError(f"the file of {setting} cannot be used: {problem}")
