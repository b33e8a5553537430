"""The breaker: a flood of rejections opens it, and what is rare, over, or one customer's does not."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.worker.breaker import KEYS_BREADTH, WINDOW_S, Breaker, Flood

SHARE_MAX = 0.5
COUNT_MIN = 200
ONE = b"acct-one"


def make_breaker() -> Breaker:
    """Return a breaker with the default settings."""
    return Breaker(SHARE_MAX, COUNT_MIN)


def of_key(key: bytes | None, rejections: int) -> list[bytes | None]:
    """Return the keys of rejected records: all of one account, or without one."""
    return [key for _ in range(rejections)]


def keys_of(number: int, rejections: int) -> list[bytes | None]:
    """Return the keys of rejected records: so many accounts, taking turns."""
    return [b"acct-%d" % (place % number) for place in range(rejections)]


# Share and count, over two partitions


def two_partitions(breaker: Breaker, events: int, rejections: int, at_s: float = 0.0) -> Flood | None:
    """Add a slice of so many events to each of two partitions, and return what the second one says."""
    breaker.add(at_s, 0, events, of_key(None, rejections), assigned=2)
    return breaker.add(at_s, 1, events, of_key(None, rejections), assigned=2)


@pytest.mark.parametrize(
    ("events", "rejections", "flood"),
    [
        (100, 100, Flood(200, 200, 2)),
        (100, 99, None),
        (199, 100, Flood(398, 200, 2)),
        (200, 100, None),
        (200, 101, Flood(400, 202, 2)),
        (100_000, 1000, None),
    ],
    ids=["all", "too few", "a little over half", "half", "over half", "many of far more"],
)
def test_both_share_and_number_must_be_high(events: int, rejections: int, flood: Flood | None) -> None:
    """The number of rejections reaches its limit, and their share goes over its own: then it opens."""
    assert two_partitions(make_breaker(), events, rejections) == flood


def test_a_flood_is_found_though_slices_are_small() -> None:
    """Records that come one at a time add up, over thousands of slices."""
    breaker = Breaker(SHARE_MAX, 10_000)
    said = [breaker.add(number / 1000, number % 8, 1, [None], assigned=8) for number in range(10_000)]
    assert [flood for flood in said if flood] == [Flood(10_000, 10_000, 8)]


@pytest.mark.parametrize("share_max", [1.0, 1.5])
def test_a_share_of_all_never_opens_it(share_max: float) -> None:
    """An operator can let everything pass."""
    breaker = Breaker(share_max, 1)
    assert two_partitions(breaker, 1000, 1000) is None
    assert list(breaker._window) == []


def test_a_share_of_zero_opens_at_the_number() -> None:
    """A limit of no rejection at all still waits for their number."""
    breaker = Breaker(0.0, COUNT_MIN)
    assert two_partitions(breaker, 10_000, 99) is None
    assert two_partitions(breaker, 10_000, 1) == Flood(40_000, 200, 2)


def test_good_events_open_nothing() -> None:
    """No rejections, and no events either, are no flood, whatever the limits."""
    breaker = Breaker(0.0, 1)
    assert two_partitions(breaker, 1000, 0) is None
    assert two_partitions(breaker, 0, 0) is None


# Breadth over partitions


def test_one_partition_of_several_does_not_open_it() -> None:
    """A group of accounts that sends nothing but bad events stops nobody."""
    breaker = make_breaker()
    said = [breaker.add(float(second), 3, 500, keys_of(50, 500), assigned=8) for second in range(60)]
    assert [flood for flood in said if flood] == []


def test_a_second_partition_with_a_high_share_opens_it() -> None:
    """Half of the partitions are bad and the others good: it opens, and says how many there are."""
    breaker = make_breaker()
    said = [breaker.add(0.0, partition, 100, keys_of(1, 100), assigned=4) for partition in range(2)]
    assert said == [None, Flood(200, 200, 2)]


def test_partitions_without_rejections_are_not_counted() -> None:
    """What a flood says of partitions is how many have rejections, not how many there are."""
    breaker = make_breaker()
    breaker.add(0.0, 2, 10, [], assigned=4)
    breaker.add(0.0, 3, 10, [], assigned=4)
    assert two_partitions(breaker, 100, 100) == Flood(220, 200, 2)


def test_a_second_partition_with_a_low_share_does_not_open_it() -> None:
    """Ordinary bad events elsewhere do not make one customer's flood broad."""
    breaker = make_breaker()
    breaker.add(0.0, 0, 1000, keys_of(1, 1000), assigned=4)
    assert breaker.add(0.0, 1, 100, keys_of(1, 50), assigned=4) is None


def test_a_stray_rejection_in_a_quiet_partition_makes_no_flood_broad() -> None:
    """One of one event is a share of all, and yet no sign that others are hit: it takes a tenth of the number."""
    breaker = make_breaker()
    breaker.add(0.0, 0, 1000, keys_of(1, 1000), assigned=8)
    assert breaker.add(1.0, 5, 1, [b"acct-two"], assigned=8) is None
    assert breaker.add(2.0, 5, 18, keys_of(18, 18), assigned=8) is None
    assert breaker.add(3.0, 6, 1, [b"acct-three"], assigned=8) == Flood(1020, 1020, 3)


def test_the_flood_opens_a_worker_whose_partitions_are_uneven() -> None:
    """Where everything is bad, a partition with a hundredth of the traffic is witness enough."""
    breaker = make_breaker()
    said = []
    for second in range(30):
        breaker.add(float(second), 0, 100, keys_of(9, 100), assigned=2)
        said.append(breaker.add(float(second), 1, 1, [b"acct-quiet"], assigned=2))
    assert [place for place, flood in enumerate(said) if flood] == list(range(19, 30))


# Breadth over keys, where there is a single partition


def test_one_customer_does_not_open_a_single_partition() -> None:
    """All events of one key are bad, for as long as you like."""
    breaker = make_breaker()
    said = [breaker.add(float(second), 0, 500, of_key(ONE, 500), assigned=1) for second in range(120)]
    assert [flood for flood in said if flood] == []


def test_eight_keys_open_a_single_partition() -> None:
    """Seven accounts with bad events are some customers, eight are everyone."""
    for number in (1, KEYS_BREADTH - 1):
        assert make_breaker().add(0.0, 0, 400, keys_of(number, 400), assigned=1) is None
    assert make_breaker().add(0.0, 0, 400, keys_of(KEYS_BREADTH, 400), assigned=1) == Flood(400, 400, 1)


def test_keys_add_up_over_slices() -> None:
    """Eight keys, each in its own slice and second."""
    breaker = make_breaker()
    said = [breaker.add(float(place), 0, 50, of_key(b"acct-%d" % place, 50), assigned=1) for place in range(8)]
    assert said == [None] * 7 + [Flood(400, 400, 1)]


def test_records_without_a_key_open_a_single_partition() -> None:
    """Raw that has no keys says nothing of accounts, so any flood there is taken for broad."""
    assert make_breaker().add(0.0, 0, 300, of_key(None, 300), assigned=1) == Flood(300, 300, 1)


def test_a_few_records_without_a_key_are_not_broad() -> None:
    """Seven keyless rejections beside one customer's flood are not eight customers."""
    breaker = make_breaker()
    assert breaker.add(0.0, 0, 500, [*of_key(ONE, 493), *of_key(None, 7)], assigned=1) is None


def test_strays_of_other_keys_do_not_make_one_customers_flood_broad() -> None:
    """Others' share of rejections is low: that some of them have a bad event now and then stops nobody."""
    breaker = make_breaker()
    said = [
        breaker.add(float(second), 0, 200, [*of_key(ONE, 150), b"acct-%d" % second], assigned=1) for second in range(60)
    ]
    assert [flood for flood in said if flood] == []


def test_one_customer_is_found_behind_many_strays() -> None:
    """A slice with a rejection of each of a hundred keys, and a thousand of one: the one is known for the worst."""
    breaker = make_breaker()
    assert breaker.add(0.0, 0, 1800, [*keys_of(100, 100), *of_key(ONE, 1000)], assigned=1) is None


def test_a_loud_customer_does_not_hide_a_flood() -> None:
    """Where all others' events are bad too, it opens although one key has nearly all of them."""
    breaker = make_breaker()
    assert breaker.add(0.0, 0, 1020, [*of_key(ONE, 1000), *keys_of(20, 20)], assigned=1) == Flood(1020, 1020, 1)


def test_the_order_in_a_slice_does_not_matter() -> None:
    """A slice that begins with hundreds of one key's rejections shows the other keys behind them too."""
    assert make_breaker().add(0.0, 0, 700, [*of_key(ONE, 400), *keys_of(300, 300)], assigned=1) == Flood(700, 700, 1)


# The window


def test_rejections_are_forgotten_after_a_minute() -> None:
    """Half of a flood, and the other half after the window has moved on, are no flood."""
    breaker = make_breaker()
    two_partitions(breaker, 60, 60, at_s=1000.0)
    assert two_partitions(breaker, 60, 60, at_s=1000.0 + WINDOW_S + 1) is None
    assert two_partitions(breaker, 60, 60, at_s=1000.0 + WINDOW_S + 2) == Flood(240, 240, 2)


def test_rejections_within_a_minute_add_up() -> None:
    """Two halves of a flood, a minute apart, are one."""
    breaker = make_breaker()
    two_partitions(breaker, 60, 60, at_s=1000.0)
    assert two_partitions(breaker, 60, 60, at_s=1000.0 + WINDOW_S) == Flood(240, 240, 2)


def test_good_events_that_are_long_past_do_not_cover_a_flood() -> None:
    """Hours of good traffic count for a minute only."""
    breaker = make_breaker()
    for second in range(600):
        breaker.add(float(second), second % 2, 1000, [], assigned=2)
    assert two_partitions(breaker, 1000, 1000, at_s=600.0) is None
    assert two_partitions(breaker, 1000, 1000, at_s=600.0 + WINDOW_S) == Flood(4000, 4000, 2)


def test_a_slow_trickle_of_rejections_is_no_flood() -> None:
    """Three bad events a second stay below the number in every minute, and go on for an hour."""
    breaker = make_breaker()
    said = [breaker.add(place / 3, place % 2, 1, [None], assigned=2) for place in range(3 * 3600)]
    assert [flood for flood in said if flood] == []


def test_partitions_of_the_past_are_no_breadth() -> None:
    """What a partition had before the window, or before it went to another worker a minute ago, counts no more."""
    breaker = make_breaker()
    breaker.add(0.0, 0, 1000, keys_of(9, 1000), assigned=2)
    assert breaker.add(WINDOW_S + 1, 1, 1000, keys_of(9, 1000), assigned=2) is None


def test_the_window_stays_small() -> None:
    """Five minutes of slices, every one of new partitions and keys, leaves a minute of counts, and no key in clear."""
    breaker = Breaker(SHARE_MAX, 10**9)
    for place in range(300):
        keys: list[bytes | None] = [b"canary-7f3a-%d-%d" % (place, number) for number in range(100)]
        breaker.add(float(place), place, 100, keys, assigned=9)
    assert len(breaker._window) <= WINDOW_S + 1
    assert max(len(step.keys) for step in breaker._window) <= 64
    assert len(breaker._events) <= WINDOW_S + 1
    assert len(breaker._rejections) <= WINDOW_S + 1
    assert "canary" not in repr(breaker._window)


# As a whole

SLICES = st.lists(
    st.tuples(st.floats(0, 20), st.integers(0, 3), st.integers(0, 60), st.integers(0, 60), st.integers(1, 12)),
    max_size=30,
)


@settings(deadline=None)
@given(SLICES, st.integers(1, 4))
def test_it_opens_only_on_what_the_last_minute_held(
    slices: list[tuple[float, int, int, int, int]], assigned: int
) -> None:
    """What a flood says is true of the slices of the last minute, to a second; and its share and number are high."""
    breaker, now_s, seen = Breaker(SHARE_MAX, 50), 0.0, list[tuple[float, int, int, int]]()
    for wait_s, partition, good, bad, accounts in slices:
        now_s += wait_s
        seen.append((now_s, partition, good + bad, bad))
        flood = breaker.add(now_s, partition, good + bad, keys_of(accounts, bad), assigned=assigned)
        if flood:
            within = [each for each in seen if each[0] >= now_s - WINDOW_S]
            surely = [each for each in seen if each[0] >= now_s - WINDOW_S + 1]
            assert sum(each[2] for each in surely) <= flood.events <= sum(each[2] for each in within)
            assert sum(each[3] for each in surely) <= flood.rejections <= sum(each[3] for each in within)
            assert flood.rejections >= 50
            assert flood.rejections > flood.events * SHARE_MAX
            assert flood.partitions >= min(assigned, 2)


@settings(deadline=None)
@given(st.lists(st.tuples(st.floats(0, 5), st.integers(1, 50)), max_size=40), st.integers(1, 8))
def test_one_partition_and_one_key_never_open_it(slices: list[tuple[float, int]], assigned: int) -> None:
    """One customer's bad events, however many and however fast, are not broad: keyed, or of one of the partitions."""
    breaker, now_s = Breaker(0.01, 1), 0.0
    for wait_s, bad in slices:
        now_s += wait_s
        assert breaker.add(now_s, 0, bad, of_key(ONE, bad), assigned=assigned) is None
