"""The scan never misses: loosened patterns, bytes of UTF-8, joined texts, and the cache of compiled databases."""

import os
import re
import stat
import subprocess
import sys
from pathlib import Path

import hyperscan
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from rule_examples import expand
from test_rules import RULES

from pipeline.detect import cache as cache_files
from pipeline.detect.allow import AllowList
from pipeline.detect.detector import make_detector, make_engine
from pipeline.detect.engine import Engine
from pipeline.detect.loosen import fit_bytes, is_wide, loosen
from pipeline.detect.scan import Form, Matcher, ScanPattern, make_matchers, plain, to_bytes
from pipeline.detect.views import VIEWERS
from pipeline.policy.load import Policy

MAKE = """
import sys
from pathlib import Path
from pipeline.detect.detector import make_detector
from pipeline.policy.load import load_policy
make_detector(load_policy(), Path(sys.argv[1]))
"""
FORMS: tuple[Form, ...] = ("bytes", "wide bytes", "unicode")
PATTERNS = [
    ScanPattern(r"\bsk-[A-Za-z0-9]{20,60}\b"),
    ScanPattern(r"(?<![\w.])\d{3}-\d{2}-\d{4}(?!\d)"),
    ScanPattern(r"[\w.+]{1,20}@\w{1,20}\.[a-z]{2,6}"),
    ScanPattern(r"key[^\n:]{0,5}?[:=]\s?[^\s]{4,6}!"),
    ScanPattern(r"^total.?\d+$", "m"),
    ScanPattern("stra\u00dfe|m\u00f3vil|\u96fb\u8a71", "i"),
    ScanPattern(r"[A-Z]{2}\d{2}", "i"),
    ScanPattern(r"a.b"),
    ScanPattern("\\b(?i:m\u00f3vil|[\u00e0-\u00ff]t)[^\\W\\d_]?"),
    ScanPattern(r"(?<![\w.])tot[^\W_]{2}(?![^\s-])"),
]
PIECES = [
    *("sk-", "x" * 20, "123-45-6789", "a.b+c@d.io", "key", "=", "\u00e9\u00e8t!", "total", "7", "Stra\u00dfe", "de12"),
    *("key\u00e9\u00e8\u00e0=\u4e2d\u4e2d\u4e2d\u4e2d!", "M\u00d3VIL", "\u96fb\u8a71", "\u017fs12", "\u212ak34"),
    *("a\u4e2db", "a\U0001f600b", " ", "\n", "\u0661\u0662\u0663-45-6789", "\u00a0", "\u3000", "\x1c", "\ud800"),
    *("\u0301", "n\u00e4@d\u00fc.com", "-", ".", "1"),
]  # fmt: skip


def compiled(pattern: ScanPattern) -> re.Pattern[str]:
    """Return a pattern as Python reads it."""
    return re.compile(pattern.regex, sum((getattr(re, flag.upper()) for flag in pattern.flags), re.NOFLAG))


@pytest.fixture(scope="module")
def matchers() -> dict[str, Matcher]:
    """Return a matcher for a few patterns of every kind, in each form."""
    made = {form: make_matchers([PATTERNS], None, form)[0] for form in FORMS}
    return {form: matcher for form, matcher in made.items() if matcher}


@given(st.lists(st.sampled_from(PIECES), max_size=8).map("".join))
@settings(max_examples=400, deadline=None)
@example("key\u00e9\u00e8\u00e0=\u4e2d\u4e2d\u4e2d\u4e2d!")
@example("\u0661\u0662\u0663-45-6789")
@example("M\u00d3VIL n\u00e4@d\u00fc.com")
def test_what_matches_is_reported(matchers: dict[str, Matcher], text: str) -> None:
    """Every pattern that matches in a text, ASCII or not, is among the hits, in every form that can stand in for it."""
    data = to_bytes(plain(text))
    for number, pattern in enumerate(PATTERNS):
        if compiled(pattern).search(text):
            assert number in matchers["wide bytes"].numbers(data)
            assert number in matchers["unicode"].numbers(to_bytes(text))
            if text.isascii() or not is_wide(pattern.regex):
                assert number in matchers["bytes"].numbers(data)


@given(st.lists(st.sampled_from(PIECES), max_size=8).map("".join), st.sampled_from(PATTERNS))
@settings(max_examples=300, deadline=None)
def test_a_looser_pattern_matches_wherever_the_given_one_does(text: str, pattern: ScanPattern) -> None:
    """Loosening takes nothing away; nor does the form for bytes, read as Latin-1."""
    if compiled(pattern).search(text):
        flags = compiled(pattern).flags
        assert re.search(loosen(pattern.regex), text, flags)
        if pattern.regex.isascii() and not is_wide(pattern.regex):
            raw = text.encode("utf-8", "replace").decode("latin-1")
            assert (
                re.search(fit_bytes(loosen(pattern.regex)), raw, re.ASCII | (flags & ~re.UNICODE)) or not text.isascii()
            )


def test_loosening_drops_bounds_and_lookarounds() -> None:
    """Long repetitions lose their upper bound, short ones keep it, and lookarounds go."""
    assert loosen(r"(?<![a-z])sk-(?P<key>[A-Z]{20,200})(?!\d)x{2,3}y{9}") == r"sk-([A-Z]{8,})x{2,3}y{8,}"
    assert fit_bytes(r"(?:a[^\n]{0,4}?b).c\S?[^x]+\.") == r"(?:a[^\n]{0,}?b).{1,4}c\S{0,4}[^x]+\."


def test_every_rule_is_asked_for_its_own_examples(detector: Engine) -> None:
    """The scan lets each rule see each of its examples, though it goes by a looser pattern."""
    numbers = {getattr(finder, "name", ""): number for number, finder in enumerate(detector._finders)}
    for rule in RULES.values():
        for sample in rule.examples:
            text, *_ = expand([sample] if isinstance(sample, str) else list(sample), 0)
            assert (rule.name, text, numbers[rule.name] in detector._sieve.finders(text)) == (rule.name, text, True)


def test_no_shipped_finder_is_asked_for_every_text(detector: Engine) -> None:
    """A pattern that cannot be scanned would cost a look at everything; none is shipped."""
    assert [detector._finders[number] for number in detector._sieve.always] == []


def test_the_compiled_scan_is_kept_and_private(tmp_path: Path) -> None:
    """It is read back the second time, but not rubbish, nor a file or folder that others can write to."""
    cache = tmp_path / "cache"
    make_matchers([PATTERNS[:3], (), PATTERNS[3:]], cache)
    files = sorted(cache.iterdir())
    assert [stat.S_IMODE(path.stat().st_mode) for path in (cache, *files)] == [0o700, 0o600]
    saved = {path: path.read_bytes() for path in files}
    for rubbish in (b"", b"rubbish", (8).to_bytes(8, "big") + b"rubbish!" + bytes(16), saved[files[0]] + b"x"):
        files[0].write_bytes(rubbish)
        first, none, second = make_matchers([PATTERNS[:3], (), PATTERNS[3:]], cache)
        assert first
        assert second
        assert none is None
        assert first.numbers(b"sk-" + b"x" * 20) == [0]
        assert {path: len(path.read_bytes()) for path in files} == {path: len(data) for path, data in saved.items()}
    cache.chmod(0o777)
    assert cache_files.read_private(files[0]) is None
    cache.chmod(0o700)
    files[0].chmod(0o622)
    assert cache_files.read_private(files[0]) is None


def test_a_database_is_loaded_when_it_is_first_asked(tmp_path: Path) -> None:
    """From the file as it was, whatever has become of its name; one that is damaged raises, and raises again."""
    cache = tmp_path / "cache"
    groups = [[pattern] for pattern in PATTERNS]
    fresh = [matcher.numbers(b"de12 a.b") for matcher in make_matchers(groups) if matcher]
    make_matchers(groups, cache)
    kept = make_matchers(groups, cache)
    others = make_matchers(groups, cache)
    (path,) = cache.iterdir()
    path.rename(tmp_path / "moved")
    assert [matcher.numbers(b"de12 a.b") for matcher in kept if matcher] == fresh
    (tmp_path / "moved").write_bytes(b"rubbish")
    for matcher in (others[0], others[0]):
        assert matcher
        with pytest.raises(hyperscan.HyperscanError):
            matcher.numbers(b"de12 a.b")


def test_a_database_that_cannot_be_loaded_redacts(
    policy: Policy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A text that could not be scanned is not taken for one in which nothing is found."""
    engine = make_engine([], AllowList({}), tmp_path / "cache", VIEWERS, policy.common_words)
    assert engine.find_spans(["nothing"]) == [[]]
    engine = make_engine([], AllowList({}), tmp_path / "cache", VIEWERS, policy.common_words)
    monkeypatch.setattr(os, "pread", lambda *_: b"")
    assert engine.find_spans(["nothing"]) == [None]


def test_old_files_leave_the_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every change of a pattern makes new files; those of long ago go."""
    monkeypatch.setattr(cache_files, "_FILES_MAX", 2)
    cache = tmp_path / "cache"
    for number in range(4):
        make_matchers([[ScanPattern(f"key{number}")]], cache)
    assert len(list(cache.iterdir())) == 2
    assert make_matchers([[ScanPattern("key3")]], cache)[0] is not None


def test_a_cache_that_cannot_be_written_is_done_without(tmp_path: Path) -> None:
    """Where the folder cannot be made, the scan is compiled and works."""
    blocked = tmp_path / "file"
    blocked.write_text("")
    (matcher,) = make_matchers([PATTERNS], blocked / "cache")
    assert matcher
    assert matcher.numbers(b"de12") == [6]


def test_the_cache_does_not_change_what_is_found(policy: Policy, detector: Engine) -> None:
    """A detector from the cache finds what the one that was compiled finds."""
    again = make_detector(policy, Path(os.environ["LETHE_CACHE"]))
    texts = [rule.examples[0] for rule in RULES.values() if isinstance(rule.examples[0], str)]
    assert again.find_spans(texts) == detector.find_spans(texts)


@pytest.mark.usefixtures("detector")
@pytest.mark.parametrize("seed", ["1", "2"])
def test_the_cache_serves_every_process(seed: str) -> None:
    """A process in which sets have another order asks for the same scan: none is compiled again."""
    cache = Path(os.environ["LETHE_CACHE"])
    before = {path.name for path in cache.iterdir()}
    environment = {**os.environ, "PYTHONHASHSEED": seed}
    subprocess.run([sys.executable, "-c", MAKE, str(cache)], env=environment, check=True)  # noqa: S603 - this interpreter
    assert {path.name for path in cache.iterdir()} == before
