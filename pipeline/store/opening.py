"""Opening a store: connect, then expire before anything is read; or open one as it is, to sweep or to prove."""

from pipeline.errors import PipelineError
from pipeline.store.client import Store, connect
from pipeline.store.sweep import sweep
from pipeline.store.url import DATABASE, EmbeddedTarget, Target, parse_store_url


def open_store(url: str, *, now_ms: int, database: str = DATABASE, own: bool = False) -> Store:
    """Open a store; an embedded one is swept first, since nothing else expires it (design §4).

    Args:
        url: ``chdb:DIR``, ``clickhouse://user:password@host:port/database`` or ``clickhouses://…``.
        now_ms: now, epoch milliseconds.
        database: the database where the URL names none.
        own: refuse an embedded store that another process has open, even when that one serves it. Whoever looks up
            and then inserts must own it, or be alone with it: `pipeline.store.serving`.

    Raises:
        ConfigError: bad URL, missing package, a folder in use or unusable, a refused login.
        SinkUnavailable: the server cannot be reached, or the sweep failed.
    """
    target = parse_store_url(url, database=database)
    return _swept(target, connect(target, own=own), now_ms)


def open_existing(url: str, *, now_ms: int, database: str = DATABASE) -> Store:
    """Open a store that is there, likewise.

    Raises:
        ConfigError: as above, or there is no such store.
        SinkUnavailable: as above.
    """
    target = parse_store_url(url, database=database)
    return _swept(target, connect(target, existing=True), now_ms)


def _swept(target: Target, store: Store, now_ms: int) -> Store:
    if isinstance(target, EmbeddedTarget):
        try:
            sweep(store, now_ms)
        except PipelineError:
            store.close()
            raise
    return store


def open_unswept(url: str, *, database: str = DATABASE, tidy: bool = False) -> Store:
    """Open a store that exists, without a sweep: for the sweep itself, and for the proof, which changes nothing.

    Of an embedded store no records may be read through it: they may be due. And its engine starts, which is not
    nothing: it removes outdated parts and applies the tables' own TTLs. What was there before is seen in the files
    (`pipeline.store.files.look_into`), not through this.

    Args:
        url: as above.
        database: as above.
        tidy: remove what killed processes left in an embedded store's spool.

    Raises:
        ConfigError: as above, or there is no such store.
        SinkUnavailable: the server cannot be reached.
    """
    return connect(parse_store_url(url, database=database), existing=True, tidy=tidy)
