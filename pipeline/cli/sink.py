"""Opens the sink that a URL names."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from pipeline.anonymize import Admission, Core
from pipeline.errors import ConfigError, PipelineError
from pipeline.plan import pseudonym_field
from pipeline.policy.load import Policy
from pipeline.policy.model import Role
from pipeline.run import admit_for_store
from pipeline.sinks.base import Sink
from pipeline.sinks.files import FileSink
from pipeline.store.bounds import hold_ms
from pipeline.store.client import Store
from pipeline.store.entries import read_entries
from pipeline.store.intake import schemas_of
from pipeline.store.opening import open_store
from pipeline.store.writer import StoreSink
from pipeline.suppress import Subject, Suppressions, decode_entry

_FILE = "file"


@dataclass(frozen=True, slots=True)
class OpenSink:
    """A sink, and what people are told of it.

    Attributes:
        sink: the sink.
        name: its name, without a password.
        early_end: what is left of a run that ended early, and what running it again does.
        suppressions: whose events the sink has as restricted or erased; None is nobody's.
    """

    sink: Sink
    name: str
    early_end: str
    suppressions: Suppressions | None = None


def admitter(
    url: str, policy: Policy, clock: Callable[[], int], suppressions: Suppressions | None = None
) -> Callable[[], Admission]:
    """Return what says what a sink admits now: a store what it may still hold, ``file:`` all (design §4).

    Args:
        url: of the sink.
        policy: has the bounds.
        clock: returns now, epoch milliseconds.
        suppressions: of `open_sink`.
    """
    content, operational = (hold_ms(policy.sinks[name].retention_ms) for name in ("content", "operational"))
    if is_plain(url):
        return lambda: admit_for_store(clock(), None, None, suppressions)
    return lambda: admit_for_store(clock(), content, operational, suppressions)


def is_plain(url: str) -> bool:
    """Tell whether a sink takes content as it is, not sealed: files are for inspection."""
    return _scheme(url) == _FILE


def open_sink(url: str, core: Core, clock: Callable[[], int], *, overwrite: bool = False) -> OpenSink:
    """Open ``file:DIR``, ``chdb:DIR`` or ``clickhouse://…``.

    Args:
        url: of the sink.
        core: its policy has the schemas and bounds, its keys name requests that were erased.
        clock: returns now, epoch milliseconds.
        overwrite: replace the files of an earlier run (``file:`` only).

    Raises:
        ConfigError: the URL or what it names is wrong.
        SinkUnavailable: the store cannot be reached.
    """
    if is_plain(url):
        folder = url.partition(":")[2]
        if not folder:
            raise ConfigError("--to file:DIR needs a folder")
        left = "what was written is in the files .partial; running the same again starts afresh"
        return OpenSink(FileSink(Path(folder), overwrite=overwrite), f"file:{folder}", left)
    if overwrite:
        raise ConfigError("--overwrite is for file:DIR; a store shows each event once anyway")
    store = open_store(url, now_ms=clock(), own=True)
    policy = core.policy
    try:
        left = "what was written stays; running the same again adds the rest"
        sink = StoreSink(
            *(store, schemas_of(policy), policy.sinks, clock),
            partial(core.keys.suppression, Subject.REQUEST),
            pseudonym_field(policy.shape, Role.ACCOUNT),
        )
        return OpenSink(sink, store.label, left, read_suppressions(store, policy))
    except PipelineError:
        store.close()
        raise


def read_suppressions(store: Store, policy: Policy) -> Suppressions:
    """Return the restrictions and erasures that a store has.

    Raises:
        ControlFault: an entry is none; to pass over it could keep what someone had erased.
    """
    suppressions = Suppressions()
    for raw in read_entries(store):
        suppressions.apply(decode_entry(raw, policy.control))
    return suppressions


def _scheme(url: str) -> str:
    return url.partition(":")[0]
