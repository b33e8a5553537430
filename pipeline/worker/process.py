"""A worker as a process: checks, private folder, health server, watchdog, event loop, and how it all ends."""

import asyncio
import os
import shutil
import signal
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import uvloop

from pipeline.anonymize import Core
from pipeline.brokers import Brokers
from pipeline.client import KafkaError
from pipeline.config import Settings
from pipeline.errors import PipelineError, SinkUnavailable
from pipeline.keys.keyring import Keyring
from pipeline.keys.watch import FileWatch, KeyWatch
from pipeline.metrics import WorkerMetrics
from pipeline.policy.load import Policy
from pipeline.seal import RawOpener, Sealer
from pipeline.topics.groupclient import GroupAdmin
from pipeline.topics.live import LiveTopic
from pipeline.worker.ending import EXIT_FAILED, ask_briefly, end_process, explain
from pipeline.worker.logs import listen_to_libraries
from pipeline.worker.parts import Parts
from pipeline.worker.preflight import NEEDED, require_topics
from pipeline.worker.runtime import run_worker
from pipeline.worker.signs import address_of, signs_of_life
from pipeline.worker.slices import Transform
from pipeline.worker.supervisor import end_with_parent
from pipeline.worker.versions import require_no_way_back
from pipeline.worker.vitals import Vitals


@dataclass(frozen=True, slots=True)
class Job:
    """What a worker process is asked to do.

    Attributes:
        settings: as they are.
        policy: in force.
        brokers: how Kafka is reached.
        make_core: makes a core of keys of three kinds; the detector is made once.
        load_sealer: makes what seals content, of the keys as they are now.
        load_envelopes: makes what opens raw events, likewise; None where they come plain.
        now_ms: the clock, epoch milliseconds.
        log: writes a line for operators.
        shadow: read in a group of its own, write and commit nothing.
        socket: where a supervisor asks for pages; "" for a worker of its own.
        settled: called when everything is loaded, before the first event.
        transform: in place of the core, for measurements.
    """

    settings: Settings
    policy: Policy
    brokers: Brokers
    make_core: Callable[[Keyring, Sealer, RawOpener | None], Core]
    load_sealer: Callable[[], Sealer]
    load_envelopes: Callable[[], RawOpener | None]
    now_ms: Callable[[], int]
    log: Callable[[str], None]
    shadow: bool = False
    socket: str = ""
    settled: Callable[[], None] = lambda: None
    transform: Transform | None = None


class LiveCore:
    """The core as it is now: made anew when a file of keys changes."""

    def __init__(self, job: Job) -> None:
        settings = job.settings
        self._make_core = job.make_core
        self._keys = KeyWatch(Path(settings.keys))
        # What is not sealed needs no keys; the key file then stands for theirs.
        self._seals = FileWatch(Path(settings.keyring if settings.seal else settings.keys), job.load_sealer)
        self._envelopes = FileWatch(Path(settings.raw_key or settings.keys), job.load_envelopes)
        self.core = self._made()

    def reload(self) -> bool:
        """Take up changed keys, and say whether there were any.

        Raises:
            KeyringError: a file cannot be read, or is none. The worker stops: no key, no fallback.
        """
        changed = [watch.changed() for watch in (self._keys, self._seals, self._envelopes)]
        if any(changed):
            self.core = self._made()
        return any(changed)

    def _made(self) -> Core:
        return self._make_core(self._keys.keys, self._seals.keys, self._envelopes.keys)


def topics_of(settings: Settings, policy: Policy) -> dict[str, str]:
    """Return the topic of each sink, by the sink's name."""
    where = settings.topic_settings(policy.sinks)
    return {name: where.topic_of(sink) for name, sink in policy.sinks.items()}


def ready_topics(settings: Settings, policy: Policy, brokers: Brokers) -> Mapping[str, LiveTopic]:
    """Return the topics that a worker needs, by the sink's name.

    Raises:
        ConfigError: one is missing, or does not fit the policy; or the policy must not follow the one in force.
        SinkUnavailable: no broker answers.
    """
    topics = topics_of(settings, policy)
    with GroupAdmin(brokers) as admin:
        live = admin.read_topics(topics[name] for name in NEEDED)  # of others it need not even know that they are there
        require_topics(policy, topics, live, settings.admission_ms(policy.sinks))
        require_no_way_back(policy, admin.notes_of(settings.group))
    return {name: live[topic] for name, topic in topics.items() if topic in live}


def serve(job: Job) -> None:
    """Run one worker until it is told to stop and has drained. Whatever else happens ends the process.

    Raises:
        ConfigError, SinkUnavailable, KeyringError, ControlFault: it cannot start.
    """
    settings, policy, brokers = job.settings, job.policy, job.brokers
    topics = ready_topics(settings, policy, brokers)
    live, metrics, vitals = LiveCore(job), WorkerMetrics(), Vitals(time.monotonic)
    listen_to_libraries()
    with _private_folder() as (datadir, tidy):

        def end(error: BaseException) -> NoReturn:
            text, code = explain(error, brokers)
            told = ask_briefly(lambda: _sharpen(text, error, lambda: ready_topics(settings, policy, brokers)), text)
            end_process(told, code, job.log, tidy)

        parts = Parts(
            settings=settings,
            policy=policy,
            brokers=brokers,
            topics=topics_of(settings, policy),
            control_partitions=len(topics["control"].partitions),
            core=lambda: live.core,
            reload=live.reload,
            metrics=metrics,
            vitals=vitals,
            datadir=datadir,
            end=end,
            leave=lambda: end_process("stopped before it had any partition", 0, job.log, tidy),
            log=job.log,
            now_ms=job.now_ms,
            shadow=job.shadow,
        )
        if job.socket:
            end_with_parent(lambda: os.kill(os.getpid(), signal.SIGTERM))
        with signs_of_life(
            settings,
            job.socket or address_of(settings),
            vitals,
            metrics.render,
            lambda text: end_process(text, EXIT_FAILED, job.log, tidy),
            job.log,
        ):
            job.settled()
            asyncio.set_event_loop_policy(uvloop.EventLoopPolicy())
            asyncio.run(run_worker(parts, job.transform))
    job.log("stopped: what was taken up is delivered")


def _sharpen(text: str, error: BaseException, look: Callable[[], object]) -> str:
    """Say more of a failure of Kafka's: a topic that was deleted looks like a broker that is away."""
    if isinstance(error, KafkaError | SinkUnavailable):
        try:
            look()
        except PipelineError as found:
            return str(found)
        except Exception:  # noqa: BLE001 - this only asks for a better text
            return text
    return text


@contextmanager
def _private_folder() -> Iterator[tuple[str, Callable[[], None]]]:
    """Yield a folder of mode 0700, and what removes it."""
    folder = tempfile.mkdtemp(prefix="lethe-worker-")

    def tidy() -> None:
        shutil.rmtree(folder, ignore_errors=True)

    try:
        yield folder, tidy
    finally:
        tidy()
