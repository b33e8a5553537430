"""The tables of aggregates as text (`schemas/stores/aggregates.json`): none outlives the rows it is made of."""

from collections.abc import Collection

from pipeline.store.ddl import TABLE_SETTINGS, ttl
from pipeline.store.sidetables import bound_comment

DECLARED = "aggregates"
"""As what the policy declares them."""
TABLES = ("usage_hourly", "usage_daily")
PERIOD = "period"
TOKENS = ("prompt_tokens", "completion_tokens", "total_tokens")
DURATIONS = ("latency_ms", "time_to_first_token_ms")
PERCENTS = (50, 90, 99)
CELL = ("model", "region", "status")


def quantile_column(duration: str, percent: int) -> str:
    """Return the name of a quantile's column: ``latency_ms_p50``."""
    return f"{duration}_p{percent}"


def column_types() -> dict[str, str]:
    """Return the type of each column, in order."""
    quantiles = [quantile_column(duration, percent) for duration in DURATIONS for percent in PERCENTS]
    return {
        PERIOD: "DateTime('UTC')",
        **dict.fromkeys(CELL, "LowCardinality(String)"),
        "requests": "UInt64",
        "errors": "UInt64",
        "error_rate": "Float64",
        **dict.fromkeys(TOKENS, "UInt64"),
        **dict.fromkeys(quantiles, "Nullable(UInt32)"),
    }


def create_table(name: str, bound_ms: int, known_settings: Collection[str]) -> str:
    """Return the statement that creates a table of aggregates.

    Args:
        name: of the table.
        bound_ms: its bound.
        known_settings: which of `TABLE_SETTINGS` the engine has.
    """
    columns = ",\n  ".join(f"`{column}` {kind}" for column, kind in column_types().items())
    settings = [f"{setting} = {value}" for setting, value in TABLE_SETTINGS.items() if setting in known_settings]
    return (
        f"CREATE TABLE IF NOT EXISTS {name} (\n  {columns}\n)\n"
        f"ENGINE = MergeTree\n"
        f"PARTITION BY toYYYYMM({PERIOD})\n"
        f"ORDER BY ({PERIOD}, {', '.join(CELL)})\n"
        f"TTL {ttl(PERIOD, bound_ms)}\n"
        f"SETTINGS {', '.join(settings)}\n"
        f"COMMENT '{bounds_comment(bound_ms)}'"
    )


def alter_bound(name: str, bound_ms: int) -> list[str]:
    """Return the statements that give an existing table another bound; the comment comes last, as a receipt."""
    return [
        f"ALTER TABLE {name} MODIFY TTL {ttl(PERIOD, bound_ms)} SETTINGS materialize_ttl_after_modify = 0",
        f"ALTER TABLE {name} MODIFY COMMENT '{bounds_comment(bound_ms)}'",
    ]


def bounds_comment(bound_ms: int) -> str:
    """Return the bound as the sweep reads it."""
    return bound_comment(PERIOD, bound_ms)
