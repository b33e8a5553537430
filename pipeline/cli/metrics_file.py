"""Writes metrics into a file that a collector may be reading meanwhile."""

from pathlib import Path

import typer

from pipeline.errors import ConfigError
from pipeline.metrics import MetricSet

READABLE = 0o644
"""A collector runs as another user, and metrics hold no value of any event; the process's umask is for what does."""


def check_metrics_path(option: str, path: Path | None) -> None:
    """Refuse a path whose folder is missing, before any work is done.

    Raises:
        ConfigError: it is.
    """
    if path and not path.absolute().parent.is_dir():
        raise ConfigError(f"{option} {path}: there is no such folder")


def write_metrics(option: str, path: Path, metrics: MetricSet) -> bool:
    """Write the file whole or not at all; say so on standard error where that fails."""
    partial = path.with_name(f"{path.name}.partial")
    try:
        partial.write_bytes(metrics.render())
        partial.chmod(READABLE)
        partial.replace(path)
    except OSError as error:
        typer.echo(f"lethe: {option} {path}: cannot be written ({error.strerror})", err=True)
        return False
    return True
