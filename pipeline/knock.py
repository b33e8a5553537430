"""One connection to Kafka before a client makes its own: what is wrong with TLS or login is said at once, and why.

Kafka's clients try again for whatever reason, and name none: a wrong password looks to them like a broker that is away.
"""

import asyncio
import socket
import ssl
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from aiokafka.conn import create_conn
from aiokafka.errors import KafkaError
from aiokafka.protocol.metadata import MetadataRequest

from pipeline.brokers import Brokers, Security, split_server
from pipeline.errors import ConfigError, forget_text
from pipeline.topics.trouble import LOGIN_REFUSED, is_login

PATIENCE_S = 3.0
_CERTIFICATE = {
    9: "is not valid yet",
    10: "has expired",
    62: "is for another name than LETHE_BROKERS has",
    64: "is for another address than LETHE_BROKERS has",
}
"""By OpenSSL's numbers (X509_V_ERR_…)."""
_UNTRUSTED = "is of no authority that is trusted here: set LETHE_TLS_CA to the file of the one that signed it"
_SPEAKS_TLS = "it wants TLS: set LETHE_SECURITY to tls or sasl_tls, and what belongs to it (docs/security.md)"
_SPEAKS_NONE = "it speaks no TLS on this port: take the port of its TLS listener (LETHE_BROKERS)"
_WANTS_MORE = (
    "it ends the connection after TLS: it wants a login (LETHE_SECURITY=sasl_tls), a client certificate that it trusts "
    "(LETHE_TLS_CERT), or none of these on this port"
)


async def knock(brokers: Brokers) -> None:
    """Connect to one of the brokers as a client does, and end that again.

    What may pass, such as a broker that is away, is left to the client's patience: only what stays is an error.

    Raises:
        ConfigError: TLS or login cannot work, or the brokers send clients to other machines in plaintext.
    """
    certain = ""
    for server in brokers.servers():
        found = await _knock_at(brokers, *split_server(server))
        if not isinstance(found, str):
            brokers.check_plaintext(found)
            return
        certain = certain or found
    if certain:
        raise ConfigError(f"cannot connect to Kafka at {brokers}: {certain}")


def knock_aside(brokers: Brokers) -> None:
    """Do as `knock`, for a caller that waits: on a thread of its own, since a loop may run on the caller's."""
    with ThreadPoolExecutor(1, thread_name_prefix="knock") as aside:
        aside.submit(asyncio.run, knock(brokers)).result()


async def _knock_at(brokers: Brokers, host: str, port: int) -> list[str] | str:
    """Return the hosts of the cluster; or what is wrong, "" when that may pass."""
    try:
        return await _ask(host, port, brokers.options())
    except ssl.SSLCertVerificationError as error:
        return f"its certificate {_CERTIFICATE.get(error.verify_code, _UNTRUSTED)}"
    except (TimeoutError, ConnectionRefusedError, socket.gaierror):
        return ""
    except (KafkaError, OSError) as error:
        forget_text(error)
        refused = is_login(type(error))
    return LOGIN_REFUSED if refused else await _look_closer(brokers, host, port)


async def _look_closer(brokers: Brokers, host: str, port: int) -> str:
    """Find out why a broker ended a connection without a word: it may speak TLS where we do not, or the other way."""
    if brokers.security is Security.PLAINTEXT:
        return _SPEAKS_TLS if await _shakes_hands(host, port, _blind()) else ""
    if await _shakes_hands(host, port, brokers.context()):
        return _WANTS_MORE
    return _SPEAKS_NONE if await _speaks_plain(host, port) else ""


async def _ask(host: str, port: int, options: dict[str, Any]) -> list[str]:
    """Return the hosts of the cluster, asked over a connection of its own."""
    async with asyncio.timeout(PATIENCE_S):
        connection = await create_conn(
            host, port, client_id="lethe", request_timeout_ms=int(PATIENCE_S * 1000), **options
        )
        try:
            answer = await connection.send(MetadataRequest([]))
        finally:
            connection.close()
    return [broker[1] for broker in answer.brokers]


async def _speaks_plain(host: str, port: int) -> bool:
    try:
        await _ask(host, port, {"security_protocol": "PLAINTEXT"})
    except (KafkaError, OSError):
        return False
    return True


async def _shakes_hands(host: str, port: int, context: ssl.SSLContext | None) -> bool:
    """Return whether TLS begins there. Nothing is sent over it."""
    try:
        async with asyncio.timeout(PATIENCE_S):
            _, writer = await asyncio.open_connection(host, port, ssl=context)
    except OSError:
        return False
    writer.transport.abort()
    return True


def _blind() -> ssl.SSLContext:
    """Return what sees whether TLS is spoken, whoever speaks it."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context
