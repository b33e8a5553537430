"""One node or several that form a cluster, each both broker and controller."""

import base64
import time
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from local_kafka.jars import LocalKafkaError
from local_kafka.node import QUICK_JVM, READY_TIMEOUT_S, Node
from local_kafka.ports import HOST, PortClaims

REPLICATION_MAX = 3


class Cluster:
    """A cluster in a folder of its own. As a context manager it kills its nodes on the way out, whatever happened.

    Attributes:
        nodes: the nodes, whose ids count from 1.
        properties: broker settings, applied over the defaults at each start of a node; may be changed between starts.
        ready_s: how long the last `start` took.
    """

    def __init__(
        self,
        folder: Path,
        brokers: int = 1,
        *,
        properties: Mapping[str, str] | None = None,
        jvm: Sequence[str] = QUICK_JVM,
        port: int | None = None,
    ) -> None:
        self.properties = dict(properties or {})
        self.ready_s = 0.0
        self._jvm = tuple(jvm)
        self._ports = PortClaims()
        cluster_id = _cluster_id(folder)
        kept = len(list(folder.glob("node-*")))
        if kept not in {0, brokers}:
            raise LocalKafkaError(f"{folder} holds a cluster of {kept}, not {brokers}: name another data folder.")
        ports = [self._first_port(port), *(self._ports.take_any() for _ in range(brokers - 1))]
        self.nodes = tuple(
            Node(number, ports[number - 1], self._ports.take_any(), folder.resolve() / f"node-{number}", cluster_id)
            for number in range(1, brokers + 1)
        )

    @property
    def bootstrap(self) -> str:
        """Every node's address, as clients take them."""
        return ",".join(node.bootstrap for node in self.nodes)

    def start(self, timeout_s: float = READY_TIMEOUT_S) -> None:
        """Start every node that does not run, and wait until all serve clients."""
        begin = time.monotonic()
        idle = [node for node in self.nodes if node.pid is None]
        for node in idle:
            self.launch(node)
        for node in idle:
            node.wait_ready(timeout_s)
        self.ready_s = time.monotonic() - begin

    def launch(self, node: Node) -> None:
        """Start one node without waiting for it."""
        node.launch(self._defaults(node) | self.properties, self._jvm, self._format_options())

    def restart(self, node: Node, timeout_s: float = READY_TIMEOUT_S) -> None:
        """Start one node again, stopping it first if it runs, and wait until it serves clients."""
        node.stop()
        self.launch(node)
        node.wait_ready(timeout_s)

    def stop(self) -> None:
        """Stop every node in order, all at once."""
        for node in self.nodes:
            node.ask_to_stop()
        for node in self.nodes:
            node.stop()

    def close(self) -> None:
        """Kill every node and give its ports back; the folder stays."""
        for node in self.nodes:
            node.kill()
        self._ports.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _first_port(self, wanted: int | None) -> int:
        if wanted is None:
            return self._ports.take_any()
        if not self._ports.take(wanted):
            raise LocalKafkaError(f"Port {wanted} is taken: name another, or none to get a free one.")
        return wanted

    def _format_options(self) -> Sequence[str]:
        return ()

    def _defaults(self, node: Node) -> dict[str, str]:
        replicas = min(len(self.nodes), REPLICATION_MAX)
        in_sync = max(1, replicas - 1)
        return {
            "process.roles": "broker,controller",
            "node.id": str(node.id),
            "controller.quorum.voters": ",".join(f"{n.id}@{HOST}:{n.controller_port}" for n in self.nodes),
            "listeners": f"PLAINTEXT://{node.bootstrap},CONTROLLER://{HOST}:{node.controller_port}",
            "advertised.listeners": f"PLAINTEXT://{node.bootstrap}",
            "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
            "controller.listener.names": "CONTROLLER",
            "log.dirs": str(node.log_dir),
            "auto.create.topics.enable": "false",
            "default.replication.factor": str(replicas),
            "min.insync.replicas": str(in_sync),
            # Internal topics, as small as they can be.
            "offsets.topic.num.partitions": "4",
            "offsets.topic.replication.factor": str(replicas),
            "transaction.state.log.num.partitions": "4",
            "transaction.state.log.replication.factor": str(replicas),
            "transaction.state.log.min.isr": str(in_sync),
            "share.coordinator.state.topic.num.partitions": "4",
            "share.coordinator.state.topic.replication.factor": str(replicas),
            "share.coordinator.state.topic.min.isr": str(in_sync),
            # A killed broker may register again only when its old session has run out: a restart waits for this.
            "broker.session.timeout.ms": "2000",
            "broker.heartbeat.interval.ms": "400",
            "group.initial.rebalance.delay.ms": "0",
            # Small for small machines: the cleaner alone would take 128 MB.
            "log.cleaner.dedupe.buffer.size": "4194304",
            "num.io.threads": "4",
            "num.network.threads": "2",
            "background.threads": "2",
        }


def _cluster_id(folder: Path) -> str:
    """Return the folder's cluster id, the same for as long as the folder lasts."""
    folder.mkdir(parents=True, exist_ok=True)
    kept = folder / "cluster-id"
    if not kept.exists():
        kept.write_text(base64.urlsafe_b64encode(uuid.uuid4().bytes).decode("ascii").rstrip("="), "ascii")
    return kept.read_text("ascii")
