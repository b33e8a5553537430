"""What commands share that send raw events to Kafka: where to, progress, and a report of what was acknowledged.

Imported when such a command runs: Kafka's clients take a while to import.
"""

import time
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

import typer
from rich.progress import Progress, TextColumn, TimeElapsedColumn

from pipeline.cli import edge, report
from pipeline.coarsen import format_timestamp
from pipeline.codec import encode
from pipeline.config import Settings
from pipeline.errors import ConfigError, PipelineError
from pipeline.inputs import Inputs
from pipeline.policy.load import Policy
from pipeline.recovery.loop import LoopThread
from pipeline.recovery.pace import paced
from pipeline.recovery.reading import count_partitions
from pipeline.recovery.rejections import Wanted
from pipeline.recovery.replay import Places, Skipped, lines_of, rejected_copies
from pipeline.recovery.sender import RawCopy, RawSender
from pipeline.synth import Canary, SyntheticEvent
from pipeline.topics.duration import format_ms

_SHOW_EVERY_S = 0.2


def places_of(settings: Settings, policy: Policy, *, raw: bool = False, rejected: bool = False) -> Places:
    """Return where raw and rejected are, those that are asked for; none is created by asking.

    Raises:
        ConfigError: there is no such topic, or Kafka refuses.
        SinkUnavailable: no broker answers.
    """
    where = settings.topic_settings(policy.sinks)
    names = [where.topic_of(policy.sinks[name]) for name in ("raw", "rejected")]
    asked = [name for name, wanted in zip(names, (raw, rejected), strict=True) if wanted]
    brokers = settings.reach()
    counts = count_partitions(brokers, asked)
    numbers = [counts.get(name, 0) for name in names]
    return Places(brokers, names[0], names[1], numbers[0], numbers[1], settings.batch_bytes_max)


@dataclass(frozen=True, slots=True)
class Target:
    """Where raw events go, and what is told of it.

    Attributes:
        settings, policy: as they are.
        places: where raw is.
        skipped: what was not sent, for the report.
        files: names of inputs by topic, for the report.
    """

    settings: Settings
    policy: Policy
    places: Places
    skipped: Skipped = field(default_factory=Skipped)
    files: Mapping[str, str] = field(default_factory=dict)


def replay_files(settings: Settings, policy: Policy, inputs: Inputs, rate: float | None) -> None:
    """Send lines as they are, at a rate.

    Raises:
        ConfigError: some are too long; the others are sent. Or Kafka refuses, or an input cannot be opened.
        SinkUnavailable, DamagedInput: what came before was sent.
    """
    target = Target(settings, policy, places_of(settings, policy, raw=True), files=inputs.topics)
    lines = lines_of(inputs, event_bytes_max=settings.event_bytes_max, skipped=target.skipped)
    with LoopThread() as loop:
        send_all(target, loop, paced(lines, rate))
    if target.skipped.oversize:
        raise ConfigError(
            f"{target.skipped.oversize:,} lines are too long and were not sent: raise LETHE_EVENT_BYTES_MAX, if such "
            "events are real, and run `lethe topics plan`"
        )


def replay_rejected(settings: Settings, policy: Policy, wanted: Wanted, rate: float | None) -> None:
    """Send the raw events of rejections once more, at a rate.

    Raises:
        ConfigError, SinkUnavailable: Kafka refuses, or is not there.
    """
    target = Target(settings, policy, places_of(settings, policy, raw=True, rejected=True))
    found = rejected_copies(target.places, wanted, event_bytes_max=settings.event_bytes_max, skipped=target.skipped)
    with LoopThread() as loop:
        send_all(target, loop, paced(loop.iterate(found), rate))


def send_synthetic(
    settings: Settings, policy: Policy, events: Iterator[SyntheticEvent], count: int, rate: float
) -> Generator[Canary, None, None]:
    """Send so many synthetic events, each received when it is sent; yield what was planted in it. Close it at the end.

    Raises:
        ConfigError, SinkUnavailable: Kafka refuses, or is not there.
    """
    target = Target(settings, policy, places_of(settings, policy, raw=True))
    return _send_synthetic(target, events, count, rate)


def _send_synthetic(
    target: Target, events: Iterator[SyntheticEvent], count: int, rate: float
) -> Generator[Canary, None, None]:
    with LoopThread() as loop, sending(target, loop) as send:
        for _ in paced(range(count), rate):
            synthetic = next(events)
            synthetic.event["received_at"] = format_timestamp(edge.now_ms())
            send(RawCopy(encode(synthetic.event)))
            yield from synthetic.canaries


def send_all(target: Target, loop: LoopThread, copies: Iterable[RawCopy]) -> None:
    """Send all, as `sending` does."""
    with sending(target, loop) as send:
        for copy in copies:
            send(copy)


@contextmanager
def sending(target: Target, loop: LoopThread) -> Iterator[Callable[[RawCopy], None]]:
    """Yield what sends an event; at the end all are acknowledged, and a report says how many, however it ended.

    Raises:
        ConfigError, SinkUnavailable: Kafka refuses, or is not there.
    """
    places, batch_bytes_max = target.places, target.settings.batch_bytes_max
    sender = RawSender(loop, places.brokers, places.raw, places.raw_partitions, batch_bytes_max=batch_bytes_max)
    ended, began_s = "ended early", time.monotonic()
    try:
        with _progress(sender) as show, sender:

            def send(copy: RawCopy) -> None:
                sender.send(copy)
                show()

            yield send
        ended = ""
    except (PipelineError, KeyboardInterrupt) as error:
        ended = "interrupted" if isinstance(error, KeyboardInterrupt) else ended
        raise
    finally:
        _report(target, sender, time.monotonic() - began_s, ended)


def _report(target: Target, sender: RawSender, seconds: float, ended: str) -> None:
    """Show what was sent and what was not."""
    console, skipped = edge.console(), target.skipped
    table = report.make_table(console, "fate", "events")
    table.add_row("sent and acknowledged", f"{sender.acknowledged:,}")
    fates = {
        "blank lines": skipped.blank,
        "longer than LETHE_EVENT_BYTES_MAX: not sent": skipped.oversize,
        f"gone: raw holds {format_ms(target.policy.sinks['raw'].retention_ms)}": skipped.gone,
        "replays of one that was sent": skipped.repeated,
        "of another topic: not looked up": skipped.elsewhere,
        "records that are no rejections": skipped.unreadable,
    }
    for fate, count in fates.items():
        if count:
            table.add_row(fate, f"{count:,}")
    rate = sender.acknowledged / seconds if seconds else 0.0
    size = f"{sender.acknowledged_bytes / 1e6:,.1f} MB"
    title = f"{sender.acknowledged:,} events → {target.places.raw} in {seconds:.1f} s ({rate:,.0f} events/s, {size})"
    report.show_table(console, f"{title}{ended and f' ({ended})'}", table)
    for topic, line in skipped.oversize_lines:
        typer.echo(f"lethe: {target.files.get(topic, topic)}: line {line:,} is too long and was not sent", err=True)


@contextmanager
def _progress(sender: RawSender) -> Iterator[Callable[[], None]]:
    """Show on a terminal how many events are acknowledged. In a pipe, nothing."""
    console = edge.error_console()
    with Progress(
        TextColumn("{task.description}: {task.fields[done]:,} events acknowledged"),
        TimeElapsedColumn(),
        console=console,
        disable=not console.is_terminal,
        transient=True,
    ) as bar:
        task, shown_s = bar.add_task("lethe", total=None, done=0), 0.0

        def show() -> None:
            nonlocal shown_s
            if not bar.disable and time.monotonic() - shown_s > _SHOW_EVERY_S:
                shown_s = time.monotonic()
                bar.update(task, done=sender.acknowledged)

        yield show
