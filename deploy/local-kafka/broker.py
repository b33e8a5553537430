#!/usr/bin/env python3
"""A local Kafka broker in the foreground: ``python deploy/local-kafka/broker.py start``, and Ctrl-C ends it.

``stop`` and ``status`` look after a broker started elsewhere, by its data folder. The broker listens on 127.0.0.1
without a password: it is for development, never for real traffic.
"""

import argparse
import contextlib
import fcntl
import json
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO

from local_kafka.archive import prepare
from local_kafka.cluster import Cluster
from local_kafka.jars import FOLDER, LocalKafkaError
from local_kafka.node import QUICK_JVM, STEADY_JVM
from local_kafka.ports import PortClaims

PORT = 9092
DATA = FOLDER / "data"
STOPPED_STATUS = 3
STOP_TIMEOUT_S = 60
POLL_S = 0.1
LOCK_TRIES = 3


def say(text: str) -> None:
    """Print a line at once, also into a pipe."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


@contextlib.contextmanager
def lock(data: Path) -> Iterator[IO[str] | None]:
    """Hold a data folder; yield the file that says who holds it, or None when someone else does.

    The file is locked for as long as the holder lives, so what it says of a dead one is never believed.
    """
    data.mkdir(parents=True, exist_ok=True)
    with (data / "holder.json").open("a+") as held:
        # Not at the first refusal: whoever only looks (`holder`) holds the lock for a moment too.
        yield held if any(_try_lock(held) for _ in range(LOCK_TRIES)) else None


def _try_lock(held: IO[str]) -> bool:
    try:
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        time.sleep(POLL_S)
        return False
    return True


def holder(data: Path) -> tuple[int, str] | None:
    """Return the process and the address of the broker that uses a data folder, or None."""
    if not (data / "holder.json").exists():
        return None
    with lock(data) as free:
        if free is not None:
            return None
        said = json.loads((data / "holder.json").read_text("utf-8") or "{}")
        return said.get("pid", 0), said.get("bootstrap", "an address not known yet")


def choose_port(wanted: int | None) -> int | None:
    """Return the port asked for; without one Kafka's usual port, or None, which is any, when that is taken."""
    if wanted is not None:
        return wanted
    claims = PortClaims()
    free = claims.take(PORT)
    claims.close()
    if not free:
        say(f"Port {PORT} is taken; taking a free one.")
    return PORT if free else None


def start(data: Path, port: int | None, brokers: int, jvm: Sequence[str]) -> int:
    """Run a broker until a signal asks it to end."""
    asked = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: asked.set())
    with lock(data) as held:
        if held is None:
            pid, bootstrap = holder(data) or (0, "")
            raise LocalKafkaError(f"{data} is in use by process {pid} ({bootstrap}): stop it, or name another --data.")
        with Cluster(data, brokers, jvm=jvm, port=choose_port(port)) as cluster:
            held.truncate(0)
            held.write(json.dumps({"pid": os.getpid(), "bootstrap": cluster.bootstrap}))
            held.flush()
            say("Looking for Java and for Kafka's jars; the first time, Maven fetches them ...")
            prepare()
            say(f"Starting Kafka in {data} ...")
            cluster.start()
            say(f"Kafka is ready at {cluster.bootstrap} after {cluster.ready_s:.1f} s. Ctrl-C ends it; its data stays.")
            while not asked.wait(POLL_S):
                for node in cluster.nodes:
                    if node.pid is None:
                        raise LocalKafkaError(f"Node {node.id} ended by itself; see {node.output}.")
            say("Stopping Kafka ...")
            cluster.stop()
    return 0


def stop(data: Path) -> int:
    """Ask the broker of a data folder to end, and wait until it has."""
    found = holder(data)
    if found is None:
        say(f"No broker runs in {data}.")
        return 0
    pid, bootstrap = found
    if not pid:
        raise LocalKafkaError("The broker is only just starting: try again.")
    os.kill(pid, signal.SIGTERM)
    deadline = time.monotonic() + STOP_TIMEOUT_S
    while holder(data) is not None:
        if time.monotonic() > deadline:
            raise LocalKafkaError(f"Process {pid} ({bootstrap}) did not end within {STOP_TIMEOUT_S} s.")
        time.sleep(POLL_S)
    say(f"Stopped {bootstrap}.")
    return 0


def status(data: Path) -> int:
    """Say whether a broker runs in a data folder; 3 means that none does."""
    found = holder(data)
    say(f"Running at {found[1]}, process {found[0]}." if found else f"No broker runs in {data}.")
    return 0 if found else STOPPED_STATUS


def main() -> int:
    """Run the command given."""
    parser = argparse.ArgumentParser(description="A local Kafka broker, for development only.")
    parser.add_argument("command", choices=("start", "stop", "status"))
    parser.add_argument("--data", type=Path, default=DATA, help="data folder, kept between runs (default: %(default)s)")
    parser.add_argument("--port", type=int, help=f"default: {PORT}, or a free one when it is taken")
    parser.add_argument("--brokers", type=int, default=1, help="nodes of the cluster (default: %(default)s)")
    parser.add_argument("--quick", action="store_true", help="start sooner and take less memory, at half the speed")
    given = parser.parse_args()
    data = given.data.resolve()
    try:
        if given.command == "start":
            return start(data, given.port, given.brokers, QUICK_JVM if given.quick else STEADY_JVM)
        return stop(data) if given.command == "stop" else status(data)
    except LocalKafkaError as error:
        sys.stderr.write(f"{error}\n")
        return 1


if __name__ == "__main__":
    sys.exit(main())
