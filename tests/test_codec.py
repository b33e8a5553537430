"""Bytes to JSON and back: what is odd stays what it is, what is no JSON is refused, and no error keeps the input."""

import json
import math
import traceback
from collections.abc import Callable
from random import Random
from typing import Any

import pytest
from conftest import base_event
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import fate_of, json_values, outputs, to_json, to_odd_json

from pipeline.anonymize import Core
from pipeline.codec import Decoded, check_depth, decode, encode, parse_embedded, replace_surrogates
from pipeline.errors import InvalidEvent, Reason
from pipeline.records import Anonymized, Rejection

DIGITS_MAX = 4300
MARK = "zqmark"
Style = Callable[[str], str]
STYLES: dict[str, Style] = {
    "compact": lambda text: text,
    "spaced": lambda text: text.replace('":', '": ').replace(',"', ', "'),
}


def read(raw: bytes | str, *, size_max: int = 1 << 20, depth_max: int = 64) -> Decoded:
    """Decode with roomy limits."""
    return decode(raw if isinstance(raw, bytes) else raw.encode(), size_max=size_max, depth_max=depth_max)


def refusal(raw: bytes | str, **limits: int) -> InvalidEvent:
    """Return why something is refused."""
    with pytest.raises(InvalidEvent) as caught:
        read(raw, **limits)
    return caught.value


def nested(levels: int, kind: str) -> str:
    """Return JSON of so many objects or lists inside each other."""
    opening, closing = ('{"a":', "}") if kind == "object" else ("[", "]")
    return opening * levels + "1" + closing * levels


@given(value=st.dictionaries(st.text(max_size=5), json_values(), max_size=4), seed=st.integers())
@settings(max_examples=200, deadline=None)
def test_every_spelling_decodes_alike(value: dict[str, Any], seed: int) -> None:
    """Gaps, escapes and repeated keys do not change an event, and every repeated key is counted."""
    raw, repeated = to_odd_json(value, Random(seed))
    plain, odd = read(to_json(value)), read(raw)
    assert repr(plain.event) == repr(odd.event)  # 1, 1.0 and True are equal
    assert odd.duplicate_keys == repeated


@given(value=json_values())
@settings(max_examples=200, deadline=None)
def test_what_is_encoded_decodes_to_itself(value: Any) -> None:
    """Encoding loses nothing but lone surrogates, which no UTF-8 holds: not a digit, not the sign of zero."""
    clean = replace_surrogates(json.loads(json.dumps(value)))
    assert repr(json.loads(encode(clean))) == repr(clean)
    assert repr(read(encode({"a": clean})).event) == repr({"a": clean})


@pytest.mark.parametrize(
    ("raw", "event", "repeated"),
    [
        ('{"a":1,"a":2}', {"a": 2}, 1),
        ('{"a":1,"a":2,"a":3}', {"a": 3}, 2),
        ('{"a":1,"b":2,"a":3}', {"a": 3, "b": 2}, 1),
        ('{"a":{"b":1,"b":2},"a":{"b":3,"b":4}}', {"a": {"b": 4}}, 3),
        ('{"a":1,"\\u0061":2}', {"a": 2}, 1),
        ('{"a":[{"b":1,"b":1}]}', {"a": [{"b": 1}]}, 1),
        ('{"a":1,"A":2}', {"a": 1, "A": 2}, 0),
        ('{"":1,"":2}', {"": 2}, 1),
        ('{"a":"\\"b\\":1","c":"\\"b\\":2"}', {"a": '"b":1', "c": '"b":2'}, 0),
    ],
)
def test_the_last_of_repeated_keys_wins(raw: str, event: dict[str, Any], repeated: int) -> None:
    """Repeated keys are counted wherever they stand, those of a value that is overwritten too."""
    assert read(raw) == (event, repeated)


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("kind", ["object", "list"])
@pytest.mark.parametrize(("levels", "is_allowed"), [(62, True), (63, True), (64, False), (65, False), (300, False)])
@pytest.mark.parametrize(("name", "pointer"), [("request", "/request"), ("zqstrange", "/*")])
def test_depth_ends_at_the_limit(
    bare_core: Core, name: str, pointer: str, levels: int, is_allowed: bool, kind: str, style: str
) -> None:
    """An event 64 deep, itself included, passes in any field and spelling; one deeper is rejected where it is deep."""
    held = nested(levels, kind)
    held = f'{{"deep":{nested(levels - 1, kind)}}}' if name == "request" and kind == "list" else held
    text = json.dumps(base_event() | {name: None}, separators=(",", ":")).replace(f'"{name}":null', f'"{name}":{held}')
    fate = fate_of(STYLES[style](text).encode(), bare_core)
    if is_allowed:
        assert isinstance(fate, Anonymized)
        return
    assert isinstance(fate, Rejection)
    assert (fate.reason, fate.pointer) == (Reason.TOO_DEEP, pointer)


@pytest.mark.parametrize("style", STYLES)
def test_depth_ends_at_the_limit_where_nothing_stands_beside(style: str) -> None:
    """The cheap look, which counts brackets, is right to the last one."""
    assert read(STYLES[style](nested(64, "object"))).duplicate_keys == 0
    refused = refusal(STYLES[style](nested(65, "object")))
    assert (refused.reason, refused.pointer) == (Reason.TOO_DEEP, "/*")
    assert read(STYLES[style]('{"a":"{{[[","b":[[]]}'), depth_max=3).event == {"a": "{{[[", "b": [[]]}


@pytest.mark.parametrize("kind", ["object", "list"])
@pytest.mark.parametrize("levels", [255, 256, 1000, 1023, 1024, 1025, 2000, 100_000])
def test_what_is_too_deep_to_read_is_refused(levels: int, kind: str) -> None:
    """Nesting that no parser follows is a refusal like any other, closed or not."""
    whole = nested(levels, kind)
    assert refusal(whole).reason is Reason.TOO_DEEP
    for gap in ("", " "):  # parsers give up at different depths for different spellings
        assert refusal(f'{{"a":{gap}{whole}}}').reason is Reason.TOO_DEEP
    assert refusal(whole[: len(whole) // 2]).reason in {Reason.TOO_DEEP, Reason.NOT_JSON}


def test_depth_is_measured_below_any_value() -> None:
    """A scalar has no depth, an empty list has one, and the pointer of a deep list names nothing."""
    check_depth(1, 0)
    check_depth([], 1)
    check_depth({"a": [{}]}, 3)
    for value, depth_max in (([], 0), ({"a": [{}]}, 2)):
        with pytest.raises(InvalidEvent) as caught:
            check_depth(value, depth_max)
        assert caught.value.pointer == ("" if value == [] else "/*")


@pytest.mark.parametrize(
    ("raw", "event"),
    [
        (r'{"\ud800":1}', {"\ufffd": 1}),
        (r'{"a\udfffb":"\udc00"}', {"a\ufffdb": "\ufffd"}),
        (r'{"a":["\ud83d\ude00","\ude00\ud83d"]}', {"a": ["😀", "\ufffd\ufffd"]}),
        (r'{"\ud83d\ude00":1}', {"😀": 1}),
        (r'{"a":"\\ud800"}', {"a": r"\ud800"}),
        (r'{"a":"\uD800"}', {"a": "\ufffd"}),
        (r'{"a":{"\ud800":{"\ud800":"\ud800"}}}', {"a": {"\ufffd": {"\ufffd": "\ufffd"}}}),
    ],
)
def test_lone_surrogates_are_replaced(raw: str, event: dict[str, Any]) -> None:
    """A lone surrogate becomes U+FFFD, in keys too; a pair is its character, and an escaped backslash is none."""
    assert read(raw) == (event, 0)


def test_keys_that_become_one_are_counted() -> None:
    """Two keys with lone surrogates that become the same key hide a value, as a repeated key does."""
    assert read(r'{"\ud800":1,"\ud801":2}') == ({"\ufffd": 2}, 1)


@pytest.mark.parametrize(
    "number",
    [
        *("0", "1", "-1", "9007199254740993", "9223372036854775807", "9223372036854775808", "-9223372036854775808"),
        *("-9223372036854775809", "18446744073709551615", "18446744073709551616", "1" + "0" * 30),
        *("9" * DIGITS_MAX, "-" + "9" * (DIGITS_MAX - 1)),
    ],
)
@pytest.mark.parametrize("style", STYLES)
def test_integers_stay_what_they_are(bare_core: Core, number: str, style: str) -> None:
    """An integer of any size up to the limit of digits comes out digit by digit."""
    text = to_json(base_event() | {"request": {"seed": None}}).decode().replace('"seed":null', f'"seed":{number}')
    fate = fate_of(STYLES[style](text).encode(), bare_core)
    assert f'"request":{{"seed":{number}}}'.encode() in outputs(fate)["content"]


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        *(("1e300", 1e300), ("1E5", 1e5), ("1e+5", 1e5), ("0.1", 0.1)),
        *(("2.2250738585072014e-308", 2.2250738585072014e-308), ("0.30000000000000004", 0.30000000000000004)),
        *(("5e-324", 5e-324), ("1.7976931348623157e308", 1.7976931348623157e308), ("1e-400", 0.0), ("-0.0", -0.0)),
        ("123456789012345680000.0", 1.2345678901234568e20),
    ],
)  # fmt: skip
def test_fractions_stay_what_they_are(written: str, expected: float) -> None:
    """A number with a fraction or exponent is its nearest double, the sign of zero included."""
    event = read(f'{{"a":{written}}}').event
    assert repr(event["a"]) == repr(expected)
    again = json.loads(encode(event))["a"]
    assert (again, math.copysign(1, again)) == (expected, math.copysign(1, expected))


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        *((b"", Reason.EMPTY), (b" \r\n\t", Reason.EMPTY), (b"nul", Reason.NOT_JSON), (b"{}{}", Reason.NOT_JSON)),
        *((b'{"a":01}', Reason.NOT_JSON), (b'{"a":.5}', Reason.NOT_JSON), (b'{"a":1.}', Reason.NOT_JSON)),
        *((b"{'a':1}", Reason.NOT_JSON), (b'{"a":1,}', Reason.NOT_JSON), (b'{"a":"\x01"}', Reason.NOT_JSON)),
        *((b'{"a":NaN}', Reason.NOT_JSON), (b'{"a":-Infinity}', Reason.NOT_JSON), (b'{"a":"\\x"}', Reason.NOT_JSON)),
        *((b'{"a":"\xff"}', Reason.NOT_UTF8), (b'{"a":"\xed\xa0\x80"}', Reason.NOT_UTF8)),
        (b"\xff\xfe{\0}\0", Reason.NOT_UTF8),
        *((b'{"a":"\xc0\xaf"}', Reason.NOT_UTF8), (b"\x00", Reason.NOT_JSON), (b"\xef\xbb\xbf", Reason.NOT_JSON)),
        *((value, Reason.NOT_AN_OBJECT) for value in (b"null", b"true", b"[]", b'"a"', b"1")),
        *((b'{"a":1e400}', Reason.NUMBER_OUT_OF_RANGE), (b'{"a":-1e400}', Reason.NUMBER_OUT_OF_RANGE)),
        (b'{"a":' + b"9" * (DIGITS_MAX + 1) + b"}", Reason.NUMBER_OUT_OF_RANGE),
        (b'{"a":-' + b"9" * (DIGITS_MAX + 1) + b"}", Reason.NUMBER_OUT_OF_RANGE),
    ],
)  # fmt: skip
def test_what_is_no_event_is_refused(raw: bytes, reason: Reason) -> None:
    """Each kind of bad input has its reason, and points at the whole."""
    refused = refusal(raw)
    assert (refused.reason, refused.pointer) == (reason, "")


def test_a_negative_integer_has_as_many_digits_as_a_positive_one() -> None:
    """The minus sign is no digit."""
    number = -int("9" * DIGITS_MAX)
    assert read(f'{{"a":{number}}}').event == {"a": number}


def test_size_ends_at_the_limit() -> None:
    """An event of as many bytes as are allowed passes, one byte more is refused unread."""
    assert read(b'{"a":1}', size_max=7) == ({"a": 1}, 0)
    assert refusal(b'{"a":1}', size_max=6).reason is Reason.TOO_LARGE
    assert refusal(b"\xff" * 9, size_max=8).reason is Reason.TOO_LARGE


@pytest.mark.parametrize(
    "raw",
    [
        f'{{"a":"{MARK}"',
        f'{{"{MARK}":1e400}}',
        f'{{"{MARK}":{"9" * 5000}}}',
        f'{{"{MARK}":NaN}}',
        f'["{MARK}"]',
        f'{{"a":{MARK}}}',
        f'{{"{MARK}":{nested(70, "list")}}}',
        f'{{"{MARK}":{nested(3000, "object")}}}',
        f'{{"a":"{MARK}'.encode() + b'\xff"}',
        f'{{"{MARK}":"\\ud800",}}',
    ],
)
def test_a_refusal_keeps_nothing_of_the_input(raw: bytes | str) -> None:
    """Neither the error nor any error before it holds a piece of the input, in its text, arguments or attributes."""
    refused = refusal(raw)
    assert (refused.__context__, refused.__cause__) == (None, None)
    shown = [str(refused), repr(refused), repr(refused.args), repr(vars(refused))]
    assert MARK not in "".join([*shown, *traceback.format_exception(refused)])


def test_a_decoded_event_shows_nothing_of_itself() -> None:
    """What a log line or traceback would print of a decoded event is a count."""
    decoded = read(f'{{"{MARK}":"{MARK}","a":1,"a":2}}')
    assert repr(decoded) == str(decoded) == "Decoded(duplicate_keys=1)"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('{"a":1,"a":2}', ({"a": 2}, 1)),
        (' [1, "b"] ', ([1, "b"], 0)),
        ('"\\"{}\\""', ('"{}"', 0)),
        ("18446744073709551616", (2**64, 0)),
        ("nope", None),
        ("", None),
        ("[NaN]", None),
        ("[link](x)", None),
        ("[1e400]", None),
        ("[" + "9" * 5000 + "]", None),
        ('{"a":1} trailing', None),
    ],
)
def test_strings_that_hold_json_are_told_from_others(text: str, expected: tuple[Any, int] | None) -> None:
    """What parses is a value with its repeated keys; what does not is a text like any other."""
    assert parse_embedded(text) == expected


def test_a_string_of_json_too_deep_to_read_says_so() -> None:
    """The caller hears of nesting that cannot be followed, and redacts the string."""
    with pytest.raises(RecursionError):
        parse_embedded(nested(100_000, "list"))
