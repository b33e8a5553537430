"""Opening a store: connect, then expire before anything is read."""

from pipeline.errors import PipelineError
from pipeline.store.client import Store, connect
from pipeline.store.sweep import sweep
from pipeline.store.url import EmbeddedTarget, parse_store_url


def open_store(url: str, *, now_ms: int, database: str = "lethe") -> Store:
    """Open a store; an embedded one is swept first, since nothing else expires it (design §4).

    Args:
        url: ``chdb:DIR``, ``clickhouse://user:password@host:port/database`` or ``clickhouses://…``.
        now_ms: now, epoch milliseconds.
        database: the database where the URL names none.

    Raises:
        ConfigError: bad URL, missing package, a folder in use or unusable, a refused login.
        SinkUnavailable: the server cannot be reached, or the sweep failed.
    """
    target = parse_store_url(url, database=database)
    store = connect(target)
    if isinstance(target, EmbeddedTarget):
        try:
            sweep(store, now_ms)
        except PipelineError:
            store.close()
            raise
    return store
