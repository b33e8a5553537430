"""Opens the sink that a URL names."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from pipeline.anonymize import Admission
from pipeline.errors import ConfigError, PipelineError
from pipeline.policy.load import Policy
from pipeline.run import admit_for_store
from pipeline.sinks.base import Sink
from pipeline.sinks.files import FileSink
from pipeline.store.bounds import hold_ms
from pipeline.store.intake import schemas_of
from pipeline.store.opening import open_store
from pipeline.store.writer import StoreSink

_FILE = "file"


@dataclass(frozen=True, slots=True)
class OpenSink:
    """A sink, and what people are told of it.

    Attributes:
        sink: the sink.
        name: its name, without a password.
        early_end: what is left of a run that ended early, and what running it again does.
    """

    sink: Sink
    name: str
    early_end: str


def admitter(url: str, policy: Policy, clock: Callable[[], int]) -> Callable[[], Admission]:
    """Return what says what a sink admits now: a store what it may still hold, ``file:`` all (design §4)."""
    content, operational = (hold_ms(policy.sinks[name].retention_ms) for name in ("content", "operational"))
    if _scheme(url) == _FILE:
        return lambda: admit_for_store(clock(), None, None)
    return lambda: admit_for_store(clock(), content, operational)


def open_sink(url: str, policy: Policy, clock: Callable[[], int], *, overwrite: bool = False) -> OpenSink:
    """Open ``file:DIR``, ``chdb:DIR`` or ``clickhouse://…``.

    Raises:
        ConfigError: the URL or what it names is wrong.
        SinkUnavailable: the store cannot be reached.
    """
    if _scheme(url) == _FILE:
        folder = url.partition(":")[2]
        if not folder:
            raise ConfigError("--to file:DIR needs a folder")
        left = "what was written is in the files .partial; running the same again starts afresh"
        return OpenSink(FileSink(Path(folder), overwrite=overwrite), f"file:{folder}", left)
    if overwrite:
        raise ConfigError("--overwrite is for file:DIR; a store shows each event once anyway")
    store = open_store(url, now_ms=clock())
    try:
        left = "what was written stays; running the same again adds the rest"
        return OpenSink(StoreSink(store, schemas_of(policy), policy.sinks, clock), store.label, left)
    except PipelineError:
        store.close()
        raise


def _scheme(url: str) -> str:
    return url.partition(":")[0]
