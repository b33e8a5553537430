"""A short turn of `make fuzz` over every reader, and that it finds what is there to be found."""

import time

import pytest
from fuzz import Run, fuzz, mutated
from fuzz_targets import MARKER, Broken, Target, absent, allowed

from pipeline.errors import ConfigError


def test_no_reader_trips_over_mutated_inputs() -> None:
    """Every target has had all its seeds and as many mutations again; none crashed, leaked, hung or grew."""
    runs = fuzz(240, 7, count_max=500)  # so many, not so long: the same inputs wherever it runs
    assert [f"{one.target}: {one.why}" for run in runs for one in run.findings] == []
    assert [run.count - len(run.target.seeds) for run in runs] == [500] * 15


def _crash(data: bytes) -> None:
    if MARKER in data:
        raise IndexError


def _leak(data: bytes) -> None:
    with allowed(ConfigError):
        raise ConfigError(f"cannot read {data!r}")


def _hold_behind(data: bytes) -> None:
    with allowed(ConfigError):
        try:
            raise ValueError(data)  # noqa: TRY301 - as it stands in code that has it
        except ValueError:
            raise ConfigError("cannot read it")  # noqa: B904 - that is the fault


def _hang(data: bytes) -> None:
    while data:
        time.sleep(0.01)


@pytest.mark.parametrize("read", [_crash, _leak, _hold_behind])
def test_a_fault_is_found(read: object) -> None:
    """A crash, a leak into a text, and one into what is behind an error."""
    run = Run(Target("faulty", [b"a seed of some length"], read), 1)  # type: ignore[arg-type]
    run.work(time.monotonic() + 20, 5000)
    assert run.findings
    assert MARKER in run.findings[0].data or read is not _crash


def test_an_input_that_takes_too_long_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is stopped, and the next one is read."""
    monkeypatch.setattr("fuzz.INPUT_S_MAX", 0.2)
    run = Run(Target("slow", [b"a seed"], _hang), 1)
    run.work(time.monotonic() + 1, 3)
    assert "TimeoutError" in run.findings[0].why
    assert run.count >= 2


def test_the_same_seed_gives_the_same_inputs() -> None:
    """So that a finding can be had again; another seed gives others."""
    from random import Random  # noqa: PLC0415 - here alone

    some = [[mutated([b"abc", b"defg"], Random(seed)) for _ in range(50)] for seed in (1, 1, 2)]
    assert some[0] == some[1] != some[2]
    with pytest.raises(Broken):
        absent("here", b"..." + MARKER)
