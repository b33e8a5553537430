"""The account's own identifiers: found in every case and encoding, covered whole, and nothing else found."""

import html
import json
import re
from collections.abc import Callable
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from pipeline.detect.fold import decode, fold, fold_located, has_escapes
from pipeline.detect.own import find_own
from pipeline.detect.spans import OwnIdentifier, Span, merge_spans
from pipeline.policy.load import Policy

EMAIL = OwnIdentifier("EMAIL_ADDRESS", "nadia.rossi+llm@example.com")
NAME = OwnIdentifier("PERSON", "Nadia Rossi")
ACCOUNT = OwnIdentifier("ACCOUNT_ID", "acct_12")
KEY = OwnIdentifier("ACCOUNT_ID", "key_55aa12ff")
IP = OwnIdentifier("IP_ADDRESS", "203.0.113.7")
COMPANY = OwnIdentifier("ORGANIZATION", "Northwind Traders Ltd")
OWN = [EMAIL, NAME, ACCOUNT, KEY, IP, COMPANY]
COMMON = frozenset({"will", "apple", "page", "people", "young"})

ENCODINGS: dict[str, Callable[[str], str]] = {
    "plain": lambda value: value,
    "upper": str.upper,
    "lower": str.lower,
    "json escaped": lambda value: "".join(f"\\u{ord(char):04x}" for char in value),
    "json escaped twice": lambda value: "".join(f"\\\\u{ord(char):04X}" for char in value),
    "one letter escaped": lambda value: f"\\u{ord(value[0]):04x}{value[1:]}",
    "slashes escaped": lambda value: json.dumps(value).strip('"').replace("/", "\\/"),
    "url": lambda value: quote(value, safe=""),
    "url twice": lambda value: quote(quote(value, safe=""), safe=""),
    "form": quote_plus,
    "percent": lambda value: "".join(f"%{byte:02X}" for byte in value.encode()),
    "full width": lambda value: "".join(chr(ord(c) + 0xFEE0) if "!" <= c <= "~" else c for c in value),
    "zero width": "\u200b".join,
    "soft hyphens": "\u00ad".join,
    "html": lambda value: "".join(f"&#{ord(char)};" for char in value),
    "html hex": lambda value: "".join(f"&#x{ord(char):x};" for char in value),
    "html in html": lambda value: html.escape("".join(f"&#{ord(char)};" for char in value)),
    "hex": lambda value: "".join(f"\\x{ord(char):02x}" for char in value),
}
AROUND = st.text(alphabet=" .,:;()[]{}<>\"'/=\n\u2014\u4e2d", max_size=4)
FILLER = st.sampled_from(
    ["", "see the log", "\u00e9t\u00e9 \u2014 \u201cok\u201d", "100% of A&B\\n", "\U0001f600 ", "x" * 50]
)
LETTERS = "abcdefghijklmnopqrstuvwxyz"
WORDS = st.text(alphabet=LETTERS, min_size=4, max_size=9)
WIDE_NAMES = ("Zo\u00eb \u00dcnal", "Ji\u0159\u00ed Nov\u00e1k", "\u5c71\u7530\u592a\u90ce", "\uae40\ubbfc\uc218")
IDENTIFIERS = st.one_of(
    st.builds(lambda a, b, c: OwnIdentifier("EMAIL_ADDRESS", f"{a}.{b}@{c}.example"), WORDS, WORDS, WORDS),
    st.builds(lambda a, b: OwnIdentifier("PERSON", f"{a.title()} {b.title()}"), WORDS, WORDS),
    st.builds(lambda a, b: OwnIdentifier("ORGANIZATION", f"{a.title()} {b.title()}"), WORDS, WORDS),
    st.builds(lambda a, n: OwnIdentifier("ACCOUNT_ID", f"{a}_{n}"), WORDS, st.integers(10, 10**9)),
    st.builds(lambda n: OwnIdentifier("IP_ADDRESS", f"203.0.113.{n}"), st.integers(0, 255)),
    st.builds(lambda n: OwnIdentifier("IP_ADDRESS", f"2001:db8::{n:x}"), st.integers(1, 65535)),
    st.sampled_from([OwnIdentifier("PERSON", name) for name in WIDE_NAMES]),
)  # fmt: skip


def found(text: str, *own: OwnIdentifier) -> list[str]:
    """Return what is found in a text, merged."""
    spans = find_own([text], own or OWN, COMMON)[0]
    return [text[span.start : span.end] for span in merge_spans(spans)]


@given(IDENTIFIERS, st.sampled_from(sorted(ENCODINGS)), FILLER, AROUND, AROUND, FILLER)
def test_every_encoding_is_found_and_covered_whole(
    own: OwnIdentifier, encoding: str, before: str, left: str, right: str, after: str
) -> None:
    """Whatever the identifier, its encoding and its surroundings, every code point of it is in a span."""
    value = ENCODINGS[encoding](own.value)
    assume(encoding != "hex" or own.value.isascii())
    text = f"{before} {left}{value}{right} {after}"
    start = len(before) + 1 + len(left)
    spans = merge_spans(find_own(["other", text], [own], COMMON)[1])
    assert any(span.start <= start and span.end >= start + len(value) for span in spans), spans


@given(st.text(max_size=60))
def test_clean_text_has_none(text: str) -> None:
    """A text without any part of the identifiers has no span."""
    folded = fold(decode(text)) + fold(text)
    assume(not any(part in folded for part in ("nadia", "rossi", "acct", "key_", "113", "northwind")))
    assert find_own([text], OWN, COMMON) == [[]]


@given(st.lists(st.text(max_size=30), max_size=4), st.lists(IDENTIFIERS, max_size=3))
def test_spans_lie_inside_their_text(texts: list[str], own: list[OwnIdentifier]) -> None:
    """One list a text comes back, in order, with spans that are not empty and stay inside."""
    mixed = [text + "".join(ENCODINGS["percent"](identifier.value) for identifier in own) for text in texts]
    results = find_own(mixed, own, COMMON)
    assert len(results) == len(mixed)
    assert all(
        0 <= span.start < span.end <= len(text) for text, spans in zip(mixed, results, strict=True) for span in spans
    )


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("nadia_rossi", ["nadia_rossi"]),
        ("NADIA  ROSSI", ["NADIA  ROSSI"]),
        ("Nadia\n  Rossi", ["Nadia\n  Rossi"]),
        ("Rossi, Nadia", ["Rossi, Nadia"]),
        ("user nadiarossi logged in", ["nadiarossi"]),
        ("/home/nadia/x", ["nadia"]),
        ("C:\\Users\\nadia\\x", ["nadia"]),
        ("Traceback:\\nNadia\\nRossi", ["Nadia\\nRossi"]),
        ("Nadia's file", ["Nadia"]),
        ("nadia.rossi@example.com", ["nadia.rossi@example.com"]),
        ("mailto:Nadia.Rossi%2Bllm%40example.com?x", ["Nadia.Rossi%2Bllm%40example.com"]),
        ("ec2-203-0-113-7.compute.internal", ["203-0-113-7"]),
        ("::ffff:203.0.113.7", ["203.0.113.7"]),
        ("acct_123 acct_12, xacct_12 acct_12.", ["acct_12", "acct_12"]),
        ("203.0.113.70 1203.0.113.7 203.0.113.7", ["203.0.113.7"]),
        ("northwind traders, Northwind-Traders Ltd.", ["northwind traders", "Northwind-Traders Ltd"]),
        ("a northwind, Traders", ["northwind, Traders"]),
        ("the north wind traders", []),
        ("snadia rossini nadias", []),
        ("nadia rossini", ["nadia"]),
    ],
)
def test_bounds_and_separators(text: str, expected: list[str]) -> None:
    """Names run over separators, and no identifier is found inside a longer word or number."""
    assert found(text) == expected


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("Will", "it will be done, will it?", []),
        ("Will", "hi will you help", []),
        ("Will", "Hi Will, how are you?", ["Will"]),
        ("Will", "My name is Will", ["Will"]),
        ("Will", '{"first_name": "will"}', ["will"]),
        ("Will", "Thanks,\nwill\n", ["will"]),
        ("Will", "see you\n-- \nWill", ["Will"]),
        ("Will", "will <w@example.com> wrote", ["will", "w@example.com"]),
        ("Will", "we will mail w@example.com", ["w@example.com"]),
        ("Al", "the Alps also call", []),
        ("Al", "Dear Al, thanks", ["Al"]),
        ("Al", "name: Al", ["Al"]),
        ("Nadia", "ask nadia", ["nadia"]),
        ("Will Young", "Young people will come", []),
        ("Will Young", "will young", ["will young"]),
        ("\u674e\u660e", "\u6211\u548c\u674e\u660e", []),
        ("\u738b\u5c0f\u660e", "\u6211\u662f\u738b\u5c0f\u660e\u3002", ["\u738b\u5c0f\u660e"]),
    ],
)
def test_a_single_word_of_a_name(name: str, text: str, expected: list[str]) -> None:
    """A word that is common or short counts only beside a cue, another always (design §6)."""
    assert found(text, OwnIdentifier("PERSON", name), OwnIdentifier("EMAIL_ADDRESS", "w@example.com")) == expected


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("Apple", "an apple a day", []),
        ("Apple", "I work at Apple.", ["Apple"]),
        ("Apple", '"organization": "apple"', ["apple"]),
        ("Apple", "Apple Inc. announced", ["Apple"]),
        ("Apple Inc", "apple inc announced", ["apple inc"]),
        ("Zenkora", "the zenkora cluster", ["zenkora"]),
        ("A&B Labs", "a&amp;b labs", ["a&amp;b labs"]),
    ],
)
def test_a_single_word_organization(name: str, text: str, expected: list[str]) -> None:
    """A common word is an organization beside a cue only; its legal form is one."""
    assert found(text, OwnIdentifier("ORGANIZATION", name)) == expected


@pytest.mark.parametrize(
    ("email", "text", "expected"),
    [
        ("nadia77@example.com", "user nadia77 logged in", ["nadia77"]),
        ("people@example.com", "many people", []),
        ("al@example.com", "an alpha release; al", []),
        ("al@example.com", "pal@example.com al@example.community al@example.com", ["al@example.com"]),
    ],
)
def test_the_part_before_the_at(email: str, text: str, expected: list[str]) -> None:
    """The local part is a handle when it is long enough and no common word."""
    assert found(text, OwnIdentifier("EMAIL_ADDRESS", email)) == expected


@pytest.mark.parametrize(
    ("own", "expected"),
    [
        (EMAIL, Span(0, 27, "EMAIL_ADDRESS", 1.0, "own_email")),
        (NAME, Span(0, 11, "PERSON", 1.0, "own_name")),
        (KEY, Span(0, 12, "ACCOUNT_ID", 1.0, "own_id")),
        (IP, Span(0, 11, "IP_ADDRESS", 1.0, "own_ip")),
    ],
)
def test_spans_carry_the_declared_type(own: OwnIdentifier, expected: Span) -> None:
    """A span has the identifier's type and the rule that found it."""
    assert merge_spans(find_own([own.value], [own], COMMON)[0]) == [expected]


@pytest.mark.parametrize("value", ["", " ", "x", "12", "@", "\u200b"])
@pytest.mark.parametrize("entity", ["ACCOUNT_ID", "EMAIL_ADDRESS", "PERSON", "ORGANIZATION", "IP_ADDRESS"])
def test_an_identifier_too_short_to_mean_anything_is_not_searched_for(entity: str, value: str) -> None:
    """Empty and tiny identifiers do not blacken every text."""
    assert find_own(["x 12 @ an x\u200by.\nx"], [OwnIdentifier(entity, value)], COMMON) == [[]]


def test_a_span_covers_what_reads_as_nothing() -> None:
    """Marks after the last letter, decomposed accents and ligatures belong to the span."""
    text = "ab Zoe\u0308 U\u0308nal\u200b\u200d cd"
    (span,) = merge_spans(find_own([text], [OwnIdentifier("PERSON", "Zo\u00eb \u00dcnal")], COMMON)[0])
    assert text[span.start : span.end] == "Zoe\u0308 U\u0308nal\u200b\u200d"


def test_the_shipped_words_guard_common_names(policy: Policy) -> None:
    """The shipped list holds everyday and technical words and no plain given name."""
    words = policy.common_words
    assert {"will", "mark", "grant", "apple", "target", "young", "brown", "april", "support", "function"} <= words
    assert not words & {"nadia", "rossi", "alice", "john", "maria", "smithson", "wagner", "kowalski"}
    assert all(re.fullmatch("[a-z]{4,}", word) for word in words)


@given(
    st.text(alphabet=st.sampled_from("aB%4\\u0061&#;x\u00ad\u200b\uff21\u00df\u00e9e\u0301\u0130\n"), max_size=30),
    st.booleans(),
)
def test_a_folded_text_maps_back(text: str, escapes: bool) -> None:
    """Folded characters come from ranges of the original that ascend, and each range folds back to them."""
    folded = fold_located(text, escapes=escapes)
    assert folded.text == fold(decode(text) if escapes else text)
    ranges = [folded.original(index, index + 1) for index in range(len(folded.text))]
    assert all(0 <= start < end <= len(text) for start, end in ranges)
    assert ranges == sorted(ranges)
    for index, (start, end) in enumerate(ranges):
        part = text[start:end]
        assert folded.text[index] in fold(decode(part) if escapes else part)


@given(st.text(alphabet="ab\\ux0041%&#;", max_size=20))
def test_no_escape_means_no_change(text: str) -> None:
    """Where no escape is announced, decoding changes nothing but escaped white space."""
    if not has_escapes(text):
        assert decode(text) == text or re.search(r"\\[nrtbf]", text)
