"""Checksums of identifiers that Presidio has no recognizer for; those of countries are python-stdnum's. Pure.

The only module that imports stdnum.
"""

from collections.abc import Callable, Mapping
from functools import lru_cache
from hashlib import sha256
from importlib import import_module
from typing import Any

from stdnum import get_cc_module
from stdnum.bitcoin import bech32_checksum

_BASE58 = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
_BASE58_RIPPLE = "rpshnaf39wBUDNEGHJKLM4PQRST7VWXYZ2bcdeCg65jkm8oFqi1tuvAxyz"
_BASE58_BYTES = 25
_BASE58_CHECK_BYTES = 4
_BECH32 = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"
_VIN_VALUES = dict(zip("ABCDEFGHJKLMNPRSTUVWXYZ", map(int, "12345678123457923456789"), strict=True))
_VIN_WEIGHTS = (8, 7, 6, 5, 4, 3, 2, 10, 0, 9, 8, 7, 6, 5, 4, 3, 2)
_VIN_CHECK = 8
_ABA_WEIGHTS = (3, 7, 1) * 3


def _digits(value: str) -> list[int]:
    return [int(char) for char in value if char.isdecimal()]


def is_luhn(value: str) -> bool:
    """Say whether the digits of a text have the Luhn checksum (ISO/IEC 7812-1), and are not all alike."""
    digits = _digits(value)
    doubled = [digit * 2 - 9 * (digit > 4) for digit in digits[-2::-2]]  # noqa: PLR2004 - 5 and more carry
    return len(set(digits)) > 1 and (sum(digits[-1::-2]) + sum(doubled)) % 10 == 0


def is_vin(value: str) -> bool:
    """Say whether a text of 17 characters has the check digit of a vehicle identification number (49 CFR 565)."""
    text = value.upper()
    if len(text) != len(_VIN_WEIGHTS) or not any(char.isalpha() for char in text):
        return False
    total = 0
    for char, weight in zip(text, _VIN_WEIGHTS, strict=True):
        number = int(char) if char.isdecimal() else _VIN_VALUES.get(char)
        if number is None:
            return False
        total += number * weight
    return text[_VIN_CHECK] == "0123456789X"[total % 11]


def is_aba(value: str) -> bool:
    """Say whether nine digits have the checksum of an ABA routing number, and a prefix in use."""
    digits = _digits(value)
    if len(digits) != len(_ABA_WEIGHTS) or not any(digits):
        return False
    prefix = digits[0] * 10 + digits[1]
    is_used = prefix <= 12 or 21 <= prefix <= 32 or 61 <= prefix <= 72 or prefix == 80  # noqa: PLR2004 - Federal Reserve
    return is_used and sum(d * w for d, w in zip(digits, _ABA_WEIGHTS, strict=True)) % 10 == 0


def is_coordinate_pair(value: str) -> bool:
    """Say whether two decimal numbers are a latitude and a longitude."""
    parts = value.replace(";", ",").replace(" ", ",").split(",")
    numbers = [part for part in parts if part]
    if len(numbers) != 2:  # noqa: PLR2004 - a pair
        return False
    return abs(float(numbers[0])) <= 90 and abs(float(numbers[1])) <= 180  # noqa: PLR2004 - degrees


def is_base58(value: str) -> bool:
    """Say whether a text is an address in Base58Check, in Bitcoin's alphabet or, beginning with r, in that of XRP."""
    number = 0
    for char in value:
        place = (_BASE58_RIPPLE if value[0] == "r" else _BASE58).find(char)
        if place < 0:
            return False
        number = number * len(_BASE58) + place
    if number.bit_length() > 8 * _BASE58_BYTES:
        return False
    data = number.to_bytes(_BASE58_BYTES, "big")
    body, check = data[:-_BASE58_CHECK_BYTES], data[-_BASE58_CHECK_BYTES:]
    return sha256(sha256(body).digest()).digest()[:_BASE58_CHECK_BYTES] == check


def is_bech32(value: str) -> bool:
    """Say whether a text has the checksum of Bech32 (BIP 173) or Bech32m (BIP 350)."""
    prefix, _, rest = value.rpartition("1")
    places = [_BECH32.find(char) for char in rest]
    if not prefix or -1 in places:
        return False
    spread = [*(ord(char) >> 5 for char in prefix), 0, *(ord(char) & 31 for char in prefix)]
    return bool(bech32_checksum([*spread, *places]) in (1, 0x2BC830A3))


_CHECKS: Mapping[str, Callable[[str], bool]] = {
    "aba": is_aba,
    "base58": is_base58,
    "bech32": is_bech32,
    "coordinates": is_coordinate_pair,
    "luhn": is_luhn,
    "vin": is_vin,
}
_STDNUM = "stdnum:"


def is_check(name: str) -> bool:
    """Say whether there is a checksum of this name: one of this module, or ``stdnum:fr.nir``."""
    return name in _CHECKS or (name.startswith(_STDNUM) and _stdnum(name) is not None)


def has_checksum(name: str, value: str) -> bool:
    """Say whether a text has the checksum of this name."""
    check = _CHECKS.get(name)
    if check:
        return check(value)
    module = _stdnum(name)
    return module is not None and bool(module.is_valid(value))


@lru_cache
def _stdnum(name: str) -> Any:
    country, _, module = name.removeprefix(_STDNUM).rpartition(".")
    if country:
        return get_cc_module(country, module)
    try:
        return import_module(f"stdnum.{module}")  # of no country: imei
    except ImportError:
        return None
