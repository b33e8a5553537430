"""Identifiers that nobody has: fictional or never-issued ranges, with valid check digits where a type has them."""

from collections.abc import Callable
from random import Random

_CARD_PREFIXES = ("424242", "411111", "555555", "37828224")
"""Openings of the card networks' published test numbers."""

_PHONES = (
    ("+49 30 23125 {}", 1000),  # Bundesnetzagentur: numbers for films
    ("+49 69 90009 {}", 1000),
    ("+49 221 4710 {}", 1000),
    ("+44 20 7946 0{}", 1000),  # Ofcom: numbers for drama
    ("+33 1 99 00 {} 27", 100),  # Arcep: numbers for fiction
    ("+61 491 570 {}", 1000),  # ACMA: creative works
)
_US_AREAS = (201, 202, 206, 212, 213, 303, 305, 312, 404, 415, 503, 512, 602, 617, 702, 718, 801, 802, 907, 919)


def luhn_digit(digits: str) -> int:
    """Return the check digit that makes ``digits`` plus it pass the Luhn test (ISO/IEC 7812-1)."""
    total = 0
    for place, character in enumerate(reversed(digits)):
        doubled = int(character) * (2 - place % 2)
        total += doubled - 9 * (doubled > 9)  # noqa: PLR2004 - digit sum of a two-digit product
    return -total % 10


def iban_check(country: str, account: str) -> str:
    """Return the two check digits of an IBAN (ISO 13616, modulus 97)."""
    digits = "".join(str(int(character, 36)) for character in f"{account}{country}00")
    return f"{98 - int(digits) % 97:02d}"


def make_card(rng: Random) -> str:
    """Return a card number: a test prefix, a random serial, a Luhn digit; at times in groups of four."""
    prefix = rng.choice(_CARD_PREFIXES)
    length = 15 if prefix.startswith("37") else 16
    serial = length - len(prefix) - 1
    number = f"{prefix}{int(rng.random() * 10**serial):0{serial}d}"
    number += str(luhn_digit(number))
    separator = "" if length == 15 else rng.choice(("", " ", "-"))  # noqa: PLR2004 - the one length without groups
    return separator.join(number[at : at + 4] for at in range(0, length, 4))


def make_iban(rng: Random) -> str:
    """Return an IBAN of a bank that does not exist, compact or in groups of four."""
    serial = int(rng.random() * 10**10)
    country, account = rng.choice(
        (
            ("DE", f"00000000{serial:010d}"),
            ("NL", f"TEST{serial:010d}"),
            ("GB", f"TEST000{serial:011d}"),
            ("FR", f"0000000000{serial:011d}00"),
            ("ES", f"0000000000{serial:010d}"),
        )
    )
    iban = f"{country}{iban_check(country, account)}{account}"
    return iban if rng.random() < 0.5 else " ".join(iban[at : at + 4] for at in range(0, len(iban), 4))  # noqa: PLR2004


def make_phone(rng: Random) -> str:
    """Return an international phone number from a range kept for fiction."""
    if rng.random() < 0.6:  # noqa: PLR2004 - the North American range is by far the widest
        return f"+1 {rng.choice(_US_AREAS)}-555-01{int(rng.random() * 100):02d}"
    form, size = rng.choice(_PHONES)
    return form.format(f"{int(rng.random() * size):0{len(str(size - 1))}d}")


def make_ssn(rng: Random) -> str:
    """Return a US SSN that is never issued: area 9xx, and a group that no ITIN has either."""
    return f"9{int(rng.random() * 100):02d}-{1 + int(rng.random() * 49):02d}-{int(1 + rng.random() * 9998):04d}"


def make_ip(rng: Random) -> str:
    """Return an address of RFC 2544's or RFC 3849's range; never the address of a network itself."""
    if rng.random() < 0.7:  # noqa: PLR2004 - most clients still come over IPv4
        return f"198.{18 + rng.getrandbits(1)}.{rng.getrandbits(8)}.{1 + int(rng.random() * 254)}"
    return "2001:db8:" + ":".join(f"{0x1000 + int(rng.random() * 0xEFFF):x}" for _ in range(6))


def make_email(rng: Random) -> str:
    """Return an address whose local part holds 40 random bits, under an example domain of RFC 2606."""
    domain = rng.choice(("mail.example.com", "post.example.net", "example.org", "team.example.com"))
    return f"{rng.choice(('orders', 'anna', 'm.keller', 'info', 'jo_t', 'desk'))}.{rng.getrandbits(40):010x}@{domain}"


MAKERS: dict[str, Callable[[Random], str]] = {
    "EMAIL_ADDRESS": make_email,
    "PHONE_NUMBER": make_phone,
    "CREDIT_CARD": make_card,
    "IBAN_CODE": make_iban,
    "IP_ADDRESS": make_ip,
    "US_SSN": make_ssn,
}
"""A maker for each entity type that a pattern recognizer finds."""
