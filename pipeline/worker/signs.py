"""Signs of life of a long-running command: metrics and probes over HTTP, and the watchdog, in threads of their own."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from http import HTTPStatus

from pipeline.boundedserver import Address
from pipeline.config import Settings
from pipeline.metrics import CONTENT_TYPE
from pipeline.worker.expiry import CertificateMetrics, watching_certificates
from pipeline.worker.health import HealthServer, Page, worker_pages
from pipeline.worker.vitals import Vitals
from pipeline.worker.watchdog import Watchdog


def address_of(settings: Settings) -> Address | None:
    """Return where pages are served, or None when they are not."""
    return (settings.metrics_host, settings.metrics_port) if settings.metrics_port else None


@contextmanager
def signs_of_life(
    settings: Settings,
    address: Address | None,
    vitals: Vitals,
    render: Callable[[], bytes],
    end: Callable[[str], None],
    log: Callable[[str], None],
) -> Iterator[None]:
    """Serve metrics and probes, and let the watchdog look, meanwhile.

    Args:
        settings: say how long a sign of life may be away, and how long draining may take.
        address: where to listen, None for nowhere.
        vitals: what the event loop says about itself.
        render: returns the metrics; those of certificates come beside them.
        end: ends the process for a reason.
        log: writes a line for operators.

    Raises:
        ConfigError: it cannot listen there.
    """
    certificates = CertificateMetrics()

    def page() -> tuple[int, str, bytes]:
        return HTTPStatus.OK, CONTENT_TYPE, render() + certificates.render()

    watchdog = Watchdog(
        vitals.snapshot,
        lambda reason: end(f"ended by its watchdog: {reason}"),
        stuck_s=settings.stuck_s,
        grace_s=settings.grace_s,
    )
    try:
        with (
            watching_certificates(settings.reach, certificates),
            _server(address, worker_pages(vitals.snapshot, settings.stuck_s, page), log),
        ):
            yield
    finally:
        watchdog.close()


@contextmanager
def _server(address: Address | None, pages: Mapping[str, Page], log: Callable[[str], None]) -> Iterator[None]:
    if address is None:
        yield
        return
    with HealthServer(address, pages) as server:
        if not isinstance(server.address, str):
            log("metrics and probes at {}:{}".format(*server.address))
        yield
