"""One Kafka process: its folder, its life, and the signals that tests send it."""

import contextlib
import os
import shlex
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from local_kafka.jars import FOLDER, SHOWN_LINES, LocalKafkaError, classes_file, fetch_jars, find_java
from local_kafka.ports import HOST

QUICK_JVM = ("-Xmx512m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1")
"""Starts fast and stays small. For figures of speed, give the JVM its own compiler and collector back."""
STEADY_JVM = ("-Xmx1g",)
READY = b"Kafka Server started"
READY_TIMEOUT_S = 90.0
STOP_TIMEOUT_S = 30.0
POLL_S = 0.02

_FORMAT = ("kafka.tools.StorageTool", "format")

# The shell becomes the broker (exec), so its pid is the broker's. Before that it leaves a guard behind, which waits on
# a pipe that only our process holds: when our process ends, however it ends, the guard kills its whole group.
_SCRIPT = """
exec 3<&0 </dev/null
{{ read -r _ <&3 || kill -9 0; }} &
exec 3<&-
[ -e {meta} ] || {format} || exit 1
exec {start}
"""


class Node:
    """A Kafka node that this process starts and that never outlives it.

    Attributes:
        id: the node's id, from 1.
        port: where clients connect.
        controller_port: where the nodes agree on metadata.
        log_dir: holds one folder for each partition, ``topic-number``.
        output: the file with everything that the node printed.
    """

    def __init__(self, node_id: int, port: int, controller_port: int, folder: Path, cluster_id: str) -> None:
        self.id = node_id
        self.port = port
        self.controller_port = controller_port
        self.log_dir = folder / "log"
        self.output = folder / "output.txt"
        self._folder = folder
        self._cluster_id = cluster_id
        self._process: subprocess.Popen[bytes] | None = None
        self._output_start = 0

    @property
    def bootstrap(self) -> str:
        """Where clients connect, as ``host:port``."""
        return f"{HOST}:{self.port}"

    @property
    def pid(self) -> int | None:
        """The process id of a running node, otherwise None."""
        return self._process.pid if self._process is not None and self._process.poll() is None else None

    def launch(
        self, properties: Mapping[str, str], jvm: Sequence[str] = QUICK_JVM, format_options: Sequence[str] = ()
    ) -> None:
        """Start the process without waiting; its log folder is formatted first when it is new."""
        if self.pid is not None:
            raise LocalKafkaError(f"Node {self.id} runs already (process {self.pid}).")
        self.log_dir.mkdir(parents=True, exist_ok=True)
        config = self._folder / "server.properties"
        config.touch(0o600)  # a secure node's holds a password
        config.write_text("".join(f"{key}={value}\n" for key, value in properties.items()), "utf-8")
        java = _java_command(jvm)
        script = _SCRIPT.format(
            meta=shlex.quote(str(self.log_dir / "meta.properties")),
            format=shlex.join(
                [*java, *_FORMAT, f"--cluster-id={self._cluster_id}", "-c", str(config), *format_options]
            ),
            start=shlex.join([*java, "kafka.Kafka", str(config)]),
        )
        with self.output.open("ab") as output:
            self._output_start = output.tell()
            self._process = subprocess.Popen(  # noqa: S603 - our own script, every argument quoted
                ["/bin/sh", "-c", script],
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd=self._folder,
                start_new_session=True,  # Ctrl-C reaches us, and we stop the broker; it also is the group to kill
            )

    def wait_ready(self, timeout_s: float = READY_TIMEOUT_S) -> None:
        """Wait until the node serves clients.

        Raises:
            LocalKafkaError: it ended, or was not ready in time; with the end of what it printed.
        """
        deadline = time.monotonic() + timeout_s
        while READY not in self._printed():
            if self.pid is None:
                raise LocalKafkaError(f"Node {self.id} ended while starting. {self._last_words()}")
            if time.monotonic() > deadline:
                raise LocalKafkaError(f"Node {self.id} was not ready within {timeout_s:g} s. {self._last_words()}")
            time.sleep(POLL_S)

    def pause(self) -> None:
        """Stop the process in its tracks (SIGSTOP): it holds its connections and answers nothing."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let a paused process go on (SIGCONT)."""
        self._signal(signal.SIGCONT)

    def kill(self) -> None:
        """End the process at once (SIGKILL), running or not; its data stays as it is."""
        if self._process is None:
            return
        # The guard keeps the group alive, so the number cannot belong to anyone else by now.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        if self._process.stdin is not None:
            self._process.stdin.close()
        self._process = None

    def ask_to_stop(self) -> None:
        """Ask a running process to end in order (SIGTERM), without waiting; a paused one goes on first."""
        if self.pid is not None:
            self.resume()
            self._signal(signal.SIGTERM)

    def stop(self, timeout_s: float = STOP_TIMEOUT_S) -> bool:
        """Stop the process in order, killing it after the time given; return whether it ended by itself."""
        self.ask_to_stop()
        ended = True
        if self._process is not None:
            try:
                self._process.wait(timeout_s)
            except subprocess.TimeoutExpired:
                ended = False
        self.kill()
        return ended

    def _signal(self, number: signal.Signals) -> None:
        if self._process is None or self.pid is None:
            raise LocalKafkaError(f"Node {self.id} does not run.")
        self._process.send_signal(number)

    def _printed(self) -> bytes:
        with self.output.open("rb") as output:
            output.seek(self._output_start)
            return output.read()

    def _last_words(self) -> str:
        lines = self._printed().decode("utf-8", "replace").strip().splitlines()
        return "\n".join([f"The end of {self.output}:", *lines[-SHOWN_LINES:]])


def _java_command(jvm: Sequence[str]) -> list[str]:
    java, jars = find_java(), fetch_jars()
    command = [java, *jvm, f"-Dlog4j2.configurationFile={FOLDER / 'log4j2.properties'}"]
    classes = classes_file(java, jars)
    if classes.exists() and classes.stat().st_size:
        command += [f"-XX:SharedArchiveFile={classes}", "-Xlog:cds=off", "-Xlog:cds+dynamic=off"]
    return [*command, "-cp", f"{jars}/*"]
