"""The worker's pure parts: how far a partition is done, where reading begins, how records are cut and counted."""

import string
from collections import Counter
from collections.abc import Sequence
from itertools import pairwise
from random import Random
from typing import NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from store_fixtures import make_event, make_rejection

from pipeline.errors import Reason
from pipeline.tally import Tally
from pipeline.worker.batches import BATCH_RECORDS_MAX, RawBatch, RawRecord, split
from pipeline.worker.offsets import Start, choose_start
from pipeline.worker.route import partition_of
from pipeline.worker.watermark import Ledger, Watermark

START = 5
RANGES = st.lists(st.tuples(st.integers(0, 40), st.integers(0, 40)), max_size=25)
"""Pairs of offsets, from and up to: below the start, over it and beyond, empty and upside down ones among them."""


class Record(NamedTuple):
    """A consumed record, as far as the worker reads it."""

    offset: int
    value: bytes | None
    key: bytes | None = None
    timestamp: int = 0


def contiguous_end(start: int, done: set[int]) -> int:
    """Return the first offset from the start on that is not done."""
    while start in done:
        start += 1
    return start


def partition_into_runs(size: int, cuts: set[int]) -> list[tuple[int, int]]:
    """Return the ranges that offsets 0 to ``size`` fall into when they are cut."""
    edges = [0, *sorted(cut for cut in cuts if 0 < cut < size), size]
    return list(pairwise(edges))


# How far a partition is done


@settings(deadline=None)
@given(RANGES)
def test_the_position_is_the_end_of_the_longest_contiguous_run(ranges: list[tuple[int, int]]) -> None:
    """In whatever order ranges are done, the position stands at the first offset that is not, after every step."""
    mark, done = Watermark(START), set[int]()
    for first, end in ranges:
        mark.done(first, end)
        done.update(range(first, end))
        assert contiguous_end(START, done) == mark.position


@settings(deadline=None)
@given(RANGES)
def test_what_is_remembered_beyond_the_position_is_what_was_done_there(ranges: list[tuple[int, int]]) -> None:
    """Ranges ahead are kept whole, in order and apart, so there is one a hole and no more."""
    mark, done = Watermark(START), set[int]()
    for first, end in ranges:
        mark.done(first, end)
        done.update(range(first, end))
    ahead = mark._ahead
    assert {offset for offset in done if offset > mark.position} == {at for run in ahead for at in range(*run)}
    assert all(left[1] < right[0] for left, right in pairwise([(START, mark.position), *ahead]))


@settings(deadline=None)
@given(RANGES)
def test_the_position_never_goes_back(ranges: list[tuple[int, int]]) -> None:
    """No range moves the position down, one that was done before among them."""
    mark, positions = Watermark(START), [START]
    for first, end in [*ranges, *ranges]:
        mark.done(first, end)
        positions.append(mark.position)
    assert sorted(positions) == positions


@settings(deadline=None)
@given(st.sets(st.integers(1, 59)), st.randoms(use_true_random=False))
def test_ranges_that_cover_all_bring_the_position_to_the_end(cuts: set[int], random: Random) -> None:
    """Slices of a partition that are acknowledged in any order leave no hole and nothing to remember."""
    runs = partition_into_runs(60, cuts)
    random.shuffle(runs)
    mark = Watermark(0)
    for first, end in runs:
        mark.done(first, end)
    assert (mark.position, mark._ahead) == (60, [])


def test_one_hole_holds_the_position() -> None:
    """All but one slice is delivered: what is committed ends before the slice that is not."""
    mark = Watermark(0)
    for first in (0, 10, 30, 40):
        mark.done(first, first + 10)
    assert mark.position == 20
    mark.done(20, 30)
    assert mark.position == 50


def test_a_gap_of_the_log_costs_nothing() -> None:
    """Offsets that retention took are done as one range, however many they are."""
    mark = Watermark(0)
    mark.done(5 * 10**12, 6 * 10**12)
    mark.done(0, 5 * 10**12)
    assert mark.position == 6 * 10**12


def test_what_waits_behind_a_hole_is_held_as_one_range() -> None:
    """While one slice is stuck, others go on and on: what they leave does not grow with their number."""
    mark = Watermark(0)
    for first in range(1, 20_000):
        mark.done(first, first + 1)
        mark.done(first, first + 1)
    assert mark._ahead == [(1, 20_000)]
    mark.done(0, 1)
    assert (mark.position, mark._ahead) == (20_000, [])


# The partitions of a worker


def test_what_moved_since_the_last_commit_is_committable() -> None:
    """A partition's offset is offered until its commit is confirmed, and again when it has moved on."""
    ledger = Ledger()
    ledger.start(0, 100)
    ledger.start(1, 7)
    assert ledger.committable() == {}
    ledger.done(0, 100, 150)
    assert ledger.committable() == {0: 150}
    assert ledger.committable() == {0: 150}
    ledger.committed({0: 150})
    assert ledger.committable() == {}
    ledger.done(0, 150, 160)
    assert ledger.committable() == {0: 160}
    assert ledger.positions() == {0: 160, 1: 7}


def test_what_was_delivered_during_a_commit_stays_committable() -> None:
    """A confirmed commit covers the offsets that it carried, and none that came after it was sent."""
    ledger = Ledger()
    ledger.start(0, 0)
    ledger.done(0, 0, 10)
    sent = ledger.committable()
    ledger.done(0, 10, 20)
    ledger.committed(sent)
    assert ledger.committable() == {0: 20}


def test_an_older_commit_confirmed_late_takes_nothing_back() -> None:
    """Confirmations that arrive out of order do not make a committed offset be committed again."""
    ledger = Ledger()
    ledger.start(0, 0)
    ledger.done(0, 0, 20)
    ledger.committed({0: 20})
    ledger.committed({0: 10})
    assert ledger.committable() == {}


def test_a_partition_that_is_not_owned_is_passed_over() -> None:
    """What comes late of a partition that went to another worker is neither kept nor committed."""
    ledger = Ledger()
    ledger.start(0, 0)
    ledger.start(1, 0)
    ledger.keep([1])
    ledger.done(0, 0, 10)
    ledger.committed({0: 10})
    assert ledger.positions() == {1: 0}
    assert ledger.committable() == {}


def test_a_partition_that_comes_back_begins_anew() -> None:
    """What was done before the partition went away fills no hole of its next ownership."""
    ledger = Ledger()
    ledger.start(0, 0)
    ledger.done(0, 10, 20)
    ledger.start(0, 0)
    ledger.done(0, 0, 10)
    assert ledger.positions() == {0: 10}


def test_partitions_do_not_move_each_other() -> None:
    """A range of one partition is none of another."""
    ledger = Ledger()
    ledger.start(0, 0)
    ledger.start(1, 0)
    ledger.done(0, 0, 10)
    ledger.done(1, 10, 20)
    assert ledger.positions() == {0: 10, 1: 0}


# Where reading begins


@pytest.mark.parametrize(
    ("committed", "log_start", "log_end", "start"),
    [
        (None, 0, 0, Start(0)),
        (None, 40, 90, Start(40)),
        (0, 0, 90, Start(0)),
        (60, 40, 90, Start(60)),
        (40, 40, 90, Start(40)),
        (90, 40, 90, Start(90)),
        (90, 90, 90, Start(90)),
        (39, 40, 90, Start(40, expired=(39, 39))),
        (0, 40, 90, Start(40, expired=(0, 39))),
        (10, 90, 90, Start(90, expired=(10, 89))),
        (91, 40, 90, Start(40, restarted=True)),
        (5, 0, 0, Start(0, restarted=True)),
    ],
    ids=[
        *("first start, empty log", "first start, old log", "from zero", "in the log", "at its start", "at its end"),
        *("all read and expired", "one expired", "many expired", "all that was left expired", "log cut", "topic anew"),
    ],
)
def test_reading_begins_where_nothing_is_passed_over(
    committed: int | None, log_start: int, log_end: int, start: Start
) -> None:
    """A group goes on where it left off; a first start reads all there is; what is gone is said to be gone."""
    assert start == choose_start(committed, log_start, log_end)


@settings(deadline=None)
@given(
    st.none() | st.integers(0, 50),
    st.integers(0, 50).flatmap(lambda low: st.tuples(st.just(low), st.integers(low, 50))),
)
def test_every_offset_is_read_or_committed_or_named_as_expired(committed: int | None, log: tuple[int, int]) -> None:
    """From the committed offset on, what is in the log is read, and what is below the log is in the expired range."""
    log_start, log_end = log
    start = choose_start(committed, log_start, log_end)
    assert log_start <= start.offset <= log_end
    owed = set(range(log_start if committed is None or start.restarted else committed, log_end))
    expired = set(range(start.expired[0], start.expired[1] + 1)) if start.expired else set[int]()
    assert owed == expired | set(range(start.offset, log_end))
    assert expired == owed - set(range(log_start, log_end))


# How records are cut

RECORDS = st.lists(st.none() | st.integers(0, 12).map(lambda size: b"x" * size), max_size=30).map(
    lambda values: [Record(offset, value) for offset, value in enumerate(values)]
)


def size_of(records: Sequence[RawRecord]) -> int:
    """Return the bytes of some records' values."""
    return sum(len(record.value or b"") for record in records)


@settings(deadline=None)
@given(RECORDS, st.integers(1, 20), st.integers(1, 6))
def test_cut_records_are_the_same_records(records: list[Record], bytes_max: int, records_max: int) -> None:
    """The runs joined are what was cut, in order; none is empty."""
    runs = [list(run) for run in split(records, bytes_max, records_max)]
    assert records == [record for run in runs for record in run]
    assert [] not in runs


@settings(deadline=None)
@given(RECORDS, st.integers(1, 20), st.integers(1, 6))
def test_a_run_keeps_its_bounds_and_is_as_long_as_they_let_it(
    records: list[Record], bytes_max: int, records_max: int
) -> None:
    """A run has at most so many bytes and records, one larger record apart; the next record would not have fit."""
    runs = [list(run) for run in split(records, bytes_max, records_max)]
    assert [run for run in runs if len(run) > records_max] == []
    assert [run for run in runs if size_of(run) > bytes_max and len(run) > 1] == []
    for run, following in pairwise(runs):
        assert len(run) == records_max or size_of(run) + size_of(following[:1]) > bytes_max


def test_a_record_larger_than_a_batch_goes_alone() -> None:
    """What stands before and after it goes without it."""
    records = [Record(offset, b"x" * size) for offset, size in enumerate([2, 50, 2, 2])]
    assert [[record.offset for record in run] for run in split(records, 10)] == [[0], [1], [2, 3]]


def test_records_that_fill_a_batch_to_the_byte_go_together() -> None:
    """The bound itself is allowed."""
    records = [Record(offset, b"x" * size) for offset, size in enumerate([5, 5, 1])]
    assert [[record.offset for record in run] for run in split(records, 10)] == [[0, 1], [2]]


def test_tombstones_are_bounded_in_number() -> None:
    """Records without a value weigh nothing, and are cut all the same."""
    runs = split([Record(offset, None) for offset in range(2 * BATCH_RECORDS_MAX + 1)], 1)
    assert [len(run) for run in runs] == [BATCH_RECORDS_MAX, BATCH_RECORDS_MAX, 1]


def test_a_batch_shows_nothing_of_its_records() -> None:
    """The repr names the offsets only: Faust prints what it is handed."""
    batch = RawBatch(3, 10, 12, [Record(10, b"canary-7f3a", b"canary-key"), Record(11, None)])
    assert repr(batch) == "RawBatch(3, 10..12)"
    assert f"{batch}" == "RawBatch(3, 10..12)"


# Where records go


@pytest.mark.parametrize(
    ("key", "crc"),
    [
        (b"123456789", 0xCBF43926),
        (b"", 0),
        (b"a", 0xE8B7BE43),
        (b"The quick brown fox jumps over the lazy dog", 0x414FA339),
    ],
    ids=["the check value", "empty", "a letter", "a sentence"],
)
@pytest.mark.parametrize("partitions", [1, 6, 7, 64])
def test_a_key_goes_where_its_crc_says(key: bytes, crc: int, partitions: int) -> None:
    """The partition is the published CRC-32 of the key modulo the number of partitions, on every machine."""
    assert crc % partitions == partition_of(key, partitions)


def test_request_ids_spread_over_the_partitions() -> None:
    """No partition of six gets a tenth more or less than its part of made-up ids."""
    counts = [0] * 6
    for number in range(60_000):
        counts[partition_of(f"req_{number * 2654435761 % 2**64:032x}".encode(), 6)] += 1
    assert [count for count in counts if not 9_000 < count < 11_000] == []


@settings(deadline=None)
@given(st.text(string.hexdigits, min_size=24, max_size=32), st.integers(1, 1000))
def test_a_key_always_goes_to_a_partition_that_there_is(key: str, partitions: int) -> None:
    """The partition is one of the topic's own, whatever their number, and the same every time."""
    partition = partition_of(key.encode(), partitions)
    assert 0 <= partition < partitions
    assert partition == partition_of(key.encode(), partitions)


# What is counted


def test_a_tally_of_nothing_is_empty_and_its_own() -> None:
    """Two tallies share no counter."""
    first, second = Tally(), Tally()
    first.count(make_rejection(1))
    assert second == Tally(events=0, accepted=0, rejections=Counter())
    assert first != second


def test_a_rejection_counts_by_its_reason_alone() -> None:
    """It is an event, and no accepted one: nothing else is known of it."""
    tally = Tally()
    for reason in (Reason.NOT_JSON, Reason.TOO_DEEP, Reason.NOT_JSON):
        tally.count(make_rejection(1, reason=reason))
    assert tally == Tally(events=3, rejections=Counter({str(Reason.NOT_JSON): 2, str(Reason.TOO_DEEP): 1}))


def test_accepted_events_add_up_by_what_became_of_them() -> None:
    """Redactions by type, content by outcome, the model where the record has one, and fields are summed."""
    tally = Tally()
    for model, outcome in (("other", "stored"), (None, "expired"), ("other", "stored")):
        fate = make_event(1, operational={"model": model})
        facts = fate.facts
        facts.redactions, facts.content_outcome = {"EMAIL_ADDRESS": 2, "PERSON": 1}, outcome
        facts.unknown_fields, facts.dropped_fields, facts.duplicate_keys = 1, 2, 3
        tally.count(fate)
    assert tally == Tally(
        events=3,
        accepted=3,
        redactions=Counter(EMAIL_ADDRESS=6, PERSON=3),
        outcomes=Counter(stored=2, expired=1),
        models=Counter(other=2),
        unknown_fields=3,
        dropped_fields=6,
        duplicate_keys=9,
    )


def test_every_event_is_accepted_or_rejected() -> None:
    """The counts of a mixed batch leave no event out, and each is counted once."""
    tally = Tally()
    for number in range(10):
        tally.count(make_rejection(number) if number % 3 else make_event(number))
    assert tally.events == 10
    assert (tally.accepted, tally.rejections.total(), tally.outcomes.total()) == (4, 6, 4)
