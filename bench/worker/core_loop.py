"""The real core in a bare confluent-kafka loop: what lethe's worker would do if it did nothing but the work.

It runs in lethe's virtualenv. The peers' packages stand at the very end of its path, so that only what lethe lacks
comes from there, confluent-kafka that is.
"""

import os
import sys
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from peer import Job, read_job

from pipeline.anonymize import process
from pipeline.cli.edge import core_of, now_ms, policy_of, settings, tune_collector
from pipeline.records import Source
from pipeline.suppress import Suppressions
from pipeline.worker.admit import admit, age_limits
from pipeline.worker.route import Router

if TYPE_CHECKING:
    from confluent_loop import Record


LINGER_MS = 100
"""As long as a slice of lethe's worker. A few milliseconds, enough for the trivial transform, would send each event's
records alone here, and cost a tenth of the rate (measured)."""


class CoreRecords:
    """Makes records as the worker does: same core, same admission, same keys and headers."""

    def __init__(self, job: Job) -> None:
        """Load policy, keys and detector."""
        chosen = settings()
        policy = policy_of(chosen)
        self._topic = job.raw
        self._core = core_of(chosen, policy)
        self._limits = age_limits(policy, chosen.admission_ms(policy.sinks), archive=chosen.archive)
        topics = {"content": job.content, "operational": job.operational, "rejected": job.rejected}
        self._router = Router(policy, topics)
        self._suppressions = Suppressions()

    def __call__(self, message: Any) -> Iterable["Record"]:
        """Return the records of one message."""
        raw = message.value()
        source = Source(self._topic, message.partition(), message.offset(), len(raw))
        admission = admit(now_ms(), message.timestamp()[1], self._limits, self._suppressions)
        return self._records(process(raw, source, self._core, admission))

    def _records(self, fate: Any) -> Iterator["Record"]:
        for outgoing in self._router.route(fate):
            yield outgoing.topic, outgoing.key, outgoing.value, outgoing.headers


def main() -> None:
    """Run until SIGTERM."""
    sys.path.append(os.environ["BENCH_PEER_PACKAGES"])
    from confluent_loop import Loop  # noqa: PLC0415 - the path was not there before

    job = read_job()
    loop = Loop(job, CoreRecords(job), LINGER_MS)
    tune_collector()
    loop.run()


if __name__ == "__main__":
    main()
