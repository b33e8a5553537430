"""What the driver raises, said anew: its errors hold statements, rows and addresses, and none of that may leave it."""

from collections.abc import Callable
from typing import TypeVar

from pipeline.errors import ConfigError, PipelineError, SinkUnavailable

T = TypeVar("T")

_LOGIN_ERRORS = frozenset({192, 193, 194, 516})
_MEMORY_LIMIT_EXCEEDED = 241


def guard(label: str, action: Callable[[], T]) -> T:
    """Call the driver, and return what it returns.

    Args:
        label: what messages call the store.
        action: the call.

    Raises:
        ConfigError: the package is missing, or the login is refused.
        SinkUnavailable: anything else; the text has ClickHouse's error code where there is one.
    """
    try:
        return action()
    except ImportError:
        failure: PipelineError = ConfigError("a store needs the package clickhouse-connect: pip install lethe")
    except Exception as error:  # noqa: BLE001 - whatever the driver raises may hold rows: it is replaced, never passed on
        failure = _describe(label, error)
    raise failure


def _describe(label: str, error: Exception) -> PipelineError:
    code = getattr(error, "code", None)
    if code in _LOGIN_ERRORS:
        return ConfigError(f"{label}: the login is refused: check user and password")
    if code == _MEMORY_LIMIT_EXCEEDED:
        return SinkUnavailable(f"{label}: a statement needs more memory than it may have (ClickHouse error {code})")
    if code is not None:
        return SinkUnavailable(f"{label}: the store refused a statement (ClickHouse error {code})")
    return SinkUnavailable(f"{label}: the store cannot be reached or used ({type(error).__name__})")
