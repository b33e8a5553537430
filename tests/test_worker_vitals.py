"""Signs of life: time awake, who is behind and for how long, and what a snapshot says at each stage of a life."""

import sys
import threading
from itertools import count

from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.worker.vitals import GAP_S_MAX, AwakeClock, Snapshot, Vitals


class HandClock:
    """A clock that goes on when it is told to."""

    def __init__(self, now_s: float = 1000.0) -> None:
        self.now_s = now_s

    def __call__(self) -> float:
        """Return the seconds."""
        return self.now_s


class Life:
    """A worker's vitals on a hand clock, read once a second as the watchdog does."""

    def __init__(self) -> None:
        self.clock = HandClock()
        self.vitals = Vitals(self.clock)

    def wait(self, seconds: int) -> Snapshot:
        """Let time pass, and return the last of the snapshots that the watchdog took."""
        for _ in range(seconds):
            self.clock.now_s += 1.0
            self.vitals.snapshot()
        return self.vitals.snapshot()


# The clock


def test_awake_time_is_the_clocks_while_it_is_read() -> None:
    """Readings a second apart lose nothing, whatever the clock began with."""
    clock = HandClock(12345.0)
    awake = AwakeClock(clock)
    assert awake() == 0.0
    for _ in range(100):
        clock.now_s += 1.0
        awake()
    assert awake() == 100.0


def test_a_stop_counts_for_a_few_seconds() -> None:
    """A process that was stopped for an hour has been awake for as long as before, and a little."""
    clock = HandClock()
    awake = AwakeClock(clock)
    clock.now_s += 2.0
    assert awake() == 2.0
    clock.now_s += 3600.0
    assert awake() == 2.0 + GAP_S_MAX
    clock.now_s += 1.0
    assert awake() == 3.0 + GAP_S_MAX


def test_a_clock_that_goes_back_takes_no_time_back() -> None:
    """Time awake stands still while the clock is behind, and goes on with it from there."""
    clock = HandClock()
    awake = AwakeClock(clock)
    clock.now_s += 3.0
    awake()
    clock.now_s -= 100.0
    assert awake() == 3.0
    clock.now_s += 2.0
    assert awake() == 5.0


@settings(deadline=None)
@given(st.lists(st.floats(-10, 1e6)))
def test_awake_time_never_falls_and_no_step_is_larger_than_the_gap(steps_s: list[float]) -> None:
    """Whatever the clock does, a reading is no less than the one before and at most the gap more."""
    clock = HandClock(0.0)
    awake = AwakeClock(clock)
    before_s = awake()
    for step_s in steps_s:
        clock.now_s += step_s
        now_s = awake()
        assert before_s <= now_s <= before_s + GAP_S_MAX
        before_s = now_s


def test_readers_of_several_threads_count_every_step_once() -> None:
    """Threads that read at once neither add the same second twice nor lose one."""
    awake = AwakeClock(count().__next__)
    gate = threading.Barrier(4)

    def read() -> None:
        gate.wait()
        for _ in range(2000):
            awake()

    readers = [threading.Thread(target=read) for _ in range(4)]
    interval_s = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        for reader in readers:
            reader.start()
        for reader in readers:
            reader.join()
    finally:
        sys.setswitchinterval(interval_s)
    assert awake() == 4 * 2000 + 1


# The stages of a life


def test_a_new_worker_waits_for_its_first_assignment() -> None:
    """It has no partitions, not even none, and the wait is counted from the start."""
    life = Life()
    assert life.vitals.snapshot() == Snapshot(partitions=None, rebalancing_s=0.0)
    assert life.wait(7) == Snapshot(tick_age_s=7.0, partitions=None, rebalancing_s=7.0)


def test_an_assignment_ends_the_wait() -> None:
    """From then on it owns partitions, none of which is behind."""
    life = Life()
    life.wait(3)
    life.vitals.assigned([0, 4])
    life.vitals.tick()
    assert life.vitals.snapshot() == Snapshot(partitions=2)


def test_a_member_without_partitions_stands_by() -> None:
    """An empty assignment is one: nothing is awaited, nothing is behind."""
    life = Life()
    life.vitals.assigned([])
    life.vitals.committed()
    assert life.wait(100) == Snapshot(tick_age_s=100.0, partitions=0)


def test_a_rebalance_is_counted_from_its_first_revocation() -> None:
    """A second revocation while the first goes on does not start the count again; an assignment ends it."""
    life = Life()
    life.vitals.assigned([0])
    life.wait(10)
    life.vitals.revoked()
    life.wait(4)
    life.vitals.revoked()
    assert life.wait(2).rebalancing_s == 6.0
    life.vitals.assigned([0])
    assert life.wait(1).rebalancing_s is None


def test_the_tick_age_is_the_time_since_the_loop_came_round() -> None:
    """It grows until the next tick."""
    life = Life()
    assert life.wait(9).tick_age_s == 9.0
    life.vitals.tick()
    assert life.vitals.snapshot().tick_age_s == 0.0
    assert life.wait(2).tick_age_s == 2.0


def test_a_stopped_process_is_not_taken_for_a_stuck_one() -> None:
    """After an hour in which nobody could read or tick, every age has grown by a few seconds only."""
    life = Life()
    life.vitals.assigned([0])
    life.vitals.set_lag(0, 100)
    life.vitals.stop()
    life.wait(2)
    life.clock.now_s += 3600.0
    aged_s = 2.0 + GAP_S_MAX
    expected = Snapshot(tick_age_s=aged_s, partitions=1, lag=100, progress_age_s=aged_s, stopping_s=aged_s)
    expected = expected._replace(unheard_s=aged_s)
    assert life.vitals.snapshot() == expected


# Lag and progress


def test_a_partition_with_lag_and_no_commit_ages() -> None:
    """The age counts from when records began to wait there, not from the assignment."""
    life = Life()
    life.vitals.assigned([0])
    life.wait(50)
    life.vitals.set_lag(0, 10)
    life.wait(5)
    life.vitals.set_lag(0, 30)
    assert life.wait(5) == Snapshot(tick_age_s=60.0, partitions=1, lag=30, progress_age_s=10.0, unheard_s=5.0)


def test_a_partition_without_lag_does_not_age() -> None:
    """A topic that is quiet for a day has no commits, and nobody is stuck."""
    life = Life()
    life.vitals.assigned([0, 1])
    assert life.wait(1000).progress_age_s == 0.0


def test_silence_is_counted_while_there_are_partitions() -> None:
    """Any answer ends it, an assignment too; a member that stands by asks nobody."""
    life = Life()
    assert life.wait(9).unheard_s == 0.0
    life.vitals.assigned([0, 1])
    assert life.wait(7).unheard_s == 7.0
    life.vitals.set_lag(1, 0)
    assert life.wait(2).unheard_s == 2.0
    life.vitals.revoked()
    assert life.wait(5).unheard_s == 0.0
    life.vitals.assigned([])
    assert life.wait(5).unheard_s == 0.0


def test_a_commit_is_progress() -> None:
    """Records still wait, and the age starts again."""
    life = Life()
    life.vitals.assigned([0])
    life.vitals.set_lag(0, 10)
    life.wait(8)
    life.vitals.committed()
    assert life.vitals.snapshot().progress_age_s == 0.0
    assert life.wait(3).progress_age_s == 3.0


def test_a_partition_that_is_stuck_shows_behind_others_that_go_on() -> None:
    """Commits of other partitions are not its progress; the one that has waited longest is told."""
    life = Life()
    life.vitals.assigned([0, 1])
    for partition in (0, 1):
        life.vitals.set_lag(partition, 10)
    for _ in range(20):
        life.wait(1)
        life.vitals.committed([0])
    assert life.vitals.snapshot().progress_age_s == 20.0
    life.vitals.committed([1])
    assert life.vitals.snapshot().progress_age_s == 0.0


def test_catching_up_is_progress() -> None:
    """A lag that fell to nothing and came back counts from when it came back."""
    life = Life()
    life.vitals.assigned([0])
    life.vitals.set_lag(0, 10)
    life.wait(30)
    life.vitals.set_lag(0, 0)
    assert life.vitals.snapshot().progress_age_s == 0.0
    life.wait(30)
    life.vitals.set_lag(0, 10)
    assert life.wait(2).progress_age_s == 2.0


def test_a_lag_below_zero_is_none() -> None:
    """The position can be newer than the end that it is compared with: nothing waits, nor takes from others' lag."""
    life = Life()
    life.vitals.assigned([0, 1])
    life.vitals.set_lag(0, -3)
    life.vitals.set_lag(1, 5)
    life.vitals.committed([1])
    life.wait(40)
    life.vitals.committed([1])
    assert life.vitals.snapshot() == Snapshot(tick_age_s=40.0, partitions=2, lag=5, progress_age_s=0.0, unheard_s=40.0)


def test_lags_add_up() -> None:
    """The lag is that of all partitions together, each with what was said of it last."""
    life = Life()
    life.vitals.assigned([0, 1, 2])
    for partition, records in ((0, 5), (1, 7), (0, 6)):
        life.vitals.set_lag(partition, records)
    assert life.vitals.snapshot().lag == 13


def test_partitions_of_others_mean_nothing() -> None:
    """A lag or a commit that comes late, of a partition that is not owned (any more), is passed over."""
    life = Life()
    life.vitals.assigned([0])
    life.vitals.set_lag(7, 100)
    life.vitals.committed([7])
    assert life.wait(3) == Snapshot(tick_age_s=3.0, partitions=1, unheard_s=3.0)
    life.vitals.set_lag(0, 100)
    life.vitals.revoked()
    life.vitals.set_lag(0, 100)
    life.vitals.committed()
    assert life.wait(3) == Snapshot(tick_age_s=6.0, partitions=1, rebalancing_s=3.0)


def test_a_new_assignment_begins_anew() -> None:
    """What was behind before a rebalance is not behind after it until it is said again, with a new age."""
    life = Life()
    life.vitals.assigned([0, 1])
    life.vitals.set_lag(0, 100)
    life.wait(30)
    life.vitals.revoked()
    life.vitals.assigned([0])
    assert life.vitals.snapshot() == Snapshot(tick_age_s=30.0, partitions=1)
    life.vitals.set_lag(0, 100)
    assert life.wait(2).progress_age_s == 2.0


def test_positions_that_are_chosen_again_begin_anew() -> None:
    """An assignment without a revocation before it, as when retention overtook the reader, keeps no lag and no age."""
    life = Life()
    life.vitals.assigned([0])
    life.vitals.set_lag(0, 100)
    life.wait(30)
    life.vitals.assigned([0])
    assert life.vitals.snapshot() == Snapshot(tick_age_s=30.0, partitions=1)
    life.vitals.set_lag(0, 100)
    assert life.vitals.snapshot().progress_age_s == 0.0


# The end


def test_draining_is_counted_from_the_first_stop() -> None:
    """A second SIGTERM buys no time."""
    life = Life()
    life.vitals.stop()
    life.wait(3)
    life.vitals.stop()
    life.wait(3)
    assert life.vitals.snapshot() == Snapshot(tick_age_s=6.0, partitions=None, rebalancing_s=6.0, stopping_s=6.0)


def test_a_worker_that_works_is_not_stopping() -> None:
    """Nobody is stopping before somebody says so."""
    assert Life().wait(10).stopping_s is None


# Looking from another thread


def test_a_rebalance_between_two_glances_does_no_harm() -> None:
    """What is taken away while a snapshot is made counts as not waiting, and raises nothing."""
    vitals = Vitals(HandClock())
    vitals.assigned([0])

    class Racing(dict[int, int]):
        def copy(self) -> dict[int, int]:
            vitals.revoked()
            return dict(self)

    vitals._lags = Racing({0: 5})
    assert vitals.snapshot() == Snapshot(partitions=1, lag=5)


def test_a_thread_can_look_while_the_loop_writes() -> None:
    """Snapshots taken through thousands of rebalances raise nothing, and show no age of a partition that is gone."""
    vitals = Vitals(HandClock())
    done = threading.Event()
    seen: list[Snapshot] = []

    def look() -> None:
        while not done.is_set():
            seen.append(vitals.snapshot())
        seen.append(vitals.snapshot())

    watcher = threading.Thread(target=look)
    watcher.start()
    for turn in range(2000):
        vitals.assigned(range(turn % 40 + 1))
        for partition in range(turn % 40 + 1):
            vitals.set_lag(partition, 1)
        vitals.revoked()
    done.set()
    watcher.join()
    assert seen[-1] == Snapshot(partitions=40, rebalancing_s=0.0)
    assert {snapshot.progress_age_s for snapshot in seen} == {0.0}
    assert all(0 <= snapshot.lag <= 40 for snapshot in seen)
