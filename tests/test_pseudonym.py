"""Pseudonyms: keyed, unambiguous, of one form."""

import hashlib
import hmac
import re

from hypothesis import given
from hypothesis import strategies as st

from pipeline.policy.validator import FORMATS
from pipeline.pseudonym import DAY_PSEUDONYM_FORMAT, PSEUDONYM_FORMAT, pseudonymize

KEY = bytes(range(32))
OTHER_KEY = bytes(range(1, 33))

texts = st.text(st.characters(exclude_categories=()))  # lone surrogates too
keys = st.binary(min_size=32, max_size=32)


def test_a_pseudonym_is_hmac_sha_256_under_the_key() -> None:
    """The digest is RFC 2104 over constant, length of the field's name, name and value, so others can compute it."""
    message = b"lethe pseudonym v1\0" + b"\0\0\0\x07account" + b"acct_example"
    digest = hmac.new(KEY, message, hashlib.sha256).hexdigest()
    assert f"e1:{digest}" == pseudonymize(KEY, "e1", "account", "acct_example")


@given(keys, texts, texts, texts, texts)
def test_pseudonyms_differ_where_field_or_value_does(
    key: bytes, field: str, value: str, other_field: str, other: str
) -> None:
    """Two pseudonyms under one key are equal just when field and value are."""
    same = (field, value) == (other_field, other)
    assert same == (pseudonymize(key, "e1", field, value) == pseudonymize(key, "e1", other_field, other))


@given(texts, texts, st.integers(0, 20))
def test_moving_the_border_of_field_and_value_changes_the_pseudonym(field: str, value: str, shift: int) -> None:
    """("a", "bc") and ("ab", "c") are unrelated: no separator can be imitated by a value."""
    whole = field + value
    moved = (len(field) + shift) % (len(whole) + 1)
    same = moved == len(field)
    assert same == (pseudonymize(KEY, "e1", field, value) == pseudonymize(KEY, "e1", whole[:moved], whole[moved:]))


def test_lone_surrogates_are_told_apart() -> None:
    """A text that is no valid Unicode has a pseudonym of its own, in the field's name too, and raises nothing."""
    odd = ["\ud800", "\udfff", "\ud800\udfff", "\U000103ff", "?", "\ufffd", ""]
    assert len(odd) == len({pseudonymize(KEY, "e1", "account", text) for text in odd})
    assert len(odd) == len({pseudonymize(KEY, "e1", text, "acct_example") for text in odd})


@given(texts, texts)
def test_a_key_decides_every_digest(field: str, value: str) -> None:
    """Another key gives another digest, and the epoch's name stands before it."""
    epoch, digest = pseudonymize(KEY, "e1", field, value).split(":")
    assert epoch == "e1"
    assert f"e2:{digest}" != pseudonymize(OTHER_KEY, "e2", field, value)


@given(texts, texts)
def test_pseudonyms_have_the_form_that_schemas_ask_for(field: str, value: str) -> None:
    """Lasting and day pseudonyms match their own format and not each other's, and never hold the value's text."""
    lasting = pseudonymize(KEY, "e12", field, value)
    daily = pseudonymize(KEY, "d20261123", field, value)
    assert re.fullmatch(PSEUDONYM_FORMAT, lasting)
    assert re.fullmatch(DAY_PSEUDONYM_FORMAT, daily)
    assert not re.fullmatch(PSEUDONYM_FORMAT, daily)
    assert not re.fullmatch(DAY_PSEUDONYM_FORMAT, lasting)


def test_the_policy_asks_for_the_same_forms() -> None:
    """The formats that the policy checks at egress are the formats made here."""
    assert (FORMATS["pseudonym"], FORMATS["day_pseudonym"]) == (PSEUDONYM_FORMAT, DAY_PSEUDONYM_FORMAT)
