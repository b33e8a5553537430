"""How ``lethe rejected`` reads the rejected topic and looks raw records up.

Imported when it runs: Kafka's clients take a while to import.
"""

import asyncio
import sys
from collections.abc import Callable, Sequence

import typer

from pipeline.audit.acting import Tally
from pipeline.cli import edge, rejected_report
from pipeline.cli.sending import places_of
from pipeline.client import reading
from pipeline.config import Settings
from pipeline.errors import ConfigError
from pipeline.policy.load import Policy
from pipeline.recovery.pointers import Pointers
from pipeline.recovery.raw import look_up
from pipeline.recovery.redacted import Redactor
from pipeline.recovery.rejections import Newest, Rejected, RejectedReader, Wanted, by_partition
from pipeline.topics.duration import format_ms


class Looking:
    """What was asked for, and where to look."""

    def __init__(self, settings: Settings, policy: Policy, wanted: Wanted, *, raw: bool, as_json: bool) -> None:
        """Find the topics.

        Args:
            settings: brokers, names and sizes.
            policy: its sinks, and what it declares.
            wanted: which rejections.
            raw: whether raw is needed too.
            as_json: print JSON, on a terminal too.

        Raises:
            ConfigError, SinkUnavailable: a topic or Kafka is not there, or refuses.
        """
        self._policy = policy
        self._settings = settings
        self._wanted = wanted
        self._as_json = as_json
        self._places = places_of(settings, policy, raw=raw, rejected=True)
        self._gone = f"gone: raw holds {format_ms(policy.sinks['raw'].retention_ms)}"

    def summarize(self) -> None:
        """Count rejected events by reason and partition."""
        pointers = Pointers()
        self._read(pointers.add)
        rejected_report.show_counts(edge.console(), pointers.counts(), as_json=self._as_json)

    def list(self, limit: int) -> None:
        """List the newest so many."""
        rejected_report.show_listing(edge.console(), self._newest(limit), as_json=self._as_json)

    def show(self, limit: int) -> None:
        """Show the shapes of the newest so many, in raw's order."""
        console, redactor = edge.console(), Redactor(self._policy, edge.envelopes_of(self._settings))

        def take(rejected: Rejected, value: bytes | None) -> None:
            elsewhere = rejected.topic != self._places.raw
            state = "found" if value is not None else "not of raw's topic" if elsewhere else self._gone
            event = None if value is None else redactor.redact(value)
            rejected_report.show_event(console, rejected, state, event, as_json=self._as_json)

        self._look_up(self._newest(limit), take)

    def print_raw(self, tally: Tally) -> None:
        """Print one raw record as it is. Only what was rejected can be had: this is no door to the rest of raw.

        Args:
            tally: of the audit log, which has it already that the record is read.

        Raises:
            ConfigError: nothing was rejected there, or raw has it no more.
        """
        listing, found = self._newest(1), list[bytes | None]()
        if not listing:
            raise tally.refuse(ConfigError("no rejection points to that record"))
        self._look_up(listing, lambda _, value: found.append(value))
        value = found[0]
        if value is None:
            text = f"{self._gone}; and what is of another topic than {self._places.raw} is not looked up"
            raise tally.refuse(ConfigError(text))
        tally.counts.update(records=1, bytes=len(value))
        typer.echo("lethe: privileged: an event as it is; it is in the audit log", err=True)
        if sys.stdout.isatty():
            typer.echo(rejected_report.printable(value))
        else:
            sys.stdout.buffer.write(value)
            sys.stdout.buffer.flush()

    def _newest(self, limit: int) -> Sequence[Rejected]:
        newest = Newest(limit)
        self._read(newest.add)
        listing = newest.in_order()
        if newest.passed_over:
            typer.echo(f"lethe: these are the newest {limit:,}: --limit takes more, --summary counts all", err=True)
        return listing

    def _read(self, take: Callable[[Rejected], None]) -> None:
        """Read the rejected topic to its end."""
        places = self._places

        async def read() -> int:
            async with reading(places.brokers, fetch_bytes_max=places.fetch_bytes_max) as consumer:
                reader = RejectedReader(consumer, places.rejected, places.rejected_partitions, self._wanted)
                async for rejected in reader.read():
                    take(rejected)
                return reader.unreadable

        if unreadable := asyncio.run(read()):
            typer.echo(f"lethe: {unreadable:,} records of {places.rejected} are no rejections; left out", err=True)

    def _look_up(self, listing: Sequence[Rejected], take: Callable[[Rejected, bytes | None], None]) -> None:
        """Look each up, in raw's order; what raw has no more, and what is of another topic, comes with None."""
        places = self._places
        partitions, rest = by_partition(listing, places.raw)

        async def run() -> None:
            async with reading(places.brokers, fetch_bytes_max=places.fetch_bytes_max) as consumer:
                for number, rejections in partitions.items():
                    found = look_up(consumer, places.raw, number, places.raw_partitions, rejections)
                    async for rejected, record in found:
                        take(rejected, None if record is None else record.value or b"")

        asyncio.run(run())
        for rejected in rest:
            take(rejected, None)
