"""The content walk: what a golden case cannot say. Every text is seen, nothing else changes, and time stays linear."""

import copy
import json
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline.content.coding import (
    coded_list,
    coded_value,
    count_numbers,
    find_media,
    is_media,
    is_numbers,
    may_hold_media,
    media_label,
    round_size,
)
from pipeline.content.evidence import is_schema
from pipeline.content.scrub import Scrubbed, scrub
from pipeline.detect.entities import EntityTable
from pipeline.detect.spans import Detector, OwnIdentifier, Span
from pipeline.policy.body import normalize_key
from pipeline.policy.load import Limits, Policy, load_policy

MARK = "Zq7canary"
POLICY = load_policy()
TABLE = EntityTable.from_json(POLICY.entities)
WITHOUT_SHRINKING_TIME = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])


class MarkDetector:
    """Finds a mark, remembers what it was shown, and fails on a text that says so."""

    def __init__(self) -> None:
        self.seen: list[str] = []

    def find_spans(self, texts: Sequence[str], _own: object = ()) -> list[Sequence[Span] | None]:
        """Return a span for each mark; None for a text with ``FAIL`` in it, a type on no list for one with ``NEW``."""
        self.seen += texts
        return [None if "FAIL" in text else self._find(text) for text in texts]

    @staticmethod
    def _find(text: str) -> list[Span]:
        starts = [i for i in range(len(text)) if text.startswith(MARK, i)]
        entity = "NEW_TYPE" if "NEW" in text else "EMAIL_ADDRESS"
        return [Span(i, i + len(MARK), entity, 1.0, "mark") for i in starts]


def run(body: Any, *, policy: Policy = POLICY, own: Sequence[OwnIdentifier] = ()) -> Scrubbed:
    """Scrub one request with the mark detector."""
    return scrub({"request": body}, own, policy, TABLE, MarkDetector())


def request_of(body: Any, **options: Any) -> Any:
    """Return the scrubbed request."""
    return run(body, **options).body["request"]


API_KEYS = sorted(POLICY.body.known_keys | set(POLICY.body.keys) | {"password", "phone", "name", "value", "x"})
WORDS = st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=12)
MARKED = st.builds(lambda a, b: f"{a}{MARK}{b}", WORDS, WORDS)
SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)


def repeated(pair: tuple[Any, Any]) -> str:
    """Return JSON text with a key that occurs twice."""
    return f'{{"a": {json.dumps(pair[0])}, "a": {json.dumps(pair[1])}}}'


def surrogates(pair: tuple[Any, Any]) -> str:
    """Return JSON text with two keys that become one when their surrogates are replaced."""
    return f'{{"\\ud800": {json.dumps(pair[0])}, "\\ud801": {json.dumps(pair[1])}}}'


def containers(members: st.SearchStrategy[Any], keys: st.SearchStrategy[str]) -> st.SearchStrategy[Any]:
    """Return lists, objects, and strings that hold either, odd spellings included."""
    pairs = st.tuples(members, members)
    return (
        st.lists(members, max_size=4)
        | st.dictionaries(keys, members, max_size=4)
        | members.map(json.dumps)
        | members.map(lambda value: json.dumps(value, ensure_ascii=False, indent=1))
        | pairs.map(repeated)
        | pairs.map(surrogates)
        | members.map(lambda value: "![x](data:image/png;base64,iVBORw0KGgo=) " + json.dumps(value))
    )


MARKED_BODIES = st.recursive(
    MARKED | SCALARS, lambda m: containers(m, st.sampled_from(API_KEYS) | MARKED), max_leaves=25
)


@given(body=MARKED_BODIES)
@WITHOUT_SHRINKING_TIME
def test_no_text_and_no_key_passes_unseen(body: Any) -> None:
    """A mark in every text and undeclared key is in none of the output, however strings of JSON are nested."""
    assert MARK not in json.dumps(run(body).body, ensure_ascii=False)


@given(body=MARKED_BODIES)
@WITHOUT_SHRINKING_TIME
def test_the_body_itself_is_not_changed(body: Any) -> None:
    """The walk works on a copy."""
    before = copy.deepcopy(body)
    run(body)
    assert before == body


PLAIN_KEYS = WORDS.filter(
    lambda key: key not in POLICY.body.keys and normalize_key(key) not in POLICY.body.secret_keys and "<" not in key
)
PLAIN = st.recursive(
    WORDS.filter(lambda text: "<" not in text) | st.none() | st.booleans() | st.integers(-(10**8), 10**8),
    lambda m: (
        st.lists(m, max_size=4)
        | st.dictionaries(PLAIN_KEYS, m, max_size=4)
        | m.map(lambda value: json.dumps(value, indent=2, ensure_ascii=False))
    ),
    max_leaves=25,
)


@given(body=PLAIN)
@WITHOUT_SHRINKING_TIME
def test_clean_bodies_come_out_equal(body: Any) -> None:
    """Without rules and findings nothing changes: no spelling of a string, no order of keys, no type."""
    scrubbed = run(body)
    assert json.dumps({"request": body}) == json.dumps(scrubbed.body)
    assert scrubbed.redactions == {}


@given(body=MARKED_BODIES)
@WITHOUT_SHRINKING_TIME
def test_the_same_body_gives_the_same_bytes(body: Any) -> None:
    """Two walks over one body agree."""
    assert json.dumps(run(body).body) == json.dumps(run(copy.deepcopy(body)).body)


def test_where_a_detector_fails_the_text_is_redacted() -> None:
    """A leaf, a key, a piece beside media and a leaf in a string of JSON: each is redacted, the rest is kept."""
    scrubbed = run({"a": "FAIL", "FAIL": 1, "b": "FAIL data:image/png;base64,AAAA", "c": '{"d":"FAIL","e":"x"}'})
    assert scrubbed.body["request"] == {
        "a": "<REDACTED>",
        "<REDACTED>": 1,
        "b": "<REDACTED><MEDIA image/png 3 bytes>",
        "c": '{"d":"<REDACTED>","e":"x"}',
    }
    assert scrubbed.redactions == {"MEDIA": 1, "REDACTED": 4}


def test_redactions_of_both_kinds_are_added_up() -> None:
    """Leaves over their limit, leaves where the detector failed and findings of no known type are counted together."""
    policy = load_policy(limits=Limits(leaf_bytes_max=20))
    scrubbed = run(["FAIL", "a long, a very long text", f"NEW {MARK}"], policy=policy)
    assert scrubbed == Scrubbed({"request": ["<REDACTED>", "<REDACTED>", "NEW <REDACTED>"]}, {"REDACTED": 3}, 0)


def test_what_its_key_decides_is_not_shown_to_the_detector() -> None:
    """A forced text needs no detector, not even one that would fail on it."""
    detector = MarkDetector()
    scrub({"request": {"password": "FAIL hunter2"}}, (), POLICY, TABLE, detector)
    assert "FAIL hunter2" not in detector.seen


def test_texts_are_seen_in_their_order() -> None:
    """Keys come before their values, strings of JSON in their place."""
    detector = MarkDetector()
    scrub({"request": {"k1": "a", "k2": ['{"k3": "b"}', "c"], "k4": "d"}}, (), POLICY, TABLE, detector)
    assert detector.seen == ["k1", "a", "k2", "k3", "b", "c", "k4", "d"]


def test_many_colliding_keys_are_numbered_in_linear_time() -> None:
    """A hundred thousand keys that become one are kept apart; numbering each from 2 on would take hours."""
    names = request_of({f"FAIL{i}": i for i in range(100_000)})
    assert list(names.items())[:2] == [("<REDACTED>", 0), ("<REDACTED>#2", 1)]
    assert names["<REDACTED>#100000"] == 99_999


def test_own_numbers_spare_counts_and_short_ids() -> None:
    """An account id of digits is no reason to take a count out, and one of three digits none at all."""
    own = [OwnIdentifier("ACCOUNT_ID", "128000"), OwnIdentifier("ACCOUNT_ID", "200")]
    body = {"max_tokens": 128000, "code": 200, "team": 128000}
    assert request_of(body, own=own) == {"max_tokens": 128000, "code": 200, "team": "<ID_1>"}


def test_a_scrubbed_body_shows_nothing_of_itself() -> None:
    """Its repr is safe to log."""
    assert repr(run(["text", MARK])) == "Scrubbed(redactions=1, dropped=0)"


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ({"type": "string"}, True),
        ({"type": ["string", "null"], "maxLength": 8}, True),
        ({"type": "STRING", "description": "as Gemini writes it"}, True),
        ({"anyOf": [{"type": "string"}], "title": "Password"}, True),
        ({"$ref": "#/$defs/Secret"}, True),
        ({"type": "string", "x-order": 1}, True),
        ({}, False),
        ({"description": "hunter2"}, False),
        ({"type": "mobile", "description": "5550199"}, False),
        ({"type": "string", "value": "hunter2"}, False),
        ({"type": []}, False),
        ({"type": [["string"]]}, False),
        ({"type": 1}, False),
    ],
)
def test_schemas_are_told_from_values(source: dict[str, Any], expected: bool) -> None:
    """Only an object of JSON Schema's words with a known type, or a word that needs none, is a schema."""
    assert is_schema(source) is expected


@pytest.mark.parametrize(
    ("size", "expected"), [(0, 0), (9, 9), (99, 99), (100, 100), (109, 100), (48_611, 48_000), (1_999_999, 1_900_000)]
)
def test_sizes_keep_two_digits(size: int, expected: int) -> None:
    """An exact size is a fingerprint."""
    assert round_size(size) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ([1, 2.5, -3], True),
        ([[1], [2, None]], True),
        ([], False),
        ([None, None], False),
        ([True, 1], False),
        ([1, "2"], False),
        ([[1], 2], False),
        ([[]], False),
        ([[[[1]]]], True),
        ([[[[[1]]]]], False),
        ("12", False),
    ],
)
def test_lists_of_numbers(value: object, expected: bool) -> None:
    """Numbers, with gaps, in lists of at most four levels; booleans are no numbers."""
    assert is_numbers(value) is expected


def test_a_coded_list_needs_its_length() -> None:
    """One number short of the limit, a list is walked."""
    assert coded_list([1] * 9, 10, 20) is None
    assert coded_list([1] * 10, 10, 20) == "<TOKENS 10>"
    assert coded_list([0.5] * 19, 10, 20) is None
    assert coded_list([0.5] * 20, 10, 20) == "<VECTOR 20>"
    assert coded_list([[0.5] * 20] * 20, 10, 20) is None


@pytest.mark.parametrize("action", ["tokens", "token_ids", "vector", "opaque", "media", "drop"])
@pytest.mark.parametrize("value", [None, True, 3, 0.5, "", "short", [], {}])
def test_coded_keys_leave_other_values_to_the_walk(action: str, value: object) -> None:
    """A flag, a count or nothing under a coded key is no content in another coding; only a blob is opaque."""
    assert coded_value(action, value) == ("<OPAQUE>" if (action, value) == ("opaque", "short") else None)


def test_coded_values_are_counted() -> None:
    """The count is of entries, whatever the nesting."""
    assert count_numbers([[1, 2], [3]]) == 3
    assert count_numbers({"tokens": ["a", "b"], "text_offset": [0]}) == 2
    assert count_numbers("A" * 16) == 3


ALPHABET = st.sampled_from("abcXYZ019+/_- \n:;,=.é")


@given(
    before=st.text(ALPHABET, max_size=300),
    run_length=st.integers(180, 260),
    after=st.text(ALPHABET, max_size=300),
    start=st.sampled_from(["", "data:image/png;base64,", "dAtA:text/plain,"]),
)
@settings(max_examples=200, deadline=None)
def test_the_cheap_look_misses_no_media(before: str, run_length: int, after: str, start: str) -> None:
    """Where the pattern finds media, the cheap test has not said no."""
    text = before + start + ("aB3/kLm9Qr" * 26)[:run_length] + after
    assert may_hold_media(text) or not list(find_media(text))


def test_media_in_lines_pass_the_cheap_look() -> None:
    """Three lines of base64 are seen wherever they begin."""
    lines = ("aB3/kLm9Qr" * 6 + "\n") * 3
    found = [offset for offset in range(150) if may_hold_media("é " * (offset // 2) + " " * (offset % 2) + lines)]
    assert found == list(range(150))


def test_the_label_of_media_repeats_no_unknown_type() -> None:
    """A media type is free text until a list has it."""
    known = {"image/png"}
    assert media_label("data:image/PNG;base64,AAAA", None, known) == "<MEDIA image/png 3 bytes>"
    assert media_label("data:x/vera,AAAA", None, known) == "<MEDIA application/octet-stream 3 bytes>"
    assert media_label("AAAA", "image/png", known) == "<MEDIA image/png 3 bytes>"
    assert media_label("AAAA", ["image/png"], known) == "<MEDIA application/octet-stream 3 bytes>"


HOSTILE = {
    "letters": "a" * 2**22,
    "dashes": "-" * 2**22,
    "spaces": " " * 2**22 + "!",
    "line breaks": "\n" * 2**22 + "!",
    "data": "data:" * 2**19,
    "parameters": "data:" + ";a" * 2**20,
    "types": ("data:" + "a" * 60 + "/" + "b" * 60 + " ") * 2**14,
    "short lines": ("aB3" * 20 + "\n" + "x!\n") * 2**15,
    "long lines": ("aB3" * 26 + "\n") * 2**15,
    "braces": "{" * 2**20 + "}",
    "quotes": '"' * 2**20,
    "escapes": '"' + '\\"' * 2**20 + '"',
    "look-alikes": "<MEDIA " * 2**18 + "<A_" * 2**18,
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_texts_take_linear_time(name: str) -> None:
    """Megabytes made to run a pattern into the ground are walked in a second; squared, they would take days."""
    text = HOSTILE[name]
    is_media(text)
    run({"content": text})


def test_lists_in_lists_are_not_read_again_at_each_depth() -> None:
    """A long list of numbers that a text spoils, forty lists deep, is read a few times, not forty."""
    value: list[Any] = [*([7] * 500_000), "x"]
    for _ in range(40):
        value = [value, *([[0]] * 31)]
    assert run(value).redactions == {}


def test_json_in_strings_many_deep_is_read_once_a_level() -> None:
    """A long text fifteen strings deep is found there, and the strings around it are written again."""
    text = "x" * 200_000 + " " + MARK
    expected = "x" * 200_000 + " <EMAIL_1>"
    for _ in range(15):
        text, expected = json.dumps([text], separators=(",", ":")), json.dumps([expected], separators=(",", ":"))
    assert request_of([text]) == [expected]


class _Broken:
    """A detector that raises, quoting what it was given."""

    def find_spans(self, texts: Sequence[str], _own: object = ()) -> list[Sequence[Span] | None]:
        """Fail."""
        raise ValueError(texts)


class _Short:
    """A detector that forgets the last text."""

    def find_spans(self, texts: Sequence[str], _own: object = ()) -> list[Sequence[Span] | None]:
        """Answer for all texts but one."""
        return [()] * (len(texts) - 1)


@pytest.mark.parametrize("detector", [_Broken(), _Short()], ids=["raises", "forgets"])
def test_a_detector_that_fails_has_seen_nothing(detector: Detector) -> None:
    """Every text of the event is redacted whole, and the event still has its fate."""
    scrubbed = scrub({"request": {"content": "hello", "k": "there"}}, (), POLICY, TABLE, detector)
    assert scrubbed.body == {"request": {"content": "<REDACTED>", "<REDACTED>": "<REDACTED>"}}
    assert scrubbed.redactions == {"REDACTED": 3}


@pytest.mark.parametrize(("text", "expected"), [("é" * 512, "é" * 512), ("é" * 513, "<REDACTED>")])
def test_the_limit_of_a_leaf_is_in_bytes(text: str, expected: str) -> None:
    """A leaf of two-byte characters is over its limit at half as many of them."""
    policy = load_policy(limits=Limits(leaf_bytes_max=1024))
    assert scrub({"request": text}, (), policy, TABLE, MarkDetector()).body == {"request": expected}
