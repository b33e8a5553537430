"""Times and addresses, parsed and made coarse. Pure: malformed input becomes None.

A time is an int everywhere: milliseconds since 1970-01-01T00:00:00Z, without leap seconds.
"""

import re
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address

MINUTE_MS = 60_000
HOUR_MS = 60 * MINUTE_MS
DAY_MS = 24 * HOUR_MS

_EPOCH_ORDINAL = date(1970, 1, 1).toordinal()
TIME_MS_MIN = (1 - _EPOCH_ORDINAL) * DAY_MS
"""0001-01-01T00:00:00.000Z, the first time that can be written."""
TIME_MS_MAX = (date(9999, 12, 31).toordinal() + 1 - _EPOCH_ORDINAL) * DAY_MS - 1
"""9999-12-31T23:59:59.999Z, the last."""

# RFC 3339 §5.6 ``date-time``. [0-9], because \d takes the digits of every script; re.ASCII would not say so here.
_TIMESTAMP = re.compile(
    r"([0-9]{4})-([0-9]{2})-([0-9]{2})"
    r"[Tt]([01][0-9]|2[0-3]):([0-5][0-9]):([0-5][0-9]|60)(?:\.([0-9]+))?"
    r"(?:[Zz]|([+-])([01][0-9]|2[0-3]):([0-5][0-9]))"
)

_CANONICAL_CHARS = len("2026-11-23T10:00:00.123Z")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)

_ADDRESS_CACHE_SIZE = 4096  # clients in use at one time: an IPv6 address takes 17 µs unread, 0.2 µs here
# The longest address text: IPv6 with an embedded IPv4 (45), brackets, a zone (IFNAMSIZ is 16) and a port.
_ADDRESS_CHARS_MAX = 71
_BRACKETED = re.compile(r"\[([^\[\]]+)\](?::[0-9]{1,5})?")
_V4_WITH_PORT = re.compile(r"([0-9.]+):[0-9]{1,5}")

_V4_MAPPED_PREFIX = 0xFFFF  # ::ffff:0:0/96, RFC 4291 §2.5.5.2
_SIX_TO_FOUR_PREFIX = 0x2002  # 2002::/16, RFC 3056 §2
_V4_MASK_24 = 0xFFFFFF00


def parse_timestamp(text: str) -> int | None:
    """Read an RFC 3339 time with a zone (``Z`` or an offset) as epoch milliseconds.

    A finer fraction is cut to milliseconds. A leap second is taken where RFC 3339 §5.7 has it, at 23:59:60 UTC, and
    becomes the last millisecond before midnight, so that the request stays in the day it belongs to.

    Returns:
        Epoch milliseconds within `TIME_MS_MIN` and `TIME_MS_MAX`; None when the text is anything else: no zone, no
        such day, a time that an offset moves out of the years 1 to 9999.
    """
    if is_canonical(text):
        try:
            return (datetime.fromisoformat(text) - _EPOCH) // _MILLISECOND
        except ValueError:  # no such day, or another spelling of as many characters: read it the long way
            pass
    match = _TIMESTAMP.fullmatch(text)
    if match is None:
        return None
    year, month, day, hour, minute, second, fraction, sign, offset_hour, offset_minute = match.groups()
    try:
        days = date(int(year), int(month), int(day)).toordinal() - _EPOCH_ORDINAL
    except ValueError:  # 30 February, or the year 0
        return None
    minutes = days * 1440 + int(hour) * 60 + int(minute)
    if sign is not None:
        offset = int(offset_hour) * 60 + int(offset_minute)
        minutes += offset if sign == "-" else -offset
    if second == "60":
        return _within_range((minutes + 1) * MINUTE_MS - 1) if minutes % 1440 == 1439 else None  # noqa: PLR2004 - 23:59
    fraction_ms = int(fraction[:3].ljust(3, "0")) if fraction is not None else 0
    return _within_range(minutes * MINUTE_MS + int(second) * 1000 + fraction_ms)


def is_canonical(text: str) -> bool:
    """Tell whether a text may be what `format_timestamp` writes; its digits are not read. A leap second is not."""
    return (
        len(text) == _CANONICAL_CHARS
        and text[4] == text[7] == "-"  # a week date has as many characters
        and text[10] == "T"
        and text[17:20] != "60."
        and text[11:13] != "24"  # which later versions of Python read as the next midnight
        and text[19] == "."
        and text[23] == "Z"
        and text.isascii()
    )


def parse_epoch(value: float) -> int | None:
    """Read seconds since 1970, whole or fractional, as epoch milliseconds; a finer fraction is cut.

    Returns:
        Epoch milliseconds within `TIME_MS_MIN` and `TIME_MS_MAX`; None for anything else, NaN and booleans included.
    """
    if isinstance(value, bool) or not TIME_MS_MIN <= value * 1000 <= TIME_MS_MAX:
        return None
    if isinstance(value, int):
        return value * 1000
    # A binary float misses most decimal milliseconds by a little (…00.123 is stored as …00.12299…), and cutting would
    # lose one. Until the year 2106 it is nearer than half a microsecond: round to microseconds, then cut.
    return _within_range(round(value * 1_000_000) // 1000)


def format_timestamp(time_ms: int) -> str:
    """Write epoch milliseconds as ``2026-11-23T10:00:00.123Z``.

    Raises:
        ValueError: the time is outside `TIME_MS_MIN` and `TIME_MS_MAX`, which no parsed time is.
    """
    days, rest_ms = divmod(time_ms, DAY_MS)
    minutes, rest_ms = divmod(rest_ms, MINUTE_MS)
    hour, minute = divmod(minutes, 60)
    second, rest_ms = divmod(rest_ms, 1000)
    return f"{_format_day(days)}T{hour:02}:{minute:02}:{second:02}.{rest_ms:03}Z"


def truncate_to_minute(time_ms: int) -> int:
    """Return the first millisecond of the minute."""
    return time_ms - time_ms % MINUTE_MS


def day_of(time_ms: int) -> str:
    """Return the UTC day, ``2026-11-23``.

    Raises:
        ValueError: as `format_timestamp`.
    """
    return _format_day(time_ms // DAY_MS)


def begin_ms(day: str) -> int | None:
    """Return the beginning of a UTC day as epoch milliseconds; None when it is not written as ``2026-11-23``."""
    try:
        begin = date.fromisoformat(day)
    except ValueError:
        return None
    return (begin.toordinal() - _EPOCH_ORDINAL) * DAY_MS if begin.isoformat() == day else None


def normalize_ip(text: str) -> str | None:
    """Return an address in the one spelling it has (RFC 5952), so that one host has one pseudonym.

    An IPv4-mapped IPv6 address is its IPv4 address. What gateways put around an address and what says nothing about
    the host is taken off where that is unambiguous: brackets, a port behind ``1.2.3.4:`` or ``[…]:``, an IPv6 zone.

    Returns:
        The address; None when the text is anything else: a list, a network, leading zeros in IPv4 (RFC 6943 §3.1.1).
    """
    return _address_and_network(text)[0] if len(text) <= _ADDRESS_CHARS_MAX else None


def coarsen_ip(text: str) -> str | None:
    """Return the network of an address: IPv4 /24, IPv6 /48 (policy §5: no direct identifier is kept).

    A /48 must not hold an IPv4 address finer than its /24. Where IPv6 has one inside:

    - IPv4-mapped (``::ffff:0:0/96``): it is the IPv4 address, so /24.
    - 6to4 (``2002::/16``, RFC 3056): bits 16 to 47 are the whole IPv4 address, so the /48 names one host. It becomes
      that address's /24.
    - Teredo (``2001::/32``, RFC 4380): bits 32 to 63 are the relay server and the client's address is in the last 32
      bits. The /48 keeps half of the server's address and nothing of the client's.
    - NAT64 (RFC 6052, RFC 8215): ``64:ff9b::/96`` and ``64:ff9b:1::/48`` have it below the /48. A network's own
      prefix of 32 bits or more leaves at most 16 bits of it above.
    - 6rd (RFC 5969) looks like any address of its provider; its /48 is a site's, as everywhere in IPv6.

    Returns:
        The network in CIDR notation with its host bits zero; None as `normalize_ip`.
    """
    return _address_and_network(text)[1] if len(text) <= _ADDRESS_CHARS_MAX else None


def _within_range(time_ms: int) -> int | None:
    return time_ms if TIME_MS_MIN <= time_ms <= TIME_MS_MAX else None


@lru_cache(maxsize=64)
def _format_day(days: int) -> str:
    if not TIME_MS_MIN <= days * DAY_MS <= TIME_MS_MAX:
        raise ValueError("a time outside the years 1 to 9999 cannot be written")
    return date.fromordinal(days + _EPOCH_ORDINAL).isoformat()


def forget_addresses() -> None:
    """Forget the addresses that were seen, for a process that may keep nothing of an event."""
    _address_and_network.cache_clear()


@lru_cache(maxsize=_ADDRESS_CACHE_SIZE)
def _address_and_network(text: str) -> tuple[str, str] | tuple[None, None]:
    address = _parse_ip(text)
    if address is None:
        return None, None
    number = int(address)
    if isinstance(address, IPv4Address):
        return str(address), _network_24(number)
    if number >> 112 == _SIX_TO_FOUR_PREFIX:
        return str(address), _network_24(number >> 80 & 0xFFFFFFFF)
    return str(address), _network_48(number)


def _network_24(number: int) -> str:
    return f"{IPv4Address(number & _V4_MASK_24)}/24"


def _network_48(number: int) -> str:
    groups = [f"{number >> shift & 0xFFFF:x}" for shift in (112, 96, 80)]
    while groups and groups[-1] == "0":  # the zeros at the end are always the longest run, which RFC 5952 shortens
        groups.pop()
    return ":".join(groups) + "::/48"


def _parse_ip(text: str) -> IPv4Address | IPv6Address | None:
    try:
        if ":" not in text:
            return IPv4Address(text)
        if (match := _BRACKETED.fullmatch(text)) is not None:
            return _parse_ipv6(match[1])
        if (match := _V4_WITH_PORT.fullmatch(text)) is not None:
            return IPv4Address(match[1])
        return _parse_ipv6(text)
    except ValueError:
        return None


def _parse_ipv6(text: str) -> IPv4Address | IPv6Address:
    address = IPv6Address(text)
    if int(address) >> 32 == _V4_MAPPED_PREFIX:
        return IPv4Address(int(address) & 0xFFFFFFFF)
    # Without the zone, which is a name on the gateway's own host.
    return address if address.scope_id is None else IPv6Address(int(address))
