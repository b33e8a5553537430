"""Opens the sink that a URL names."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from pipeline.errors import ConfigError, PipelineError
from pipeline.policy.load import Policy
from pipeline.sinks.base import Sink
from pipeline.sinks.files import FileSink
from pipeline.store.bounds import hold_ms
from pipeline.store.opening import open_store
from pipeline.store.writer import StoreSink


@dataclass(frozen=True, slots=True)
class OpenSink:
    """A sink, its name for people (no password), and the age up to which it admits; None admits all."""

    sink: Sink
    name: str
    content_hold_ms: int | None = None
    operational_hold_ms: int | None = None


def open_sink(url: str, policy: Policy, clock: Callable[[], int], *, overwrite: bool = False) -> OpenSink:
    """Open ``file:DIR``, ``chdb:DIR`` or ``clickhouse://…``.

    Raises:
        ConfigError: the URL or what it names is wrong.
        SinkUnavailable: the store cannot be reached.
    """
    scheme, _, rest = url.partition(":")
    if scheme == "file":
        if not rest:
            raise ConfigError("--to file:DIR names a folder")
        return OpenSink(FileSink(Path(rest), overwrite=overwrite), f"file:{rest}")
    if overwrite:
        raise ConfigError("--overwrite is for file:DIR; a store shows each event once anyway")
    store = open_store(url, now_ms=clock())
    records = {"content": policy.content, "operational": policy.operational, "rejected": policy.rejection}
    schemas = {policy.sinks[name].schema: schema for name, schema in records.items()}
    try:
        sink = StoreSink(store, schemas, policy.sinks, clock)
    except PipelineError:
        store.close()
        raise
    holds = (hold_ms(policy.sinks[name].retention_ms) for name in ("content", "operational"))
    return OpenSink(sink, store.label, *holds)
