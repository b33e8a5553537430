"""Decoding and encoding: ordinary events fast, odd ones exactly, bad ones by reason, none leaving a trace."""

import json
import traceback
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.codec import Decoded, decode, encode, parse_embedded
from pipeline.errors import InvalidEvent, Reason

LIMITS: dict[str, Any] = {"size_max": 1_000_000, "depth_max": 64, "declared": {"request": ()}}
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=20,
)


def refused(raw: bytes, **limits: Any) -> InvalidEvent:
    """Return the error that decoding ends in."""
    with pytest.raises(InvalidEvent) as caught:
        decode(raw, **{**LIMITS, **limits})
    return caught.value


@given(st.dictionaries(st.text(max_size=8), JSON, max_size=5))
def test_spacing_makes_no_difference(event: dict[str, Any]) -> None:
    """Compact, spaced, indented and ASCII-escaped JSON decode to the same event."""
    forms = [
        json.dumps(event, ensure_ascii=False, separators=(",", ":")),
        json.dumps(event, ensure_ascii=False),
        json.dumps(event, indent=2),
        json.dumps(event, ensure_ascii=True),
    ]
    decoded = [decode(form.encode("utf-8", "surrogatepass"), **LIMITS) for form in forms if is_utf8(form)]
    assert all(one == decoded[0] for one in decoded)


def is_utf8(text: str) -> bool:
    """Tell whether a text can be written as UTF-8."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


@given(JSON)
def test_encode_and_decode_are_inverse(value: Any) -> None:
    """What is encoded decodes to the same value, integers of any size included."""
    again = decode(encode({"v": value}), **LIMITS)
    assert again == Decoded({"v": value}, 0)


@pytest.mark.parametrize(
    ("raw", "count"),
    [
        (b'{"a":1,"b":2}', 0),
        (b'{"a":1,"a":2}', 1),
        (b'{"a" : 1, "a" : 2, "a":3}', 2),
        (b'{"a":{"b":1,"b":2},"c":[{"d":1,"d":1}]}', 2),
        (b'{"a":"\\"b\\":1","c":"\\"b\\":2"}', 0),
        (b'{"a":1,"\\u0061":2}', 1),
    ],
)
def test_repeated_keys_are_counted(raw: bytes, count: int) -> None:
    """Keys that an object repeats are counted, however they are spelt; look-alikes in strings are not."""
    assert decode(raw, **LIMITS).duplicate_keys == count


def test_the_last_repeated_key_wins() -> None:
    """Of repeated keys the last one is kept."""
    assert decode(b'{"a":1,"a":2}', **LIMITS).event == {"a": 2}


def nested(levels: int, *, member: str = "request", space: str = "") -> bytes:
    """Return an event whose member makes it so many levels deep."""
    inner = "[" * (levels - 1) + "]" * (levels - 1)
    return f'{{"{member}":{space}{inner}}}'.encode()


@pytest.mark.parametrize("space", ["", " "])
@pytest.mark.parametrize("levels", [2, 63, 64])
def test_an_event_as_deep_as_allowed_is_decoded(levels: int, space: str) -> None:
    """64 levels pass, whatever the spacing."""
    assert decode(nested(levels, space=space), **LIMITS).event.keys() == {"request"}


@pytest.mark.parametrize("space", ["", " "])
@pytest.mark.parametrize("levels", [65, 66, 255, 256, 1000, 1023, 1024, 1025, 5000, 100_000])
def test_a_deeper_event_is_refused(levels: int, space: str) -> None:
    """One level more is too deep, up to depths at which parsers themselves give up."""
    error = refused(nested(levels, space=space))
    assert error.reason is Reason.TOO_DEEP
    assert error.pointer in {"/request", ""}


def test_the_name_of_an_undeclared_deep_member_is_hidden() -> None:
    """Only declared names are shown."""
    assert refused(nested(70, member="vera@example.com")).pointer == "/*"


@pytest.mark.parametrize("number", [2**63, 2**64 - 1, 2**64, -(2**63), -(2**63) - 1, 10**40, int("9" * 4300)])
def test_integers_keep_every_digit(number: int) -> None:
    """Integers inside and beyond 64 bits come through exactly, and are written back so."""
    event = decode(f'{{"n":{number}}}'.encode(), **LIMITS).event
    assert event == {"n": number}
    assert encode(event) == f'{{"n":{number}}}'.encode()


@pytest.mark.parametrize("number", ["1e400", "-1e400", "9" * 4301])
def test_a_number_that_nothing_holds_is_refused(number: str) -> None:
    """A number beyond a double, or of absurd length, is refused."""
    assert refused(f'{{"n":{number}}}'.encode()).reason is Reason.NUMBER_OUT_OF_RANGE


@pytest.mark.parametrize("number", [0.1, -0.0, 1e300, 5e-324, 1.7976931348623157e308])
def test_floats_come_through_exactly(number: float) -> None:
    """Doubles are not rounded."""
    assert repr(decode(encode({"n": number}), **LIMITS).event["n"]) == repr(number)


@pytest.mark.parametrize(
    ("escaped", "expected"),
    [("a\\ud83d", "a\ufffd"), ("\\ude00b", "\ufffdb"), ("\\ud83d\\ude00", "😀"), ("\\uD83D\\u0041", "\ufffdA")],
)
def test_lone_surrogates_become_replacement_characters(escaped: str, expected: str) -> None:
    """Half a character becomes U+FFFD, in values and in keys; a whole pair is a character."""
    event = decode(f'{{"{escaped}":["{escaped}"]}}'.encode(), **LIMITS).event
    assert event == {expected: [expected]}


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (b"", Reason.EMPTY),
        (b" \n\t", Reason.EMPTY),
        (b"\xef\xbb\xbf", Reason.NOT_JSON),
        (b"nope", Reason.NOT_JSON),
        (b'{"a":NaN}', Reason.NOT_JSON),
        (b'{"a":1}{"a":1}', Reason.NOT_JSON),
        (b'{"a":"\x00"}', Reason.NOT_JSON),
        (b"\xff\xfe{}", Reason.NOT_UTF8),
        (b'{"a":"\xed\xa0\x80"}', Reason.NOT_UTF8),
        (b"null", Reason.NOT_AN_OBJECT),
        (b"12", Reason.NOT_AN_OBJECT),
    ],
)
def test_what_is_no_event_is_refused_by_reason(raw: bytes, reason: Reason) -> None:
    """Each kind of bad input has its reason."""
    assert refused(raw).reason is reason


def test_a_large_event_is_refused_before_it_is_read() -> None:
    """The limit is on bytes, and inclusive."""
    raw = b'{"a":"' + b"x" * 92 + b'"}'
    assert decode(raw, **{**LIMITS, "size_max": 100}).event["a"] == "x" * 92
    assert refused(raw, size_max=99).reason is Reason.TOO_LARGE


@pytest.mark.parametrize(
    "raw", [b'{"secret-7f3a', b'{"a":"secret-7f3a\xff"}', b'{"a":secret-7f3a}', b'["secret-7f3a"]']
)
def test_an_error_holds_nothing_of_its_input(raw: bytes) -> None:
    """Neither the error nor what led to it shows a byte of the event, in any traceback."""
    error = refused(raw)
    assert error.__context__ is None
    assert error.__cause__ is None
    assert "secret" not in "".join(traceback.format_exception(error)) + repr(error) + str(error)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('{"a":1}', ({"a": 1}, 0)),
        (' [1, "x"] ', ([1, "x"], 0)),
        ('{"a":1,"a":2}', ({"a": 2}, 1)),
        ('"x"', ("x", 0)),
        ("{nope}", None),
        ('{"a":NaN}', None),
        ("[link](x)", None),
    ],
)
def test_a_string_that_holds_json_is_parsed(text: str, expected: tuple[Any, int] | None) -> None:
    """JSON in a string is parsed with its repeated keys counted; anything else is none."""
    assert parse_embedded(text) == expected
