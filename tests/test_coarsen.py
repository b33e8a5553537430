"""Coarsening: times to the minute and the day, addresses to networks."""

import re
from collections.abc import Callable
from datetime import UTC, datetime
from ipaddress import IPv4Address, IPv6Address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.coarsen import (
    DAY_MS,
    TIME_MS_MAX,
    TIME_MS_MIN,
    coarsen_ip,
    day_of,
    format_timestamp,
    normalize_ip,
    parse_epoch,
    parse_timestamp,
    truncate_to_minute,
)
from pipeline.policy.validator import FORMATS

NOON_MS = 1795435200000  # 2026-11-23T12:00:00Z

times_ms = st.integers(TIME_MS_MIN, TIME_MS_MAX)
ipv4 = st.ip_addresses(v=4)
ipv6 = st.ip_addresses(v=6)


@pytest.mark.parametrize(
    ("text", "time_ms"),
    [
        ("2026-11-23T12:00:00Z", NOON_MS),
        ("2026-11-23t12:00:00z", NOON_MS),
        ("2026-11-23T12:00:00.1Z", NOON_MS + 100),
        ("2026-11-23T12:00:00.1239999999999999999999Z", NOON_MS + 123),
        ("2026-11-23T17:30:00+05:30", NOON_MS),
        ("2026-11-23T08:30:00-03:30", NOON_MS),
        ("2026-11-23T12:00:00-00:00", NOON_MS),
        ("2024-02-29T00:00:00Z", 1709164800000),
        ("1969-12-31T23:59:59.999Z", -1),
        ("0001-01-01T00:00:00Z", TIME_MS_MIN),
        ("9999-12-31T23:59:59.999Z", TIME_MS_MAX),
    ],
)
def test_rfc_3339_times_are_epoch_milliseconds(text: str, time_ms: int) -> None:
    """A time with a zone is read in each spelling of RFC 3339, and a finer fraction is cut."""
    assert time_ms == parse_timestamp(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "2026-11-23T12:00:00",  # no zone
        "2026-11-23",
        "2026-11-23 12:00:00Z",
        "2026-11-23T12:00Z",
        "2026-11-23T12:00:00.Z",
        "2026-11-23T12:00:00,5Z",
        "2026-11-23T12:00:00+0530",
        "2026-11-23T12:00:00+24:00",
        "2026-11-23T12:00:00+05:60",
        "2026-11-23T24:00:00Z",
        "2026-11-23T12:60:00Z",
        "2026-11-23T12:00:61Z",
        "2026-02-29T12:00:00Z",
        "2026-13-01T12:00:00Z",
        "2026-00-10T12:00:00Z",
        "0000-01-01T00:00:00Z",
        "12026-11-23T12:00:00Z",
        " 2026-11-23T12:00:00Z",
        "2026-11-23T12:00:00Z\n",
        "٢٠٢٦-11-23T12:00:00Z",  # digits of another script
        "1795435200",
        "0001-01-01T00:00:00+00:01",  # before the first time
        "9999-12-31T23:59:59-23:59",  # after the last
        "9999-12-31T23:59:60-23:59",
    ],
)
def test_other_times_are_none(text: str) -> None:
    """No zone, no such day, no RFC 3339, or out of the years 1 to 9999: None, never an error."""
    assert parse_timestamp(text) is None


def test_a_leap_second_stays_in_its_day() -> None:
    """23:59:60 UTC is the last millisecond of its day, in whatever zone it is written; elsewhere :60 is no time."""
    last = parse_timestamp("2016-12-31T23:59:59.999Z")
    assert last == parse_timestamp("2016-12-31T23:59:60Z")
    assert last == parse_timestamp("2016-12-31T23:59:60.5Z")
    assert last == parse_timestamp("2017-01-01T08:59:60+09:00")
    assert parse_timestamp("2016-12-31T22:59:60Z") is None


@given(times_ms)
def test_formatting_and_parsing_are_inverse(time_ms: int) -> None:
    """Every time that can be written is read back to the millisecond."""
    assert time_ms == parse_timestamp(format_timestamp(time_ms))


@given(st.datetimes(timezones=st.just(UTC)))
def test_times_agree_with_the_standard_library(moment: datetime) -> None:
    """The calendar here is the calendar of datetime."""
    text = moment.isoformat(timespec="milliseconds")
    assert text.replace("+00:00", "Z") == format_timestamp(parse_timestamp(text) or 0)


@given(st.text())
def test_parsing_never_raises(text: str) -> None:
    """Any text is a time or None, an address or None."""
    parse_timestamp(text)
    normalize_ip(text)
    coarsen_ip(text)


@pytest.mark.parametrize("time_ms", [TIME_MS_MIN - 1, TIME_MS_MAX + 1, 10**30])
def test_a_time_out_of_range_cannot_be_written(time_ms: int) -> None:
    """Formatting refuses what has no four-digit year."""
    with pytest.raises(ValueError, match="cannot be written"):
        format_timestamp(time_ms)


@pytest.mark.parametrize(
    ("value", "time_ms"),
    [
        (1795435200, NOON_MS),
        (1795435200.123, NOON_MS + 123),
        (1076609517.047, 1076609517047),  # times 1000 it is …046.9999
        (1795435200.9999, NOON_MS + 999),
        (0, 0),
        (-0.001, -1),
        (-(10**30), None),
        (10**400, None),
        (1e300, None),
        (float("inf"), None),
        (float("nan"), None),
        (True, None),
    ],
)
def test_seconds_since_1970_are_epoch_milliseconds(value: float, time_ms: int | None) -> None:
    """Seconds become milliseconds without losing one to binary fractions; no number raises."""
    assert time_ms == parse_epoch(value)


@given(st.integers(0, 2**32 * 1000 - 1))
def test_a_binary_fraction_loses_no_millisecond(time_ms: int) -> None:
    """Milliseconds as fractional seconds are those milliseconds, for every time until 2106."""
    assert time_ms == parse_epoch(time_ms / 1000)


@given(times_ms)
def test_a_minute_and_a_day_begin_before_the_time_and_end_after_it(time_ms: int) -> None:
    """Truncation keeps the minute and nothing finer; the day is the day of the text."""
    minute_ms = truncate_to_minute(time_ms)
    assert minute_ms <= time_ms < minute_ms + 60_000
    assert format_timestamp(minute_ms) == format_timestamp(time_ms)[:16] + ":00.000Z"
    assert format_timestamp(time_ms)[:10] == day_of(time_ms)
    assert time_ms // DAY_MS * DAY_MS == parse_timestamp(f"{day_of(time_ms)}T00:00:00Z")


@pytest.mark.parametrize(
    ("text", "address", "network"),
    [
        ("203.0.113.7", "203.0.113.7", "203.0.113.0/24"),
        ("203.0.113.7:5678", "203.0.113.7", "203.0.113.0/24"),
        ("0.0.0.0", "0.0.0.0", "0.0.0.0/24"),  # noqa: S104 - an address that nothing binds to here
        ("2001:DB8:1:0:0:0:0:A", "2001:db8:1::a", "2001:db8:1::/48"),
        ("2001:db8::1", "2001:db8::1", "2001:db8::/48"),
        ("[2001:db8:1::a]", "2001:db8:1::a", "2001:db8:1::/48"),
        ("[2001:db8:1::a]:443", "2001:db8:1::a", "2001:db8:1::/48"),
        ("::ffff:203.0.113.7", "203.0.113.7", "203.0.113.0/24"),
        ("::FFFF:cb00:7107", "203.0.113.7", "203.0.113.0/24"),
        ("[::ffff:203.0.113.7]:443", "203.0.113.7", "203.0.113.0/24"),
        ("fe80::1%eth0", "fe80::1", "fe80::/48"),
        ("fe80::1%alice@example.com", "fe80::1", "fe80::/48"),
        ("::1", "::1", "::/48"),
        ("0:0:1::1", "0:0:1::1", "0:0:1::/48"),
        ("2002:cb00:7107::1", "2002:cb00:7107::1", "203.0.113.0/24"),  # 6to4
        ("2001:0:c000:201:0:63bf:34ff:8ef8", "2001:0:c000:201:0:63bf:34ff:8ef8", "2001:0:c000::/48"),  # Teredo
        ("64:ff9b::203.0.113.7", "64:ff9b::cb00:7107", "64:ff9b::/48"),  # NAT64
        ("64:ff9b:1::203.0.113.7", "64:ff9b:1::cb00:7107", "64:ff9b:1::/48"),
    ],
)
def test_addresses_have_one_spelling_and_one_network(text: str, address: str, network: str) -> None:
    """Every spelling of an address is one text, and its network shows no IPv4 address finer than its /24."""
    assert (address, network) == (normalize_ip(text), coarsen_ip(text))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "localhost",
        "203.0.113",
        "203.0.113.256",
        "203.0.113.07",
        "203.0.113.7/24",
        "203.0.113.7, 198.51.100.1",
        " 203.0.113.7",
        "203.0.113.7:",
        "203.0.113.7:port",
        "[203.0.113.7]:80",
        "[2001:db8::1",
        "2001:db8::1]",
        "[2001:db8::1]443",
        "2001:db8:::1",
        "2001:db8::/48",
        "٢٠٣.0.113.7",
        "3405803783",
        "fe80::1%" + "z" * 100,
        "alice@example.com",
    ],
)
def test_other_addresses_are_none(text: str) -> None:
    """What is not one address for sure has no pseudonym and no network."""
    assert (normalize_ip(text), coarsen_ip(text)) == (None, None)


@given(st.one_of(ipv4, ipv6))
def test_a_network_holds_its_address_and_is_no_host(address: IPv4Address | IPv6Address) -> None:
    """The network contains the address (for IPv6 that embeds one, the embedded address) and is as wide as promised."""
    network = ip_network(coarsen_ip(str(address)) or "")
    inner: IPv4Address | IPv6Address | None = address
    if isinstance(address, IPv6Address):
        inner = address.ipv4_mapped or address.sixtofour or address
    assert inner in network
    assert {4: 24, 6: 48}[network.version] == network.prefixlen
    assert coarsen_ip(str(network.network_address)) == str(network)


@given(ipv4, st.integers(0, 2**80 - 1))
def test_no_embedding_shows_more_of_an_ipv4_address_than_its_network(client: IPv4Address, rest: int) -> None:
    """Changing the last 8 bits of an embedded IPv4 address never changes the network."""
    host = int(client)
    teredo = 0x20010000 << 96 | (rest >> 32) % 2**64 << 32
    embeddings: list[Callable[[int], int]] = [
        lambda v4: 0xFFFF << 32 | v4,  # IPv4-mapped
        lambda v4: v4,  # IPv4-compatible
        lambda v4: 0xFFFF << 48 | v4,  # IPv4-translated
        lambda v4: 0x2002 << 112 | v4 << 80 | rest,  # 6to4
        lambda v4: 0x64FF9B << 96 | v4,  # NAT64, well-known prefix
        lambda v4: 0x64FF9B0001 << 80 | v4,  # NAT64, local use
        lambda v4: 0x20010DB8 << 96 | v4 << 64 | rest % 2**64,  # NAT64, a network's own /32
        lambda v4: teredo | (v4 ^ 0xFFFFFFFF),  # Teredo client
    ]
    for embed in embeddings:
        networks = {coarsen_ip(str(IPv6Address(embed(host >> 8 << 8 | last)))) for last in (0, 1, host & 255, 255)}
        assert len(networks) == 1


@given(st.one_of(ipv4, ipv6))
def test_normalizing_twice_changes_nothing(address: IPv4Address | IPv6Address) -> None:
    """The one spelling is its own spelling, and every spelling of an address leads to it."""
    normal = normalize_ip(address.exploded)
    assert normal == normalize_ip(str(address)) == normalize_ip(normal or "")
    assert coarsen_ip(address.exploded) == coarsen_ip(str(address)) == coarsen_ip(normal or "")


@given(st.one_of(ipv4, ipv6, st.sampled_from([IPv6Address("fe80::1"), IPv6Address("::1"), IPv6Address("2001::1")])))
def test_every_network_may_leave(address: IPv4Address | IPv6Address) -> None:
    """The egress check's format of a network has room for whatever coarsening makes."""
    assert re.fullmatch(FORMATS["network"], coarsen_ip(str(address)) or "") is not None
