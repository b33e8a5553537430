"""The archive as a process: topics, store, signs of life, event loop, and how it ends."""

import asyncio
import signal
import time
from collections.abc import Awaitable, Callable, Collection, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NoReturn

from pipeline.archive.account import Account
from pipeline.archive.decode import decoders
from pipeline.archive.loop import Archive, Edges, Limits
from pipeline.archive.metrics import ArchiveMetrics
from pipeline.archive.patience import Patience
from pipeline.archive.reader import Reader
from pipeline.archive.target import StoreTarget
from pipeline.archive.upkeep import Upkeep
from pipeline.brokers import Brokers
from pipeline.client import KafkaError, from_kafka, keep_metadata, reading
from pipeline.config import Settings
from pipeline.errors import ConfigError, PipelineError
from pipeline.policy.load import Policy
from pipeline.retention_metrics import RetentionMetrics
from pipeline.store.intake import STORED_SINKS
from pipeline.store.opening import open_store
from pipeline.store.serving import served
from pipeline.store.url import DATABASE, parse_store_url
from pipeline.topics.admin import TopicAdmin
from pipeline.worker.ending import EXIT_FAILED, end_process, explain
from pipeline.worker.logs import listen_to_libraries
from pipeline.worker.signs import address_of, signs_of_life
from pipeline.worker.vitals import Vitals

LOOK_S = 1.0
FETCH_BYTES_MAX = 16 << 20
"""Compressed bytes of one answer of a broker, unless a record is larger."""


@dataclass(frozen=True, slots=True)
class Job:
    """What an archive is asked to do.

    Attributes:
        settings: as they are.
        policy: in force; the workers' own.
        brokers: how Kafka is reached.
        now_ms: the clock, epoch milliseconds.
        log: writes a line for operators.
        pseudonym_of: gives a request's pseudonym under the suppression key; None without keys.
        once: end when what is there at the start is stored.
        skips: texts of the places of records to pass over.
    """

    settings: Settings
    policy: Policy
    brokers: Brokers
    now_ms: Callable[[], int]
    log: Callable[[str], None]
    pseudonym_of: Callable[[str], str] | None = None
    once: bool = False
    skips: Collection[str] = ()


def sinks_of(settings: Settings, policy: Policy) -> dict[str, str]:
    """Return the stored sink of each topic that is read."""
    where = settings.topic_settings(policy.sinks)
    return {where.topic_of(policy.sinks[name]): name for name in STORED_SINKS}


def ready_topics(settings: Settings, policy: Policy, brokers: Brokers) -> dict[str, int]:
    """Return how many partitions each topic has that is read.

    Raises:
        ConfigError: one is missing, or two sinks share one.
        SinkUnavailable: no broker answers.
    """
    sinks = sinks_of(settings, policy)
    if len(sinks) < len(STORED_SINKS):
        raise ConfigError("two sinks have the same topic: look at LETHE_TOPIC_CONTENT and its like")
    with TopicAdmin(brokers) as admin:
        live = admin.read_topics(sinks)
    if missing := [topic for topic in sinks if topic not in live]:
        raise ConfigError(f"the topics are not ready: {', '.join(missing)} missing (run `lethe topics apply`)")
    return {topic: len(live[topic].partitions) for topic in sinks}


@contextmanager
def opened_target(job: Job) -> Iterator[StoreTarget]:
    """Yield the store of the settings as a target, and close it.

    Raises:
        ConfigError, PolicyError, SinkUnavailable: it cannot be opened, or has tables of another schema.
    """
    url = job.settings.store
    with open_store(url, now_ms=job.now_ms(), own=True) as store:
        yield StoreTarget(store, job.policy, job.now_ms, job.pseudonym_of, parse_store_url(url, database=DATABASE))


def serve(job: Job) -> None:
    """Archive until told to stop and drained, or to the end with ``once``.

    Raises:
        ConfigError, PolicyError: something is set wrong.
        SinkUnavailable: the store or Kafka is away for too long.
        MalformedRecord: a record is none.
    """
    settings = job.settings
    partitions = ready_topics(settings, job.policy, job.brokers)
    metrics, shown, vitals = ArchiveMetrics(), RetentionMetrics(), Vitals(time.monotonic)
    listen_to_libraries()
    with (
        opened_target(job) as target,
        signs_of_life(
            settings,
            None if job.once else address_of(settings),
            vitals,
            lambda: metrics.render() + shown.render(),
            lambda text: end_process(text, EXIT_FAILED, job.log, lambda: None),
            job.log,
        ),
        served(parse_store_url(settings.store, database=DATABASE), target.turn, job.log),
    ):
        asyncio.run(_run(job, target, partitions, metrics, shown, vitals))
    job.log("stopped: what was read is stored and committed")


async def _run(
    job: Job,
    target: StoreTarget,
    partitions: Mapping[str, int],
    metrics: ArchiveMetrics,
    shown: RetentionMetrics,
    vitals: Vitals,
) -> None:
    settings, sinks = job.settings, sinks_of(job.settings, job.policy)
    problem: PipelineError | None = None
    with ThreadPoolExecutor(1, thread_name_prefix="store") as aside:
        account = Account(metrics, vitals, sinks, job.now_ms, job.log)
        patience = Patience(aside, settings.store_retry_s, job.log, metrics.failures.inc)
        async with reading(
            job.brokers,
            fetch_bytes_max=min(settings.batch_bytes_max, FETCH_BYTES_MAX),
            group=f"{settings.group}-archive",
            options={"fetch_max_bytes": FETCH_BYTES_MAX},
        ) as consumer:
            archive = Archive(
                Reader(consumer, sinks, partitions),
                target,
                decoders(job.policy),
                limits_of(settings),
                Edges(patience, Upkeep(target, patience, metrics, shown, vitals, job.now_ms, job.log), job.log),
                metrics,
                vitals,
                account,
                once=job.once,
                skips=job.skips,
            )
            for number in (signal.SIGTERM, signal.SIGINT):
                asyncio.get_running_loop().add_signal_handler(number, archive.stop)
            looking = asyncio.create_task(_keep_looking(job, archive, consumer, vitals))
            try:
                await archive.run()
                job.log(account.summary())
            except KafkaError as error:
                problem = from_kafka("go on", job.brokers, error)
            finally:
                looking.cancel()
            if problem is not None:
                raise problem


def limits_of(settings: Settings) -> Limits:
    """Return the limits that the settings say."""
    return Limits(settings.batch_events_max, settings.archive_bytes_max, settings.archive_wait_ms / 1000)


async def _keep_looking(job: Job, archive: Archive, consumer: Any, vitals: Vitals) -> None:
    """Say that the loop comes round, and measure; a failure of this ends the process, or nobody would see it stuck."""

    async def look() -> None:
        while True:
            vitals.tick()
            keep_metadata(consumer)
            await archive.measure()
            await asyncio.sleep(LOOK_S)

    await _guarded(look, job)


async def _guarded(work: Callable[[], Awaitable[None]], job: Job) -> None:
    try:
        await work()
    except asyncio.CancelledError:
        raise
    except BaseException as error:  # noqa: BLE001 - whatever it is, the archive cannot go on without it
        _end(error, job)


def _end(error: BaseException, job: Job) -> NoReturn:
    text, code = explain(error, job.brokers)
    end_process(text, code, job.log, lambda: None)
