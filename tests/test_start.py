"""What a start of the detector takes up instead of making it: patterns, tables of names, the sieve's layout."""

import json
import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import orjson
import pytest
from conftest import KEYS, OPEN_DOOR, NoDetector, base_event
from test_rules import RULES

from pipeline.anonymize import make_core, process
from pipeline.detect import gazetteer, sieve
from pipeline.detect.allow import AllowList
from pipeline.detect.detector import make_engine
from pipeline.detect.engine import Engine
from pipeline.detect.entities import EntityTable
from pipeline.detect.gates import Alternative, Way, plan_scan
from pipeline.detect.layout import Layout, LongGate, dump_layout, read_layout
from pipeline.detect.names import Names
from pipeline.detect.patterns import Patterns
from pipeline.detect.rules import rules_from_json
from pipeline.detect.scan import ScanPattern
from pipeline.detect.views import VIEWERS
from pipeline.policy.load import Policy
from pipeline.records import Anonymized, Source

PARSED_MAX, REGEX_MAX = 350, 60
"""Patterns that are read at a start: those that libraries and modules hold, and none of a rule or a cue."""
# Says how many patterns the two engines read for a detector, and which modules that do not belong there it loads.
START = """
import json, re._parser, sys
from pathlib import Path
import regex._main
counts = {"parsed": 0, "regex": 0, "layouts": 0}
def counting(name, function):
    def counted(*args, **options):
        counts[name] += 1
        return function(*args, **options)
    return counted
re._parser.parse = counting("parsed", re._parser.parse)
regex._main._compile = counting("regex", regex._main._compile)
import pipeline.detect.sieve as sieve
sieve.lay_out = counting("layouts", sieve.lay_out)
from pipeline.detect.detector import make_detector
from pipeline.policy.load import load_policy
make_detector(load_policy(), Path(sys.argv[1]))
loaded = {name.partition(".")[0] for name in sys.modules}
strangers = sorted(loaded & {"spacy", "thinc", "numpy", "faker", "requests", "urllib3", "httpx", "http"})
from presidio_analyzer import Pattern
try:
    Pattern("whoever's", "(", 0.5)
except ValueError:
    counts["refused"] = 1
print(json.dumps({**counts, "strangers": strangers}))
"""
SPELLED = [
    "nadia%40example.com",
    "bmFkaWFAZXhhbXBsZS5jb20gaXMgaGVycw==",
    "n a d i a @ e x a m p l e . c o m",
    "nothing",
]


@pytest.mark.usefixtures("detector")
def test_a_warm_start_makes_nothing_that_is_kept() -> None:
    """It compiles no pattern of the policy, puts no gates together, and loads neither faker nor an HTTP client.

    Presidio looks at the patterns of others afterwards as it does.
    """
    done = subprocess.run(  # noqa: S603 - this interpreter
        [sys.executable, "-c", START, os.environ["LETHE_CACHE"]], capture_output=True, text=True, check=True
    )
    made = json.loads(done.stdout)
    assert made.pop("strangers") == []
    assert (made.pop("layouts"), made.pop("refused")) == (0, 1)
    assert (made["parsed"] <= PARSED_MAX, made["regex"] <= REGEX_MAX) == (True, True), made


def test_kept_patterns_are_those_that_python_compiles(policy: Policy) -> None:
    """Of the whole policy, code, flags and groups of each are the same, and so is how long a match can be."""
    patterns = Patterns()
    EntityTable.from_json(policy.entities, patterns.compile)
    rules_from_json(policy.rules, patterns)
    Names.from_json(policy.names, policy.common_words, patterns.compile)
    kept = Patterns(patterns.dump())
    assert len(patterns._known) > 1000
    for regex in patterns._known:
        taken, expected = kept.compile(regex), re.compile(regex)
        assert taken == expected  # compares the code
        assert (taken.groupindex, taken.flags, taken.groups) == (expected.groupindex, expected.flags, expected.groups)
        assert kept.chars_max(regex) == patterns.chars_max(regex)
    assert not kept.is_new


@pytest.mark.parametrize("place", [0, 40, -60, -4])
def test_damaged_patterns_are_compiled_anew(place: int) -> None:
    """What is not read as it was written, or is no code, is compiled as if nothing had been kept."""
    patterns = Patterns()
    regexes = [r"(?i)(?P<key>k[a-z]{2,9})=\d+", r"\bab(?=c)|[x-z]{3}$", "\u00e9[^a]"]
    for regex in regexes:
        patterns.compile(regex)
    dump = patterns.dump()
    kept = Patterns(dump[:place] + b"\xff" * len(dump[place:]))
    assert [kept.compile(regex) for regex in regexes] == [re.compile(regex) for regex in regexes]
    assert kept.is_new


def test_what_is_no_pattern_is_refused_as_by_python() -> None:
    """The error is Python's, whether the text is compiled or measured, and nothing is kept of it."""
    made = Patterns()
    for look in (made.compile, made.chars_max):
        with pytest.raises(re.error):
            look("(")
    assert Patterns(made.dump())._known == {}


def test_kept_tables_of_names_are_those_of_faker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They are read once; a file that is not whole is made anew, and another version of the tables has another file."""
    fresh = gazetteer.load_tables(tmp_path)
    (path,) = tmp_path.iterdir()
    whole = path.read_bytes()
    with monkeypatch.context() as patch:
        patch.setattr(gazetteer, "_read_tables", lambda: pytest.fail("read again"))
        assert gazetteer.load_tables(tmp_path) == fresh
    path.write_bytes(whole[:-9] + b"x" + whole[-8:])
    assert gazetteer.load_tables(tmp_path) == fresh
    assert path.read_bytes() == whole
    monkeypatch.setattr(gazetteer, "_source_digest", lambda: "another")
    monkeypatch.setattr(gazetteer, "_read_tables", lambda: (frozenset({"nadia"}), frozenset({"a b"})))
    for _ in range(2):
        assert gazetteer.load_tables(tmp_path) == (frozenset({"nadia"}), frozenset({"a b"}), "another")
    assert len(list(tmp_path.iterdir())) == 2


def test_a_layout_is_read_as_it_was_written() -> None:
    """Ways, and what opens and helps them, are the same; what is no layout is none."""
    gates = [[Alternative(ScanPattern(r"\d{3}-\d{2}"), ("ssn", "social"))], [Alternative(ScanPattern("abc"))], []]
    plan = plan_scan(gates)
    assert len({plan.opens, plan.helps}) == 2
    bare = replace(plan, first=(), digits=(), ways=tuple(Way(way.finder, None, way.is_sure) for way in plan.ways))
    layout = Layout(bare, [2], [[0]], [0, 1], [2], [-1], 1, ["a", "b", "c", "d"])
    assert read_layout(dump_layout(layout)) == layout
    assert [read_layout(kept) for kept in (None, b"", b"[]", b"{}", dump_layout(layout)[:-2])] == [None] * 5


def spelled(cache: Path) -> Engine:
    """Return an engine of viewers and one rule, which is quickly compiled."""
    return make_engine([RULES["aws_access_key"]], AllowList({}), cache, VIEWERS)


def test_a_kept_layout_opens_the_same_ways(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From the cache, with a damaged layout or without one of its databases, the sieve says the same of every text."""
    fresh = [spelled(tmp_path)._sieve.finders(text) for text in SPELLED]
    assert len({tuple(finders) for finders in fresh}) > 2
    with monkeypatch.context() as patch:
        patch.setattr(sieve, "lay_out", lambda *_: pytest.fail("laid out again"))
        assert [spelled(tmp_path)._sieve.finders(text) for text in SPELLED] == fresh
    (layout,) = tmp_path.glob("*.sieve")
    whole = layout.read_bytes()
    layout.write_bytes(whole.replace(b'"unaided":', b'"unaided": ', 1))  # as good as JSON, and not what was written
    assert [spelled(tmp_path)._sieve.finders(text) for text in SPELLED] == fresh
    assert layout.read_bytes() == whole
    for database in tmp_path.glob("*.db"):
        database.unlink()
        assert [spelled(tmp_path)._sieve.finders(text) for text in SPELLED] == fresh


def test_a_layout_is_of_its_gates_alone(policy: Policy) -> None:
    """Other names, other common words and another table make another gate; equal ones an equal one."""

    def key(**change: object) -> str:
        known = gazetteer.Tables(frozenset({"nadia"}), frozenset({"rossi"}), str(change.get("table", "a")))
        data = {**policy.names, **change} if "why" in change else policy.names
        words = policy.common_words | {"zzz"} if "word" in change else policy.common_words
        gate = Names.from_json(data, words, known=known).gate
        assert isinstance(gate, LongGate)
        return repr(sieve._key([gate]))

    assert key() == key()
    assert len({key(), key(why="x"), key(word="x"), key(table="b")}) == 4


def test_a_core_needs_no_rules_once_its_detector_is_made(policy: Policy) -> None:
    """Without them it is the same policy, and makes the same records."""
    raw = orjson.dumps(base_event())
    bare = policy.without_rules()
    whole, slim = (
        process(raw, Source("raw", 0, 0, len(raw)), make_core(one, NoDetector(), KEYS), OPEN_DOOR)
        for one in (policy, bare)
    )
    assert isinstance(whole, Anonymized)
    assert whole == slim
    assert (bare.digest, bare.version, bare.rules) == (policy.digest, policy.version, {})
