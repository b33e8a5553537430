"""What a worker is made from."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import NoReturn

from pipeline.anonymize import Core
from pipeline.brokers import Brokers
from pipeline.config import Settings
from pipeline.metrics import WorkerMetrics
from pipeline.policy.load import Policy
from pipeline.worker.vitals import Vitals


@dataclass(frozen=True, slots=True)
class Parts:
    """What a worker is made from.

    Attributes:
        settings, policy: as they are.
        brokers: how Kafka is reached.
        topics: topic of each sink, by the sink's name.
        control_partitions: how many partitions the control topic has.
        core: returns the core as it is now.
        reload: looks whether keys changed, takes them up and says so; raises when they cannot be read.
        metrics, vitals: what it tells.
        datadir: a private folder.
        end: ends the process for a reason, and does not return.
        leave: ends the process before it had any work, and does not return.
        log: writes a line for operators.
        now_ms: the clock, epoch milliseconds.
        shadow: it reads in a group of its own, and writes and commits nothing.
    """

    settings: Settings
    policy: Policy
    brokers: Brokers
    topics: Mapping[str, str]
    control_partitions: int
    core: Callable[[], Core]
    reload: Callable[[], bool]
    metrics: WorkerMetrics
    vitals: Vitals
    datadir: str
    end: Callable[[BaseException], NoReturn]
    leave: Callable[[], NoReturn]
    log: Callable[[str], None]
    now_ms: Callable[[], int]
    shadow: bool = False
