"""Real Kafka brokers for tests: `running` gives a cluster of one's own, the fixture `broker` one that tests share."""

import itertools
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest
from kafka import KafkaAdminClient

DEPLOY = Path(__file__).resolve().parent.parent / "deploy" / "local-kafka"
sys.path.insert(0, str(DEPLOY))

from local_kafka.archive import prepare  # noqa: E402 - found by the line above
from local_kafka.cluster import Cluster  # noqa: E402 - as above
from local_kafka.jars import LocalKafkaError, fetch_jars, find_java  # noqa: E402 - as above
from local_kafka.node import QUICK_JVM, STEADY_JVM, Node  # noqa: E402 - as above
from local_kafka.ports import PortClaims  # noqa: E402 - as above
from local_kafka.secure import SecureCluster  # noqa: E402 - as above

__all__ = [
    "DEPLOY",
    "QUICK_JVM",
    "STEADY_JVM",
    "Cluster",
    "LocalKafkaError",
    "Node",
    "PortClaims",
    "SecureCluster",
    "admin",
    "broker",
    "fetch_jars",
    "find_java",
    "make_topic",
    "prepare",
    "running",
    "secure_broker",
]

_numbers = itertools.count(1)


@contextmanager
def running(
    brokers: int = 1, *, properties: Mapping[str, str] | None = None, jvm: Sequence[str] = QUICK_JVM
) -> Iterator[Cluster]:
    """Run a cluster in a temporary folder, and leave neither processes nor files behind.

    Args:
        brokers: number of nodes; from three on, topics get three replicas, two of which must be in sync.
        properties: broker settings, such as ``log.retention.check.interval.ms`` and ``log.segment.delete.delay.ms``
            to see in seconds what takes days.
        jvm: arguments of the JVM.
    """
    with (
        tempfile.TemporaryDirectory(prefix="lethe-kafka-", ignore_cleanup_errors=True) as folder,
        Cluster(Path(folder), brokers, properties=properties, jvm=jvm) as cluster,
    ):
        prepare()
        cluster.start()
        yield cluster


@pytest.fixture(scope="session")
def broker() -> Iterator[Cluster]:
    """Run one broker for the whole session. Use topics of your own; for kills and settings, a cluster of your own."""
    with running() as cluster:
        yield cluster


@pytest.fixture(scope="session")
def secure_broker() -> Iterator[SecureCluster]:
    """Run a broker with TLS, logins and ACLs: the users ``worker`` and ``stranger``, who may do nothing yet.

    A client certificate for ``client`` may do everything.
    """
    users = {"worker": "worker's own word", "stranger": "stranger's own word"}
    with (
        tempfile.TemporaryDirectory(prefix="lethe-kafka-", ignore_cleanup_errors=True) as folder,
        SecureCluster(Path(folder), users) as cluster,
    ):
        cluster.properties["super.users"] = "User:admin;User:ANONYMOUS;User:CN=client"
        prepare()
        cluster.start()
        yield cluster


@contextmanager
def admin(cluster: Cluster) -> Iterator[KafkaAdminClient]:
    """Connect an admin client, and close it."""
    client = KafkaAdminClient(bootstrap_servers=cluster.bootstrap)
    try:
        yield client
    finally:
        client.close()


def make_topic(cluster: Cluster, partitions: int = 1, **configs: str) -> str:
    """Make a topic that no other test uses, wait until it has leaders, and return its name.

    Args:
        cluster: where.
        partitions: how many.
        configs: topic settings, with ``_`` for each dot: ``segment_ms="1000"``.
    """
    topic = f"test-{next(_numbers)}"
    settings = {name.replace("_", "."): value for name, value in configs.items()}
    with admin(cluster) as client:
        client.create_topics({topic: {"num_partitions": partitions, "configs": settings}}, wait_for_metadata=True)
    return topic
