"""Kafka's classes, loaded once and kept in a file that the JVM maps: a start takes half the processor time."""

import tempfile
from pathlib import Path

from local_kafka.cluster import Cluster
from local_kafka.jars import classes_file, fetch_jars, find_java, locked
from local_kafka.node import QUICK_JVM


def prepare() -> None:
    """See to everything that a broker needs: Java, the jars and, once for each Java, the class archive.

    Raises:
        LocalKafkaError: Java or Maven is missing, or a broker cannot start at all.
    """
    java = find_java()
    jars = fetch_jars()
    archive = classes_file(java, jars)
    if archive.exists():
        return
    with locked(jars.parent):
        if not archive.exists():
            _record(archive)


def _record(archive: Path) -> None:
    """Run a broker once and have the JVM write the classes it loaded as it ends."""
    part = archive.with_suffix(".part")
    part.unlink(missing_ok=True)
    with tempfile.TemporaryDirectory(prefix="lethe-kafka-", ignore_cleanup_errors=True) as folder:
        jvm = (*QUICK_JVM, "-Xlog:cds=off", "-Xlog:cds+dynamic=off", f"-XX:ArchiveClassesAtExit={part}")
        with Cluster(Path(folder), jvm=jvm) as cluster:
            cluster.start()
            cluster.stop()
    # A JVM that cannot write one leaves none; an empty file keeps us from trying again at every start.
    part.touch()
    part.rename(archive)
