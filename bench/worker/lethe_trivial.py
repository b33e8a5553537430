"""lethe's worker with `peer.split` in place of the core: what its frame alone costs."""

import sys
import time
from typing import cast

from peer import read_job, split

from pipeline.anonymize import Core
from pipeline.cli.edge import now_ms, policy_of, settings, tune_collector
from pipeline.keys.keyring import Keyring
from pipeline.seal import PlainSealer, RawOpener, Sealer
from pipeline.worker.batches import RawBatch
from pipeline.worker.process import Job, serve
from pipeline.worker.route import Outgoing
from pipeline.worker.slices import Slice


class Trivial:
    """Splits events as every runner of the comparison does."""

    def __init__(self) -> None:
        job = read_job()
        self._content, self._operational = job.content, job.operational

    def fill(self, made: Slice, batch: RawBatch, place: int, until_s: float) -> int:
        """Split from the record at ``place`` on, until a time."""
        records = batch.records
        while True:
            key, content, operational = split(records[place].value or b"")
            made.outgoing.append(Outgoing("content", self._content, key, content, []))
            made.outgoing.append(Outgoing("operational", self._operational, key, operational, []))
            made.outgoing_bytes += len(content) + len(operational)
            made.tally.events += 1
            place += 1
            if place == len(records):
                made.end = batch.end
                return place
            made.end = records[place - 1].offset + 1
            if time.monotonic() >= until_s:
                return place


def _no_core(_: Keyring, _sealer: Sealer, _envelopes: RawOpener | None) -> Core:
    """Stand for the core, which nothing asks."""
    return cast("Core", None)


def _log(text: str) -> None:
    sys.stderr.write(f"{text}\n")


def main() -> None:
    """Run until SIGTERM."""
    chosen = settings()
    policy = policy_of(chosen)
    serve(
        Job(
            chosen,
            policy,
            chosen.reach(),
            _no_core,
            PlainSealer,
            lambda: None,
            now_ms,
            _log,
            settled=tune_collector,
            transform=Trivial(),
        )
    )


if __name__ == "__main__":
    main()
