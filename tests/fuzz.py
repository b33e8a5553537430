"""Throws mutated inputs at every reader of lethe, for a time: ``python tests/fuzz.py --seconds 600 --seed 1``.

Each target has the same share of the time. An input is a seed of the corpus, changed a few times: bits, bytes, pieces
cut, doubled, moved or taken from another seed, and words that parsers trip over. What a reader must not do, whatever
comes, is crash, take long, leak or grow; such an input is written into ``fuzz-findings/`` and the command ends with 1.
A finding that is mended becomes a golden case.
"""

import argparse
import contextlib
import faulthandler
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from hashlib import sha256
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

from fuzz_targets import MARKER, Target, resident_bytes, targets

INPUT_S_MAX = 10
"""So long one input may take: a hundred times what the slowest of the corpus takes here."""
GROWTH_BYTES_MAX = 300_000_000
FINDINGS = Path("fuzz-findings")
FINDINGS_MAX = 20
WORDS = [
    *(MARKER, b'"' + MARKER + b'"', b'{"' + MARKER + b'":1}', b"\x00", b"\xff\xfe", b"\xef\xbb\xbf", b"\xed\xa0\x80"),
    *(b"\\ud800", b"\\u0000", b"1e999", b"-0", b"9" * 40, b"9" * 5000, b"NaN", b"null", b"true", b"{}", b"[]", b'""'),
    *(b"[" * 200, b'{"a":' * 130, b"\n", b"\r\n\r\n", b"%00", b"&#x40;", b" [at] ", b"<EMAIL_1>", b"</", b"=?"),
    *(b"-----BEGIN PRIVATE KEY-----", b"4111 1111 1111 1111", b"2026-11-23T10:00:00Z", b"req_", b"e1:", b"lethe1"),
    *(b"request", b"response", b"messages", b"content", b"arguments", b"error", b"account", b"Content-Length: "),
]


class Finding(NamedTuple):
    """An input that was read badly."""

    target: str
    data: bytes
    why: str


def mutated(seeds: Sequence[bytes], chance: Random) -> bytes:
    """Return a seed, changed one to eight times."""
    data = bytearray(chance.choice(seeds))
    for _ in range(chance.choice((1, 1, 2, 3, 5, 8))):
        at, end = sorted(chance.randrange(len(data) + 1) for _ in range(2))
        change = chance.randrange(8)
        if change == 0 and data:
            data[at % len(data)] ^= 1 << chance.randrange(8)
        elif change == 1:
            data[at:at] = chance.choice(WORDS)
        elif change == 2:
            data[at:end] = chance.choice(WORDS)
        elif change == 3:
            del data[at : min(end, at + 64)]
        elif change == 4:
            data[at:at] = data[at : min(end, at + 400)] * chance.choice((1, 1, 2, 20))
        elif change == 5:
            other = chance.choice(seeds)
            start = chance.randrange(len(other) + 1)
            data[at : min(end, at + 200)] = other[start : start + chance.randrange(400)]
        elif change == 6:
            data[at:at] = chance.randbytes(chance.randrange(1, 9))
        else:
            del data[at:]
    return bytes(data)


@contextlib.contextmanager
def bounded() -> Iterator[None]:
    """Raise where the time of an input is over; print where it is, should Python not come round to raise."""

    def late(_number: int, _frame: Any) -> None:
        raise TimeoutError(f"took more than {INPUT_S_MAX} s")

    before = signal.signal(signal.SIGALRM, late)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        faulthandler.cancel_dump_traceback_later()
        signal.signal(signal.SIGALRM, before)


class Run:
    """A target that is fuzzed: how many inputs it has had, and the worst of them."""

    def __init__(self, target: Target, seed: int) -> None:
        """Take a target; another seed gives other inputs."""
        self.target = target
        self.count, self.slowest_s = 0, 0.0
        self.findings: list[Finding] = []
        self._chance = Random(f"{seed} {target.name}")
        self._before = 0

    def work(self, until_s: float, count_max: int) -> None:
        """Read the seeds, and mutations of them until a time, or so many."""
        with bounded():
            for data in self.target.seeds if not self.count else ():
                self._one(data)
            self._before = self._before or resident_bytes()
            most = len(self.target.seeds) + count_max
            while time.monotonic() < until_s and self.count < most and len(self.findings) < FINDINGS_MAX:
                self._one(mutated(self.target.seeds, self._chance))
        if resident_bytes() - self._before > GROWTH_BYTES_MAX:
            self.findings.append(Finding(self.target.name, b"", f"grew by more than {GROWTH_BYTES_MAX:,} bytes"))

    def _one(self, data: bytes) -> None:
        signal.setitimer(signal.ITIMER_REAL, INPUT_S_MAX)
        faulthandler.dump_traceback_later(3 * INPUT_S_MAX, exit=True)
        begun = time.monotonic()
        try:
            self.target.read(data)
        except Exception as error:  # noqa: BLE001 - that is what is looked for
            where = traceback.extract_tb(error.__traceback__)[-1]
            why = f"{type(error).__name__} at {Path(where.filename).name}:{where.lineno}: {error}"
            self.findings.append(Finding(self.target.name, data, why))
        self.count += 1
        self.slowest_s = max(self.slowest_s, time.monotonic() - begun)


def fuzz(seconds: float, seed: int, *, only: str = "", count_max: int = 1 << 60) -> list[Run]:
    """Fuzz every target for its share of a time, in rounds; return what came of it."""
    with ExitStack() as stack:
        folder = Path(
            stack.enter_context(tempfile.TemporaryDirectory(prefix="lethe-fuzz-", ignore_cleanup_errors=True))
        )
        runs = [Run(target, seed) for target in targets(stack, folder) if only in target.name]
        end_s = time.monotonic() + seconds
        for number, run in enumerate(runs):
            left_s = end_s - time.monotonic()
            run.work(time.monotonic() + left_s / (len(runs) - number), count_max)
    return runs


def main() -> None:
    """Fuzz, print a table, and write what was found."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", default="", help="targets whose name has this in it")
    arguments = parser.parse_args()
    runs = fuzz(arguments.seconds, arguments.seed, only=arguments.only)
    print(f"{'target':32} {'inputs':>12} {'slowest ms':>11} {'findings':>9}")
    for run in runs:
        print(f"{run.target.name:32} {run.count:12,} {run.slowest_s * 1000:11,.0f} {len(run.findings):9}")
    found = [finding for run in runs for finding in run.findings]
    print(f"seed {arguments.seed}: {sum(run.count for run in runs):,} inputs, {len(found)} findings")
    for finding in found:
        FINDINGS.mkdir(exist_ok=True)
        path = FINDINGS / f"{finding.target.replace(' ', '_')}-{sha256(finding.data).hexdigest()[:12]}"
        path.write_bytes(finding.data)
        print(f"{path}: {finding.why}")
    sys.exit(1 if found else 0)


if __name__ == "__main__":
    main()
