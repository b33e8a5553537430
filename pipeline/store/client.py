"""The one door to clickhouse-connect: an embedded engine (chdb) or a server, behind the same few calls.

Errors of the driver hold statements, rows and addresses, and its logger prints values that it could not serialize; so
every failure leaves here as a new error that says where and which ClickHouse error code, and the logger is closed.
"""

import logging
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self

from pipeline.errors import ConfigError, PipelineError
from pipeline.store.folder import (
    clear_spool,
    existing_folder,
    make_folder,
    own_spool,
    spooled_in,
    why_not_opened,
)
from pipeline.store.guard import guard
from pipeline.store.pool import pool_to_owner
from pipeline.store.rendezvous import forget_stale
from pipeline.store.url import EmbeddedTarget, ServerTarget, Target

# async_insert: an acknowledged insert is in the table, not in a buffer. log_queries: a log of statements has no
# retention; lethe writes its own audit log. Traces hold statements too, profiles parts of them, and the cache answers.
# mutations_sync: an ALTER returns when it is done on every replica.
SETTINGS = {
    "async_insert": 0,
    "log_queries": 0,
    "log_processors_profiles": 0,
    "opentelemetry_start_trace_probability": 0,
    "use_query_cache": 0,
    "mutations_sync": 2,
    "alter_sync": 2,
}
_CONNECT_TIMEOUT_S = 10
_READ_TIMEOUT_S = 300
_SERVED_TIMEOUT_S = 3600  # the process at the other end of a socket cannot be lost without our being told


class Result(NamedTuple):
    """Rows of a query.

    Attributes:
        columns: column names.
        rows: one tuple a row; timestamps are aware datetimes.
    """

    columns: tuple[str, ...]
    rows: list[tuple[Any, ...]]


class Store:
    """An open store: one connection to one database. Not safe for use by several threads at once.

    Attributes:
        label: what messages call it; no user, no password.
        database: the database that unqualified table names mean.
    """

    def __init__(
        self, client: Any, *, label: str, database: str, spool: Path | None = None, pool: Any | None = None
    ) -> None:
        self._client = client
        self._spool = spool
        self._pool = pool
        self.label = label
        self.database = database

    def __repr__(self) -> str:
        return f"Store({self.label})"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def query(self, sql: str, parameters: Mapping[str, Any] | None = None, *, binary: Sequence[str] = ()) -> Result:
        """Run a statement that returns rows.

        Args:
            sql: the statement; values only as parameters (``{ids:Array(String)}``), so that none can change its
                meaning. The engine puts them into its own text of it: docs/security.md says where that stays.
            parameters: their values.
            binary: columns to return as bytes (a body may be any bytes).

        Raises:
            SinkUnavailable: the store did not answer, or refused.
        """
        formats = dict.fromkeys(binary, "bytes")

        def ask() -> Result:
            answer = self._client.query(sql, parameters=dict(parameters or {}), column_formats=formats)
            return Result(tuple(answer.column_names), [tuple(row) for row in answer.result_rows])  # read only now

        return guard(self.label, ask)

    def command(self, sql: str, parameters: Mapping[str, Any] | None = None) -> None:
        """Run a statement for its effect; values only as parameters.

        Raises:
            SinkUnavailable: the store did not answer, or refused.
        """
        guard(self.label, lambda: self._client.command(sql, parameters=dict(parameters or {})))

    def insert(self, table: str, columns: Mapping[str, Sequence[Any]], types: Mapping[str, str]) -> None:
        """Insert columns in the native format; when this returns the rows are durable.

        Args:
            table: table name.
            columns: values by column, all of the same length; timestamps as epoch ticks of the column.
            types: ClickHouse type of each of those columns.

        Raises:
            SinkUnavailable: nothing may be assumed written.
        """
        names = list(columns)
        guard(
            self.label,
            lambda: self._insert(
                table=table,
                data=list(columns.values()),
                column_names=names,
                column_type_names=[types[name] for name in names],
                column_oriented=True,
                database=self.database,
            ),
        )

    def close(self) -> None:
        """Release the connection, and with the last one of an embedded store its folder."""
        self._client.close()
        if self._pool is not None:
            self._pool.clear()
        if self._spool is not None:
            with suppress(OSError):
                self._spool.rmdir()

    def _insert(self, **arguments: Any) -> None:
        with spooled_in(self._spool):
            self._client.insert(**arguments)


def connect(target: Target, *, existing: bool = False, tidy: bool = True, own: bool = False) -> Store:
    """Open a store and make its database where there is none.

    Args:
        target: where it is.
        existing: make neither folder nor database, and refuse a store that is not there.
        tidy: remove what killed processes left in an embedded store's spool.
        own: refuse an embedded store that another process has open, even when that one serves it
            (`pipeline.store.serving`).

    Raises:
        ConfigError: the store's packages are missing, its folder is in use or unusable, the login is refused, or there
            is no such store.
        SinkUnavailable: the server cannot be reached.
    """
    logging.getLogger("clickhouse_connect").setLevel(logging.CRITICAL + 1)
    logging.getLogger("clickhouse_connect.driver.transform").disabled = True  # prints what it could not serialize
    store = _open(target, existing, tidy, own)
    try:
        _use_database(store, existing)
    except PipelineError:
        store.close()
        raise
    return store


def _open(target: Target, existing: bool, tidy: bool, own: bool) -> Store:
    if isinstance(target, ServerTarget):
        return _connect_server(target)
    folder = (existing_folder if existing else make_folder)(target.folder, target.label)
    served = None if own else _connect_served(target, folder)
    return served or _connect_alone(target, folder, tidy)


def _use_database(store: Store, existing: bool) -> None:
    found = store.query("SELECT 1 FROM system.databases WHERE name = {name:String}", {"name": store.database})
    if not found.rows and existing:
        raise ConfigError(f"{store.label}: there is no database {store.database}: nothing was ever written there")
    if not found.rows:
        store.command(f"CREATE DATABASE IF NOT EXISTS {store.database}")
    store._client.database = store.database  # noqa: SLF001 - the class's own module


def _http_client(**options: Any) -> Any:
    import clickhouse_connect  # noqa: PLC0415 - takes seconds, and only stores need it

    return clickhouse_connect.get_client(
        settings=SETTINGS,
        autogenerate_session_id=False,
        form_encode_query_params=True,  # parameters go in the body: proxies and access logs keep URLs
        show_clickhouse_errors=False,
        tz_mode="aware",
        client_name="lethe",
        **options,
    )


def _connect_server(target: ServerTarget) -> Store:
    options = {
        "host": target.host,
        "port": target.port,
        "username": target.user or None,
        "password": target.password,
        "interface": "https" if target.secure else "http",
        "ca_cert": target.ca_cert or None,
        "connect_timeout": _CONNECT_TIMEOUT_S,
        "send_receive_timeout": _READ_TIMEOUT_S,
    }
    how = "with TLS (?secure=false turns it off)" if target.secure else "without TLS (?secure=true turns it on)"
    client = guard(f"{target.label}, {how}", lambda: _http_client(**options))
    return Store(client, label=target.label, database=target.database)


def _connect_served(target: EmbeddedTarget, folder: Path) -> Store | None:
    """Connect to the process that has the folder open; None where none serves it."""
    pool = pool_to_owner(folder, target.label)
    if pool is None:
        return None
    options = {"host": "localhost", "pool_mgr": pool, "compress": False, "send_receive_timeout": _SERVED_TIMEOUT_S}
    client = guard(target.label, lambda: _http_client(**options))
    return Store(client, label=target.label, database=target.database, pool=pool)


def _connect_alone(target: EmbeddedTarget, folder: Path, tidy: bool) -> Store:
    client: Any = None
    try:
        import clickhouse_connect  # noqa: PLC0415 - takes seconds, and only stores need it

        client = clickhouse_connect.get_client(
            interface="chdb", path=str(folder), settings=SETTINGS, show_clickhouse_errors=False, tz_mode="aware"
        )
    except ImportError:
        reason = "needs an extra package: pip install 'lethe[embedded]'"
    except Exception as error:  # noqa: BLE001 - chdb raises bare RuntimeErrors, and their texts hold paths and stacks
        reason = why_not_opened(folder, already_open="already initialized" in str(error))
    if client is None:
        raise ConfigError(f"{target.label}: {reason}")
    if tidy:
        forget_stale(folder)
    return Store(
        client, label=target.label, database=target.database, spool=clear_spool(folder) if tidy else own_spool(folder)
    )
