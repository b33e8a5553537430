"""When the certificates expire with which Kafka is reached: looked at hourly, on a thread of its own, for an alert."""

import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from pipeline.brokers import Brokers, split_server
from pipeline.errors import ConfigError, KeyringError
from pipeline.keys.certificates import expiries_of
from pipeline.metrics import MetricSet

LOOK_EVERY_S = 3600.0
PATIENCE_S = 5.0


class CertificateMetrics(MetricSet):
    """When each kind of certificate expires; without TLS there is no series."""

    def __init__(self) -> None:
        super().__init__()
        self._expiry = self._gauge(
            "lethe_certificate_expiry_timestamp_seconds",
            "When it expires: client, ca (the next one of the file), broker (the first of LETHE_BROKERS to do so).",
            "certificate",
        )

    def look(self, brokers: Brokers, now_s: float) -> None:
        """Look at the files and at the brokers' own; what cannot be looked at stays as it was seen last.

        Args:
            brokers: how Kafka is reached.
            now_s: now, epoch seconds.
        """
        for kind, ends in (
            ("client", _of_file(brokers.tls_cert)),
            ("ca", _next(_of_file(brokers.tls_ca), now_s)),
            ("broker", _of_brokers(brokers)),
        ):
            if ends:
                self._expiry.labels(kind).set(min(ends))


@contextmanager
def watching_certificates(brokers: Callable[[], Brokers], metrics: CertificateMetrics) -> Iterator[None]:
    """Look at once and then every hour, meanwhile. No look ends a process: its connections say what fails."""
    ended = threading.Event()

    def keep_looking() -> None:
        while True:
            with suppress(ConfigError, KeyringError):  # a file that is being replaced; the next look sees it whole
                metrics.look(brokers(), time.time())
            if ended.wait(LOOK_EVERY_S):
                return

    threading.Thread(target=keep_looking, name="certificates", daemon=True).start()
    try:
        yield
    finally:
        ended.set()


def _of_file(path: str) -> list[float]:
    try:
        return expiries_of(Path(path)) if path else []
    except ConfigError:
        return []


def _next(ends: list[float], now_s: float) -> list[float]:
    """Leave out authorities that have expired, unless all have: a file keeps the old one beside the new for a while."""
    return [end for end in ends if end > now_s] or ([max(ends)] if ends else [])


def _of_brokers(brokers: Brokers) -> list[float]:
    context = brokers.context()
    if context is None:
        return []
    seen = (_of_broker(context, *split_server(server)) for server in brokers.servers())
    return [end for end in seen if end is not None]


def _of_broker(context: ssl.SSLContext, host: str, port: int) -> float | None:
    """Shake hands and hang up; nothing is sent."""
    try:
        with (
            socket.create_connection((host, port), PATIENCE_S) as plain,
            context.wrap_socket(plain, server_hostname=host) as wrapped,
        ):
            found = wrapped.getpeercert() or {}
    except OSError:
        return None
    return float(ssl.cert_time_to_seconds(str(found["notAfter"]))) if "notAfter" in found else None
