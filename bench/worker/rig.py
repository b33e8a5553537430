"""The measurer's side: a real broker, topics, and runners as processes of their own."""

import contextlib
import itertools
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import Any, Self

from kafka import KafkaAdminClient, TopicPartition
from kafka.admin import OffsetSpec
from peer import RECORD_BYTES_MAX, Job

from pipeline.coarsen import DAY_MS
from pipeline.keys.keyfile import init_keyfile
from pipeline.keys.provider import init_kek, load_provider
from pipeline.keys.sealfile import init_day_keys

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
sys.path.insert(0, str(ROOT / "deploy" / "local-kafka"))

from local_kafka.archive import prepare  # noqa: E402 - found by the line above
from local_kafka.cluster import Cluster  # noqa: E402 - as above
from local_kafka.node import STEADY_JVM  # noqa: E402 - as above

PARTITIONS = 8
RAW = "bench.raw"
STOP_S = 20.0
LOG_LINES = 15
TICKS_PER_S = os.sysconf("SC_CLK_TCK")
_TOPIC = {"message.timestamp.type": "LogAppendTime", "max.message.bytes": str(RECORD_BYTES_MAX)}
_OUTPUTS = ("content", "operational", "rejected", "control", "applied")


class RunnerFailed(Exception):  # noqa: N818 - as the errors of pipeline
    """A runner ended by itself, or did nothing; the text has the end of its output."""


class Rig:
    """A broker and what it takes to run runners against it.

    Attributes:
        brokers: where clients connect.
        admin: kafka-python's admin client.
    """

    def __init__(self, brokers: str, folder: Path, now_ms: int) -> None:
        """Connect, and make a key file for those runners that want one."""
        self.brokers = brokers
        self.admin = KafkaAdminClient(bootstrap_servers=brokers)
        self._folder = folder
        self._keys = folder / "bench.keys.json"
        self._numbers = itertools.count(1)
        init_keyfile(self._keys, now_ms)
        self._sealing = {
            "LETHE_KEYRING": str(folder / "bench.keyring.json"),
            "LETHE_KEK": f"file:{folder / 'bench.kek'}",
        }
        init_kek(self._sealing["LETHE_KEK"])
        init_day_keys(folder / "bench.keyring.json", load_provider(self._sealing["LETHE_KEK"]), now_ms, 30 * DAY_MS)

    def make_topics(
        self, *names: str, partitions: int = PARTITIONS, configs: Mapping[str, str] = MappingProxyType({})
    ) -> None:
        """Make topics and wait until they have leaders."""
        described = {"num_partitions": partitions, "replication_factor": 1, "configs": {**_TOPIC, **configs}}
        self.admin.create_topics(dict.fromkeys(names, described), wait_for_metadata=True)

    def new_job(self, raw: str = RAW, configs: Mapping[str, str] = MappingProxyType({})) -> Job:
        """Return a job with a group and output topics that nobody used before.

        Args:
            raw: topic to read.
            configs: settings of the two topics that every event is written to.
        """
        prefix = f"run-{next(self._numbers)}"
        topics = {name: f"{prefix}.{name}" for name in _OUTPUTS}
        self.make_topics(topics["content"], topics["operational"], configs=configs)
        self.make_topics(topics["rejected"], topics["control"], topics["applied"], partitions=1)
        return Job(self.brokers, prefix, raw, **topics)

    def drop(self, job: Job) -> None:
        """Delete a job's output topics, so that the disk holds one run's at a time."""
        self.admin.delete_topics([getattr(job, name) for name in _OUTPUTS])

    def start(self, command: Sequence[str], job: Job, more: Mapping[str, str] | None = None) -> "Running":
        """Start a runner in a process, a session and a folder of its own."""
        folder = Path(tempfile.mkdtemp(prefix=f"{job.group}-", dir=self._folder))
        environ = {name: value for name, value in os.environ.items() if not name.startswith("LETHE_")}
        environ |= job.environ() | {"LETHE_KEYS": str(self._keys), "LETHE_METRICS_PORT": "0"}
        environ |= self._sealing | dict(more or {})
        environ["TMPDIR"] = str(folder)  # what a runner leaves behind goes with it
        return Running(command, environ, folder)

    def ends(self, topic: str, partitions: int = PARTITIONS) -> int:
        """Return how many records were ever written to a topic: the sum of its end offsets."""
        return sum(found.offset for found in self._look_up(topic, OffsetSpec.LATEST, partitions))

    def span_ms(self, topic: str) -> tuple[int, int]:
        """Return the append times of a topic's first and last record, epoch milliseconds of the broker."""
        first = [found.timestamp for found in self._look_up(topic, 0) if found.offset >= 0]
        last = [found.timestamp for found in self._look_up(topic, OffsetSpec.MAX_TIMESTAMP) if found.offset >= 0]
        return min(first), max(last)

    def _look_up(self, topic: str, spec: int, partitions: int = PARTITIONS) -> list[Any]:
        wanted = {TopicPartition(topic, number): spec for number in range(partitions)}
        return list(self.admin.list_partition_offsets(wanted).values())


class Running:
    """A runner that works; as a context manager it is stopped on the way out."""

    def __init__(self, command: Sequence[str], environ: Mapping[str, str], folder: Path) -> None:
        self._output = folder / "output.txt"
        with self._output.open("wb") as output:
            self._process = subprocess.Popen(  # noqa: S603 - the benchmark's own command
                list(command),
                env=dict(environ),
                cwd=folder,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # what it starts is counted and ended with it
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def check(self) -> None:
        """Raise `RunnerFailed` when the process is no longer there."""
        if self._process.poll() is not None:
            raise RunnerFailed(f"ended with {self._process.returncode}:\n{self.last_words()}")

    def last_words(self) -> str:
        """Return the end of what the process printed."""
        lines = self._output.read_text("utf-8", "replace").splitlines()
        return "\n".join(lines[-LOG_LINES:])

    def cpu_s(self) -> float:
        """Return the processor time of all its processes until now, in seconds."""
        ticks = 0
        for number in self.pids():
            with contextlib.suppress(OSError):
                fields = _stat_of(number)
                ticks += int(fields[11]) + int(fields[12])
        return ticks / TICKS_PER_S

    def pids(self) -> list[int]:
        """Return the ids of its processes: those of its session."""
        found = []
        for folder in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                if int(_stat_of(int(folder.name))[3]) == self._process.pid:
                    found.append(int(folder.name))
        return found

    def stop(self) -> None:
        """End it in order, or after a while anyhow."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(STOP_S)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()


def _stat_of(pid: int) -> list[str]:
    """Return the fields of /proc/PID/stat behind the name, which may hold anything; the state comes first."""
    return Path(f"/proc/{pid}/stat").read_text("utf-8", "replace").rpartition(")")[2].split()


@contextlib.contextmanager
def running_rig(now_ms: int, properties: Mapping[str, str] | None = None) -> Iterator[Rig]:
    """Run one broker with a full JVM in a temporary folder, and leave nothing behind, on SIGTERM too."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    with tempfile.TemporaryDirectory(prefix="lethe-bench-", ignore_cleanup_errors=True) as name:
        prepare()
        folder = Path(name)
        with Cluster(folder / "kafka", properties=properties, jvm=STEADY_JVM) as cluster:
            cluster.start()
            rig = Rig(cluster.bootstrap, folder, now_ms)
            try:
                yield rig
            finally:
                rig.admin.close()
