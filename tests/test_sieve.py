"""The scans in front of finders: what a pattern's matches must hold, which ways that opens, and closer looks."""

import re
from collections.abc import Sequence

import pytest
import regex  # type: ignore[import-untyped]
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from pipeline.detect.engine import Engine
from pipeline.detect.gates import DIGIT, Alternative, plan_scan
from pipeline.detect.literals import is_literal, literals
from pipeline.detect.phones import Plans
from pipeline.detect.recognizer import PlusFirst, Recognizer
from pipeline.detect.scan import ScanPattern, relocatable
from pipeline.detect.sieve import Sieve
from pipeline.detect.traits import needs_digit, needs_wide, stays_in_line


def held(regex: str) -> set[str]:
    """Return the literals of a pattern."""
    return {pattern.regex for pattern in literals(regex)}


@pytest.mark.parametrize(
    ("regex", "expected"),
    [
        (r"api[_-]?key\s*=\s*\w{8,}", {"apikey", "api_key", r"api\-key"}),
        (r"(?:password|passwd|pwd)[=:]", {"password=", "password:", "passwd=", "passwd:", "pwd=", "pwd:"}),
        (r"[\w.]+@\w+", {"@"}),
        (r"\d{3}-\d{4}", set()),
        (r"(?:abc)?\d+", set()),
        (r"(?:abc|x)\d+", set()),
        (r"\bno\d", {r"(?:^|[^A-Za-z0-9])no"}),
        (r"d(?<![^\W_]d)l\d", {r"(?:^|[^A-Za-z0-9])dl"}),
        (r"D(?<![^\W_a-z]D)[Ll]\d", {r"(?:^|[^A-Z0-9])D(?i:l)"}),
        (r"(?<!\w)ni\d", {r"(?:^|[^A-Za-z0-9])ni"}),
        (r"(?<![A-Za-z0-9])ni\d", set()),  # a digit of another script may stand there, and is scanned as one of ASCII
        (r"(?<!x)ni\d", set()),
        (r"(?i)straße \d", {r"straße\ "}),
        (r"様", {"様"}),
        (r"(?<!x)(", set()),
    ],
)
def test_what_every_match_holds(regex: str, expected: set[str]) -> None:
    """Alternatives are all told, options are not; short words are told where a word begins."""
    assert held(regex) == expected


def samples() -> st.SearchStrategy[tuple[str, str]]:
    """Return patterns of the shapes that rules have, each with a text that matches it."""
    part = st.sampled_from(
        [
            *(r"abc", r"[Pp]ass(?:word|wd)?", r"(?:id|ref|no\.?)", r"\d{2,4}", r"[A-Z]{3}", r"(?:x|yz)+", r"[ _-]?"),
            *(r"\w", "ö", r"(?:k(?<![^\W_]k)ey|K(?<![^\W_a-z]K)EY)", r"\b", r"(?<![a-z])", r"(?:(?:un)?known|ab)"),
            *(r"q{2}", r"(?!z)", "@"),
        ]
    )
    patterns = st.lists(part, min_size=1, max_size=5).map("".join)
    return patterns.flatmap(lambda regex: st.tuples(st.just(regex), st.from_regex(regex, fullmatch=False)))


@given(samples())
@settings(max_examples=400, deadline=None)
def test_a_match_holds_a_literal(sample: tuple[str, str]) -> None:
    """Whatever matches a pattern matches one of its literals, and has the digit or letter that it is said to need."""
    regex, text = sample
    match = re.search(regex, text)
    assume(match)
    assert match
    patterns = literals(regex)
    if patterns:
        around = text[max(0, match.start() - 1) : match.end()]
        flags = {"i": re.IGNORECASE, "": re.NOFLAG}
        assert any(re.search(pattern.regex, around, flags[pattern.flags] | re.MULTILINE) for pattern in patterns)
    assert not needs_digit(regex) or any(char.isdecimal() for char in match.group())
    assert not needs_wide(regex) or not match.group().isascii()


def test_kinds_of_patterns() -> None:
    """What is plain text, what needs a character beyond ASCII, and what stays in its line."""
    assert [is_literal(regex) for regex in ("Anna ", r"a\.b", r"a.b", r"\d")] == [True, True, False, False]
    assert [needs_wide(regex) for regex in ("é", "[à-ü]x", "[a-ü]", "é?", "é|x")] == [True, True, False, False, False]
    lines = (r"[A-Z]{2} \d", r"a\sb", r"a[^x]b", r"a.b", r"(?<=\n)a", r"(?<!\w)a(?!\d)", "a(?:b|\\n)", "(")
    assert [stays_in_line(r, dot_is_any=False) for r in lines] == [True, False, False, True, False, True, False, False]
    assert not stays_in_line("a.b", dot_is_any=True)


def finders(gates: Sequence[Sequence[Alternative]], *texts: str) -> list[list[int]]:
    """Return the numbers of the finders to ask, by text."""
    sieve = Sieve(gates)
    return [sieve.finders(text) for text in texts]


def test_a_finder_that_cannot_be_scanned_for_is_always_asked() -> None:
    r"""Anchors to the text's ends, patterns of nothing, and what is too large, are not left to the scan."""
    gates = [(Alternative(ScanPattern(regex)),) for regex in (r"\Aabc", r"x*", r"abc", r"(a)\1{50000}")]
    assert relocatable([gate[0].pattern for gate in gates]) == [False, True, True, True]
    always, asked = finders(gates, "zzz", "abc")
    assert set(always) >= {0, 1}
    assert (2 in always, 2 in asked) == (False, True)
    assert finders([()], "zzz") == [[0]]


def test_words_are_needed_where_a_gate_says_so() -> None:
    """A pattern with words opens the gate only together with one of them, in any case."""
    gates = [(Alternative(ScanPattern(r"\d{6}"), ("ssn", "social")),), (Alternative(ScanPattern(r"\w@\w")),)]
    assert finders(gates, "123456", "ssn", "ssn 12", "SSN 123456", "a@b", "@") == [[], [], [], [0], [1], []]


def test_a_literal_with_something_beside_it_needs_both() -> None:
    """Thousands of literals are one way of a finder, open where one of the patterns beside matches too."""
    beside = (ScanPattern(r"\d{6}"), ScanPattern(r"[\w.]@\w"))
    gates = [tuple(Alternative(ScanPattern(name), beside=beside) for name in ("Anna ", "Bela "))]
    assert finders(gates, "Anna x", "Bela 123456", "x 123456", "Anna a@b") == [[], [0], [], [0]]


def test_a_closer_pattern_has_the_last_word() -> None:
    """Where the first scan opens a way, the finder's own pattern decides; ways of a group are looked at together."""
    close = ScanPattern(r"key = [a-z]{4}")
    gates = [
        (Alternative(ScanPattern("key"), (), close, "g"),),
        (Alternative(ScanPattern(r"token = \d"), (), None, "g"),),
        (Alternative(ScanPattern(r"\d{4}"), ("pin",), ScanPattern(r"pin \d{4}")),),
    ]
    texts = ("key", "key = abcd", "token = x", "token = 1 key = abcd", "1234 pin", "pin 1234")
    assert finders(gates, *texts) == [[], [0], [], [0, 1], [], [2]]


def test_numbers_are_scanned_for_only_where_there_is_a_digit() -> None:
    """Patterns that are told by digits alone are in a scan of their own, in any script's digits."""
    gates = [(Alternative(ScanPattern(r"\b\d{3}-\d{2}\b")),), (Alternative(ScanPattern("secret")),)]
    plan = plan_scan(gates)
    assert plan.digits == (ScanPattern(r"\b\d{3}-\d{2}\b"),)
    assert DIGIT in plan.first
    assert finders(gates, "123-45", "\u0661\u0662\u0663-\u0664\u0665", "a secret", "123") == [[0], [0], [1], []]


def test_a_digit_alone_opens_a_gate() -> None:
    """A finder whose pattern is what asks for the scan of numbers is asked, alone and beside others."""
    alone = [(Alternative(DIGIT),)]
    assert finders(alone, "7", "none") == [[0], []]
    assert finders([*alone, (Alternative(ScanPattern(r"\b\d{3}\b")),)], "7", "123", "none") == [[0], [0, 1], []]
    beside = (Alternative(ScanPattern("Lena"), beside=(DIGIT,)),)
    assert finders([beside], "Lena 7", "Lena", "7") == [[0], [], []]


def test_a_long_text_is_asked_about_in_blocks() -> None:
    """Finders are asked about the blocks with hits; what is longer than a block is looked for in the whole text."""
    gates = [(Alternative(ScanPattern(r"\d{6}")),), (Alternative(ScanPattern(r"BEGIN[^#]{0,400}END")),)]
    sieve = Sieve(gates)
    text = "x" * 100 + "123456" + "x" * 94 + "BEGIN" + "x" * 300 + "END" + "x" * 92
    blocks = [(start, start + 100) for start in range(0, 600, 100)]
    assert sieve.finders_by_block(text, blocks, 0) == ({0: [1]}, [])
    assert sieve.finders_by_block(text, blocks, sieve.ways_of([1])) == ({0: [1]}, [1])


DIGITS = st.lists(
    st.tuples(st.sampled_from(["", "", " ", "-", ".", " / ", ") ", " (", "+"]), st.sampled_from("0123456789")),
    min_size=6,
    max_size=18,
)


@given(DIGITS.map(lambda pairs: "".join(a + b for a, b in pairs)))
@settings(max_examples=150, deadline=None)
def test_few_regions_find_what_all_regions_find(detector: Engine, text: str) -> None:
    """The regions that are left out of a look at a number would have found nothing."""
    (phones,) = (f for f in detector._finders if isinstance(f, Recognizer) and isinstance(f.recognizer, PlusFirst))
    every = phones.recognizer._recognizer
    found, expected = (
        [(r.start, r.end, r.score) for r in one.analyze(text, [], None)] for one in (phones.recognizer, every)
    )
    assert sorted(found) == sorted(expected)


def test_regions_of_a_number() -> None:
    """A number of one plan asks that plan's region, a number dialled abroad all of them."""
    plans = Plans(("US", "GB", "ES"), regex.compile)
    assert plans.regions_for("612 345 678") == ("ES",)
    assert plans.regions_for("0121 496 0958") == ("GB",)
    assert plans.regions_for("1 (212) 555-0123") == ("US",)
    assert plans.regions_for("00 34 612 345 678") == plans.regions
    assert plans.regions_for("\u0661\u0662\u0663 456 7890") == plans.regions
