"""The canary proof: planted values go through the whole pipeline, and then everything that came out is searched.

Searched are the records of every sink, rejections, what any logger wrote at DEBUG (third parties' too), warnings,
standard output and error, the metrics' text, every ``repr``, and the text of every exception with all it chains.
"""

import io
import json
import logging
import os
import re
import subprocess
import sys
import traceback
import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from conftest import OPEN_DOOR, RECEIVED_AT_MS, make_keys
from strategies import PLANTS, corruptions, outputs, planted_event, to_json, with_value

from pipeline import cli
from pipeline.anonymize import Core, anonymize, process
from pipeline.codec import decode
from pipeline.errors import InvalidEvent
from pipeline.inputs import RawEvent
from pipeline.metrics import Metrics, WorkerMetrics
from pipeline.records import Anonymized, Source
from pipeline.run import Summary, run
from pipeline.sinks.files import NAMES, FileSink
from pipeline.sinks.memory import MemorySink
from pipeline.synth import Canary, SyntheticEvent, generate_events
from pipeline.synth.verdict import Verdict, judge_canaries
from pipeline.tally import Tally

SEED, COUNT = 20, 400
CONTENT = NAMES[0]
"""The one place where a canary of content may be."""
ROOT = Path(__file__).resolve().parent.parent


@dataclass(slots=True)
class Heard:
    """What was said besides the records.

    Attributes:
        places: text by where it was found.
        loggers: names of the loggers that said something.
    """

    places: dict[str, str] = field(default_factory=dict)
    loggers: set[str] = field(default_factory=set)


class _Ear(logging.Handler):
    """Keeps every record as text, its arguments and exception included."""

    def __init__(self) -> None:
        super().__init__(logging.NOTSET)
        self.lines = io.StringIO()
        self.names: set[str] = set()
        self.setFormatter(logging.Formatter("%(name)s %(pathname)s %(message)s"))

    def emit(self, record: logging.LogRecord) -> None:
        """Keep a record."""
        self.names.add(record.name)
        self.lines.write(f"{self.format(record)}\n{record.args!r}\n")


@contextmanager
def listening(heard: Heard, name: str) -> Iterator[None]:
    """Hear every logger at DEBUG, and every warning, whatever the libraries set them to."""
    ear, root = _Ear(), logging.getLogger()
    known = [each for each in logging.root.manager.loggerDict.values() if isinstance(each, logging.Logger)]
    before = [(each, each.level, each.propagate, each.disabled) for each in (root, *known)]
    for each, *_ in before:
        each.setLevel(logging.DEBUG)
        each.propagate, each.disabled = True, False
    root.addHandler(ear)
    try:
        with warnings.catch_warnings(record=True) as warned:
            warnings.simplefilter("always")
            yield
    finally:
        root.removeHandler(ear)
        for each, level, propagate, disabled in before:
            each.setLevel(level)
            each.propagate, each.disabled = propagate, disabled
    heard.loggers |= ear.names
    heard.places[f"logs of {name}"] = ear.lines.getvalue()
    heard.places[f"warnings of {name}"] = "\n".join(str(warning) for warning in warned)


def explain(error: BaseException) -> str:
    """Return all that a log could show of an exception: texts, arguments, attributes, traceback and what it chains."""
    parts = [*traceback.format_exception(error)]
    seen: list[BaseException] = []
    link: BaseException | None = error
    while link is not None and link not in seen:
        seen.append(link)
        parts += [
            str(link),
            repr(link),
            repr(link.args),
            repr(getattr(link, "__dict__", {})),
            repr(getattr(link, "__notes__", [])),
        ]
        link = link.__cause__ or link.__context__
    return "\n".join(parts)


def raised_by(raw: bytes, core: Core) -> InvalidEvent | None:
    """Return the exception that the core itself raises for a raw event."""
    limits = core.policy.limits
    try:
        decoded = decode(
            raw, size_max=limits.event_bytes_max, depth_max=limits.depth_max, declared=core.policy.shape.tree
        )
        anonymize(decoded, core, OPEN_DOOR)
    except InvalidEvent as error:
        return error
    return None


@dataclass(frozen=True, slots=True)
class Traffic:
    """Raw lines, good and bad, and what was planted in them.

    Attributes:
        raws: what comes in.
        bad: how many of them are no events.
        canaries: all of them.
    """

    raws: list[bytes]
    bad: int
    canaries: list[Canary]


def _damage(made: Sequence[SyntheticEvent]) -> list[bytes]:
    """Return events with canaries in them, each spoiled in another way: bytes first, then leaf by leaf."""
    raws = [to_json(each.event) for each in made[:6]]
    spoiled = [
        raws[0][:-1],
        raws[1].replace(b'"status"', b'"status', 1),
        raws[2] + b"\xff",
        raws[3].replace(b'"model":', b'"model":1e400,"model":', 1),
        b"[" + raws[4] + b"]",
        b'{"a":' * 200 + raws[5] + b"}" * 200,
    ]
    spoiled += [to_json({each.event["account"]["id"]: each.event}) for each in made[6:8]]  # a key is a canary
    spoiled += [
        to_json({**each.event, name: [each.event]}) for each in made[8:10] for name in each.event if name != "client"
    ]
    return spoiled + [to_json(with_value(planted_event("v1"), *case)) for case in corruptions("v1")]


def _to_canaries(shape: str) -> Iterator[Canary]:
    """Return what the leaf-by-leaf corruptions plant, absent everywhere: such an event is no record."""
    for name, plant in PLANTS[shape].items():
        if "zq" in plant.needle.lower() or name.endswith(".ip"):
            yield Canary(plant.needle, f"leaf {name}", "", "", "absent")
    for bad in ("zqbadvalue", "zqbadkey", "zqbad@example.org", "918273645", "9182736455463728"):
        yield Canary(bad, "bad value", "", "", "absent")


@pytest.fixture(scope="module")
def traffic() -> Traffic:
    """Return synthetic traffic, and bad events between it."""
    made = list(generate_events(seed=SEED, count=COUNT, start_ms=RECEIVED_AT_MS - COUNT * 20))
    good, bad = [to_json(each.event) for each in made], _damage(made)
    canaries = [canary for each in made for canary in each.canaries]
    mixed = [
        raw for at, raw in enumerate(good) for raw in (raw, *bad[at * len(bad) // COUNT : (at + 1) * len(bad) // COUNT])
    ]
    return Traffic(mixed, len(bad), [*canaries, *_to_canaries("v1")])


def _lines(traffic: Traffic) -> list[RawEvent]:
    return [RawEvent(raw, Source("file:0123456789abcdef", 0, at, len(raw))) for at, raw in enumerate(traffic.raws, 1)]


def _reprs(values: Iterable[object]) -> str:
    return "\n".join(text for value in values for text in (repr(value), str(value), f"{value}"))


@dataclass(frozen=True, slots=True)
class Outcome:
    """What the whole run gave: all text by place, the content of each request, and the totals."""

    places: dict[str, str]
    content: dict[str, str]
    summary: Summary
    loggers: set[str]
    errors: int


@pytest.fixture(scope="module")
def outcome(traffic: Traffic, core: Core, tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    """Run the traffic into files and into memory, and keep everything that was said meanwhile."""
    folder, heard, metrics = tmp_path_factory.mktemp("canary") / "out", Heard(), Metrics()
    events, memory, tally, slices = _lines(traffic), MemorySink(), Tally(), WorkerMetrics()
    with listening(heard, "the run"):
        summary = run(events, core, FileSink(folder), lambda: OPEN_DOOR, batch_max=64, metrics=metrics)
        run(events, core, memory, lambda: OPEN_DOOR, batch_max=100_000, metrics=Metrics())
        raised = [error for error in (raised_by(raw, core) for raw in traffic.raws) if error is not None]
        fates = [process(event.raw, event.source, core, OPEN_DOOR) for event in events]
        for fate in fates:
            tally.count(fate)
        slices.batch_done(tally, {}, [1.0])
        kept = [*memory.content.values(), *memory.operational.values(), *memory.rejected.values(), memory]
        good = [fate for fate in fates if isinstance(fate, Anonymized)]
        parts = [part for fate in good for part in (*fate, fate.content and fate.content.body)]
        things = [
            *(event.source for event in events),
            core,
            core.policy,
            core.keys,
            core.plan.received,
            summary,
            summary.written,
            metrics,
            tally,
            *events,
            *traffic.canaries,
        ]
        heard.places["reprs"] = _reprs([*fates, *parts, *kept, *things])
        heard.places["exceptions"] = "\n".join(map(explain, raised))
    files = {name: (folder / name).read_text("utf-8") for name in NAMES}
    content = {json.loads(line)["request_id"]: line for line in files[CONTENT].splitlines()}
    in_memory = "\n".join(outputs(fate)["rejected"].decode() for fate in memory.rejected.values())
    places = {**heard.places, **files, "rejected in memory": in_memory, "metrics": metrics.render().decode()}
    places["worker's metrics"] = slices.render().decode()
    return Outcome(places, content, summary, heard.loggers, len(raised))


def spellings(canary: Canary) -> Iterator[Canary]:
    """Yield a canary as a log could write it: in Python's and JSON's escapes, lists with spaces, in lower case."""
    for value in {
        canary.value,
        ascii(canary.value)[1:-1],
        json.dumps(canary.value)[1:-1],
        canary.value.replace(",", ", "),
    }:
        yield replace(canary, value=value)
        yield replace(canary, value=value.lower())


def test_nothing_planted_is_anywhere_it_may_not_be(traffic: Traffic, outcome: Outcome) -> None:
    """No canary is in any record, log, warning, metric, repr or exception; every benign marker is still in content."""
    verdict = judge_canaries(traffic.canaries, outcome.content, outcome.places)
    assert dict(verdict.leaked) == {}
    assert (verdict.absent, verdict.lost) == (sum(c.expect == "absent" for c in traffic.canaries), 0)
    assert verdict.kept == sum(c.expect == "present" for c in traffic.canaries)
    assert verdict.clean


def test_nothing_planted_is_said_in_another_spelling(traffic: Traffic, outcome: Outcome) -> None:
    """What is said besides the records has no canary in lower case or in any escape either, benign ones included."""
    said = {place: text.lower() for place, text in outcome.places.items() if place != CONTENT}
    canaries = [each for canary in traffic.canaries for each in spellings(replace(canary, expect="absent"))]
    assert dict(judge_canaries(canaries, {}, said).leaked) == {}


def test_the_run_was_what_it_should_be(traffic: Traffic, outcome: Outcome) -> None:
    """The proof is about something: every fate occurred, identifiers were found, and exceptions were looked at."""
    assert (outcome.summary.events, outcome.summary.accepted) == (COUNT + traffic.bad, COUNT)
    assert sum(outcome.summary.rejections.values()) == outcome.errors == traffic.bad
    reasons = {
        "not_json",
        "not_utf8",
        "number_out_of_range",
        "not_an_object",
        "too_deep",
        "missing_field",
        "wrong_type",
    }
    assert reasons | {"out_of_range", "bad_format"} == set(outcome.summary.rejections)
    assert outcome.summary.unknown_fields > 0
    assert {"EMAIL_ADDRESS", "PHONE_NUMBER", "CREDIT_CARD", "CALL", "MEDIA"} <= set(outcome.summary.redactions)
    assert len({canary.kind for canary in traffic.canaries}) > 25
    assert all(outcome.places[place] for place in (*NAMES, "reprs", "exceptions", "metrics", "rejected in memory"))
    assert 'lethe_requests_total{model="other"}' in outcome.places["worker's metrics"]


def _raise(error: Exception, cause: Exception | None = None) -> None:
    raise error from cause


def test_what_listens_hears() -> None:
    """A canary in a log line of a muted logger, its arguments, an exception, or a warning would have been found."""
    heard, muted = Heard(), logging.getLogger("zq.muted")
    muted.setLevel(logging.CRITICAL)
    muted.propagate = False
    with listening(heard, "a test"):
        muted.debug("one %s", "zqfirst")
        try:
            _raise(ValueError("zqsecond"))
        except ValueError:
            muted.exception("two")
        warnings.warn("zqthird", stacklevel=1)
    assert (muted.level, muted.propagate) == (logging.CRITICAL, False)
    assert "zq.muted" in heard.loggers
    for mark, place in (("zqfirst", "logs"), ("zqsecond", "logs"), ("zqthird", "warnings")):
        assert mark in heard.places[f"{place} of a test"]


def test_an_exception_is_searched_with_all_that_it_chains() -> None:
    """A value in the text of an exception, or of one before it, would have been found."""
    with pytest.raises(KeyError) as caught:
        _raise(KeyError("zqfourth"), LookupError("zqfifth"))
    shown = explain(caught.value)
    assert "KeyError: 'zqfourth'" in shown
    assert "LookupError('zqfifth')" in shown


def _canary(value: str, kind: str = "EMAIL_ADDRESS", *, present: bool = False) -> Canary:
    return Canary(value, kind, "/request", "req_1", "present" if present else "absent")


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("ines@example.org", 'mail="ines@example.org";'),
        ('say "hi"\n', r'{"content":"say \"hi\"\n"}'),
        ('say "hi"\n', 'say "hi"\n'),
        ("C:\\Users\\ines", r'"C:\\Users\\ines"'),
        ("1501,318,8", '"prompt":[1501,318,8]'),
        ("Łucja", '"Łucja"'),
    ],
)
def test_a_leak_is_found(value: str, text: str) -> None:
    """The judge finds a planted value in any place, as it is and as JSON has it, and names kind and place only."""
    verdict = judge_canaries([_canary(value), _canary("elsewhere@example.org")], {}, {"logs": text, "metrics": "x 1"})
    assert (dict(verdict.leaked), verdict.absent, verdict.clean) == ({("logs", "EMAIL_ADDRESS"): 1}, 1, False)
    assert value not in repr(verdict)


def test_each_place_of_a_leak_is_counted() -> None:
    """A value in two places is two leaks; two values in one are two."""
    places = {"a": "zqone zqtwo", "b": "zqone"}
    verdict = judge_canaries([_canary("zqone", "x"), _canary("zqtwo", "y"), _canary("zqthree", "z")], {}, places)
    assert dict(verdict.leaked) == {("a", "x"): 1, ("b", "x"): 1, ("a", "y"): 1}
    assert verdict.absent == 1


def test_what_should_be_there_is_missed() -> None:
    """A benign marker that its own request's content lost is over-redaction; one that was never stored is not."""
    marker = _canary("kestrelbado", "benign", present=True)
    assert judge_canaries([marker], {"req_1": "a kestrelbado"}, {}) == Verdict(kept=1)
    assert judge_canaries([marker], {"req_1": "a <PERSON_1>", "req_2": "a kestrelbado"}, {}) == Verdict(lost=1)
    assert judge_canaries([marker], {"req_2": "a kestrelbado"}, {}) == Verdict()
    assert not judge_canaries([marker], {"req_1": ""}, {}).clean


def test_a_leak_of_the_pipeline_would_be_found(traffic: Traffic, outcome: Outcome) -> None:
    """The proof can fail: with one raw event in any place, it does."""
    raw = traffic.raws[0].decode()
    canaries = [canary for canary in traffic.canaries if canary.request_id and canary.request_id in raw]
    for place in outcome.places:
        leaky = {**outcome.places, place: outcome.places[place] + raw}
        verdict = judge_canaries(canaries, outcome.content, leaky)
        assert {where for where, _ in verdict.leaked} == {place}


def test_a_silent_detector_is_noticed(traffic: Traffic, core: Core, bare_core: Core) -> None:
    """Identifiers in content stay where nothing looks for them: the canaries are not gone by themselves."""
    kinds: dict[bool, set[str]] = {}
    for each in (core, bare_core):
        fates = [
            fate
            for fate in (process(e.raw, e.source, each, OPEN_DOOR) for e in _lines(traffic)[:150])
            if isinstance(fate, Anonymized)
        ]
        text = "\n".join(outputs(fate)["content"].decode() for fate in fates)
        kinds[each is core] = {kind for _, kind in judge_canaries(traffic.canaries, {}, {"content": text}).leaked}
    assert kinds[True] == set()
    assert {"EMAIL_ADDRESS", "PHONE_NUMBER", "CREDIT_CARD"} <= kinds[False]


def test_the_command_says_nothing_of_what_it_reads(traffic: Traffic, tmp_path: Path) -> None:
    """The command in a process of its own, every warning on, over good and bad lines: no canary outside content."""
    make_keys(tmp_path, RECEIVED_AT_MS)
    part = traffic.raws[:120] + [raw for raw in traffic.raws if b"zq" in raw]
    (tmp_path / "in.jsonl").write_bytes(b"".join(raw.replace(b"\n", b" ") + b"\n" for raw in part))
    done = subprocess.run(
        [sys.executable, "-m", "pipeline", "run", "in.jsonl", "--to", "file:out", "--metrics-file", "metrics.txt"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "default", "PYTHONDEVMODE": "1"},
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    places = {
        "stdout": done.stdout.decode(),
        "stderr": done.stderr.decode(),
        "metrics": (tmp_path / "metrics.txt").read_text(),
    }
    places |= {name: (tmp_path / "out" / name).read_text() for name in NAMES}
    content = {json.loads(line)["request_id"]: line for line in places[CONTENT].splitlines()}
    verdict = judge_canaries(traffic.canaries, content, places)
    assert (dict(verdict.leaked), verdict.lost) == ({}, 0)
    assert verdict.kept > 100
    assert len(places["rejected.jsonl"].splitlines()) > 100


@pytest.mark.parametrize("chained", [False, True])
def test_a_defect_shows_its_type_and_place_only(
    chained: bool, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """An unforeseen error ends the command with 70 and one line: neither its message nor that of what it chains."""

    def fail() -> None:
        value = "zq-value"
        raise ValueError(value) from (KeyError(value) if chained else None)

    monkeypatch.setattr(cli, "app", fail)
    with pytest.raises(SystemExit) as ended:
        cli.main()
    said = capfd.readouterr()
    assert ended.value.code == 70
    assert said.out == ""
    assert re.fullmatch(r"lethe: internal error: ValueError at test_canary\.py:\d+; please report it\n", said.err)


@pytest.mark.parametrize("case", list(corruptions("v1")), ids=lambda case: str(case[0]))
def test_no_exception_of_the_core_holds_or_chains_anything(bare_core: Core, case: tuple[str, Any]) -> None:
    """The exception for a bad leaf has a reason and a pointer, and nothing before it."""
    error = raised_by(to_json(with_value(planted_event("v1"), *case)), bare_core)
    assert error is not None
    assert (error.__context__, error.__cause__, error.pointer) == (None, None, case[0])
    assert vars(error) == {"reason": error.reason, "pointer": error.pointer}
    assert [name for name, plant in PLANTS["v1"].items() if plant.needle in explain(error)] == []
    assert "zq" not in explain(error)
