"""How long a record lives, from its sink's bound down to the four settings that Kafka has for it. Pure arithmetic.

A record lives on disk for at most ``retention.ms + segment.ms + log.retention.check.interval.ms +
file.delete.delay.ms`` after its append (design §4), and its request may be ``admission`` older than that append.
docs/retention.md explains each term.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from pipeline.coarsen import DAY_MS
from pipeline.policy.model import RecordSchema, SinkPolicy
from pipeline.topics.duration import format_ms
from pipeline.topics.live import CHECK_INTERVAL, BrokerFacts

ARCHIVED_HOLD_MS = 2 * DAY_MS
SLACK_MS = 15 * 60_000
SEGMENT_PART = 10
SEGMENT_MS_MIN = 60_000
SEGMENT_MS_MAX = DAY_MS
SEGMENT_MS_FLOOR = 1000

MADE_FROM_RAW = frozenset({"content", "operational", "rejected"})
ARCHIVED = frozenset({"content", "operational"})
HELD_AT_LEAST = frozenset({"control"})


@dataclass(frozen=True, slots=True)
class Wishes:
    """What an operator decides; the rest follows from the policy and the cluster.

    Attributes:
        admission_ms: oldest request of which content is made; None is raw's bound.
        slack_ms: what clocks that differ, a slow batch and a check that a restart delays may take.
        archive: an archive reads content and operational, so these hold 48 h and the store holds the rest.
        event_bytes_max: largest event.
        replication: replicas; None is 3, or the number of brokers when they are fewer.
        partitions: of the topics that traffic goes through; None is what each sink declares.
        segment_ms_min: shortest segment. Below a minute only for tests: Kafka 5 refuses it, and files become many.
    """

    admission_ms: int | None = None
    slack_ms: int = SLACK_MS
    archive: bool = True
    event_bytes_max: int = 16 * 1024 * 1024
    replication: int | None = None
    partitions: int | None = None
    segment_ms_min: int = SEGMENT_MS_MIN


@dataclass(frozen=True, slots=True)
class Basis:
    """All that the topics follow from.

    Attributes:
        sinks: the policy's sinks, by name.
        operational: schema of the operational record: some of its fields may end before the record does.
        names: topic names, by sink.
        facts: of the brokers.
        wishes: of the operator.
    """

    sinks: Mapping[str, SinkPolicy] = field(repr=False)
    operational: RecordSchema = field(repr=False)
    names: Mapping[str, str]
    facts: BrokerFacts
    wishes: Wishes

    def admission_ms(self, sink: SinkPolicy) -> int:
        """Return how much older than its append a request in this sink may be."""
        if sink.name not in MADE_FROM_RAW:
            return 0
        chosen = self.wishes.admission_ms
        return self.sinks["raw"].retention_ms if chosen is None else chosen

    def ending_fields(self, sink: SinkPolicy) -> Mapping[str, int]:
        """Return the fields of a sink's records that end before the record does, and when."""
        if sink.name != "operational":
            return {}
        ends = {f.name: f.null_after_ms for f in self.operational.fields if f.null_after_ms is not None}
        return {name: end_ms for name, end_ms in ends.items() if end_ms < sink.retention_ms}

    def limit_ms(self, sink: SinkPolicy) -> int:
        """Return the longest time from the request to the bytes being gone from the topic.

        It is the bound, or a field's end before it: the store makes a field null, a topic can only end the record.
        """
        return min([sink.retention_ms, *self.ending_fields(sink).values()])


@dataclass(frozen=True, slots=True)
class Life:
    """How long a record lives, term by term, in milliseconds.

    Attributes:
        limit_ms: the sink's bound, or a field's end before it.
        admission_ms, slack_ms: what goes off it before the record is appended, and for safety.
        hold_ms: longest time from append to the bytes being gone: the sum of the four that follow.
        retention_ms, segment_ms, check_ms, delete_ms: the four.
        at_least: the bound is one from below: the record must stay that long, and stays a little longer.
    """

    limit_ms: int
    admission_ms: int
    slack_ms: int
    hold_ms: int
    retention_ms: int
    segment_ms: int
    check_ms: int
    delete_ms: int
    at_least: bool = False


def life_of(sink: SinkPolicy, basis: Basis) -> Life:
    """Return the life of a sink's records, which may be one that no setting gives: see `refusal_of`."""
    limit_ms, check_ms, delete_ms = basis.limit_ms(sink), basis.facts.check_ms, basis.facts.delete_ms
    if sink.name in HELD_AT_LEAST:
        segment_ms = _segment_ms(limit_ms, basis.wishes)
        hold_ms = limit_ms + segment_ms + check_ms + delete_ms
        return Life(limit_ms, 0, 0, hold_ms, limit_ms, segment_ms, check_ms, delete_ms, at_least=True)
    admission_ms, slack_ms = basis.admission_ms(sink), basis.wishes.slack_ms
    hold_ms = limit_ms - admission_ms - slack_ms
    if basis.wishes.archive and sink.name in ARCHIVED:
        hold_ms = min(hold_ms, ARCHIVED_HOLD_MS)
    segment_ms = _segment_ms(hold_ms, basis.wishes)
    retention_ms = hold_ms - segment_ms - check_ms - delete_ms
    return Life(limit_ms, admission_ms, slack_ms, hold_ms, retention_ms, segment_ms, check_ms, delete_ms)


def refusal_of(sink: SinkPolicy, basis: Basis) -> str:
    """Say why a sink's bound cannot be met, with the arithmetic and what would help; "" when it can."""
    file = f"topics/{sink.name}.json"
    life = life_of(sink, basis)
    ending = basis.ending_fields(sink)
    if ending and not basis.wishes.archive:
        return (
            f"{sink.name}: without an archive the topic itself holds its records for {format_ms(sink.retention_ms)}, "
            f"but fields of theirs ({', '.join(ending)}) must end after {format_ms(life.limit_ms)}, and a topic cannot "
            f"end a field alone. Run an archive behind it (--archive), lower retention_ms in {file} to "
            f"{life.limit_ms}, or take the fields out of the record's schema"
        )
    if life.retention_ms >= life.segment_ms:
        return ""
    fixed_ms = life.check_ms + life.delete_ms
    # The shortest hold that works: of what the fixed terms leave, a segment and as much retention must fit in.
    needed_ms = max(fixed_ms + 2 * basis.wishes.segment_ms_min, -(-fixed_ms * SEGMENT_PART // (SEGMENT_PART - 2)))
    return (
        f"{sink.name}: {format_ms(life.limit_ms)} bound - {format_ms(life.admission_ms)} admission - "
        f"{format_ms(life.slack_ms)} slack leave {format_ms(life.hold_ms)} on disk; less {format_ms(life.segment_ms)} "
        f"segment.ms, {format_ms(life.check_ms)} {CHECK_INTERVAL} and {format_ms(life.delete_ms)} "
        f"file.delete.delay.ms, {format_ms(life.retention_ms)} are left for retention.ms, which must be no less than "
        f"segment.ms. Raise retention_ms in {file} to {needed_ms + life.admission_ms + life.slack_ms}, or lower "
        f"admission, or the brokers' {CHECK_INTERVAL}"
    )


def _segment_ms(span_ms: int, wishes: Wishes) -> int:
    """A tenth of the span: short, because a record waits for its segment; not shorter, or files become many."""
    return max(wishes.segment_ms_min, min(span_ms // SEGMENT_PART, SEGMENT_MS_MAX))
